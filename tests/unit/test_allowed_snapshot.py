"""A snapshot under a filter: the graph and the rows that are left."""

from __future__ import annotations

import numpy as np
import pytest

from stateless_rag.filters import checked_filter
from stateless_rag.retrieval.allowed import AllowedSnapshot, Folds, allowed_part
from stateless_rag.settings import MergeSettings
from stateless_rag.testing.snapshot import MemorySnapshot, chunk_row, entity_row, relation_row
from stateless_rag.types import Entity, Passage, Relation

PAIRS = (("a", "b"), ("a", "c"), ("b", "c"))
KEPT, GONE = "chunk-kept", "chunk-gone"


def _passage(chunk_id: str, year: int) -> Passage:
    return Passage(
        chunk_id=chunk_id,
        document_id=f"of-{chunk_id}",
        source=None,
        ordinal=0,
        start=0,
        stop=4,
        text=f"{chunk_id} tells",
        tokens=1,
        score=0.0,
        metadata={"year": year},
    )


def _relation(one: str, other: str) -> Relation:
    return Relation(
        source_key=one, target_key=other, source=one, target=other, keywords=(), description="", weight=9
    )


@pytest.fixture
def whole() -> MemorySnapshot:
    """`a`—`b` is stated in the chunk that is kept and in the other, `a`—`c` in the kept one, `b`—`c` in the other."""
    return MemorySnapshot(
        entities=[
            Entity(key=key, name=key, type="T", description=f"on {key}", weight=9)
            for key in ("a", "b", "c", "d")
        ],
        relations=[_relation(*pair) for pair in PAIRS],
        passages=[_passage(KEPT, 1), _passage(GONE, 2)],
        mentions={"a": [KEPT], "b": [KEPT, GONE], "c": [KEPT, GONE], "d": [GONE]},
        statements={PAIRS[0]: [KEPT, GONE], PAIRS[1]: [KEPT], PAIRS[2]: [GONE]},
        vectors={
            **{entity_row(key): np.array([1.0, n]) for n, key in enumerate("abcd")},
            **{relation_row(*pair): np.array([1.0, 0.0]) for pair in PAIRS},
            **{chunk_row(chunk): np.array([1.0, 0.0]) for chunk in (KEPT, GONE)},
        },
    )


@pytest.fixture
def left(whole: MemorySnapshot) -> AllowedSnapshot:
    condition = checked_filter("filter", {"year": 1})
    assert condition is not None
    return AllowedSnapshot(whole, condition, Folds())


A, B, C, D = map(entity_row, "abcd")
AB, AC, BC = (relation_row(*pair) for pair in PAIRS)


def test_without_a_filter_the_snapshot_is_itself(whole: MemorySnapshot) -> None:
    assert allowed_part(whole, None, Folds()) is whole


def test_relations_that_no_allowed_chunk_states_do_not_exist(left: AllowedSnapshot) -> None:
    assert left.degrees([A, B, C, D]) == {A: 2, B: 1, C: 1}
    assert {row: sorted(edges) for row, edges in left.edges([A, C, D]).items()} == {
        A: sorted([(AB, B), (AC, C)]),
        C: [(AC, A)],
    }
    assert list(left.endpoints([BC, AC])) == [AC]
    assert list(left.relations([BC, AB, AC])) == [AB, AC]


def test_entities_that_no_allowed_chunk_mentions_do_not_exist(left: AllowedSnapshot) -> None:
    assert list(left.entities([D, C, A])) == [C, A]
    assert left.entity_id("d") is None
    assert left.entity_id("b") == B
    assert left.entity_chunks([B, D], 9) == {B: [chunk_row(KEPT)]}
    assert left.relation_chunks([AB, BC], 9) == {AB: [chunk_row(KEPT)]}


def test_weights_count_allowed_chunks(left: AllowedSnapshot) -> None:
    assert left.entities([B])[B].weight == 1
    assert left.relations([AB])[AB].weight == 1


def test_searches_find_what_is_allowed(left: AllowedSnapshot) -> None:
    vector = np.array([1.0, 0.5], dtype=np.float32)
    assert {hit.id for hit in left.search("entity", vector, 9)} == {A, B, C}
    assert {hit.id for hit in left.search("relation", vector, 9)} == {AB, AC}
    assert [hit.id for hit in left.search("chunk", vector, 1)] == [chunk_row(KEPT)]
    assert list(left.similarities("entity", vector, [D, A])) == [A]
    assert [hit.id for hit in left.match_words("what tells", 9)] == [chunk_row(KEPT)]
    assert [left.count("chunk"), left.count("entity"), left.count("relation")] == [1, 3, 2]


def test_passages_and_documents_are_those_that_meet_it(left: AllowedSnapshot) -> None:
    assert [passage.chunk_id for passage in left.passages([chunk_row(GONE), chunk_row(KEPT)]).values()] == [
        KEPT
    ]
    assert left.document(f"of-{GONE}") is None
    assert left.document(f"of-{KEPT}") is not None


def test_a_filter_on_top_leaves_what_both_leave(left: AllowedSnapshot) -> None:
    other = checked_filter("filter", {"$id": f"of-{GONE}"})
    assert other is not None
    assert left.allowed(other).chunks.tolist() == []


def test_at_most_k_mentions_are_folded(whole: MemorySnapshot) -> None:
    condition = checked_filter("filter", {"year": {"gte": 1}})
    assert condition is not None
    told: list[int] = []

    def join(texts: object) -> str:
        assert isinstance(texts, tuple)
        told.append(len(texts))
        return "joined"

    folds = Folds(MergeSettings(description_texts=1), join)
    shown = AllowedSnapshot(whole, condition, folds).entities([B])[B]
    assert (shown.description, shown.weight, told) == ("joined", 2, [1])
