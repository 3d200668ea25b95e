"""The communities of a revision: found at the first question that needs them, kept for those after it."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.stores.communities import Graph, communities
from stateless_rag.stores.ids import id_array, lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from stateless_rag.protocols import Allowed
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.stores.duckdb.views import View

    Stated = Callable[[], Mapping[int, tuple[int, Sequence[float]]]]

__all__ = ["Partitions"]

_KEPT = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A partition, the parts of the view it was made of, and how."""

    sources: tuple[Any, ...]
    allowed: Allowed | None
    settings: CommunitySettings
    partition: Partition

    def is_of(self, sources: tuple[Any, ...]) -> bool:
        return all(one is other for one, other in zip(self.sources, sources, strict=True))


class Partitions:
    """Shared by all views of a workspace. Any thread may ask; one at a time finds what is missing, and of a few that
    differ in their filter or their settings the one asked for least recently is forgotten.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: tuple[_Kept, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return sum(kept.partition.nbytes for kept in self._kept)

    def of(
        self, view: View, settings: CommunitySettings, allowed: Allowed | None, stated: Stated
    ) -> Partition:
        """The communities of a view, or of what is `allowed` of it: then `stated` tells what allowed chunks say that
        relations weigh, as `Snapshot.stated_weights` does.
        """
        sources = _sources(view)
        with self._lock:
            known = [each for each in self._kept if each.is_of(sources)]
            found = next((k for k in known if k.allowed is allowed and k.settings == settings), None)
            if found is None:
                graph = _whole(view) if allowed is None else _part(view, allowed, stated())
                found = _Kept(sources, allowed, settings, communities(graph, settings))
            self._kept = (found, *(each for each in self._kept if each is not found))[:_KEPT]
        return found.partition

    def settle(self, view: View) -> None:
        """The view was committed: forget what was found of others, unless something is being found just now."""
        if self._lock.acquire(blocking=False):
            sources = _sources(view)
            self._kept = tuple(kept for kept in self._kept if kept.is_of(sources))
            self._lock.release()


def _sources(view: View) -> tuple[Any, ...]:
    return view.graph, view.entities, view.relations, view.evidence


def _whole(view: View) -> Graph:
    relations, left, right = view.graph.arrays()
    ids, table = view.relations.columns(("weight",))
    order = np.argsort(ids)
    weights = np.append(table.column("weight").to_numpy()[order].astype(np.float64), 0.0)
    return Graph(
        view.entities.ids(), left, right, weights[lookup(ids[order], relations)], view.evidence.pairs()
    )


def _part(view: View, allowed: Allowed, stated: Mapping[int, tuple[int, Sequence[float]]]) -> Graph:
    """A relation weighs one for each allowed chunk that states it, where a chunk that says what it weighs counts as
    that: as it would if there were no others.
    """
    relations, left, right = view.graph.arrays()
    there = lookup(relations, allowed.relations)
    kept = there >= 0
    weights = allowed.relation_weights.astype(np.float64)
    if stated:
        at = lookup(allowed.relations, id_array(stated))
        for place, (chunks, told) in zip(at.tolist(), stated.values(), strict=True):
            if place >= 0:
                weights[place] += sum(told) - chunks
    rows, chunks_of = view.evidence.pairs()
    told_in: NDArray[np.bool_] = lookup(allowed.chunks, chunks_of) >= 0
    return Graph(
        allowed.entities,
        left[there[kept]],
        right[there[kept]],
        weights[kept],
        (rows[told_in], chunks_of[told_in]),
    )
