"""Walk: personalised PageRank from what a question is linked to, over entities, chunks and titles.

Page et al. (1999) with restarts as in HippoRAG 2 (arXiv 2502.14802), computed by pushing mass along edges
(Andersen, Chung and Lang 2006) until what is left at each node is too little to matter: its cost depends on the
neighbourhood of the seeds, not on the size of the workspace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.ids import distinct, id_array, lookup
from stateless_rag.stores.links import TITLE_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from stateless_rag.protocols import Allowed, Hit, Links, Snapshot
    from stateless_rag.retrieval.link import Named
    from stateless_rag.settings import WalkSettings
    from stateless_rag.stores.ids import Ids

    Floats = NDArray[np.float64]

__all__ = ["Shares", "restart", "walk"]

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


@dataclass(frozen=True, slots=True, eq=False)
class Shares(Mapping[int, float]):
    """Shares of a walk by chunk; best first, ties by id. `ids` ascend. A walk reaches thousands of chunks of which a
    question looks at some dozens: only these are ordered.
    """

    ids: Ids
    shares: Floats

    @classmethod
    def of(cls, ids: Ids, shares: Floats) -> Shares:
        """Of chunks in any order."""
        if (ids[1:] > ids[:-1]).all():  # as nodes are arranged, but for those that came later
            return cls(ids, shares)
        order = np.argsort(ids)
        return cls(ids[order], shares[order])

    def first(self, count: int) -> list[int]:
        """The best chunks, at most so many."""
        at = np.arange(len(self.ids))
        if count < len(at):
            least = np.partition(self.shares, -count)[-count] if count > 0 else np.inf
            at = np.flatnonzero(self.shares >= least)
        best: list[int] = self.ids[at[np.argsort(-self.shares[at], kind="stable")[:count]]].tolist()
        return best

    def among(self, chunks: Iterable[int]) -> dict[int, float]:
        """The shares of those of the chunks that the walk reached."""
        asked = id_array(chunks)
        at = lookup(self.ids, asked)
        there = at >= 0
        return dict(zip(asked[there].tolist(), self.shares[at[there]].tolist(), strict=True))

    def __getitem__(self, chunk: int) -> float:
        return self.among((chunk,))[chunk]

    def __iter__(self) -> Iterator[int]:
        return iter(self.first(len(self.ids)))

    def __len__(self) -> int:
        return len(self.ids)


def walk(
    links: Links,
    mass: Floats,
    allowed: Allowed | None = None,
    *,
    damping: float = 0.5,
    titles: float = TITLE_WEIGHT,
) -> Shares:
    """The share of a walk that ends at each chunk; it always returns to `mass`.

    `titles` is the weight of the edge between a passage and its title. Shares are rounded, so that they do not
    depend on the order in which a sum was made.
    """
    total = float(mass.sum())
    if total <= 0:
        return Shares.of(id_array(()), np.zeros(0))
    left, ended = mass / total, np.zeros(len(mass))
    active = np.flatnonzero(left > _LEAST)
    for _ in range(_ROUNDS):
        if not len(active):
            break
        moved = left[active]
        left[active] = 0.0
        ended[active] += (1.0 - damping) * moved
        targets, amounts = links.pushed(active, damping * moved, allowed, titles=titles)
        np.add.at(left, targets, amounts)
        active = _with_enough(left, targets)
    ended += (1.0 - damping) * left
    reached = np.flatnonzero(ended > 0)
    reached = reached[links.is_chunk(reached)]
    return Shares.of(links.ids(reached), ended[reached].round(9))


def _with_enough(left: Floats, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where enough is left to be moved on, ascending: only at `targets`, which are what anything came to."""
    if len(left) < _SCAN * len(targets):
        return np.flatnonzero(left > _LEAST)
    return distinct(targets[left[targets] > _LEAST])
