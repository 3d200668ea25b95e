"""Walk: personalised PageRank from what a question is linked to, over entities, chunks and titles.

Page et al. (1999) with restarts as in HippoRAG 2 (arXiv 2502.14802), computed by pushing mass along edges
(Andersen, Chung and Lang 2006) until what is left at each node is too little to matter: its cost depends on the
neighbourhood of the seeds, not on the size of the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.ids import id_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stateless_rag.protocols import Allowed, Hit, Links, Snapshot
    from stateless_rag.retrieval.link import Named

    Floats = NDArray[np.float64]

__all__ = ["restart", "walk"]

PASSAGE_WEIGHT = 0.02
"""Of the nearest passages among the seeds, at most each."""

DAMPING = 0.5
_FACT_WEIGHT = 0.5
_ROUNDS = 10
_LEAST = 5e-5


def restart(
    snapshot: Snapshot,
    links: Links,
    named: Sequence[Named],
    facts: Sequence[Hit],
    passages: Sequence[Hit],
) -> Floats:
    """Where the walk begins: mass by position, not yet scaled.

    Named entities by 1/√(their chunks), ends of facts by cosine/√(their chunks), passages by how near they are.
    """
    mass = np.zeros(len(links))
    for found in named:
        mass[found.position] += 1.0 / np.sqrt(found.chunks)
    ends = snapshot.endpoints([hit.id for hit in facts])
    pairs = [(entity, hit.score) for hit in facts for entity in ends.get(hit.id, ())]
    if pairs:
        at = links.positions(id_array(entity for entity, _ in pairs))
        counts = np.maximum(links.chunk_counts(at, snapshot.mask), 1)
        for place, count, (_, score) in zip(at.tolist(), counts.tolist(), pairs, strict=True):
            if place >= 0:
                mass[place] += _FACT_WEIGHT * max(0.0, score) / np.sqrt(count)
    best = max((hit.score for hit in passages), default=0.0)
    if best > 0:
        at = links.positions(id_array(hit.id for hit in passages))
        near = np.array([max(0.0, hit.score) / best for hit in passages])
        mass[at[at >= 0]] += PASSAGE_WEIGHT * near[at >= 0]
    return mass


def walk(links: Links, mass: Floats, allowed: Allowed | None = None) -> Mapping[int, float]:
    """The share of a walk that ends at each chunk, by id, best first, ties by id; it always returns to `mass`.

    Shares are rounded, so that they do not depend on the order in which a sum was made.
    """
    total = float(mass.sum())
    if total <= 0:
        return {}
    left, ended = mass / total, np.zeros(len(mass))
    for _ in range(_ROUNDS):
        active = np.flatnonzero(left > _LEAST)
        if not len(active):
            break
        moved = left[active]
        left[active] = 0.0
        ended[active] += (1.0 - DAMPING) * moved
        edges = links.edges(active, allowed)
        strength = np.bincount(edges.owners, edges.weights, len(active))
        step = DAMPING * (moved / np.where(strength > 0, strength, 1.0))[edges.owners] * edges.weights
        left += np.bincount(edges.targets, step, len(mass))
    ended += (1.0 - DAMPING) * left
    reached = np.flatnonzero(ended > 0)
    reached = reached[links.is_chunk(reached)]
    ids, shares = links.ids(reached), ended[reached].round(9)
    order = np.lexsort((ids, -shares))
    return dict(zip(ids[order].tolist(), shares[order].tolist(), strict=True))
