"""`explain` and `trace` on a real workspace, where a document lies, is filtered, is deleted, or has no text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, Event, Explanation, InvalidInput
from stateless_rag.observers import logging_observer
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.testing import DeterministicLLM

DOCUMENTS = [
    Document("Ada Lovelace wrote notes on the Analytical Engine.", id="ada", metadata={"year": 1843}),
    Document(
        "Charles Babbage designed the Analytical Engine in London.", id="babbage", metadata={"year": 1837}
    ),
    Document("Konrad Zuse built the Z3 in Berlin out of relays.", id="zuse", metadata={"year": 1941}),
    Document("", id="empty"),
]
QUESTION = "Who designed the Analytical Engine that Ada Lovelace wrote about?"
MODES = ("naive", "local", "global", "hybrid", "walk", "mix")


@pytest.mark.parametrize("mode", MODES)
async def test_each_document_is_found_or_lost_at_a_step(tmp_path: Path, mode: Any) -> None:
    async with Engine.open(tmp_path) as engine:
        await engine.insert(DOCUMENTS)
        plain = await engine.retrieve(QUESTION, mode=mode)
        places = {passage.document_id: rank for rank, passage in enumerate(plain.passages, start=1)}
        assert {"ada", "babbage"} <= places.keys()
        for document in ("ada", "babbage", "zuse"):
            found = await engine.explain(QUESTION, expect=document, mode=mode)
            assert [reason.passage for reason in found.reasons] == list(plain.passages)
            assert found.expected is not None
            assert found.expected.rank == places.get(document)
            assert (found.expected.lost is None) == (document in places)
            near = found.expected.facts["similarity"]
            assert isinstance(near, float)
            assert (near > 0.3) == (document != "zuse")
        kept = await engine.explain(
            QUESTION, expect="zuse", mode=mode, metadata_filter={"year": {"lt": 1900}}
        )
        assert kept.expected is not None
        assert kept.expected.lost == "filter"
        trace = kept.retrieval.trace
        assert trace is not None
        assert (trace.chunks, trace.searched) == (3, 2)
        assert "zuse" not in repr(trace.candidates)


async def test_documents_that_are_not_there(tmp_path: Path) -> None:
    async with Engine.open(tmp_path) as engine:
        await engine.insert(DOCUMENTS)
        await engine.delete("zuse")
        await engine.submit([Document("Konrad Zuse wrote Plankalkül.", id="pending")])
        for document, told in {"zuse": "committed", "pending": "committed", "empty": "no text"}.items():
            found = await engine.explain(QUESTION, expect=document)
            assert found.expected is not None
            assert (found.expected.lost, told in found.expected.told) == ("workspace", True), document


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"expect": ""}, "expect is ''"), ({"expect": 5}, "expect is 5"), ({"step": 1}, "step")],
)
async def test_what_cannot_be_explained(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    async with Engine.open(tmp_path) as engine:
        with pytest.raises(InvalidInput, match=told):
            await engine.explain(QUESTION, **wrong)


async def test_keywords_are_those_of_the_llm_and_nothing_is_answered(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=DeterministicLLM()) as engine:
        await engine.insert(DOCUMENTS)
        found = await engine.explain(QUESTION, mode="local")
        said = await engine.query(QUESTION, mode="local")
        assert found.retrieval.usage["keywords"].calls + found.retrieval.usage["keywords"].cached == 1
        assert "answer" not in found.retrieval.usage
        assert found.retrieval.keywords == said.retrieval.keywords
        assert said.trace is not None
        assert said.trace.messages[-1].content == QUESTION
        assert said.trace.revision == engine.revision
        assert set(said.trace.models) >= {"llm", "embedder"}


def test_the_synchronous_mirror_explains_too(tmp_path: Path) -> None:
    with SyncEngine.open(tmp_path) as engine:
        engine.insert(DOCUMENTS)
        found = engine.explain(QUESTION, expect="babbage", mode="naive")
        assert isinstance(found, Explanation)
        assert found.expected is not None
        assert found.expected.rank in (1, 2)


async def test_an_engine_tells_its_observer_and_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    log = logging_observer("rag.test")

    def observer(event: Event) -> None:
        events.append(event)
        log(event)

    with caplog.at_level("INFO", "rag.test"):
        async with Engine.open(tmp_path, observer=observer) as engine:
            await engine.insert(DOCUMENTS)
            await engine.query(QUESTION)
            await engine.query(QUESTION, mode="naive")
    asked = [event for event in events if event.trace_id]
    assert [event.kind for event in asked] == ["searching", "retrieved", "answered"] * 2
    assert len({event.trace_id for event in asked}) == 2
    assert [record.getMessage().split()[1] for record in caplog.records] == [
        "finished",
        *["retrieved", "answered"] * 2,
    ]
    assert "Lovelace" not in caplog.text
