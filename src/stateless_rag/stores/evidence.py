"""Which chunks tell of which entities and relations, in memory: an immutable view, and the next one at the cost of
the change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.ids import distinct, id_array, lookup

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from stateless_rag.stores.ids import Ids

__all__ = ["EvidenceBase", "EvidenceView"]

_OVERLAY = 20_000  # pairs that may differ from the base before a new base is made,
_OVERLAY_SHARE = 0.1  # or this share of the base if it is more


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceBase:
    """Pairs in order: the row `rows[i]` is told of in `chunks[bounds[i]:bounds[i + 1]]`, ascending (CSR).

    `repeated` are rows that a chunk may tell of more than once, ascending.
    """

    rows: Ids
    bounds: Ids
    chunks: Ids
    repeated: Ids

    @classmethod
    def of(cls, rows: Ids, chunks: Ids, repeated: Ids) -> EvidenceBase:
        order = np.lexsort((chunks, rows))
        rows, chunks = rows[order], chunks[order]
        if len(rows):
            first = np.ones(len(rows), dtype=np.bool_)
            first[1:] = (rows[1:] != rows[:-1]) | (chunks[1:] != chunks[:-1])
            repeated = distinct(np.concatenate([repeated, rows[~first]]))
            rows, chunks = rows[first], chunks[first]
        owners, starts = np.unique(rows, return_index=True)
        return cls(owners, np.append(starts, len(rows)).astype(np.int64), chunks, repeated)

    def pairs(self) -> tuple[Ids, Ids]:
        return np.repeat(self.rows, np.diff(self.bounds)), self.chunks


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceView:
    """The chunks of each row (entity or relation) at one revision. Never changes; any thread may read it.

    `_extra` holds pairs that came after the base, `_gone` chunks whose pairs in the base do not count.
    """

    _base: EvidenceBase
    _extra: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    _gone: frozenset[int] = frozenset()
    _extra_pairs: int = 0
    _repeated: frozenset[int] = frozenset()

    @classmethod
    def from_arrays(cls, rows: Ids, chunks: Ids, repeated: Ids | None = None) -> EvidenceView:
        """A view of pairs in any order, one for each mention.

        `repeated` are rows that are known to have several mentions in a chunk, whatever the pairs tell.
        """
        known = id_array(() if repeated is None else repeated)
        return cls(EvidenceBase.of(id_array(rows), id_array(chunks), known))

    @classmethod
    def empty(cls) -> EvidenceView:
        """A view without pairs."""
        return cls.from_arrays(id_array(()), id_array(()))

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory; those of what came after the base are estimated."""
        base = self._base
        return base.rows.nbytes + base.bounds.nbytes + base.chunks.nbytes + 64 * self._extra_pairs

    @property
    def base(self) -> EvidenceBase:
        """The pairs that this view and others before and after it stand on."""
        return self._base

    @property
    def gone(self) -> frozenset[int]:
        """Chunks whose pairs in the base do not count."""
        return self._gone

    def extra_pairs(self) -> tuple[Ids, Ids]:
        """The pairs that came after the base, as two arrays, rows and chunks."""
        return (
            id_array(row for row, own in self._extra.items() for _ in own),
            id_array(chunk for own in self._extra.values() for chunk in own),
        )

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
        repeated = set()
        for row, chunk in added:
            own = fresh.setdefault(row, set())
            if chunk in own:
                repeated.add(row)
            own.add(chunk)
        for row, chunks in fresh.items():
            extra[row] = tuple(sorted(chunks.union(extra.get(row, ()))))
        count = sum(map(len, extra.values()))
        following = EvidenceView(self._base, extra, gone, count, self._repeated | repeated)
        if count + len(gone) > max(_OVERLAY, _OVERLAY_SHARE * len(self._base.chunks)):
            known = distinct(np.concatenate([self._base.repeated, id_array(following._repeated)]))
            return EvidenceView.from_arrays(*following.pairs(), known)
        return following

    def pairs(self) -> tuple[Ids, Ids]:
        """All pairs as two arrays, rows and chunks, in no certain order."""
        rows, chunks = self._base.pairs()
        if self._gone:
            keep = ~np.isin(chunks, id_array(self._gone))
            rows, chunks = rows[keep], chunks[keep]
        more_rows, more_chunks = self.extra_pairs()
        return np.concatenate([rows, more_rows]), np.concatenate([chunks, more_chunks])

    def told_once(self, rows: Sequence[int]) -> frozenset[int]:
        """Those of the rows that surely rest on a single mention."""
        many = lookup(self._base.repeated, id_array(rows)).tolist()
        found = self.chunks_of(rows, 2)
        return frozenset(
            row
            for row, place in zip(rows, many, strict=True)
            if place < 0 and row not in self._repeated and len(found.get(row, ())) == 1
        )

    def chunks_of(self, rows: Sequence[int], limit: int, among: Ids | None = None) -> dict[int, list[int]]:
        """For each row that has any, in the order asked for, its chunks, ascending, at most `limit`.

        With `among`, ascending, only those that are in it.
        """
        at = lookup(self._base.rows, id_array(rows))
        based = self._of_base(at, limit) if among is None else self._among(at, among)
        if not (self._gone or self._extra):
            return {row: held[:limit] for row, held in zip(rows, based, strict=True) if held}
        found: dict[int, list[int]] = {}
        for row, held in zip(rows, based, strict=True):
            own = [chunk for chunk in held if chunk not in self._gone] if self._gone else held
            if row in self._extra:
                own = sorted({*own, *_in(among, self._extra[row])})
            if own:
                found[row] = own[:limit]
        return found

    def _of_base(self, at: Ids, limit: int) -> Iterator[list[int]]:
        """The chunks of the rows at these places of the base, none at -1; at most `limit` unless some are gone."""
        chunks, ends = self._slices(at, len(self._base.chunks) if self._gone else max(0, limit))
        return _parts(chunks, ends)

    def _among(self, at: Ids, among: Ids) -> Iterator[list[int]]:
        """As `_of_base`, without a limit: those of the chunks that are in `among`. Looks all of them up at once."""
        chunks, ends = self._slices(at, len(self._base.chunks))
        kept = lookup(among, chunks) >= 0
        return _parts(chunks[kept], np.concatenate([[0], np.cumsum(kept)])[ends])

    def _slices(self, at: Ids, most: int) -> tuple[Ids, Ids]:
        """The first chunks, at most so many, of the rows at these places; the bounds of each row's part of them."""
        starts = self._base.bounds[at]
        stops = self._base.bounds[np.where(at < 0, at, at + 1)]  # the same where there is none
        lengths = np.minimum(stops - starts, most)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
        return self._base.chunks[places], ends


def _parts(chunks: Ids, ends: Ids) -> Iterator[list[int]]:
    listed: list[int] = chunks.tolist()
    for start, stop in pairwise(ends.tolist()):
        yield listed[start:stop]


def _in(among: Ids | None, chunks: Sequence[int]) -> Sequence[int]:
    if among is None:
        return chunks
    there = (lookup(among, id_array(chunks)) >= 0).tolist()
    return [chunk for chunk, kept in zip(chunks, there, strict=True) if kept]
