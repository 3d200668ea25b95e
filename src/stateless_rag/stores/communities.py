"""Communities: the entities of a graph by Leiden (Traag, Waltman and van Eck, 2019), level by level.

What is not connected is never together. A connected part of at most `max_size` entities is one community; a larger
one is divided by Leiden for modularity on that part alone, and so is each of what it falls into, as long as it is too
large. A relation's weight is divided by how many relations each of its ends has: what everything is related to
("American", "1989") says little of what belongs together, and whichever way it fell would move much else along.

What happens in one connected part leaves the communities of the others as they are, and since entities are taken in the
order of their ids, which are hashes of their keys, the same graph gives the same communities however it came about.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.errors import InvalidInput
from stateless_rag.protocols.partition import Partition
from stateless_rag.stores.ids import lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from stateless_rag.settings import CommunitySettings
    from stateless_rag.stores.ids import Ids

    Floats = NDArray[np.float64]
    Leiden = Callable[..., tuple[float, dict[int, int]]]

__all__ = ["Graph", "communities"]

_ROUNDS, _RANDOMNESS = 5, 1e-9  # near to what cannot be improved, so that a small change stays a small one
_LEVELS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Entities, ascending, the relations between them (a relation of an entity with itself does not count), and
    pairs of entities and chunks that tell of them, in any order. Ends and entities of pairs that are not among the
    entities are passed over. A weight that is not above 0 counts as 1.
    """

    entities: Ids
    left: Ids
    right: Ids
    weights: Floats
    told: tuple[Ids, Ids]


def communities(graph: Graph, settings: CommunitySettings) -> Partition:
    """The communities of a graph. O(n log n) in memory of its own size. Raises InvalidInput without the library."""
    leiden = _leiden()
    entities = graph.entities
    left, right = lookup(entities, graph.left), lookup(entities, graph.right)
    kept = (left >= 0) & (right >= 0) & (left != right)
    left, right = left[kept], right[kept]
    degrees = np.bincount(np.concatenate([left, right]), minlength=len(entities)).astype(np.float64)
    weights = np.where(graph.weights > 0, graph.weights, 1.0)[kept] / (degrees[left] * degrees[right])
    edges = _Edges(left, right, weights)
    levels = list(_levels(len(entities), edges, settings, leiden))
    return _arranged(entities, levels, graph.told)


def _leiden() -> Leiden:
    try:
        from graspologic_native import leiden_csr
    except ImportError as error:
        raise InvalidInput(
            "communities are found by graspologic-native: pip install 'stateless-rag[communities]'"
        ) from error
    found: Leiden = leiden_csr
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Edges by the positions of their ends."""

    left: Ids
    right: Ids
    weights: Floats

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> _Edges:
        return _Edges(self.left[which], self.right[which], self.weights[which])


def _levels(count: int, edges: _Edges, settings: CommunitySettings, leiden: Leiden) -> Iterator[Ids]:
    """Labels of the entities, level by level, until nothing is divided any more; nothing without entities."""
    if not count:
        return
    labels, whole = _divided(_components(count, edges), edges, settings, leiden, set())
    yield labels
    for _ in range(_LEVELS):
        following, whole = _divided(labels, edges, settings, leiden, whole)
        if following is labels:
            return
        yield following
        labels = following


def _components(count: int, edges: _Edges) -> Ids:
    """For each position the least one that it is connected with: the roots of all edges' ends are joined and paths
    halved, which takes a logarithmic number of rounds.
    """
    labels = np.arange(count, dtype=np.int64)
    while True:
        one, other = labels[edges.left], labels[edges.right]
        apart = one != other
        if not apart.any():
            return labels
        low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        np.minimum.at(labels, high, low)
        while not np.array_equal(jumped := labels[labels], labels):
            labels = jumped


def _divided(
    labels: Ids, edges: _Edges, settings: CommunitySettings, leiden: Leiden, whole: set[int]
) -> tuple[Ids, set[int]]:
    """The labels after those of more than `max_size` positions were divided; the same array if none was.

    `whole` are labels that Leiden would not divide; they are not tried again.
    """
    names, sizes = np.unique(labels, return_counts=True)
    large = [name for name in names[sizes > settings.max_size].tolist() if name not in whole]
    if not large:
        return labels, whole
    by_label = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[by_label], [(name, name + 1) for name in large])
    inside = np.flatnonzero((labels[edges.left] == labels[edges.right]) & np.isin(labels[edges.left], large))
    inside = inside[np.argsort(labels[edges.left[inside]], kind="stable")]
    edge_bounds = np.searchsorted(labels[edges.left[inside]], [(name, name + 1) for name in large])
    following, unchanged = labels.copy(), set(whole)
    spare = int(names[-1]) + 1
    for name, (start, stop), (first, last) in zip(large, bounds.tolist(), edge_bounds.tolist(), strict=True):
        nodes = np.sort(by_label[start:stop])
        parts = _leiden_on(nodes, edges.take(inside[first:last]), settings, leiden)
        if parts.max() == 0:
            unchanged.add(name)
        else:
            following[nodes] = parts + spare
            spare += int(parts.max()) + 1
    return (following if spare > int(names[-1]) + 1 else labels), unchanged


def _leiden_on(nodes: Ids, edges: _Edges, settings: CommunitySettings, leiden: Leiden) -> Ids:
    """The community of each node, from 0; `nodes` ascend, and hold the ends of all edges."""
    left, right = np.searchsorted(nodes, edges.left), np.searchsorted(nodes, edges.right)
    rows, columns = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.lexsort((columns, rows))
    bounds = np.searchsorted(rows[order], np.arange(len(nodes) + 1)).astype(np.int64)
    weights = np.concatenate([edges.weights, edges.weights])[order]
    _, found = leiden(
        bounds,
        columns[order].astype(np.int32),
        weights,
        len(nodes),
        resolution=settings.resolution,
        seed=settings.seed,
        iterations=_ROUNDS,
        randomness=_RANDOMNESS,
    )
    return np.fromiter((found[node] for node in range(len(nodes))), dtype=np.int64, count=len(nodes))


# ---- arranged ------------------------------------------------------------------------------------------


def _arranged(entities: Ids, levels: list[Ids], told: tuple[Ids, Ids]) -> Partition:
    """The communities in order, whatever their labels: level by level, parts of one after those of another, the
    largest first, ties by their least entity.
    """
    ranked = [_ranked(labels) for labels in levels]
    order = np.lexsort((entities, *reversed(ranked))) if ranked else np.arange(0)
    starts, stops, parents, depths, last = _slices([labels[order] for labels in levels], len(entities))
    arranged = entities[order]
    rows, chunks = told
    at = lookup(entities, rows)
    weights = np.bincount(at[at >= 0], minlength=len(entities))[order]
    leaf = np.empty(len(entities), dtype=np.int64)
    leaf[order] = last
    homes = _homes(leaf[at[at >= 0]], chunks[at >= 0], len(starts))
    bounds = zip(starts.tolist(), stops.tolist(), strict=True)
    names = tuple(_name(arranged[start:stop]) for start, stop in bounds)
    return Partition(arranged, weights.astype(np.int64), starts, stops, parents, depths, names, *homes)


def _ranked(labels: Ids) -> Ids:
    """The labels by size, largest first, ties by their first position."""
    _, first, codes, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    ranks = np.empty(len(sizes), dtype=np.int64)
    ranks[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return ranks[codes]


def _slices(levels: list[Ids], count: int) -> tuple[Ids, Ids, Ids, Ids, Ids]:
    """Start, stop, parent and level of each community, of labels in order, where it first comes to be; and for each
    position the last community it is in.
    """
    made = [np.zeros((0, 4), dtype=np.int64)]
    inside = np.full(count, -1, dtype=np.int64)
    before, total = np.full(count, -1, dtype=np.int64), 0
    for level, labels in enumerate(levels):
        first = np.concatenate([[True], labels[1:] != labels[:-1]])
        starts = np.flatnonzero(first)
        stops = np.append(starts[1:], count)
        new = before[starts] != labels[starts]
        numbers = np.where(new, total + np.cumsum(new) - 1, inside[starts])
        columns = (starts, stops, inside[starts], np.full(len(starts), level))
        made.append(np.stack(columns, axis=1)[new])
        inside = numbers[np.cumsum(first) - 1]
        before, total = labels, total + int(new.sum())
    starts, stops, parents, depths = np.concatenate(made).T
    return starts.copy(), stops.copy(), parents.copy(), depths.copy(), inside


def _homes(leaves: Ids, chunks: Ids, count: int) -> tuple[Ids, Ids, Ids]:
    """Chunks, ascending, the community that each tells of most, and of how many members; ties by number."""
    distinct, codes = np.unique(chunks, return_inverse=True)
    pairs, told = np.unique(codes * max(1, count) + leaves, return_counts=True)
    owners, homes = pairs // max(1, count), pairs % max(1, count)
    best = np.lexsort((homes, -told, owners))
    first = np.ones(len(best), dtype=np.bool_)
    first[1:] = owners[best][1:] != owners[best][:-1]
    chosen = best[first]
    return distinct, homes[chosen].astype(np.int64), told[chosen].astype(np.int64)


def _name(members: Ids) -> str:
    """The id of a community: it follows from the members, in whatever order."""
    return f"community-{blake2b(np.sort(members).astype('<i8').tobytes(), digest_size=8).hexdigest()}"
