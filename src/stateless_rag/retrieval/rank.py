"""Rank: passages by all that speaks for them together, without a model.

A passage that answers the second half of a question often shares no word with it: what speaks for it is that a
likely first passage leads to it, and that it has the words that the first one has not. Weights were fitted on
three sets at once; docs/retrieval.md has the ablation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.settings import WALK_PARTS
from stateless_rag.stores.ids import distinct, id_array, lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stateless_rag.protocols import Links, Snapshot
    from stateless_rag.retrieval.link import Named

    Floats = NDArray[np.float64]

__all__ = ["Ranked", "rank"]

_DECADES = 7.0  # natural logarithms below the best share, from where on the walk says nothing
_SHARPNESS = 0.25


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage with what speaks for it: `shares` of the score, by kind of evidence, the `kinds` in the same order.
    `bridge` is the position of the entity that leads to it, -1 for none.
    """

    id: int
    score: float
    kinds: Sequence[str]
    shares: Sequence[float]
    bridge: int

    @property
    def parts(self) -> Mapping[str, float]:
        """The shares by kind, those that are not 0. More passages are ranked than are asked for it."""
        return MappingProxyType(dict(compress(zip(self.kinds, self.shares, strict=True), self.shares)))


def rank(
    snapshot: Snapshot,
    links: Links,
    question: str,
    chunks: Sequence[int],
    evidence: Mapping[str, Mapping[int, float]],
    named: Sequence[Named],
    weights: Mapping[str, float] = WALK_PARTS,
) -> list[Ranked]:
    """The chunks, best first, ties by id. `evidence` has scores by chunk for "walk", "words" and "vector"."""
    if not chunks:
        return []
    ids = id_array(sorted(chunks))
    columns = {name: _column(evidence[name], ids) for name in ("walk", "words", "vector")}
    columns["walk"] = _logarithmic(columns["walk"])
    columns["words"] = _scaled(columns["words"])
    belief = columns["vector"] + 0.5 * columns["words"] + columns["walk"]
    belief = np.exp((belief - belief.max()) / _SHARPNESS)
    told = _Told.of(snapshot, links, ids, named)
    shared, bridges = told.shared()
    leads = told.leads()
    idf, has = snapshot.coverage(question, ids.tolist(), snapshot.mask)
    worth = idf / (idf.sum() or 1.0)
    missing = (~has * worth) @ has.T.astype(np.float64)
    bridged = belief[:, None] * shared
    columns["title"] = told.titled
    columns["leads"] = (belief[:, None] * leads).max(axis=0)
    columns["shared"] = bridged.max(axis=0)
    columns["completes"] = 4.0 * (bridged * missing).max(axis=0)
    best_first = (bridged * (0.1 + missing)).argmax(axis=0)
    kinds = tuple(columns)
    worths = np.array([weights[kind] for kind in kinds])
    parts = (worths[:, None] * np.array(list(columns.values()))).round(6)
    scores = parts.sum(axis=0).round(6)
    order = np.lexsort((ids, -scores))
    leading = bridges[best_first, np.arange(len(ids))]
    rows = (ids, scores, parts.T, leading)
    return [
        Ranked(id_, score, kinds, shares, bridge)
        for id_, score, shares, bridge in zip(*(row[order].tolist() for row in rows), strict=True)
    ]


def _column(scores: Mapping[int, float], ids: NDArray[np.int64]) -> Floats:
    return np.array([scores.get(id_, 0.0) for id_ in ids.tolist()])


def _scaled(column: Floats) -> Floats:
    most = column.max()
    return column / most if most > 0 else column


def _logarithmic(shares: Floats) -> Floats:
    """1 for the best share, 0 for one that is e⁷ times less, or none."""
    scaled = np.maximum(_scaled(shares), np.exp(-_DECADES))
    return np.log(scaled) / _DECADES + 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What chunks tell of: `tells[i, j]` if chunk `i` is linked with the node at `nodes[j]`.

    `rarity` is 1 for a node linked with one chunk and falls to 0 for one linked with all; nodes that the question
    names bridge nothing and have 0. `title_at` is the column of each chunk's title, -1 without one, `titled` is
    1 where the question names it.
    """

    nodes: NDArray[np.int64]
    tells: NDArray[np.bool_]
    rarity: Floats
    title_at: NDArray[np.int64]
    titled: Floats

    @classmethod
    def of(cls, snapshot: Snapshot, links: Links, ids: NDArray[np.int64], named: Sequence[Named]) -> _Told:
        positions = links.positions(ids)
        known = np.flatnonzero(positions >= 0)
        edges = links.edges(positions[known], snapshot.mask)
        nodes = distinct(edges.targets)
        tells = np.zeros((len(ids), len(nodes)), dtype=np.bool_)
        tells[known[edges.owners], nodes.searchsorted(edges.targets)] = True
        spread = np.maximum(links.chunk_counts(nodes, snapshot.mask), 1)
        size = np.log(1.0 + max(1, snapshot.count("chunk")))
        asked = distinct(id_array(found.position for found in named))
        rarity = np.clip(np.log(1.0 + snapshot.count("chunk") / spread) / size, 0.0, 1.0)
        rarity[lookup(asked, nodes) >= 0] = 0.0
        titles = [links.title(id_) for id_ in ids.tolist()]
        title_nodes = links.positions(id_array(0 if title is None else title for title in titles))
        title_nodes[[title is None for title in titles]] = -1
        at = nodes.searchsorted(title_nodes)
        at = np.where((title_nodes >= 0) & (at < len(nodes)), at, -1)
        return cls(nodes, tells, rarity, at, (lookup(asked, title_nodes) >= 0).astype(np.float64))

    def shared(self) -> tuple[Floats, NDArray[np.int64]]:
        """For each pair of chunks how rare the rarest node is that both tell of, and which; 0 and -1 for none."""
        at = np.full((len(self.tells), len(self.tells)), -1, dtype=np.int64)
        common = np.flatnonzero((self.tells.sum(axis=0) > 1) & (self.rarity > 0))
        common = common[np.lexsort((self.nodes[common], self.rarity[common]))]
        # All pairs of chunks that tell of the same, the rarest last: it overwrites the others.
        places, rows = np.nonzero(self.tells[:, common].T)
        sizes = np.bincount(places, minlength=len(common))
        ends = np.cumsum(sizes)
        partners = sizes[places]
        one, starts = np.repeat(np.arange(len(rows)), partners), (ends - sizes)[places]
        other = np.arange(len(one)) - np.repeat(np.cumsum(partners) - partners - starts, partners)
        at[rows[one], rows[other]] = common[places[one]]
        np.fill_diagonal(at, -1)
        there = at >= 0
        if not there.any():
            return there.astype(np.float64), at
        worth, which = np.where(there, self.rarity[at], 0.0), np.where(there, self.nodes[at], -1)
        return worth, which

    def leads(self) -> Floats:
        """For each pair of chunks 1 if the first tells of the other's title, which the question does not name."""
        usable = (self.title_at >= 0) & (self.titled == 0)
        found = np.zeros((len(self.tells), len(self.tells)))
        found[:, usable] = self.tells[:, self.title_at[usable]]
        np.fill_diagonal(found, 0.0)
        return found
