"""Walk: personalised PageRank from what a question is linked to, over entities, chunks and titles.

Page et al. (1999) with restarts as in HippoRAG 2 (arXiv 2502.14802), computed by pushing mass along edges
(Andersen, Chung and Lang 2006) until what is left at each node is too little to matter: its cost depends on the
neighbourhood of the seeds, not on the size of the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.ids import distinct, id_array
from stateless_rag.stores.links import TITLE_WEIGHT, strengths_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stateless_rag.protocols import Allowed, Hit, Links, Snapshot
    from stateless_rag.retrieval.link import Named
    from stateless_rag.settings import WalkSettings

    Floats = NDArray[np.float64]

__all__ = ["restart", "walk"]

_FACT_WEIGHT = 0.5
_ROUNDS = 10
_LEAST = 5e-5
_SCAN = 16  # looking at so many nodes costs as much as sorting one


def restart(
    snapshot: Snapshot,
    links: Links,
    named: Sequence[Named],
    facts: Sequence[Hit],
    passages: Sequence[Hit],
    settings: WalkSettings,
) -> Floats:
    """Where the walk begins: mass by position, not yet scaled.

    Named entities by 1/√(their chunks), ends of facts by cosine/√(their chunks), passages by how near they are.
    Without `hub_damping`, one that many chunks tell of starts with as much as any.
    """
    mass = np.zeros(len(links))
    for found in named:
        mass[found.position] += 1.0 / np.sqrt(found.chunks if settings.hub_damping else 1)
    ends = snapshot.endpoints([hit.id for hit in facts])
    pairs = [(entity, hit.score) for hit in facts for entity in ends.get(hit.id, ())]
    if pairs:
        at = links.positions(id_array(entity for entity, _ in pairs))
        counts = np.maximum(links.chunk_counts(at, snapshot.mask), 1)
        for place, count, (_, score) in zip(at.tolist(), counts.tolist(), pairs, strict=True):
            if place >= 0:
                mass[place] += _FACT_WEIGHT * max(0.0, score) / np.sqrt(count if settings.hub_damping else 1)
    best = max((hit.score for hit in passages), default=0.0)
    if best > 0:
        at = links.positions(id_array(hit.id for hit in passages))
        near = np.array([max(0.0, hit.score) / best for hit in passages])
        mass[at[at >= 0]] += settings.passages * near[at >= 0]
    return mass


def walk(
    links: Links,
    mass: Floats,
    allowed: Allowed | None = None,
    *,
    damping: float = 0.5,
    titles: float = TITLE_WEIGHT,
) -> Mapping[int, float]:
    """The share of a walk that ends at each chunk, by id, best first, ties by id; it always returns to `mass`.

    `titles` is the weight of the edge between a passage and its title. Shares are rounded, so that they do not
    depend on the order in which a sum was made.
    """
    total = float(mass.sum())
    if total <= 0:
        return {}
    left, ended = mass / total, np.zeros(len(mass))
    active = np.flatnonzero(left > _LEAST)
    for _ in range(_ROUNDS):
        if not len(active):
            break
        moved = left[active]
        left[active] = 0.0
        ended[active] += (1.0 - damping) * moved
        edges = links.edges(active, allowed)
        if titles != TITLE_WEIGHT:
            weights = np.where(edges.weights == TITLE_WEIGHT, titles, edges.weights)
            strength = strengths_of(edges, weights, len(active))
        else:
            weights, strength = edges.weights, links.strengths(active, edges, allowed)
        share = damping * (moved / np.where(strength > 0, strength, 1.0))
        np.add.at(left, edges.targets, share[edges.owners] * weights)
        active = _with_enough(left, edges.targets)
    ended += (1.0 - damping) * left
    reached = np.flatnonzero(ended > 0)
    reached = reached[links.is_chunk(reached)]
    ids, shares = links.ids(reached), ended[reached].round(9)
    order = np.lexsort((ids, -shares))
    return dict(zip(ids[order].tolist(), shares[order].tolist(), strict=True))


def _with_enough(left: Floats, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where enough is left to be moved on, ascending: only at `targets`, which are what anything came to."""
    if len(left) < _SCAN * len(targets):
        return np.flatnonzero(left > _LEAST)
    return distinct(targets[left[targets] > _LEAST])
