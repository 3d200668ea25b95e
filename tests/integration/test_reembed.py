"""Changing a workspace to another embedder: the switch, what goes on meanwhile, and going on where it ended."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from stateless_rag import CallSettings, Document, Engine, Limits, Settings, Store
from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
    ProviderRejected,
    StoreError,
    WorkspaceMismatch,
)
from stateless_rag.protocols import Embeddings
from stateless_rag.providers import AbsentEmbedder
from stateless_rag.testing import DeterministicEmbedder
from stateless_rag.testing.dump import dump
from stateless_rag.types import Event
from unit.scripted import WordTokenizer

TEXTS = [
    "Ada Lovelace met Charles Babbage in London.",
    "Charles Babbage designed the Analytical Engine.",
    "Konrad Zuse built the Z3 in Berlin.",
]


@dataclass
class Other(DeterministicEmbedder):
    """Another model: counts texts and batches, and calls `before` each batch."""

    name: str = "other"
    most: int | None = None
    before: Callable[[int], Any] | None = None
    size: int = 24

    def __post_init__(self) -> None:
        super().__init__(dimension=self.size)
        self.texts: list[str] = []
        self.batches = 0

    @property
    def model(self) -> str:
        return self.name

    @property
    def max_batch(self) -> int:
        return 4

    @property
    def max_tokens(self) -> int | None:
        return self.most

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        await asyncio.sleep(0)
        if role == "document":
            self.batches += 1
            if self.before is not None:
                told = self.before(self.batches)
                if asyncio.iscoroutine(told):
                    await told
            self.texts += texts
        return await super().embed(texts, role=role)


def opened(store: Store | Path, embedder: Any, workspace: str = "one", **options: Any) -> Any:
    options.setdefault("tokenizer", WordTokenizer())
    return Engine.open(store, workspace, embedder=embedder, **options)


def old() -> DeterministicEmbedder:
    return DeterministicEmbedder(16)


async def fresh(root: Path, embedder: Any, texts: Sequence[str] = TEXTS) -> dict[str, Any]:
    async with opened(root, embedder) as engine:
        await engine.insert([Document(text, id=str(n)) for n, text in enumerate(texts)])
        return await dump(engine)


async def test_it_equals_a_fresh_ingest_and_outlives_the_store(tmp_path: Path) -> None:
    wanted = await fresh(tmp_path / "fresh", Other())
    other, events = Other(), list[Event]()
    async with opened(tmp_path / "root", old(), observer=events.append) as engine:
        await engine.insert([Document(text, id=str(n)) for n, text in enumerate(TEXTS)])
        before, revision = await engine.retrieve("Who built the Z3?"), engine.revision
        report = await engine.reembed(other)
        assert await dump(engine) == wanted
        assert (report.changed, report.embedder, report.dimension) == (True, "other", 24)
        assert (report.chunks, report.revision) == (3, revision + 1)
        assert report.usage.keys() == {"embed"}
        info = await engine.describe()
        assert (info.embedder, info.dimension) == ("other", 24)
        after = await engine.retrieve("Who built the Z3?")
        assert [p.text for p in after.passages][:1] == [p.text for p in before.passages][:1] == TEXTS[2:]
        embedded = [event for event in events if event.kind == "embedding"]
        assert embedded[-1].done == embedded[-1].total == len(wanted["vectors"])
        assert [event.report for event in events if event.kind == "reembedded"] == [report]
    async with opened(tmp_path / "root", Other()) as engine:
        assert await dump(engine) == wanted
        assert (await engine.retrieve("Who built the Z3?")).passages[0].text == TEXTS[2]
    with pytest.raises(WorkspaceMismatch, match="stateless-rag reembed one"):
        await opened(tmp_path / "root", old())


async def test_full_batches_and_each_text_once(tmp_path: Path) -> None:
    other = Other()
    async with opened(tmp_path, old()) as engine:
        await engine.insert([Document(text, id=str(n)) for n, text in enumerate([*TEXTS, TEXTS[0]])])
        await engine.reembed(other)
    assert len(other.texts) == len(set(other.texts))
    assert other.batches == -(-len(other.texts) // 4)


@pytest.mark.parametrize("stop", ["error", "cancel"])
async def test_it_goes_on_where_it_ended(stop: str, tmp_path: Path) -> None:
    wanted = await fresh(tmp_path / "fresh", Other())

    running: list[asyncio.Task[Any]] = []

    def before(batch: int) -> None:
        if batch == 3 and stop == "error":
            raise ProviderRejected("no more")
        if batch == 3:
            running[0].cancel()

    first, second = Other(before=before), Other()
    async with opened(tmp_path / "root", old()) as engine:
        await engine.insert([Document(text, id=str(n)) for n, text in enumerate(TEXTS)])
        kept = await dump(engine)
        with pytest.raises((ProviderRejected, asyncio.CancelledError)):
            running.append(asyncio.ensure_future(engine.reembed(first)))
            await running[0]
        assert await dump(engine) == kept
        assert (await engine.retrieve("Who built the Z3?")).passages[0].text == TEXTS[2]
        await engine.insert(Document("Grace Hopper wrote COBOL.", id="new"))  # commits are let through again
        await engine.delete("new")
    async with opened(tmp_path / "root", old()) as engine:  # what was paid outlives the store
        await engine.reembed(second)
        assert await dump(engine) == wanted
    assert first.texts
    assert not set(first.texts) & set(second.texts)


async def test_what_a_kill_leaves_is_gone_on_with(tmp_path: Path) -> None:
    wanted = await fresh(tmp_path / "fresh", Other())

    def before(batch: int) -> None:
        if batch in (1, 3):
            shutil.copytree(tmp_path / "root", tmp_path / f"killed{batch}")

    first = Other(before=before)
    async with opened(tmp_path / "root", old(), limits=Limits(embedder=1)) as engine:
        await engine.insert([Document(text, id=str(n)) for n, text in enumerate(TEXTS)])
        await engine.reembed(first)
    for batch in (1, 3):
        second = Other()
        async with opened(tmp_path / f"killed{batch}", old()) as engine:
            assert (await engine.retrieve("Who built the Z3?")).passages[0].text == TEXTS[2]
            await engine.reembed(second)
            assert await dump(engine) == wanted
        assert len(first.texts) - len(second.texts) >= 4 * (batch - 2)


async def test_another_model_starts_anew_and_the_same_one_gives_up(tmp_path: Path) -> None:
    def before(batch: int) -> None:
        if batch == 2:
            raise ProviderRejected("gone")

    async with opened(tmp_path, old()) as engine:
        await engine.insert(TEXTS)
        kept = await dump(engine)
        with pytest.raises(ProviderRejected):
            await engine.reembed(Other(before=before))
        assert (await engine.describe()).reembedding == "other"
        report = await engine.reembed(old())
        assert (report.changed, (await engine.describe()).reembedding) == (False, None)
        assert await dump(engine) == kept
        with pytest.raises(ProviderRejected):
            await engine.reembed(Other(before=before))
        third = Other("third", size=20)
        assert (await engine.reembed(third)).dimension == 20
        assert len(third.texts) == len((await dump(engine))["vectors"])


async def test_documents_come_and_go_and_questions_are_answered_meanwhile(tmp_path: Path) -> None:
    wanted = await fresh(tmp_path / "fresh", Other(), [*TEXTS[1:], "Grace Hopper wrote COBOL in Arlington."])
    seen: list[str] = []
    async with (
        Store.open(tmp_path / "root") as store,
        opened(store, old()) as engine,
        opened(store, old()) as beside,
    ):

        async def before(batch: int) -> None:
            if batch == 2:
                await beside.delete("0")
                await beside.insert(
                    [
                        Document(text, id=str(n))
                        for n, text in enumerate([*TEXTS[1:], "Grace Hopper wrote COBOL in Arlington."])
                    ]
                )
                await beside.delete("3")
                found = await beside.retrieve("Who built the Z3?")
                seen.append(found.passages[0].text)

        await engine.insert([Document(text, id=str(n)) for n, text in enumerate([*TEXTS, "Lise Meitner."])])
        await engine.reembed(Other(before=before))
        assert seen == TEXTS[2:]
        assert await dump(engine) == wanted
        # The engine beside goes on with the other embedder.
        assert beside.context.embedder.model == "other"
        assert (await beside.retrieve("Who built the Z3?")).passages[0].text == TEXTS[2]
        await beside.insert("Alan Turing lived in Manchester.")
        assert (await engine.retrieve("Where did Alan Turing live?")).passages[0].text.startswith("Alan")


async def test_commits_that_never_end_do_not_keep_it_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look finds what was committed during the last one."""
    monkeypatch.setattr("stateless_rag.reembedding._FEW", -1)
    looks: list[int] = []
    async with Store.open(tmp_path) as store, opened(store, old()) as engine, opened(store, old()) as beside:
        state = engine._workspace.reembedding

        async def write() -> None:
            number = 0
            while True:
                number += 1
                await beside.insert(Document(f"Number {number} is a prime.", id=f"n{number}"))

        async def before(_: int) -> None:
            looks.append(revision := engine.revision)
            while state._busy.locked() and not state.holds_commits and engine.revision == revision:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

        await engine.insert(TEXTS)
        writing = asyncio.ensure_future(write())
        report = await engine.reembed(Other(before=before))
        assert len(looks) > 8
        # Who writes goes on, with the other embedder.
        while engine.revision < report.revision + 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        found = await dump(engine)
        assert len(found["documents"]) == len(found["chunks"]) > report.chunks > len(TEXTS)
    async with opened(tmp_path, Other()) as engine:
        found = await dump(engine)
        named = {row["vector"] for table in ("chunks", "entities", "relations") for row in found[table]}
        assert named == set(found["vectors"])


async def test_a_question_that_was_embedded_before_the_switch_is_asked_again(tmp_path: Path) -> None:
    """With a vector of the other length the search would fail."""

    class Slow(DeterministicEmbedder):
        def __init__(self) -> None:
            super().__init__(16)
            self.waiting, self.go = asyncio.Event(), asyncio.Event()

        async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
            found = await super().embed(texts, role=role)
            if role == "query":
                self.waiting.set()
                await self.go.wait()
            return found

    slow = Slow()
    async with opened(tmp_path, slow) as engine:
        await engine.insert(TEXTS)
        asked = asyncio.ensure_future(engine.retrieve("Who built the Z3?"))
        streamed = asyncio.ensure_future(anext(engine.stream("Who built the Z3?", only_context=True)))
        await slow.waiting.wait()
        await engine.reembed(Other())
        slow.go.set()
        found = await asked
        assert (found.passages[0].text, found.revision) == (TEXTS[2], engine.revision)
        assert TEXTS[2] in str(await streamed)


async def test_without_the_former_embedder(tmp_path: Path) -> None:
    async with opened(tmp_path, old()) as engine:
        await engine.insert(TEXTS)
    async with opened(tmp_path, AbsentEmbedder(old().model)) as engine:
        with pytest.raises(ProviderRejected, match="not at hand"):
            await engine.retrieve("Who built the Z3?")
        await engine.reembed(Other())
        assert (await engine.retrieve("Who built the Z3?")).passages[0].text == TEXTS[2]


async def test_chunks_longer_than_the_embedder_takes(tmp_path: Path) -> None:
    async with opened(tmp_path, old()) as engine:
        await engine.insert(TEXTS)
        first = Other(most=6)
        with pytest.raises(InvalidInput, match="longest has 7"):
            await engine.reembed(first)
        assert not first.texts
        report = await engine.reembed(first, cut=True)
        assert report.cut == 2
        assert all(len(text.split()) <= 6 for text in first.texts)


@pytest.mark.parametrize("embedder", [None, 3, DeterministicEmbedder])
async def test_what_is_no_embedder_changes_nothing(embedder: Any, tmp_path: Path) -> None:
    async with opened(tmp_path, old()) as engine:
        await engine.insert(TEXTS)
        before = await dump(engine), engine.revision
        with pytest.raises(InvalidInput):
            await engine.reembed(embedder)
        assert (await dump(engine), engine.revision) == before


async def test_an_empty_workspace(tmp_path: Path) -> None:
    async with opened(tmp_path, old()) as engine:
        report = await engine.reembed(Other())
        assert (report.chunks, report.usage) == (0, {})
        await engine.insert(TEXTS)
        assert (await engine.describe()).dimension == 24


async def test_two_at_once(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store, opened(store, old()) as engine, opened(store, old()) as beside:
        told: list[str] = []

        async def before(batch: int) -> None:
            if batch == 1:
                with pytest.raises(StoreError, match="already") as error:
                    await beside.reembed(Other("third"))
                told.append(str(error.value))

        await engine.insert(TEXTS)
        await engine.reembed(Other(before=before))
        assert told
        assert (await beside.reembed(Other("third"))).changed


async def test_vectors_of_two_lengths_are_refused(tmp_path: Path) -> None:
    class Wrong(Other):
        dimension = None

        async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
            found = await super().embed(texts, role=role)
            return Embeddings(vectors=found.vectors[:, : 24 - self.batches % 2])

    once = Settings(calls=CallSettings(attempts=1))
    async with opened(tmp_path, old(), settings=once) as engine:
        await engine.insert(TEXTS)
        kept = await dump(engine)
        with pytest.raises(InvalidReply, match="dimensions"):
            await engine.reembed(Wrong())
        assert await dump(engine) == kept
