"""Rows of vectors in blocks that never move: no row is copied when more are added, and none is held twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.stores.faiss.candidates import Candidates, floor_of
from stateless_rag.stores.faiss.codes import Coder, Codes, step_of
from stateless_rag.stores.faiss.cosine import float32_error, normalize_into, products_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from stateless_rag.stores.faiss.cosine import Flags, Query, Vectors

__all__ = ["Block", "RowBlocks"]

_ROOM = 4096  # rows of room at most that are not needed yet
_CODED_FROM = 2048  # rows: scanning fewer is soon done
_SCANS = 16  # that cost as much as making codes: what is seldom searched has none
_GATHER_BELOW = 0.25  # share of the rows up to which copying them out is cheaper than scoring all


class Block:
    """Room for rows, shape (rows, dimension). Once it is full and was scanned some times, it has codes that are scanned
    instead: a quarter of the bytes.
    """

    def __init__(self, rows: Vectors) -> None:
        self.rows = rows
        self._scans = 0
        self._codes: Codes | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of rows, room to grow included, and codes."""
        return self.rows.nbytes + (0 if self._codes is None else self._codes.nbytes)

    def candidates(
        self, query: Query, top_k: int, least: float, lower: Vectors, searchable: Flags
    ) -> Candidates:
        """Those of the first rows, which are `searchable`, that can be among the best, as `Codes.candidates`."""
        codes = self._coded() if len(searchable) == len(self.rows) else None
        if codes is not None:
            bitmap = None if searchable.all() else np.packbits(searchable, bitorder="little")
            return codes.candidates(query, top_k, least, lower, bitmap)
        rows = np.flatnonzero(searchable)
        if len(rows) < len(searchable) * _GATHER_BELOW:
            products = products_of(self.rows[rows], query)
        else:
            # Leaving rows out of the matrix would copy it; leaving them out of the products is nearly free.
            products = products_of(self.rows[: len(searchable)], query)
            products = products if len(rows) == len(products) else products[rows]
        found = Candidates.of(rows, products, float32_error(self.rows.shape[1]))
        return found.reaching(floor_of(top_k, least, lower, found.lower))

    def _coded(self) -> Codes | None:
        """The codes, if it pays to have them. Threads that make them at the same time make the same."""
        if self._codes is None and len(self.rows) >= _CODED_FROM:
            self._scans += 1
            if self._scans > _SCANS:
                coder = Coder("int8", self.rows.shape[1], step_of("int8", (self.rows,)))
                coder.add(self.rows)
                self._codes = coder.codes()
        return self._codes


@dataclass(frozen=True, slots=True, eq=False)
class RowBlocks:
    """Rows of one dimension, numbered through all blocks. Longer ones share the blocks of shorter ones."""

    dimension: int
    blocks: tuple[Block, ...] = ()

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return sum(map(len, self.blocks))

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(block.nbytes for block in self.blocks)

    def with_room(self, needed: int) -> RowBlocks:
        """The same with room for `needed` rows."""
        capacity = self.capacity
        if needed <= capacity:
            return self
        rows = max(needed - capacity, min(capacity, _ROOM))
        block = np.empty((rows, self.dimension), dtype=np.float32)
        return RowBlocks(self.dimension, (*self.blocks, Block(block)))

    def write(self, start: int, rows: NDArray[np.generic]) -> Flags:
        """Write rows, scaled to length one, from number `start` on; tells which can be near to anything."""
        usable = np.empty(len(rows), dtype=np.bool_)
        for block, first, at in self._parts(start, start + len(rows)):
            there = slice(first - start, first - start + len(at))
            usable[there] = normalize_into(rows[there], block.rows[at.start : at.stop])
        return usable

    def clear(self, start: int, stop: int) -> None:
        """Make rows zero."""
        for block, _, at in self._parts(start, stop):
            block.rows[at.start : at.stop] = 0.0

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """Copies of rows, by their numbers in any order, shape (rows, dimension)."""
        if len(self.blocks) == 1:
            return self.blocks[0].rows[rows]
        taken = np.empty((len(rows), self.dimension), dtype=np.float32)
        start = 0
        for block in self.blocks:
            here = (rows >= start) & (rows < start + len(block))
            taken[here] = block.rows[rows[here] - start]
            start += len(block)
        return taken

    def candidates(self, query: Query, top_k: int, least: float, searchable: Flags) -> Candidates:
        """Those of the first rows, which are `searchable`, that can be among the best, as `Codes.candidates`."""
        found: list[tuple[int, Candidates]] = []
        lower = np.empty(0, dtype=np.float32)
        for block, first, at in self._parts(0, len(searchable)):
            part = block.candidates(query, top_k, least, lower, searchable[first : first + len(at)])
            found.append((first, part))
            lower = np.concatenate([lower, part.lower]) if len(lower) else part.lower
        return Candidates.joined(found)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[Block, int, range]]:
        """The blocks that hold rows `start` to `stop`: block, number of the first row in it, places in it."""
        offset = 0
        for block in self.blocks:
            first, last = max(start, offset), min(stop, offset + len(block))
            if first < last:
                yield block, first, range(first - offset, last - offset)
            offset += len(block)
