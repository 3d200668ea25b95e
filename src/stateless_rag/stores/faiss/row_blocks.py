"""Rows of vectors in blocks that never move: no row is copied when more are added, and none is held twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.faiss.cosine import normalize_into, products_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from stateless_rag.stores.faiss.cosine import Flags, Query, Vectors

__all__ = ["RowBlocks"]

_ROOM = 4096  # rows of room at most that are not needed yet


@dataclass(frozen=True, slots=True, eq=False)
class RowBlocks:
    """Rows of one dimension, numbered through all blocks. Longer ones share the blocks of shorter ones."""

    dimension: int
    blocks: tuple[Vectors, ...] = ()

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return sum(map(len, self.blocks))

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks, room to grow included."""
        return sum(block.nbytes for block in self.blocks)

    def with_room(self, needed: int) -> RowBlocks:
        """The same with room for `needed` rows."""
        capacity = self.capacity
        if needed <= capacity:
            return self
        rows = max(needed - capacity, min(capacity, _ROOM))
        block = np.empty((rows, self.dimension), dtype=np.float32)
        return RowBlocks(self.dimension, (*self.blocks, block))

    def write(self, start: int, rows: NDArray[np.generic]) -> Flags:
        """Write rows, scaled to length one, from number `start` on; tells which can be near to anything."""
        usable = np.empty(len(rows), dtype=np.bool_)
        for block, first, at in self._parts(start, start + len(rows)):
            there = slice(first - start, first - start + len(at))
            usable[there] = normalize_into(rows[there], block[at.start : at.stop])
        return usable

    def clear(self, start: int, stop: int) -> None:
        """Make rows zero."""
        for block, _, at in self._parts(start, stop):
            block[at.start : at.stop] = 0.0

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """Copies of rows, by their numbers in any order, shape (rows, dimension)."""
        if len(self.blocks) == 1:
            return self.blocks[0][rows]
        taken = np.empty((len(rows), self.dimension), dtype=np.float32)
        start = 0
        for block in self.blocks:
            here = (rows >= start) & (rows < start + len(block))
            taken[here] = block[rows[here] - start]
            start += len(block)
        return taken

    def products(self, query: Query, count: int) -> NDArray[np.float32]:
        """The rough scores of the first `count` rows."""
        products = np.empty(count, dtype=np.float32)
        for block, first, at in self._parts(0, count):
            products[first : first + len(at)] = products_of(block[: at.stop], query)
        return products

    def _parts(self, start: int, stop: int) -> Iterator[tuple[Vectors, int, range]]:
        """The blocks that hold rows `start` to `stop`: block, number of the first row in it, places in it."""
        offset = 0
        for block in self.blocks:
            first, last = max(start, offset), min(stop, offset + len(block))
            if first < last:
                yield block, first, range(first - offset, last - offset)
            offset += len(block)
