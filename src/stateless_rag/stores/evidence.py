"""Which chunks tell of which entities and relations, in memory: an immutable view, and the next one at the cost of
the change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.ids import id_array, lookup

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from stateless_rag.stores.ids import Ids

__all__ = ["EvidenceView"]

_OVERLAY = 20_000  # pairs that may differ from the base before a new base is made,
_OVERLAY_SHARE = 0.1  # or this share of the base if it is more


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """Pairs in order: the row `rows[i]` is told of in `chunks[bounds[i]:bounds[i + 1]]`, ascending (CSR)."""

    rows: Ids
    bounds: Ids
    chunks: Ids

    @classmethod
    def of(cls, rows: Ids, chunks: Ids) -> _Base:
        order = np.lexsort((chunks, rows))
        rows, chunks = rows[order], chunks[order]
        if len(rows):
            first = np.ones(len(rows), dtype=np.bool_)
            first[1:] = (rows[1:] != rows[:-1]) | (chunks[1:] != chunks[:-1])
            rows, chunks = rows[first], chunks[first]
        distinct, starts = np.unique(rows, return_index=True)
        return cls(distinct, np.append(starts, len(rows)).astype(np.int64), chunks)

    def pairs(self) -> tuple[Ids, Ids]:
        return np.repeat(self.rows, np.diff(self.bounds)), self.chunks


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceView:
    """The chunks of each row (entity or relation) at one revision. Never changes; any thread may read it.

    `_extra` holds pairs that came after the base, `_gone` chunks whose pairs in the base do not count.
    """

    _base: _Base
    _extra: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    _gone: frozenset[int] = frozenset()
    _extra_pairs: int = 0

    @classmethod
    def from_arrays(cls, rows: Ids, chunks: Ids) -> EvidenceView:
        """A view of pairs in any order; a pair may occur more than once."""
        return cls(_Base.of(id_array(rows), id_array(chunks)))

    @classmethod
    def empty(cls) -> EvidenceView:
        """A view without pairs."""
        return cls.from_arrays(id_array(()), id_array(()))

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory; those of what came after the base are estimated."""
        base = self._base
        return base.rows.nbytes + base.bounds.nbytes + base.chunks.nbytes + 64 * self._extra_pairs

    def apply(self, added: Iterable[tuple[int, int]], removed_chunks: Collection[int] = ()) -> EvidenceView:
        """The view after all pairs of some chunks were removed and then pairs (row, chunk) were added."""
        extra: dict[int, tuple[int, ...]] = dict(self._extra)
        gone = self._gone
        if removed_chunks:
            left = frozenset(removed_chunks)
            gone |= left
            extra = {
                row: kept
                for row, chunks in extra.items()
                if (kept := tuple(chunk for chunk in chunks if chunk not in left))
            }
        fresh: dict[int, set[int]] = {}
        for row, chunk in added:
            fresh.setdefault(row, set()).add(chunk)
        for row, chunks in fresh.items():
            extra[row] = tuple(sorted(chunks.union(extra.get(row, ()))))
        count = sum(map(len, extra.values()))
        following = EvidenceView(self._base, extra, gone, count)
        if count + len(gone) > max(_OVERLAY, _OVERLAY_SHARE * len(self._base.chunks)):
            return EvidenceView.from_arrays(*following.pairs())
        return following

    def pairs(self) -> tuple[Ids, Ids]:
        """All pairs as two arrays, rows and chunks, in no certain order."""
        rows, chunks = self._base.pairs()
        if self._gone:
            keep = ~np.isin(chunks, id_array(self._gone))
            rows, chunks = rows[keep], chunks[keep]
        more = id_array(row for row, own in self._extra.items() for _ in own)
        return (
            np.concatenate([rows, more]),
            np.concatenate([chunks, id_array(chunk for own in self._extra.values() for chunk in own)]),
        )

    def chunks_of(self, rows: Sequence[int], limit: int) -> dict[int, list[int]]:
        """For each row that has any, in the order asked for, its chunks, ascending, at most `limit`."""
        base = self._base
        at = lookup(base.rows, id_array(rows)).tolist()
        found: dict[int, list[int]] = {}
        for row, place in zip(rows, at, strict=True):
            own = [] if place < 0 else self._of_base(place, limit)
            if row in self._extra:
                own = sorted({*own, *self._extra[row]})[:limit]
            if own:
                found[row] = own
        return found

    def _of_base(self, place: int, limit: int) -> list[int]:
        start, stop = int(self._base.bounds[place]), int(self._base.bounds[place + 1])
        if not self._gone:
            own: list[int] = self._base.chunks[start : min(stop, start + limit)].tolist()
            return own
        return [chunk for chunk in self._base.chunks[start:stop].tolist() if chunk not in self._gone][:limit]
