"""Replies that the token limit cut off: seen in reports and listings, and asked for again on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import CallSettings, ChunkSettings, Document, Engine, Settings, Status
from stateless_rag.errors import InvalidInput, ProviderRejected
from stateless_rag.protocols import LLMReply, LLMRequest, StreamPart
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from unit.scripted import WordTokenizer

LONG = "\n\n".join(
    ("Ada met Charles in London.", "Grace met Howard in Harvard.", "Alan met Max in Cambridge.")
)
CUT = "entity<|#|>Grace<|#|>Person<|#|>Grace met Howard.\nentity<|#|>How"


class Cutting:
    """Cuts off its replies about Grace until `whole`; refuses where `refused` is said."""

    model = "cutting"

    def __init__(self, cut: str = "extract") -> None:
        self._inner = DeterministicLLM()
        self._cut = cut
        self.whole = False
        self.refused: str | None = None
        self.asked: list[str] = []

    async def complete(self, request: LLMRequest) -> LLMReply:
        told = "".join([*(turn.content for turn in request.history), request.prompt])
        self.asked.append(f"{request.purpose} {'Grace' if 'Grace' in told else ''}".strip())
        if self.refused is not None and self.refused in told:
            raise ProviderRejected("no")
        if request.purpose == self._cut and "Grace" in told and not self.whole:
            return LLMReply(text=CUT, truncated=True)
        return await self._inner.complete(request)

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        return self._inner.stream(request)


def options(llm: Cutting) -> dict[str, Any]:
    return {
        "llm": llm,
        "embedder": DeterministicEmbedder(),
        "tokenizer": WordTokenizer(),
        "settings": Settings(
            chunking=ChunkSettings(strategy="separator", separator_only=True),
            calls=CallSettings(attempts=1),
        ),
    }


@pytest.mark.parametrize("cut", ["extract", "glean"])
async def test_it_is_seen_and_asked_for_again_only_on_demand(tmp_path: Path, cut: str) -> None:
    llm = Cutting(cut)
    async with Engine.open(tmp_path / "root", **options(llm)) as engine:
        report = await engine.insert([Document(LONG, id="d"), Document("Emmy met Felix.", id="e")])
        assert [(d.status, d.truncated) for d in report.documents] == [
            (Status.PROCESSED, (1,)),
            (Status.PROCESSED, ()),
        ]
    async with Engine.open(tmp_path / "root", **options(llm)) as engine:
        assert {row.id: row.truncated for row in await engine.documents()} == {"d": (1,), "e": ()}
        asked = len(llm.asked)
        again = await engine.insert([Document(LONG, id="d")])
        assert again.documents[0].unchanged
        assert (await engine.resume()).documents == (await engine.retry()).documents == ()
        assert len(llm.asked) == asked
        llm.whole = True
        report = await engine.retry(truncated=True)
        assert [(d.id, d.status, d.truncated) for d in report.documents] == [("d", Status.PROCESSED, ())]
        assert [
            what for what in llm.asked[asked:] if "Grace" not in what
        ] == []  # other chunks are not paid for
        assert [row.truncated for row in await engine.documents()] == [(), ()]
        asked = len(llm.asked)
        assert (await engine.retry(truncated=True)).documents == ()
        # What was said last is what the journal has for the same text from now on.
        report = await engine.insert([Document("Grace met Howard in Harvard.", id="f")])
        assert (report.documents[0].truncated, len(llm.asked)) == ((), asked)


async def test_afterwards_the_workspace_is_as_if_it_had_never_been_cut(tmp_path: Path) -> None:
    graphs = []
    for name, whole in (("cut", False), ("whole", True)):
        llm = Cutting()
        llm.whole = whole
        async with Engine.open(tmp_path / name, **options(llm)) as engine:
            await engine.insert([Document(LONG, id="d", source="d.txt", metadata={"year": 1943})])
            before = {entity.name for entity in (await engine.graph()).nodes()}
            assert ("Howard" in before) is whole
            llm.whole = True
            await engine.retry(truncated=True)
            graph = await engine.graph()
            document = await engine.document("d")
            assert document is not None
            graphs.append((graph.nodes(), graph.edges(), document.source, dict(document.metadata)))
    assert graphs[0] == graphs[1]


async def test_one_that_is_cut_again_stays_and_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    llm = Cutting()
    async with Engine.open(tmp_path / "root", **options(llm)) as engine:
        await engine.insert([Document(LONG, id="d")])
        report = await engine.retry(truncated=True)
        assert [(d.status, d.truncated) for d in report.documents] == [(Status.PROCESSED, (1,))]
        llm.refused = "Grace"
        report = await engine.retry(truncated=True)
        assert [(d.status, d.stale) for d in report.documents] == [(Status.FAILED, True)]
        assert any(entity.name == "Grace" for entity in (await engine.graph()).nodes())
        (row,) = await engine.documents()
        assert (row.status, row.truncated) == (Status.FAILED, (1,))
        llm.refused, llm.whole = None, True
        report = await engine.retry(truncated=True)
        assert [(d.status, d.truncated) for d in report.documents] == [(Status.PROCESSED, ())]


async def test_documents_cut_by_their_caller_keep_their_chunks(tmp_path: Path) -> None:
    llm = Cutting()
    async with Engine.open(tmp_path / "root", **options(llm)) as engine:
        chunks = ["Ada met Charles.", "Grace met Howard in Harvard."]
        await engine.insert_chunks(chunks, document_id="d")
        llm.whole = True
        assert (await engine.retry(["d", "other"], truncated=True)).counts == {Status.PROCESSED: 1}
        contents = await engine.contents("d")
        assert contents is not None
        assert [chunk.text for chunk in contents.chunks] == chunks
        assert "Howard" in {entity.name for entity in contents.entities}
        assert [row.truncated for row in await engine.documents()] == [()]
        assert (await engine.insert_chunks(chunks, document_id="d")).documents[0].unchanged


async def test_only_the_documents_named_are_asked_for(tmp_path: Path) -> None:
    llm = Cutting()
    async with Engine.open(tmp_path / "root", **options(llm)) as engine:
        await engine.insert([Document(f"Grace met Nr{n}.", id=f"d{n}") for n in range(3)])
        llm.whole = True
        report = await engine.retry("d1", truncated=True)
        assert [d.id for d in report.documents] == ["d1"]
        assert [row.truncated for row in await engine.documents()] == [(0,), (), (0,)]
        with pytest.raises(InvalidInput, match="truncated"):
            await engine.retry(truncated="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("again", ["retry", "insert"])
async def test_attempts_are_counted_however_it_is_tried_again(tmp_path: Path, again: str) -> None:
    llm = Cutting()
    llm.refused = "Grace"
    async with Engine.open(tmp_path / "root", **options(llm)) as engine:
        document = Document(LONG, id="d")
        await engine.insert([document])
        for attempt in (2, 3):
            report = await (engine.retry() if again == "retry" else engine.insert([document]))
            assert [error.attempts for error in report.documents[0].errors] == [attempt]
            (row,) = await engine.documents()
            assert [error.attempts for error in row.errors] == [attempt]
        changed = Document(LONG.replace("Harvard", "Yale"), id="d")
        report = await engine.insert([changed])
        assert [error.attempts for error in report.documents[0].errors] == [1]
