"""What reading keeps in memory to be quick: bounded, and never other than what would be read anew."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from stateless_rag.protocols import Allowed
from stateless_rag.retrieval.budget import fit_passages
from stateless_rag.retrieval.fuse import placed
from stateless_rag.retrieval.trace import Ranks, traced
from stateless_rag.stores.columns import Codec, ColumnView
from stateless_rag.stores.duckdb.indexes import Indexes
from stateless_rag.stores.duckdb.rows import piece_codec
from stateless_rag.stores.evidence import EvidenceView
from stateless_rag.stores.faiss.delta_segment import Delta
from stateless_rag.stores.graph import GraphView
from stateless_rag.stores.ids import distinct, id_array
from stateless_rag.stores.links import Links, LinksBase
from stateless_rag.stores.recent import Recent
from stateless_rag.testing.snapshot import MemorySnapshot, chunk_row, entity_row
from stateless_rag.text import chunk_id_of, chunk_ids_of
from stateless_rag.types import Entity, Passage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.stores.duckdb.views import View


def passage(name: str, tokens: int = 10, text: str = "text") -> Passage:
    return Passage(
        chunk_id=name,
        document_id=f"of {name}",
        source=None,
        ordinal=0,
        start=0,
        stop=len(text),
        text=text,
        tokens=tokens,
        score=0.0,
        metadata={"kind": name},
    )


# ---- what was asked for lately --------------------------------------------------------------------------


def test_recent_keeps_the_last_and_no_more() -> None:
    kept: Recent[int, str] = Recent(10)
    for key in range(100):
        kept.keep({key: str(key)})
        assert kept.get(key) == str(key)
        assert len(kept) <= 10
    assert [kept.get(key) for key in range(95, 100)] == ["95", "96", "97", "98", "99"]
    assert kept.get(50) is None


def test_recent_is_not_emptied_by_more_than_it_holds() -> None:
    kept: Recent[int, str] = Recent(10)
    kept.keep({1: "one"})
    kept.keep(dict.fromkeys(range(100, 200), "many"))
    assert kept.get(1) == "one" and kept.get(150) is None


def codec(decoded: list[int]) -> Codec[tuple[int, str]]:
    def decode(values: Sequence[Any]) -> tuple[int, str]:
        decoded.append(values[0])
        return values[0], values[1]

    def encode(rows: Sequence[tuple[int, str]]) -> dict[str, Any]:
        numbers, names = [number for number, _ in rows], [name for _, name in rows]
        return {"number": pa.array(numbers, pa.int64()), "name": pa.array(names, pa.string())}

    return Codec(encode, decode)


def test_rows_are_decoded_once_and_changes_are_seen() -> None:
    decoded: list[int] = []
    one: ColumnView[tuple[int, str]] = ColumnView.empty(codec(decoded))
    rows = {id_: (id_, f"row {id_}") for id_ in range(3000)}
    view = one.apply(rows)
    decoded.clear()
    assert view.get([7, 8, 7]) == {7: rows[7], 8: rows[8]}
    assert view.get([8, 9, 4000]) == {8: rows[8], 9: rows[9]}
    assert decoded == [7, 8, 9]
    later = view.apply({8: (8, "changed")}, [9])
    assert later.get([7, 8, 9]) == {7: rows[7], 8: (8, "changed")}
    assert view.get([7, 8, 9]) == {id_: rows[id_] for id_ in (7, 8, 9)}
    assert view.nbytes > one.nbytes
    rebased = later.apply({id_: (id_, "new") for id_ in range(10_000, 13_000)})
    assert rebased.get([8, 9, 10_000]) == {8: (8, "changed"), 10_000: (10_000, "new")}


# ---- the words and links of a commit --------------------------------------------------------------------


class _View:
    """As much of a view as the indexes look at."""

    def __init__(self, texts: dict[int, str]) -> None:
        rows = {id_: ("", "document", at, 0, 1, text, 1) for at, (id_, text) in enumerate(texts.items())}
        self.pieces = ColumnView.empty(piece_codec()).apply(rows)
        self.graph = GraphView.empty()
        self.evidence = EvidenceView.empty()
        self.aliases = MappingProxyType[str, str]({})


def views(*texts: dict[int, str]) -> list[View]:
    return [_View(each) for each in texts]  # type: ignore[misc]


def test_a_commit_makes_what_was_asked_for_and_the_view_before_is_still_there() -> None:
    old, new = views({1: "ada"}, {1: "ada", 2: "zuse"})
    indexes = Indexes()
    words, links = indexes.words(old), indexes.links(old, "casefold")
    indexes.advance(new)
    assert indexes.worded(new) and indexes.walked(new)
    assert indexes.words(old) is words and indexes.links(old, "casefold") is links
    assert [hit.id for hit in indexes.words(new).search("zuse", 5)] == [2]
    indexes.settle(new)
    assert not indexes.worded(old) and not indexes.walked(old)
    assert indexes.worded(new) and indexes.walked(new)


def test_a_commit_makes_nothing_that_nobody_asks_for() -> None:
    first, second, third = views({1: "ada"}, {1: "ada", 2: "b"}, {1: "ada", 2: "b", 3: "c"})
    indexes = Indexes()
    indexes.advance(first)
    assert not indexes.worded(first) and not indexes.walked(first)
    indexes.words(first)
    indexes.advance(second)
    assert indexes.worded(second) and not indexes.walked(second)
    indexes.advance(third)  # nobody has asked since
    assert not indexes.worded(third)
    indexes.settle(third)  # what is not made for it cannot take the place of what is
    assert [hit.id for hit in indexes.words(third).search("c", 5)] == [3]


def test_a_commit_that_was_given_up_leaves_the_words_right() -> None:
    old, given_up, other = views({1: "ada"}, {1: "ada", 2: "lost"}, {1: "ada", 3: "kept"})
    indexes = Indexes()
    indexes.words(old)
    indexes.advance(given_up)
    assert indexes.words(old).search("lost", 5) == []
    assert indexes.words(other).search("lost", 5) == []
    assert [hit.id for hit in indexes.words(other).search("kept", 5)] == [3]


# ---- links under changes and masks ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_counts_and_masks_are_those_of_the_edges(seed: int) -> None:
    random = np.random.default_rng(seed)
    entities, chunks = np.arange(1, 40), np.arange(100, 130)
    relations = np.arange(1000, 1060)
    left, right = random.choice(entities, 60), random.choice(entities, 60)
    pairs = (random.choice(entities, 120), random.choice(chunks, 120))
    shuffled = random.permutation(60)
    base = LinksBase.of((relations[shuffled], left, right), pairs, chunks, {100: 1, 101: 2})
    links = Links(
        base,
        added=(np.array([2001, 2000]), np.array([1, 5]), np.array([2, 50])),
        pairs=(np.array([1, 50]), np.array([200, 200])),
        chunks=np.array([200]),
        titles={200: 3},
        gone_relations=relations[::7].tolist() if seed % 3 else [],
        gone_chunks=[103, 104] if seed % 2 else [],
    )
    allowed = Allowed(
        np.sort(np.append(chunks[::2], 200)), entities, entities, np.sort([*relations[::3], 2000]), relations
    )
    everywhere = np.arange(-1, len(links))
    for mask in (None, allowed, allowed):
        edges = links.edges(everywhere, mask)
        told = links.is_chunk(edges.targets)
        linked = {
            (owner, target) for owner, target in zip(edges.owners[told], edges.targets[told], strict=True)
        }
        expected = [sum(owner == at for owner, _ in linked) for at in range(len(everywhere))]
        assert links.chunk_counts(everywhere, mask).tolist() == expected
        seen = {
            int(id_)
            for ends in (edges.targets, everywhere[edges.owners])
            for id_ in links.ids(ends[links.is_chunk(ends)])
        }
        if mask is not None:
            assert seen <= set(allowed.chunks.tolist())
        if seed % 2:
            assert not seen & {103, 104}
    whole, masked = links.edges(everywhere), links.edges(everywhere, allowed)
    assert 0 < len(masked.targets) < len(whole.targets)


# ---- small parts ----------------------------------------------------------------------------------------


def test_many_chunk_ids_are_those_of_each() -> None:
    rows = np.array([-1, 0, 1, 2**63 - 1, -(2**63)], dtype=np.int64)
    assert chunk_ids_of(rows) == [chunk_id_of(row) for row in rows.tolist()]
    assert chunk_ids_of(rows[:0]) == []


@pytest.mark.parametrize("ids", [[], [3], [3, 1, 3, 2, 1]])
def test_distinct_is_what_numpy_calls_unique(ids: list[int]) -> None:
    assert distinct(id_array(ids)).tolist() == np.unique(id_array(ids)).tolist()


@pytest.mark.parametrize("gone", [(), (11,), (10, 12)])
def test_chunks_of_many_rows_are_those_of_each(gone: tuple[int, ...]) -> None:
    rows, chunks = id_array([1, 1, 1, 2, 3, 3]), id_array([12, 10, 11, 10, 12, 13])
    view = EvidenceView.from_arrays(rows, chunks).apply([], gone)
    asked = [3, 9, 1, 2]
    for limit in (0, 1, 2, 10):
        together = view.chunks_of(asked, limit)
        apart = {row: own for row in asked for own in view.chunks_of([row], limit).values()}
        assert together == apart
        left = [chunk for chunk in (10, 11, 12) if chunk not in gone]
        assert together.get(1, []) == left[:limit]
    some = id_array([10, 13])
    assert view.chunks_of(asked, 5, some).get(3) == [13]


def test_a_delta_finds_the_rows_of_its_own_time() -> None:
    rows = np.eye(4, dtype=np.float32)
    first = Delta.empty(4).changed(id_array([1, 2, 3]), rows[:3], ())
    second = first.changed(id_array([2]), rows[3:], [2, 1])
    assert first.rows([1, 2, 3, 4]).tolist() == [0, 1, 2, -1]
    assert second.rows([1, 2, 3, 4]).tolist() == [-1, 3, 2, -1]
    assert Delta.empty(4).rows([1]).tolist() == [-1]


def uncounted(text: str) -> int:
    raise AssertionError(f"counted {text!r}")


def test_passages_that_fit_by_their_bytes_are_not_counted() -> None:
    passages = [passage(name) for name in "abc"]
    assert fit_passages(passages, 2, 10_000, uncounted) == passages[:2]


def test_a_document_is_listed_once_however_many_of_its_passages_are_shown() -> None:
    one = replace(passage("a"), source="s" * 500)
    passages = [one, replace(one, chunk_id="b")]
    assert fit_passages(passages, 2, 700, uncounted) == passages  # listed twice it would be a thousand bytes
    assert fit_passages(passages, 2, 500, len) == []


@pytest.mark.parametrize("budget", range(0, 140, 7))
def test_passages_are_cut_where_counting_says(budget: int) -> None:
    passages = [passage(name, tokens=20) for name in "abc"]
    kept = fit_passages(passages, 3, budget, lambda _: 10)
    assert len(kept) == min(3, budget // 32)


def test_a_placed_passage_keeps_all_that_it_was() -> None:
    found = passage("a")
    shown = placed(found, 2, 0.5, ("walk",), {"walk": 1.0})
    assert (shown.score, shown.similarity, shown.found_by, shown.parts) == (
        0.5,
        0.5,
        ("walk",),
        {"walk": 1.0},
    )
    for name in (
        "chunk_id",
        "document_id",
        "source",
        "ordinal",
        "start",
        "stop",
        "text",
        "tokens",
        "metadata",
    ):
        assert getattr(shown, name) == getattr(found, name)
    assert placed(found, 1, None, ()).parts == {}


def test_what_speaks_of_an_entity_is_told_when_it_is_asked_for() -> None:
    ada = Entity(key="ada", name="Ada", type="person", description="", weight=1)
    passages = {chunk_row(name): passage(name) for name in ("p", "q")}
    snapshot = MemorySnapshot(entities=[ada], passages=passages.values())
    ranks = Ranks(
        entity_seeds=(),
        relation_seeds=(),
        chunk_seeds=(),
        entities={entity_row("Ada"): ada},
        relations={},
        told={entity_row("Ada"): [chunk_row("q"), chunk_row("elsewhere"), chunk_row("p")]},
        stated={},
        passages=passages,
        order=list(passages),
        names={},
    )
    trace = traced(snapshot, snapshot, ranks)
    assert trace.entity_chunks == {"ada": ("p", "q")}
    assert repr(trace.entity_chunks) == "{'ada': ('p', 'q')}"
    assert len(trace.entity_chunks) == 1 and "zuse" not in trace.entity_chunks
    assert trace.relation_chunks == {}
