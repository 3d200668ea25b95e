"""Rank: what speaks for a passage, part by part."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stateless_rag.retrieval.link import named_nodes
from stateless_rag.retrieval.rank import Ranked, rank
from stateless_rag.settings import WALK_PARTS
from stateless_rag.stores.ids import id_array
from stateless_rag.testing.snapshot import MemorySnapshot, chunk_row, entity_row
from stateless_rag.types import Entity
from unit.scripted import passage

TEXTS = {
    "song": "Hello Love\nHello Love is a single that was recorded by Hank Snow for his last album.",
    "singer": "Hank Snow\nThe musician moved to Nashville in 1949 and stayed there for many years.",
    "album": "Greatest Hits\nA record that has a song of Hank Snow on it, and songs of other people.",
    "other": "Publix\nA supermarket company of Florida, which has nothing to do with any of this.",
}
MENTIONS = {"Hank Snow": ["song", "singer", "album"], "Hello Love": ["song"]}
QUESTION = "When did the performer of Hello Love move to Nashville?"


def snapshot() -> MemorySnapshot:
    return MemorySnapshot(
        entities=[
            Entity(key=name.casefold(), name=name, type="", description="", weight=1) for name in MENTIONS
        ],
        passages=[passage(id_, text) for id_, text in TEXTS.items()],
        mentions=MENTIONS,
    )


def ranked(evidence: Mapping[str, Mapping[str, float]] | None = None, *, names: bool = True) -> list[Ranked]:
    whole = snapshot()
    links = whole.links()
    named = named_nodes(whole, links, QUESTION) if names else []
    given = {"vector": {"song": 0.6}} if evidence is None else evidence
    scores = {
        kind: {chunk_row(id_): score for id_, score in given.get(kind, {}).items()}
        for kind in ("walk", "words", "vector")
    }
    return rank(whole, links, QUESTION, [chunk_row(id_) for id_ in TEXTS], scores, named)


def parts(found: list[Ranked], id_: str) -> Mapping[str, float]:
    return next(one.parts for one in found if one.id == chunk_row(id_))


def test_the_passage_that_the_first_one_leads_to_comes_second() -> None:
    found = ranked()
    assert [one.id for one in found[:2]] == [chunk_row("song"), chunk_row("singer")]
    assert found[1].bridge == snapshot().links().positions(id_array([entity_row("Hank Snow")]))[0]
    assert parts(found, "singer")["leads"] == WALK_PARTS["leads"]
    assert "leads" not in parts(found, "album")  # it tells of the singer too, but he is not its title


def test_a_title_counts_where_the_question_names_it() -> None:
    assert parts(ranked(), "song")["title"] == WALK_PARTS["title"]
    assert "title" not in parts(ranked(names=False), "song")
    assert "title" not in parts(ranked(), "singer")


def test_words_that_the_first_passage_lacks_count_for_the_second() -> None:
    found = ranked()
    assert parts(found, "singer")["completes"] > 0
    assert parts(found, "album").get("completes", 0) < parts(found, "singer")["completes"]
    assert "completes" not in parts(found, "other")  # nothing joins it to another passage


@pytest.mark.parametrize("kind", ["walk", "words", "vector"])
def test_direct_evidence_counts_as_much_as_it_weighs(kind: str) -> None:
    found = ranked({kind: {"other": 1.0, "album": 0.5}})
    assert parts(found, "other")[kind] == pytest.approx(WALK_PARTS[kind])
    assert parts(found, "other")[kind] > parts(found, "album")[kind] > 0


def test_scores_are_the_sums_of_parts_and_fall() -> None:
    found = ranked({"words": {"other": 3.0}, "vector": {"song": 0.3}})
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(one.score == pytest.approx(sum(one.parts.values()), abs=1e-5) for one in found)


def test_nothing_to_rank() -> None:
    whole = snapshot()
    assert rank(whole, whole.links(), QUESTION, [], {"walk": {}, "words": {}, "vector": {}}, []) == []
