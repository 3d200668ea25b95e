"""What can be walked along, in memory: entities, chunks and titles as nodes, relations and mentions as edges.

A base in CSR, and beside it what differs at a later revision, so that a commit costs what it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.protocols import Edges
from stateless_rag.stores.ids import distinct, id_array, lookup, ranges, spans

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
    """Edges before they are arranged: ids of both ends, weights, and the relation's place (-1 for a mention)."""

    left: Ids
    right: Ids
    weights: Floats
    relations: NDArray[np.int32]

    @classmethod
    def of(cls, relations: tuple[Ids, Ids, Ids], pairs: tuple[Ids, Ids], titles: Mapping[int, int]) -> _Rows:
        """Of relations (id, left, right), of pairs (entity, chunk), and of the titles of chunks."""
        ids, left, right = relations
        places = np.arange(len(ids), dtype=np.int32)
        entities, chunks = pairs
        titled = id_array(titles)
        mentions = len(entities)
        return cls(
            left=np.concatenate([left, entities, id_array(titles.values())]),
            right=np.concatenate([right, chunks, titled]),
            weights=np.concatenate([np.ones(len(ids) + mentions), np.full(len(titled), TITLE_WEIGHT)]),
            relations=np.concatenate([places, np.full(mentions + len(titled), -1, dtype=np.int32)]),
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
    relations: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Mask:
    """What may be walked on under `allowed`: nodes, the base's relations, and those that came after it.

    The flags of relations have one more, which stands for mentions: a place of -1.
    """

    allowed: Allowed
    nodes: Flags
    based: Flags
    extra: Flags


@dataclass(frozen=True, slots=True, eq=False)
class LinksBase:
    """Node `nodes[i]`, ids ascending, has the edges `bounds[i]:bounds[i + 1]` and is linked with `chunk_counts[i]`
    chunks; `strengths` are the sums of its edges' weights. `relations` are ids, ascending: edges name theirs by its
    place there. `titles` are those of chunks.
    """

    nodes: Ids
    relations: Ids
    is_chunk: Flags
    bounds: Ids
    edges: _Arranged
    chunk_counts: NDArray[np.int32]
    strengths: Floats
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
        relations = _by_id(relations)
        rows = _Rows.of(relations, pairs, titles)
        nodes = distinct(np.concatenate([rows.left, rows.right, chunks]))
        is_chunk = np.zeros(len(nodes), dtype=np.bool_)
        is_chunk[lookup(nodes, chunks)] = True
        edges = rows.arranged(lambda ids: np.searchsorted(nodes, ids))
        bounds = np.searchsorted(edges.sources, np.arange(len(nodes) + 1))
        told = is_chunk[edges.targets]
        told[1:] &= (edges.sources[1:] != edges.sources[:-1]) | (edges.targets[1:] != edges.targets[:-1])
        counts = np.bincount(edges.sources[told], minlength=len(nodes)).astype(np.int32)
        strengths: Floats = np.bincount(edges.sources, edges.weights, len(nodes)).astype(np.float64)
        return cls(nodes, relations[0], is_chunk, bounds, edges, counts, strengths, titles)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; titles are estimated."""
        edges = self.edges
        arrays = (self.nodes, self.is_chunk, self.bounds, self.chunk_counts, self.strengths)
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
        titles: Mapping[int, int | None] | None = None,
        gone_relations: Collection[int] = (),
        gone_chunks: Collection[int] = (),
    ) -> None:
        """The base without the relations and chunks that are gone, and with what was added to it.

        `titles` are those of chunks that are new, or have another title than in the base, or None.
        """
        nothing = id_array(())
        self._base = base
        self._titles = titles or {}
        there = {chunk: node for chunk, node in self._titles.items() if node is not None}
        added = (nothing,) * 3 if added is None else _by_id(added)
        self._relations = added[0]
        fresh = _Rows.of(added, pairs or (nothing,) * 2, there)
        more = np.concatenate([fresh.left, fresh.right, nothing if chunks is None else chunks])
        known = lookup(base.nodes, more)
        self._extra_nodes = distinct(more[known < 0])
        self._is_chunk = np.concatenate([base.is_chunk, np.zeros(len(self._extra_nodes), dtype=np.bool_)])
        if chunks is not None:
            self._is_chunk[self.positions(chunks)] = True
        self._dead = np.zeros(len(self._is_chunk), dtype=np.bool_)
        gone = lookup(base.nodes, id_array(gone_chunks))
        self._dead[gone[gone >= 0]] = True
        self._gone = _flags(base.relations, id_array(gone_relations), mentions=False)
        self._retitled = np.zeros(len(self._is_chunk), dtype=np.bool_)
        other = lookup(base.nodes, id_array(self._titles))
        self._retitled[other[other >= 0]] = True
        self._changed = bool(self._dead.any() or self._gone.any() or self._retitled.any())
        self._mask: _Mask | None = None
        self._extra = fresh.arranged(self.positions)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory, base included."""
        return self._base.nbytes + int(self._is_chunk.nbytes) + 48 * len(self._extra.sources)

    def __len__(self) -> int:
        return len(self._is_chunk)

    def equals(self, other: Links) -> bool:
        """Whether both have the same edges, and the same chunks among their nodes, however these came in."""
        return all(map(np.array_equal, self._contents(), other._contents()))

    def _contents(self) -> tuple[Ids, Floats, Ids]:
        """Edges as pairs of ids, their weights, and the chunks; each in order."""
        edges = self.edges(np.arange(len(self)))
        ends = np.stack([self.ids(edges.owners), self.ids(edges.targets)])
        order = np.lexsort((edges.weights, ends[1], ends[0]))
        chunks = np.flatnonzero(self._is_chunk & ~self._dead)
        return ends[:, order], edges.weights[order], np.sort(self.ids(chunks))

    def positions(self, ids: Ids) -> Ids:
        """The positions of nodes by id, -1 for what is none."""
        at = lookup(self._base.nodes, ids)
        if not len(self._extra_nodes):
            return at
        extra = lookup(self._extra_nodes, ids)
        return np.where(extra >= 0, extra + len(self._base.nodes), at)

    def ids(self, positions: Ids) -> Ids:
        """The ids of the nodes at some positions."""
        size = len(self._base.nodes)
        if not len(self._extra_nodes):
            return self._base.nodes[positions]
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
        titles = self._titles if chunk_id in self._titles else self._base.titles
        return titles.get(chunk_id)

    def edges(self, positions: Ids, allowed: Allowed | None = None) -> Edges:
        """All edges from some nodes, parallel ones apart; none from -1.

        With `allowed`, only relations that an allowed chunk states, and allowed chunks.
        """
        base, extra = self._base.edges, self._extra
        size = len(self._base.nodes)
        places = np.where(positions < size, positions, -1) if len(self._extra_nodes) else positions
        # The last bound is where nodes that are none, and those of no base, start and stop.
        starts = self._base.bounds[places]
        owners, slots = ranges(starts, np.maximum(self._base.bounds[places + 1], starts))
        if self._changed:
            alive = ~(self._dead[base.targets[slots]] | self._dead[positions[owners]])
            alive &= ~self._gone[base.relations[slots]]
            retitled = self._retitled[base.targets[slots]] | self._retitled[positions[owners]]
            alive &= ~(retitled & (base.weights[slots] == TITLE_WEIGHT))
            owners, slots = owners[alive], slots[alive]
        mask = None if allowed is None else self._masked(allowed)
        if mask is not None:
            kept = (
                mask.based[base.relations[slots]]
                & mask.nodes[base.targets[slots]]
                & mask.nodes[positions[owners]]
            )
            owners, slots = owners[kept], slots[kept]
        found = Edges(owners, base.targets[slots], base.weights[slots])
        if len(extra.sources):
            bounds = (extra.sources.searchsorted(positions, side) for side in ("left", "right"))
            owners, slots = ranges(*bounds)
            if mask is not None:
                kept = mask.extra[extra.relations[slots]] & mask.nodes[extra.targets[slots]]
                kept &= mask.nodes[positions[owners]]
                owners, slots = owners[kept], slots[kept]
            found = Edges(
                np.concatenate([found.owners, owners]),
                np.concatenate([found.targets, extra.targets[slots]]),
                np.concatenate([found.weights, extra.weights[slots]]),
            )
        return found

    def _masked(self, allowed: Allowed) -> _Mask:
        """The mask of a filter; that of the last one is kept, as a question asks for it time and again."""
        mask = self._mask
        if mask is None or mask.allowed is not allowed:
            nodes = ~self._is_chunk
            chunks = self.positions(allowed.chunks)
            nodes[chunks[chunks >= 0]] = True
            based = _flags(self._base.relations, allowed.relations, mentions=True)
            extra = _flags(self._relations, allowed.relations, mentions=True)
            self._mask = mask = _Mask(allowed, nodes, based, extra)
        return mask

    def pushed(
        self, positions: Ids, mass: Floats, allowed: Allowed | None = None, *, titles: float = TITLE_WEIGHT
    ) -> tuple[Ids, Floats]:
        """Where mass goes that moves from some nodes, none of them -1, along all of their edges, to each by its weight:
        targets and amounts. `titles` is the weight of the edge between a chunk and its title.
        """
        as_it_was = not (self._changed or len(self._extra_nodes) or len(self._extra.sources))
        if allowed is None and as_it_was and titles == TITLE_WEIGHT:
            base, starts = self._base, self._base.bounds[positions]
            lengths = base.bounds[positions + 1] - starts
            shares = mass / np.where(lengths > 0, base.strengths[positions], 1.0)
            slots = spans(starts, lengths)
            return base.edges.targets[slots], np.repeat(shares, lengths) * base.edges.weights[slots]
        edges = self.edges(positions, allowed)
        weights = np.where(edges.weights == TITLE_WEIGHT, titles, edges.weights)
        strengths = np.bincount(edges.owners, weights, len(positions))
        shares = mass / np.where(strengths > 0, strengths, 1.0)
        return edges.targets, shares[edges.owners] * weights

    def chunk_counts(self, positions: Ids, allowed: Allowed | None = None) -> Ids:
        """For each node, how many chunks it is linked with."""
        if allowed is not None or self._changed or not len(self._base.nodes):
            return self._counted(positions, allowed)
        based = (positions >= 0) & (positions < len(self._base.nodes))
        counts = np.where(based, self._base.chunk_counts[np.where(based, positions, 0)], 0).astype(np.int64)
        if len(self._extra.sources):
            more = np.flatnonzero(lookup(self._extra.sources, positions) >= 0)
            counts[more] = self._counted(positions[more], None)
        return counts

    def _counted(self, positions: Ids, allowed: Allowed | None) -> Ids:
        edges = self.edges(positions, allowed)
        told = self._is_chunk[edges.targets]
        pairs = distinct(edges.owners[told] * len(self) + edges.targets[told])
        return np.bincount(pairs // max(1, len(self)), minlength=len(positions))


def _flags(relations: Ids, chosen: Ids, *, mentions: bool) -> Flags:
    """Which of the relations, ids ascending, are among the `chosen`; and one more flag, for mentions."""
    flags = np.zeros(len(relations) + 1, dtype=np.bool_)
    at = lookup(relations, chosen)
    flags[at[at >= 0]] = True
    flags[-1] = mentions
    return flags


def _by_id(relations: tuple[Ids, Ids, Ids]) -> tuple[Ids, Ids, Ids]:
    """Relations (id, left, right) in the order of their ids."""
    ids, left, right = relations
    if (ids[1:] > ids[:-1]).all():
        return relations
    order = np.argsort(ids)
    return ids[order], left[order], right[order]
