"""Links and their walk: what a commit leaves behind is what a fresh start would make."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.protocols import Allowed
from stateless_rag.retrieval.walk import Shares, walk
from stateless_rag.retrieval.walked import Order
from stateless_rag.stores.columns import ColumnView
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.indexes import Indexes, node_of
from stateless_rag.stores.duckdb.views import View
from stateless_rag.stores.evidence import EvidenceView
from stateless_rag.stores.graph import GraphView
from stateless_rag.stores.ids import id_array
from stateless_rag.stores.links import TITLE_WEIGHT, Links, LinksBase

RELATION = 1000
CHUNK = 2000


def piece(chunk: int) -> rows.Piece:
    text = f"Title {chunk}\nWhat the chunk {chunk} says of itself and of others, at some length."
    return f"chunk-{chunk:016x}", f"document {chunk}", 0, 0, len(text), text, 12


def of_values(relations: dict[int, tuple[int, int]], told: dict[int, set[int]]) -> View:
    """A view made afresh. `told` has the rows that each chunk tells of."""
    ends = [(relation, *pair) for relation, pair in relations.items()]
    columns = id_array(number for row in ends for number in row).reshape(-1, 3)
    pairs = [(row, chunk) for chunk, own in told.items() for row in own]
    numbers = id_array(number for pair in pairs for number in pair).reshape(-1, 2)
    empty: ColumnView[rows.Piece] = ColumnView.empty(rows.piece_codec())
    return View(
        graph=GraphView.from_arrays(columns[:, 0], columns[:, 1], columns[:, 2]),
        evidence=EvidenceView.from_arrays(numbers[:, 0], numbers[:, 1]),
        pieces=empty.apply({chunk: piece(chunk) for chunk in told}),
    )


def edges_of(links: Links, allowed: Allowed | None = None) -> list[tuple[int, int, float]]:
    """All edges by the ids of their ends."""
    every = np.arange(len(links))
    edges = links.edges(every, allowed)
    sources, targets = links.ids(every[edges.owners]), links.ids(edges.targets)
    return sorted(zip(sources.tolist(), targets.tolist(), edges.weights.tolist(), strict=True))


def shares_of(links: Links, starts: list[int], allowed: Allowed | None = None) -> dict[int, float]:
    mass = np.zeros(len(links))
    at = links.positions(id_array(starts))
    mass[at[links.chunk_counts(at, allowed) > 0]] = 1.0
    return dict(walk(links, mass, allowed))


class Workspace:
    """Values, and a view of them that follows from one change after another."""

    def __init__(self) -> None:
        self.relations: dict[int, tuple[int, int]] = {}
        self.told: dict[int, set[int]] = {}
        self.view = of_values({}, {})

    def add(self, chunk: int, chance: random.Random) -> None:
        entities = chance.sample(range(12), 4)
        own = {*entities}
        added = []
        for one, other in ((entities[0], entities[1]), (entities[2], entities[2])):
            relation = RELATION + 12 * one + other
            own.add(relation)
            if relation not in self.relations:
                self.relations[relation] = (one, other)
                added.append((relation, one, other))
        self.told[chunk] = own
        self._follow({chunk: piece(chunk)}, added, [], [(row, chunk) for row in own], [])

    def remove(self, chunk: int) -> None:
        del self.told[chunk]
        left = {row for own in self.told.values() for row in own}
        gone = [relation for relation in self.relations if relation not in left]
        for relation in gone:
            del self.relations[relation]
        self._follow({}, [], gone, [], [chunk])

    def _follow(self, pieces: Any, added: Any, gone: Any, pairs: Any, chunks: list[int]) -> None:
        view = self.view
        self.view = View(
            graph=view.graph.apply(added, gone),
            evidence=view.evidence.apply(pairs, chunks),
            pieces=view.pieces.apply(pieces, chunks),
            aliases=view.aliases,
            indexes=view.indexes,
        )

    def links(self) -> Links:
        return self.view.indexes.links(self.view, "casefold")

    def fresh(self) -> Links:
        return Indexes().links(of_values(self.relations, self.told), "casefold")


@given(seed=st.integers(0, 10_000), looked=st.sampled_from([0.0, 0.3, 1.0]))
def test_links_after_changes_are_those_of_a_fresh_start(seed: int, looked: float) -> None:
    chance = random.Random(seed)
    workspace = Workspace()
    for chunk in range(CHUNK, CHUNK + chance.randrange(5)):
        workspace.add(chunk, chance)
    workspace.view = of_values(workspace.relations, workspace.told)
    for _ in range(chance.randrange(1, 14)):
        if workspace.told and chance.random() < 0.35:
            workspace.remove(chance.choice(sorted(workspace.told)))
        else:
            free = [chunk for chunk in range(CHUNK, CHUNK + 8) if chunk not in workspace.told]
            if free:
                workspace.add(chance.choice(free), chance)
        if chance.random() < looked:
            workspace.links()
    now, fresh = workspace.links(), workspace.fresh()
    assert edges_of(now) == edges_of(fresh)
    assert shares_of(now, [1, 2, 3]) == shares_of(fresh, [1, 2, 3])
    assert moves(now) == moves(fresh)
    assert moves(now, titles=2.0) == moves(fresh, titles=2.0)


def moves(links: Links, titles: float = TITLE_WEIGHT) -> list[tuple[int, int, float]]:
    """How a mass of one moves from each node: ids of source and target, and how much."""
    every = np.arange(len(links))
    edges = links.edges(every)
    targets, amounts = links.pushed(every, np.ones(len(every)), titles=titles)
    assert targets.tolist() == edges.targets.tolist()
    weights = np.where(edges.weights == TITLE_WEIGHT, titles, edges.weights)
    sums = np.array([weights[edges.owners == node].sum() for node in every])
    assert amounts.tolist() == pytest.approx((weights / sums[edges.owners]).tolist())
    ends = (links.ids(nodes).tolist() for nodes in (edges.owners, targets))
    return sorted(zip(*ends, amounts.round(12).tolist(), strict=True))


def test_a_walk_from_a_new_chunk_that_nothing_is_said_in_ends_there() -> None:
    ends = (id_array([9]), id_array([1]), id_array([2]))
    base = LinksBase.of(ends, (id_array([1]), id_array([CHUNK])), id_array([CHUNK]), {})
    links = Links(base, chunks=id_array([CHUNK + 1]))
    assert moves(links) == [(1, 2, 0.5), (1, CHUNK, 0.5), (2, 1, 1.0), (CHUNK, 1, 1.0)]
    assert shares_of_nodes(links, [CHUNK + 1]) == {CHUNK + 1: 0.5}


def shares_of_nodes(links: Links, nodes: list[int]) -> dict[int, float]:
    mass = np.zeros(len(links))
    mass[links.positions(id_array(nodes))] = 1.0
    return dict(walk(links, mass))


TITLES = ("", "Ada Lovelace\n", "Charles Babbage\n")


def part(chunk: int, document: str, ordinal: int, title: int) -> rows.Piece:
    text = f"{TITLES[title]}What the chunk {chunk} says of itself and of others, at some length."
    return f"chunk-{chunk:016x}", document, ordinal, 0, len(text), text, 12


def of_pieces(pieces: dict[int, rows.Piece]) -> View:
    empty: ColumnView[rows.Piece] = ColumnView.empty(rows.piece_codec())
    return replace(of_values({}, {}), pieces=empty.apply(pieces))


def titles_of(links: Links, chunks: Iterable[int]) -> tuple[list[int | None], list[tuple[int, int, float]]]:
    return [links.title(chunk) for chunk in chunks], edges_of(links)


def test_the_later_chunks_of_a_document_have_its_title() -> None:
    view = of_pieces(
        {1: part(1, "a", 0, 1), 2: part(2, "a", 1, 0), 3: part(3, "b", 0, 0), 4: part(4, "b", 1, 2)}
    )
    found = titles_of(view.indexes.links(view, "casefold"), (1, 2, 3, 4))[0]
    assert found == [node_of("Ada Lovelace", {}, "casefold")] * 2 + [None] * 2


@given(seed=st.integers(0, 10_000))
def test_titles_after_changes_are_those_of_a_fresh_start(seed: int) -> None:
    chance = random.Random(seed)

    def document(name: int) -> dict[int, rows.Piece]:
        # The same chunk may come first today and later tomorrow; what it says stays.
        texts = {CHUNK + 10 * name + at: (7 * name + at) % len(TITLES) for at in range(4)}
        chosen = chance.sample(sorted(texts), chance.randrange(5))
        return {chunk: part(chunk, str(name), place, texts[chunk]) for place, chunk in enumerate(chosen)}

    documents = {name: document(name) for name in range(2)}
    view = of_pieces({id_: row for own in documents.values() for id_, row in own.items()})
    view.indexes.links(view, "casefold")
    for _ in range(4):
        name = chance.randrange(3)
        before, documents[name] = documents.get(name, {}), document(name)
        gone = [chunk for chunk in before if chunk not in documents[name]]
        view = replace(
            view,
            evidence=view.evidence.apply([], gone),
            pieces=view.pieces.apply(documents[name], gone),
        )
        if chance.random() < 0.5:
            view.indexes.links(view, "casefold")
    pieces = {id_: row for own in documents.values() for id_, row in own.items()}
    fresh = of_pieces(pieces)
    now = view.indexes.links(view, "casefold")
    assert titles_of(now, sorted(pieces)) == titles_of(Indexes().links(fresh, "casefold"), sorted(pieces))


def test_a_base_serves_later_revisions() -> None:
    workspace, chance = Workspace(), random.Random(1)
    workspace.add(CHUNK, chance)
    first = workspace.links()
    assert workspace.links() is first
    workspace.add(CHUNK + 1, chance)
    assert workspace.links().positions(id_array([CHUNK + 1]))[0] >= len(first)
    assert first.positions(id_array([CHUNK + 1]))[0] == -1


def small() -> Links:
    """Chunk 11 tells of entities 1 and 2 and is titled by node 5; chunk 12 of 2 and 3; a relation 1–2."""
    relations = (id_array([100]), id_array([1]), id_array([2]))
    pairs = (id_array([1, 2, 2, 3]), id_array([11, 11, 12, 12]))
    return Links(LinksBase.of(relations, pairs, id_array([11, 12, 13]), {11: 5}))


def test_titles_lead_to_their_chunk_more_than_mentions() -> None:
    links = small()
    assert (5, 11, TITLE_WEIGHT) in edges_of(links)
    assert links.title(11) == 5
    assert links.title(12) is None
    assert links.chunk_counts(links.positions(id_array([2, 5, 3, 99]))).tolist() == [2, 1, 1, 0]


def test_a_walk_prefers_what_is_near_and_reaches_no_further_than_edges() -> None:
    shares = shares_of(small(), [1])
    assert list(shares) == [11, 12]
    assert shares[11] > shares[12] > 0
    assert sum(shares.values()) < 1
    assert shares_of(small(), [99]) == {}


@pytest.mark.parametrize(
    ("chunks", "relations", "expected"),
    [
        ([11], [100], {(1, 2), (1, 11), (2, 11), (5, 11)}),
        ([12], [], {(2, 12), (3, 12)}),
        ([], [], set()),
    ],
)
def test_what_is_not_allowed_is_not_walked(
    chunks: list[int], relations: list[int], expected: set[tuple[int, int]]
) -> None:
    none = id_array([])
    allowed = Allowed(id_array(chunks), none, none, id_array(relations), none)
    found = {(one, other) for one, other, _ in edges_of(small(), allowed)}
    assert found == expected | {(other, one) for one, other in expected}
    assert set(shares_of(small(), [1, 2, 3], allowed)) <= set(chunks)


def test_a_name_leads_to_the_node_of_what_it_stands_for() -> None:
    aliases = {"the countess": "ada lovelace"}
    assert node_of("The  Countess", aliases, "casefold") == node_of("Ada Lovelace", {}, "casefold")
    assert node_of(" ", aliases, "casefold") is None


@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0.1, 0.2, 0.25, 0.5]), max_size=12),
    st.data(),
)
def test_shares_are_in_order_as_far_as_they_are_asked_for(
    shares: dict[int, float], data: st.DataObject
) -> None:
    order = sorted(shares, key=lambda chunk: (-shares[chunk], chunk))
    walked = Shares.of(id_array(shares), np.array(list(shares.values())))
    assert list(walked) == order
    assert dict(walked) == shares
    for count in range(len(order) + 2):
        assert walked.first(count) == order[:count]
    chunks = [*order[::2], 2**62 + 1]
    assert walked.among(chunks) == {chunk: shares[chunk] for chunk in chunks if chunk in shares}
    ranked = data.draw(st.lists(st.sampled_from([*order, 1, 2, 3]), unique=True, max_size=6))
    everything = list(dict.fromkeys([*ranked, *order]))
    found = Order(ranked, walked)
    for count in range(len(everything) + 2):
        assert found.first(count) == everything[:count]
    assert (len(found), list(found), found[1:3]) == (len(everything), everything, everything[1:3])
