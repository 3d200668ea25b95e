"""Why passages are found, which step lost a document, and what the trace of a question holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stateless_rag.errors import InvalidInput
from stateless_rag.retrieval.answer import answer, stream_answer
from stateless_rag.retrieval.explain import explain, explanation
from stateless_rag.retrieval.retrieve import retrieve
from stateless_rag.settings import QueryOptions
from stateless_rag.types import Answer, Event, Message, Seed
from unit.test_retrieval_answer import (
    DOWN,
    OPTIONS,
    QUESTION,
    FakeEmbedder,
    FakeLLM,
    FakeReranker,
    chunks,
    context_with,
    ends,
    names,
    reader,
    snapshot_of,
)

if TYPE_CHECKING:
    from stateless_rag.types import Expected, Explanation

TWO = "Ada, and London"  # nearest is c2 (d1), then c5 (d4) and c1 (d1)
MODES = ("naive", "local", "global", "hybrid", "walk", "mix")


async def explained(
    question: str = QUESTION, expect: str | None = None, parts: Any = None, **changes: Any
) -> Explanation:
    options = replace(OPTIONS, **changes)
    return await explain(context_with(**(parts or {})), reader(snapshot_of()), question, options, expect)


async def fate(question: str, expect: str, parts: Any = None, **changes: Any) -> Expected:
    expected = (await explained(question, expect, parts, **changes)).expected
    assert expected is not None
    assert expected.document_id == expect
    return expected


# ---- which step lost it --------------------------------------------------------------------------------

LOST: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
    "unknown": ("workspace", "no document of this id", QUESTION, "d9", {"mode": "naive"}),
    "filtered": (
        "filter",
        "metadata_filter",
        QUESTION,
        "d1",
        {"mode": "naive", "metadata_filter": {"$id": "d2"}},
    ),
    "too far": ("threshold", "min_similarity is 0.20", QUESTION, "d2", {"mode": "naive"}),
    "entity too far": ("threshold", "an entity of its own is nearest", QUESTION, "d2", {"mode": "local"}),
    "too many nearer": (
        "search",
        "number 2 by similarity (0.50), and chunk_top_k is 1",
        TWO,
        "d4",
        {"mode": "naive", "chunk_top_k": 1},
    ),
    "entities nearer": (
        "search",
        "number 2 by similarity (0.45), and top_k is 1",
        "Ada and notes",
        "d2",
        {"mode": "local", "top_k": 1, "low_level_keywords": ("Ada Ada Babbage",)},
    ),
    "other keywords": (
        "keywords",
        "an entity of its own would be number 1 by similarity",
        "Babbage and Babbage",
        "d2",
        {"mode": "local"},
    ),
    "other themes": (
        "keywords",
        "a relation of its own would be number",
        "the engine and punched cards",
        "d3",
        {"mode": "global"},
    ),
    "ranked behind": (
        "fusion",
        "ranks 3 of 3 that search found, of which the first 1",
        "Ada and notes",
        "d2",
        {"mode": "local", "chunk_top_k": 1, "low_level_keywords": ("Ada Babbage",)},
    ),
    "others picked": (
        "fusion",
        "raise related_chunks (0)",
        QUESTION,
        "d1",
        {"mode": "local", "related_chunks": 0},
    ),
    "no room in the graph": (
        "budget",
        "'Charles Babbage', 'Charles Babbage—Analytical Engine' would lead to it",
        "Ada Lovelace, and Babbage",
        "d2",
        {
            "mode": "local",
            "low_level_keywords": ("Ada Ada Babbage notes",),
            "max_entity_tokens": 50,
            "max_relation_tokens": 0,
        },
    ),
    "walked past": ("fusion", "raise chunk_top_k", QUESTION, "d2", {"mode": "mix", "chunk_top_k": 1}),
}


@pytest.mark.parametrize("case", LOST)
async def test_the_step_that_lost_a_document_is_named(case: str) -> None:
    step, told, question, document, changes = LOST[case]
    expected = await fate(question, document, **changes)
    assert (expected.lost, expected.rank) == (step, None), expected
    assert told in expected.told


@pytest.mark.parametrize(
    ("changes", "step", "told"),
    [
        ({"min_rerank_score": 2.5}, "min_rerank_score", "score of 2 is below"),
        ({"min_rerank_score": 2.5, "rerank": False}, None, "found at rank 2 of 3"),
        ({"min_rerank_score": 2.0}, None, "found at rank 2 of 2"),
    ],
)
async def test_what_a_reranker_loses(changes: dict[str, Any], step: str | None, told: str) -> None:
    expected = await fate(TWO, "d4", {"reranker": FakeReranker()}, mode="naive", **changes)
    assert (expected.lost, expected.rank) == (step, None if step else 2), expected
    assert told in expected.told


async def test_what_a_reranker_ranks_behind() -> None:
    changes = {"mode": "local", "chunk_top_k": 1, "low_level_keywords": ("Ada Babbage",)}
    first = await explained("Ada and notes", "d1", {"reranker": FakeReranker()}, **changes)
    assert chunks(first.retrieval.passages) == ["c3"]
    assert first.expected is not None
    assert (first.expected.lost, first.expected.facts["rank_in_search"]) == ("rerank", 1)
    assert "raise chunk_top_k" in first.expected.told


async def test_what_the_budget_loses() -> None:
    for total in range(300, 2000, 10):
        try:
            found = await explained(TWO, "d4", mode="naive", max_total_tokens=total)
        except InvalidInput:
            continue
        if found.reasons:
            break
    assert chunks(found.retrieval.passages) == ["c2"]
    assert found.expected is not None
    assert (found.expected.lost, found.expected.rank) == ("budget", None)
    assert "raise max_total_tokens" in found.expected.told
    assert found.expected.facts["tokens"] > 0  # type: ignore[operator]


async def test_what_words_and_bypass_lose() -> None:
    lexical = await fate(
        QUESTION, "d3", {"embedder": FakeEmbedder(DOWN)}, mode="naive", on_provider_error="degrade"
    )
    assert (lexical.lost, "no embedder answered" in lexical.told) == ("search", True)
    bypassed = await fate(QUESTION, "d1", {"llm": FakeLLM()}, mode="bypass")
    assert (bypassed.lost, "bypass" in bypassed.told) == ("search", True)


VARIATIONS: list[dict[str, Any]] = [
    {},
    {"chunk_top_k": 1},
    {"top_k": 1},
    {"related_chunks": 0},
    {"min_similarity": 0.9},
    {"min_similarity": -1.0},
    {"max_entity_tokens": 45, "max_relation_tokens": 60},
    {"metadata_filter": {"$id": {"in": ["d1", "d3"]}}},
    {"min_rerank_score": 2.0},
    {"chunk_top_k": 2, "min_rerank_score": 1.5, "max_total_tokens": 900},
]


@pytest.mark.parametrize("changes", VARIATIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("question", [QUESTION, TWO, "Babbage and the punched cards of the loom"])
async def test_a_document_is_found_or_lost_at_a_step_that_is_told(
    question: str, mode: Any, changes: dict[str, Any]
) -> None:
    parts = {"reranker": FakeReranker()}
    plain = await retrieve(
        context_with(**parts), reader(snapshot_of()), question, replace(OPTIONS, mode=mode, **changes)
    )
    for document in ("d1", "d2", "d3", "d4"):
        found = await explained(question, document, parts, mode=mode, **changes)
        assert replace(found.retrieval, timings={}) == replace(plain, timings={})  # asking changes nothing
        expected = found.expected
        assert expected is not None
        ranks = [rank for rank, one in enumerate(plain.passages, 1) if one.document_id == document]
        assert expected.rank == (ranks[0] if ranks else None)
        assert (expected.lost is None) == bool(ranks)
        assert expected.told


# ---- why a passage is there ----------------------------------------------------------------------------


async def test_seeds_and_edges_that_brought_a_passage_in() -> None:
    found = await explained(mode="local")
    first, second = found.reasons
    (seed,) = first.seeds
    assert (seed.kind, seed.name) == ("entity", "Ada Lovelace")
    assert seed.score == pytest.approx(2 / 5**0.5)
    assert (first.entities, second.entities) == (("Ada Lovelace",), ("Ada Lovelace",))
    assert (first.passage.chunk_id, first.rank, first.before, first.edges) == ("c1", 1, 1, ())
    assert second.seeds == (seed,)
    (edge,) = second.edges
    assert (edge.source, edge.target, edge.weight, edge.score) == ("Ada Lovelace", "Charles Babbage", 1, None)
    assert found.expected is None


async def test_relations_that_were_seeds_have_their_scores() -> None:
    found = await explained(mode="global")
    (reason,) = (one for one in found.reasons if one.passage.chunk_id == "c2")
    (edge,) = reason.edges
    assert edge.score is not None
    assert Seed(kind="relation", name="Ada Lovelace—Charles Babbage", score=edge.score) in reason.seeds


async def test_a_reranker_moves_passages() -> None:
    found = await explained(TWO, parts={"reranker": FakeReranker()}, mode="naive")
    assert [(one.rank, one.before, one.passage.chunk_id) for one in found.reasons] == [
        (1, 3, "c1"),
        (2, 2, "c5"),
        (3, 1, "c2"),
    ]
    assert {seed.kind for one in found.reasons for seed in one.seeds} == {"chunk"}


@pytest.mark.parametrize("mode", MODES)
async def test_each_passage_has_a_reason(mode: Any) -> None:
    found = await explained("Babbage, Ada Lovelace and the loom", mode=mode)
    assert [one.passage for one in found.reasons] == list(found.retrieval.passages)
    assert all(one.seeds or one.entities or one.edges or one.passage.parts for one in found.reasons)


# ---- the trace -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", VARIATIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
async def test_what_was_found_is_kept_or_dropped_and_nothing_else(mode: Any, changes: dict[str, Any]) -> None:
    options = replace(OPTIONS, mode=mode, **changes)
    context = context_with(reranker=FakeReranker())
    found = await retrieve(context, reader(snapshot_of()), "Babbage, Ada Lovelace and the loom", options)
    trace = found.trace
    assert trace is not None
    dropped = [passage for drop in trace.dropped for passage in drop.passages]
    assert sorted(chunks((*found.passages, *dropped))) == sorted(chunks(trace.candidates))
    cut = [drop for drop in trace.dropped if drop.step == "budget"]
    assert names(found.entities) + names(cut[0].entities if cut else ()) == names(trace.entities)
    assert ends(found.relations) + ends(cut[0].relations if cut else ()) == ends(trace.relations)
    assert (len(trace.entities), len(trace.relations)) == (found.found["entities"], found.found["relations"])
    assert trace.entity_chunks.keys() == {entity.key for entity in found.entities}
    assert {one for told in trace.entity_chunks.values() for one in told} <= set(chunks(trace.candidates))
    assert all(drop.entities or drop.relations or drop.passages for drop in trace.dropped)
    assert (trace.chunks, trace.searched) == (5, 3 if "metadata_filter" in changes else 5)
    assert (trace.revision, trace.models) == (7, {"embedder": "vocabulary", "reranker": "reverse"})


async def test_the_trace_of_an_answer_has_the_prompt_that_was_sent() -> None:
    llm = FakeLLM()
    options = replace(OPTIONS, mode="naive", history=(("user", "Hi"), ("assistant", "Ho")))
    said = await answer(context_with(llm=llm), reader(snapshot_of()), QUESTION, options)
    pieces = [
        piece
        async for piece in stream_answer(context_with(llm=llm), reader(snapshot_of()), QUESTION, options)
    ]
    streamed = pieces[-1]
    assert isinstance(streamed, Answer)
    assert said.trace is not None
    assert streamed.trace is not None
    assert said.trace.id != streamed.trace.id
    for request, trace in zip(llm.requests, (said.trace, streamed.trace), strict=True):
        assert trace.messages == (
            Message("system", request.system or ""),
            *request.history,
            Message("user", request.prompt),
        )
        assert said.context in trace.messages[0].content
        assert trace.models == {"llm": "fake", "embedder": "vocabulary"}


@pytest.mark.parametrize(
    ("parts", "changes"),
    [({}, {}), ({"llm": FakeLLM()}, {"only_prompt": True}), ({"llm": FakeLLM()}, {"only_context": True})],
)
async def test_no_prompt_is_told_where_none_was_sent(parts: dict[str, Any], changes: dict[str, Any]) -> None:
    options = replace(OPTIONS, mode="naive", **changes)
    said = await answer(context_with(**parts), reader(snapshot_of()), QUESTION, options)
    assert said.trace is not None
    assert said.trace.messages == ()


async def test_bypass_has_a_trace_too() -> None:
    said = await answer(
        context_with(llm=FakeLLM()), reader(snapshot_of()), "q", replace(OPTIONS, mode="bypass")
    )
    assert said.trace is not None
    assert (said.trace.messages, said.trace.candidates) == ((Message("user", "q"),), ())
    assert explanation(said.retrieval).reasons == ()


# ---- events --------------------------------------------------------------------------------------------


async def test_the_observer_is_told_of_each_step() -> None:
    events: list[Event] = []
    context = context_with(llm=FakeLLM(), reranker=FakeReranker(), observer=events.append, workspace="w")
    options = QueryOptions(mode="local", low_level_keywords=("Ada",))
    said = await answer(context, reader(snapshot_of()), QUESTION, options)
    assert [event.kind for event in events] == [
        "keywords",
        "searching",
        "reranking",
        "retrieved",
        "answering",
        "answered",
    ]
    assert said.trace is not None
    assert {(event.workspace, event.trace_id) for event in events} == {("w", said.trace.id)}
    assert events[-1].report == said
    assert events[3].report == said.retrieval


async def test_steps_that_are_left_out_are_not_told() -> None:
    events: list[Event] = []
    context = context_with(reranker=FakeReranker(), observer=events.append)
    await answer(context, reader(snapshot_of()), QUESTION, QueryOptions(mode="naive", rerank=False))
    assert [event.kind for event in events] == ["searching", "retrieved", "answered"]


# ---- options of the reranker ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "scores"),
    [
        ({}, [3.0, 2.0, 1.0]),
        ({"min_rerank_score": 2.0}, [3.0, 2.0]),
        ({"min_rerank_score": 9.0}, []),
        ({"min_rerank_score": 9.0, "rerank": False}, [1.0, 1 / 2, 1 / 3]),
    ],
)
async def test_passages_below_the_least_score_are_dropped(
    changes: dict[str, Any], scores: list[float]
) -> None:
    options = replace(OPTIONS, mode="naive", **changes)
    context = context_with(reranker=FakeReranker())
    found = await retrieve(context, reader(snapshot_of()), TWO, options)
    assert [one.score for one in found.passages] == scores
    assert found.empty == (not scores)
    assert ("rerank" in found.usage) == options.rerank


async def test_a_reranker_that_fails_drops_nothing() -> None:
    options = replace(OPTIONS, mode="naive", min_rerank_score=9.0, on_provider_error="degrade")
    context = context_with(reranker=FakeReranker(DOWN))
    found = await retrieve(context, reader(snapshot_of()), TWO, options)
    assert chunks(found.passages) == ["c2", "c5", "c1"]
    assert [note.partition(":")[0] for note in found.degraded] == ["rerank"]


@pytest.mark.parametrize(
    "wrong", [{"rerank": 1}, {"min_rerank_score": "0.5"}, {"min_rerank_score": float("nan")}]
)
def test_options_that_cannot_be_used(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        QueryOptions(**wrong)
