"""The append-only segment: exact float32 rows that were added since the base was built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.faiss.row_blocks import Block, RowBlocks
from stateless_rag.stores.ids import distinct, lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stateless_rag.stores.faiss.candidates import Candidates
    from stateless_rag.stores.faiss.cosine import Flags, Query, Vectors
    from stateless_rag.stores.ids import Ids

__all__ = ["Delta"]

_ENTRY_BYTES = 150  # of an id in the maps: two numbers and a place in a dict and in a list
_ROW_BYTES = _ENTRY_BYTES + 10  # and its place in `ids`, `usable` and `alive`


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The first `length` rows of buffers that only ever grow, and which of them are alive.

    Successive deltas share the buffers: the writer fills rows past every captured length, and adds blocks when
    they are full. `newest` maps an id to its last row and `previous` a row to the one before it
    of the same id (or -1), so that an older delta finds the row that was valid in its time. One writer makes
    the next delta, from the last one or, where that was given up, from the one before it: rows that were
    given up are never written again, they stay in between as dead ones.
    """

    ids: Ids
    matrix: RowBlocks
    usable: Flags
    newest: dict[int, int]
    previous: list[int]
    length: int
    alive: Flags
    live: int

    @classmethod
    def empty(cls, dimension: int) -> Delta:
        """A delta without rows, of a lineage of its own."""
        return cls(
            ids=np.empty(0, dtype=np.int64),
            matrix=RowBlocks(dimension),
            usable=np.empty(0, dtype=np.bool_),
            newest={},
            previous=[],
            length=0,
            alive=np.empty(0, dtype=np.bool_),
            live=0,
        )

    @classmethod
    def of_stored(cls, ids: Ids, rows: Vectors) -> Delta:
        """A delta of rows of length one, or zero, which are kept as they are and not copied."""
        return cls(
            ids=ids.copy(),
            matrix=RowBlocks(rows.shape[1], (Block(rows),) if len(rows) else ()),
            usable=np.asarray(rows.any(axis=1)),
            newest=dict(zip(ids.tolist(), range(len(ids)), strict=True)),
            previous=[-1] * len(ids),
            length=len(ids),
            alive=np.ones(len(ids), dtype=np.bool_),
            live=len(ids),
        )

    @staticmethod
    def stored_bytes(rows: int, dimension: int) -> int:
        """Bytes that a delta of so many stored rows holds in memory, to know before they are there."""
        return rows * (dimension * np.dtype(np.float32).itemsize + _ROW_BYTES)

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory, room to grow included; those of the maps are estimated."""
        arrays = (self.ids, self.matrix, self.usable, self.alive)
        return sum(array.nbytes for array in arrays) + len(self.newest) * _ENTRY_BYTES

    def row(self, row_id: int) -> int:
        """The live row of an id, or -1."""
        row = self.newest.get(row_id, -1)
        while row >= self.length or (row >= 0 and not self.alive[row]):
            row = self.previous[row]
        return row

    def rows(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """The live row of each id, or -1."""
        rows = np.fromiter(map(self.newest.get, ids, repeat(-1)), dtype=np.int64, count=len(ids))
        stale = rows >= self.length
        if self.live < self.length:
            stale |= (rows >= 0) & ~self.alive[np.minimum(rows, self.length - 1)]
        for at in np.flatnonzero(stale).tolist():
            rows[at] = self.row(ids[at])
        return rows

    def live_rows(self, start: int = 0) -> NDArray[np.int64]:
        """The live rows from `start` on, ascending."""
        return np.flatnonzero(self.alive[start:]) + start

    def changed(self, ids: Ids, matrix: NDArray[np.generic], gone: Sequence[int]) -> Delta:
        """The next delta: without the ids in `gone`, with the rows `matrix`, shape (ids, dimension).

        An id in `ids` that has a row already must be in `gone` too. Costs one byte per row of the delta and
        the rows that are added.
        """
        dead = self.rows(gone)
        dead = distinct(dead[dead >= 0])
        if not len(ids) and not len(dead):
            return self
        start = len(self.previous)
        stop = start + len(ids)
        grown = self._with_room(stop)
        grown.ids[self.length : start], grown.usable[self.length : start] = 0, False
        grown.matrix.clear(self.length, start)
        grown.ids[start:stop] = ids
        grown.usable[start:stop] = grown.matrix.write(start, matrix)
        alive = np.zeros(stop, dtype=np.bool_)
        alive[: self.length] = self.alive
        alive[dead] = False
        alive[start:] = True
        added = ids.tolist()
        self.previous.extend([self.newest.get(row_id, -1) for row_id in added])
        self.newest.update(zip(added, range(start, stop), strict=True))
        return replace(grown, length=stop, alive=alive, live=self.live - len(dead) + len(added))

    def _with_room(self, needed: int) -> Delta:
        matrix = self.matrix.with_room(needed)
        if needed <= len(self.ids):
            return replace(self, matrix=matrix)
        ids = np.empty(max(needed, 2 * len(self.ids)), dtype=np.int64)
        usable = np.empty(len(ids), dtype=np.bool_)
        ids[: self.length] = self.ids[: self.length]
        usable[: self.length] = self.usable[: self.length]
        return replace(self, ids=ids, usable=usable, matrix=matrix)

    def candidates(self, query: Query, top_k: int, least: float, allowed: Ids | None) -> Candidates:
        """All rows that can be among the best `top_k` with a score of at least `least`, and perhaps more.

        `allowed` is ascending.
        """
        searchable = self.alive & self.usable[: self.length]
        if allowed is not None:
            searchable &= lookup(allowed, self.ids[: self.length]) >= 0
        return self.matrix.candidates(query, top_k, least, searchable)
