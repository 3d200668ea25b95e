"""Communities of a graph made for it: planted ones are found, what is apart stays apart, the rest is exact."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from stateless_rag.errors import InvalidInput
from stateless_rag.protocols.partition import Partition
from stateless_rag.retrieval.themes import picked
from stateless_rag.settings import CommunitySettings
from stateless_rag.stores.communities import Graph, communities

DEFAULT = CommunitySettings()


def graph(
    edges: list[tuple[int, int]],
    *,
    alone: tuple[int, ...] = (),
    weights: list[float] | None = None,
    told: list[tuple[int, int]] | None = None,
) -> Graph:
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    rows = np.array(told or [], dtype=np.int64).reshape(-1, 2)
    return Graph(
        np.unique(np.concatenate([pairs.ravel(), np.array(alone, dtype=np.int64)])),
        pairs[:, 0],
        pairs[:, 1],
        np.ones(len(pairs)) if weights is None else np.array(weights),
        (rows[:, 0], rows[:, 1]),
    )


def planted(count: int, size: int, inside: int, between: int) -> tuple[Graph, np.ndarray[Any, Any]]:
    """Groups of `size`, with so many edges inside each and between all of them; ids and edges in random order."""
    random = np.random.default_rng(7)
    groups = np.repeat(np.arange(count), size)
    ids = random.permutation(count * size) * 17 + 3
    left = random.integers(0, size, (count, inside)) + np.arange(count)[:, None] * size
    right = random.integers(0, size, (count, inside)) + np.arange(count)[:, None] * size
    far = random.integers(0, count * size, (2, between))
    one, other = np.concatenate([left.ravel(), far[0]]), np.concatenate([right.ravel(), far[1]])
    nothing = np.zeros(0, dtype=np.int64)
    order = np.argsort(ids)
    found = Graph(ids[order], ids[one], ids[other], np.ones(len(one)), (nothing, nothing))
    return found, groups[order]


def labels(found: Partition, level: int) -> np.ndarray[Any, Any]:
    """The community of each entity, by ascending id."""
    number = np.empty(len(found.entities), dtype=np.int64)
    for each in found.at_level(level):
        number[found.starts[each] : found.stops[each]] = each
    return number[np.argsort(found.entities)]


def shared_information(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Normalised mutual information of two partitions: 1 if they are the same, 0 if one says nothing of the other."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1.0 / len(one))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    there = table > 0
    mutual = (table[there] * np.log(table[there] / np.outer(rows, columns)[there])).sum()

    def entropy(shares: np.ndarray[Any, Any]) -> float:
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    return float(2 * mutual / (entropy(rows) + entropy(columns)))


@pytest.mark.parametrize(("between", "least"), [(100, 0.99), (1000, 0.95)])
def test_planted_groups_are_found(between: int, least: float) -> None:
    found, groups = planted(count=20, size=40, inside=240, between=between)
    made = communities(found, DEFAULT)
    assert shared_information(groups, labels(made, made.depth)) >= least


def test_large_communities_are_divided_level_by_level() -> None:
    found, groups = planted(count=8, size=100, inside=300, between=100)
    random = np.random.default_rng(3)  # within each group, closer ones of 25
    close = np.concatenate([np.flatnonzero(groups == group).reshape(4, 25) for group in range(8)])
    ends = random.integers(0, 25, (2, 32, 150))
    one, other = (found.entities[np.take_along_axis(close, end, axis=1)].ravel() for end in ends)
    found = Graph(
        found.entities,
        np.concatenate([found.left, one]),
        np.concatenate([found.right, other]),
        np.ones(len(found.left) + len(one)),
        found.told,
    )
    groups = np.empty(800, dtype=np.int64)
    groups[close] = np.arange(32)[:, None]
    made = communities(found, CommunitySettings(max_size=35))
    assert made.depth >= 2
    top, bottom = labels(made, 0), labels(made, made.depth)
    assert shared_information(groups, bottom) > max(0.9, shared_information(groups, top))
    assert max(made.size(number) for number in made.at_level(made.depth)) <= 35
    for number in np.flatnonzero(made.parents >= 0).tolist():
        whole = set(made.members(int(made.parents[number])).tolist())
        assert set(made.members(number).tolist()) < whole
        assert made.levels[number] == made.levels[made.parents[number]] + 1


def test_higher_resolution_makes_smaller_ones() -> None:
    found, _ = planted(count=20, size=40, inside=240, between=1000)
    sizes = [
        len(communities(found, CommunitySettings(resolution=resolution)).at_level(0))
        for resolution in (0.2, 1.0, 50.0)
    ]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3


def test_heavier_relations_hold_together() -> None:
    square = [(1, 2), (2, 3), (3, 4), (4, 1)]
    chosen = CommunitySettings(max_size=3)
    one = communities(graph(square, weights=[9, 1, 9, 1]), chosen)
    other = communities(graph(square, weights=[1, 9, 1, 9]), chosen)
    assert {tuple(one.members(n).tolist()) for n in one.at_level(0)} == {(1, 2), (3, 4)}
    assert {tuple(other.members(n).tolist()) for n in other.at_level(0)} == {(2, 3), (1, 4)}
    none = communities(graph([(1, 2)], weights=[0.0]), chosen)
    assert none.members(0).tolist() == [1, 2]


def test_what_is_apart_stays_apart_and_depends_on_nothing_else() -> None:
    ring = [(n, (n + 1) % 40) for n in range(40)]
    chosen = CommunitySettings(max_size=10)
    one = communities(graph(ring, alone=(-5, 900)), chosen)
    other = communities(graph([*ring, (100, 101), (102, 101), (102, 102)]), chosen)
    mine = {tuple(one.members(n).tolist()) for n in one.at_level(9)}
    theirs = {tuple(other.members(n).tolist()) for n in other.at_level(9)}
    assert {(-5,), (900,)} <= mine and (100, 101, 102) in theirs
    assert mine - {(-5,), (900,)} == theirs - {(100, 101, 102)}
    assert set(one.names) & set(other.names)


def test_what_leiden_will_not_divide_stays_whole() -> None:
    star = communities(graph([(0, leaf) for leaf in range(1, 60)]), CommunitySettings(max_size=20))
    assert (star.depth, [star.size(n) for n in star.at_level(0)]) == (1, [60])


def test_nothing_at_all() -> None:
    empty = communities(graph([]), DEFAULT)
    assert (len(empty), empty.depth, empty.at_level(0), empty.chunks.tolist()) == (0, 0, [], [])


def test_a_chunk_is_at_home_where_it_tells_of_most() -> None:
    told = [(1, 70), (2, 70), (8, 70), (8, 71), (9, 72), (5, 73)]
    found = communities(graph([(1, 2), (8, 9)], told=told), DEFAULT)
    homes = {
        chunk: (sorted(found.members(home).tolist()), count)
        for chunk, home, count in zip(
            found.chunks.tolist(), found.homes.tolist(), found.told.tolist(), strict=True
        )
    }
    assert homes == {70: ([1, 2], 2), 71: ([8, 9], 1), 72: ([8, 9], 1)}
    weights = dict(zip(found.entities.tolist(), found.weights.tolist(), strict=True))
    assert weights == {1: 1, 2: 1, 8: 2, 9: 1}


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graspologic_native", None)
    with pytest.raises(InvalidInput, match=r"pip install 'stateless-rag\[communities\]'"):
        communities(graph([(1, 2)]), DEFAULT)


# ---- picking -------------------------------------------------------------------------------------------


def tree(parents: list[int], levels: list[int]) -> Partition:
    """Communities of one entity each, but that parts lie within the whole."""
    nothing = np.zeros(0, dtype=np.int64)
    numbers = np.arange(len(parents))
    names = tuple(map(str, numbers.tolist()))
    ends = (numbers, numbers + 1, np.array(parents), np.array(levels))
    return Partition(nothing, nothing, *ends, names, nothing, nothing, nothing)


@pytest.mark.parametrize(
    ("weights", "most", "expected"),
    [
        ([0.5, 0.3, 0.2, 0.3, 0.2], 2, [0, 1]),  # no part weighs enough on its own
        ([0.8, 0.1, 0.1, 0.5, 0.3], 9, [3, 4, 1, 2]),  # one stands for too much: its parts do
        ([0.8, 0.1, 0.1, 0.5, 0.3], 1, [0]),  # but not if much would be lost
        ([0.8, 0.2, 0.0, 0.5, 0.3], 9, [3, 4, 1]),  # nothing of it, nothing to show
        ([0.2, 0.4, 0.4, 0.1, 0.1], 3, [1, 2, 0]),
    ],
)
def test_the_heaviest_are_picked_and_one_that_is_too_large_is_taken_apart(
    weights: list[float], most: int, expected: list[int]
) -> None:
    found = tree([-1, -1, -1, 0, 0], [0, 0, 0, 1, 1])
    assert picked(found, np.array(weights), most) == expected
