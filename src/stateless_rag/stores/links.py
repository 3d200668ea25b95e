"""What can be walked along, in memory: entities, chunks and titles as nodes, relations and mentions as edges.

A base in CSR, and beside it what differs at a later revision, so that a commit costs what it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.protocols import Edges
from stateless_rag.stores.ids import id_array, lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from stateless_rag.protocols import Allowed
    from stateless_rag.stores.ids import Ids

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

__all__ = ["TITLE_WEIGHT", "Links", "LinksBase"]

TITLE_WEIGHT = 5.0
"""Of the edge between a chunk and its title; a mention or a relation weighs 1."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Edges before they are arranged: ids of both ends, weights, and the relation's id (0 for a mention)."""

    left: Ids
    right: Ids
    weights: Floats
    relations: Ids

    @classmethod
    def of(cls, relations: tuple[Ids, Ids, Ids], pairs: tuple[Ids, Ids], titles: Mapping[int, int]) -> _Rows:
        """Of relations (id, left, right), of pairs (entity, chunk), and of the titles of chunks."""
        ids, left, right = relations
        entities, chunks = pairs
        titled = id_array(titles)
        mentions = len(entities)
        return cls(
            left=np.concatenate([left, entities, id_array(titles.values())]),
            right=np.concatenate([right, chunks, titled]),
            weights=np.concatenate([np.ones(len(ids) + mentions), np.full(len(titled), TITLE_WEIGHT)]),
            relations=np.concatenate([ids, np.zeros(mentions + len(titled), dtype=np.int64)]),
        )

    def arranged(self, place: Callable[[Ids], Ids]) -> _Arranged:
        """Both directions of each edge, in the order of their sources; `place` gives positions of nodes."""
        left, right = place(self.left), place(self.right)
        twofold = np.flatnonzero(left != right)
        sources = np.concatenate([left, right[twofold]])
        targets = np.concatenate([right, left[twofold]])
        order = np.lexsort((targets, sources))
        weights = np.concatenate([self.weights, self.weights[twofold]])[order]
        relations = np.concatenate([self.relations, self.relations[twofold]])[order]
        return _Arranged(sources[order], targets[order], weights, relations)


@dataclass(frozen=True, slots=True, eq=False)
class _Arranged:
    sources: Ids
    targets: Ids
    weights: Floats
    relations: Ids


@dataclass(frozen=True, slots=True, eq=False)
class LinksBase:
    """Node `nodes[i]`, ids ascending, has the edges `bounds[i]:bounds[i + 1]`. `titles` are those of chunks."""

    nodes: Ids
    is_chunk: Flags
    bounds: Ids
    edges: _Arranged
    titles: Mapping[int, int]

    @classmethod
    def of(
        cls,
        relations: tuple[Ids, Ids, Ids],
        pairs: tuple[Ids, Ids],
        chunks: Ids,
        titles: Mapping[int, int],
    ) -> LinksBase:
        """Arrange relations (id, left, right), pairs (entity, chunk), all chunks, and their titles' ids."""
        rows = _Rows.of(relations, pairs, titles)
        nodes = np.unique(np.concatenate([rows.left, rows.right, chunks]))
        is_chunk = np.zeros(len(nodes), dtype=np.bool_)
        is_chunk[lookup(nodes, chunks)] = True
        edges = rows.arranged(lambda ids: np.searchsorted(nodes, ids))
        bounds = np.searchsorted(edges.sources, np.arange(len(nodes) + 1))
        return cls(nodes, is_chunk, bounds, edges, titles)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; titles are estimated."""
        edges = self.edges
        arrays = (self.nodes, self.is_chunk, self.bounds)
        more = (edges.sources, edges.targets, edges.weights, edges.relations)
        return sum(array.nbytes for array in (*arrays, *more)) + 100 * len(self.titles)


class Links:
    """The links of one revision. Never changes; any thread may read it.

    Nodes are addressed by position: those of the base, ascending by id, then `extra` ones, ascending by id.
    """

    def __init__(
        self,
        base: LinksBase,
        *,
        added: tuple[Ids, Ids, Ids] | None = None,
        pairs: tuple[Ids, Ids] | None = None,
        chunks: Ids | None = None,
        titles: Mapping[int, int] | None = None,
        gone_relations: Collection[int] = (),
        gone_chunks: Collection[int] = (),
    ) -> None:
        """The base without the relations and chunks that are gone, and with what was added to it."""
        nothing = id_array(())
        self._base = base
        self._titles = titles or {}
        self._gone_relations = np.sort(id_array(gone_relations))
        fresh = _Rows.of(added or (nothing,) * 3, pairs or (nothing,) * 2, self._titles)
        more = np.concatenate([fresh.left, fresh.right, nothing if chunks is None else chunks])
        known = lookup(base.nodes, more)
        self._extra_nodes = np.unique(more[known < 0])
        self._is_chunk = np.concatenate([base.is_chunk, np.zeros(len(self._extra_nodes), dtype=np.bool_)])
        if chunks is not None:
            self._is_chunk[self.positions(chunks)] = True
        self._dead = np.zeros(len(self._is_chunk), dtype=np.bool_)
        gone = lookup(base.nodes, id_array(gone_chunks))
        self._dead[gone[gone >= 0]] = True
        self._changed = bool(self._dead.any()) or len(self._gone_relations) > 0
        self._extra = fresh.arranged(self.positions)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory, base included."""
        return self._base.nbytes + int(self._is_chunk.nbytes) + 48 * len(self._extra.sources)

    def __len__(self) -> int:
        return len(self._is_chunk)

    def positions(self, ids: Ids) -> Ids:
        """The positions of nodes by id, -1 for what is none."""
        at = lookup(self._base.nodes, ids)
        extra = lookup(self._extra_nodes, ids)
        return np.where(extra >= 0, extra + len(self._base.nodes), at)

    def ids(self, positions: Ids) -> Ids:
        """The ids of the nodes at some positions."""
        size = len(self._base.nodes)
        found = np.empty(len(positions), dtype=np.int64)
        based = positions < size
        found[based] = self._base.nodes[positions[based]]
        found[~based] = self._extra_nodes[positions[~based] - size]
        return found

    def is_chunk(self, positions: Ids) -> Flags:
        """Which of the nodes are chunks."""
        flags: Flags = self._is_chunk[positions]
        return flags

    def title(self, chunk_id: int) -> int | None:
        """The id of the node of a chunk's title."""
        found = self._titles.get(chunk_id)
        return self._base.titles.get(chunk_id) if found is None else found

    def edges(self, positions: Ids, allowed: Allowed | None = None) -> Edges:
        """All edges from some nodes, parallel ones apart; none from -1.

        With `allowed`, only relations that an allowed chunk states, and allowed chunks.
        """
        base, extra = self._base.edges, self._extra
        size = len(self._base.nodes)
        inside = (positions >= 0) & (positions < size)
        starts = self._base.bounds[np.where(inside, positions, size)]
        stops = self._base.bounds[np.where(inside, positions + 1, size)]
        owners, slots = _slices(starts, stops)
        if self._changed:
            alive = ~(self._dead[base.targets[slots]] | self._dead[positions[owners]])
            alive &= lookup(self._gone_relations, base.relations[slots]) < 0
            owners, slots = owners[alive], slots[alive]
        found = Edges(owners, base.targets[slots], base.weights[slots])
        relations = base.relations[slots] if allowed is not None else owners
        if len(extra.sources):
            places = (
                np.searchsorted(extra.sources, positions),
                np.searchsorted(extra.sources, positions, "right"),
            )
            owners, slots = _slices(*places)
            found = Edges(
                np.concatenate([found.owners, owners]),
                np.concatenate([found.targets, extra.targets[slots]]),
                np.concatenate([found.weights, extra.weights[slots]]),
            )
            relations = np.concatenate([relations, extra.relations[slots]])
        return found if allowed is None else self._allowed(found, relations, positions, allowed)

    def _allowed(self, edges: Edges, relations: Ids, positions: Ids, allowed: Allowed) -> Edges:
        stated = (relations == 0) | (lookup(allowed.relations, relations) >= 0)
        keep = stated.copy()
        for ends in (positions[edges.owners], edges.targets):
            chunks = self._is_chunk[ends]
            keep[chunks] &= lookup(allowed.chunks, self.ids(ends[chunks])) >= 0
        return Edges(edges.owners[keep], edges.targets[keep], edges.weights[keep])

    def chunk_counts(self, positions: Ids, allowed: Allowed | None = None) -> Ids:
        """For each node, how many chunks it is linked with."""
        edges = self.edges(positions, allowed)
        told = self._is_chunk[edges.targets]
        pairs = np.unique(edges.owners[told] * len(self) + edges.targets[told])
        return np.bincount(pairs // max(1, len(self)), minlength=len(positions))


def _slices(starts: Ids, stops: Ids) -> tuple[Ids, Ids]:
    """Two arrays that list what lies in slices: of which slice it is, and its place."""
    lengths = stops - starts
    owners = np.repeat(np.arange(len(starts)), lengths)
    offsets = np.cumsum(lengths) - lengths
    return owners, np.arange(len(owners)) - np.repeat(offsets - starts, lengths)
