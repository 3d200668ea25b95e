"""The base segment: rows that are held as codes, built once, never written to again, and rescored exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stateless_rag.errors import StoreError
from stateless_rag.stores.faiss.codes import BaseType, Coder, Codes, step_of
from stateless_rag.stores.faiss.cosine import blocks, normalize_into, stacked
from stateless_rag.stores.ids import distinct, lookup

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from stateless_rag.stores.faiss.cosine import Flags, Vectors
    from stateless_rag.stores.ids import Ids

    Fetch = Callable[[Ids], tuple[Vectors, float]]
    Sums = NDArray[np.uint32]

__all__ = ["Base", "LiveBase", "Rescore", "build"]

Rescore = Callable[[Sequence[int]], Mapping[int, "ArrayLike"]]
_ROWS = 4096
_ODD = 2_654_435_761  # of Fibonacci hashing


class RowSource(Protocol):
    """Where rows can be read as they are."""

    def rows(self, positions: Iterable[int]) -> Vectors | None:
        """The rows at these positions of the base; None if one cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """Rows that are scanned quickly but, unless their codes are "float32", held only roughly.

    `ids` ascend; row i of the `codes` belongs to `ids[i]`. `usable` is false for zero rows. `whole`, if there, is a
    file of the rows as they are; what is read of it is believed if it has the row's checksum in `sums`.
    """

    ids: Ids
    usable: Flags
    sums: Sums
    codes: Codes
    whole: RowSource | None = None

    @property
    def dimension(self) -> int:
        """The length of the vectors."""
        return self.codes.dimension

    @property
    def kind(self) -> BaseType:
        """What its codes are."""
        return self.codes.kind

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory."""
        return int(self.ids.nbytes + self.usable.nbytes + self.sums.nbytes + self.codes.nbytes)

    def __len__(self) -> int:
        return len(self.ids)

    def exact(self, positions: NDArray[np.int64]) -> Vectors | None:
        """The rows at these positions as they are; None if there is no file of them, or a damaged one."""
        rows = None if self.whole is None else self.whole.rows(positions.tolist())
        return None if rows is None or (sums_of(rows) != self.sums[positions]).any() else rows


def sums_of(rows: Vectors) -> Sums:
    """A checksum of each row, shape (rows,): a sum of its words, each times another odd number, modulo 2³².

    It differs where two rows differ in one bit, and hardly ever agrees otherwise.
    """
    words = np.ascontiguousarray(rows, dtype="<f4").view("<u4")
    weights = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint32) * np.uint32(_ODD)
    sums: Sums = np.vecdot(words, weights)
    return sums


@dataclass(frozen=True, slots=True, eq=False)
class LiveBase:
    """A base and which of its rows are alive, `live` in number."""

    segment: Base
    alive: Flags
    live: int

    @classmethod
    def whole(cls, base: Base) -> LiveBase:
        """All rows alive."""
        return cls(base, np.ones(len(base), dtype=np.bool_), len(base))

    def positions(self, ids: Ids) -> NDArray[np.int64]:
        """The position of the live row of each id, or -1."""
        at = lookup(self.segment.ids, ids)
        return np.where((at >= 0) & self.alive[at], at, -1) if len(self.segment) else at

    def without(self, ids: Ids) -> LiveBase:
        """The same base with the rows of these ids dead. Costs a byte per row of the base if any is in it."""
        dead = distinct(self.positions(ids))
        dead = dead[dead >= 0]
        if not len(dead):
            return self
        alive = self.alive.copy()
        alive[dead] = False
        return LiveBase(self.segment, alive, self.live - len(dead))

    def rows(self, positions: NDArray[np.int64], exact: Rescore | None) -> tuple[Vectors, float]:
        """The rows at these positions, as good as can be had, and how far they may be from the true ones.

        They are read from the file beside the base; if that fails, `exact` gives vectors by id; rows it leaves out
        are taken from the codes.
        """
        codes = self.segment.codes
        if codes.kind == "float32":
            return codes.rows(positions), codes.error
        held = self.segment.exact(positions)
        if held is not None:
            return held, 0.0
        if exact is None:
            return codes.rows(positions), codes.error
        ids = self.segment.ids[positions].tolist()
        vectors = exact(ids)
        known = np.fromiter((row_id in vectors for row_id in ids), dtype=np.bool_, count=len(ids))
        if not known.any():
            return codes.rows(positions), codes.error
        given = stacked([np.asarray(vectors[row_id]) for row_id in ids if row_id in vectors])
        exact_rows = np.empty(given.shape, dtype=np.float32)
        normalize_into(given, exact_rows)
        if known.all():
            return exact_rows, 0.0
        rows = np.empty((len(ids), self.segment.dimension), dtype=np.float32)
        rows[known] = exact_rows
        rows[~known] = codes.rows(positions[~known])
        return rows, codes.error

    def searchable(self, allowed: Ids | None) -> NDArray[np.uint8] | None:
        """The rows to search as a bitmap, one bit per row, lowest bit first; None for all rows."""
        if allowed is None and self.live == len(self.segment) and self.segment.usable.all():
            return None
        flags = self.alive & self.segment.usable
        if allowed is not None:
            at = lookup(self.segment.ids, allowed)
            chosen = np.zeros(len(self.segment), dtype=np.bool_)
            chosen[at[at >= 0]] = True
            flags &= chosen
        return np.packbits(flags, bitorder="little")


def build(
    ids: Ids, fetch: Fetch, dimension: int, kind: BaseType, keep: Callable[[Vectors], object] | None = None
) -> Base:
    """Build a base of the rows with these ascending ids. `keep` is given the rows, block by block.

    `fetch(ids)` gives rows of length one (or zero), float32 of shape (ids, dimension), and how far they may
    be from the true rows; it is called block by block, twice over for "int8". Raises `StoreError` if FAISS
    fails.
    """
    try:
        return _build(ids, fetch, dimension, kind, keep)
    except RuntimeError as exc:  # what FAISS raises for its own failures
        raise StoreError(f"FAISS could not build a {kind} index of {len(ids)} vectors: {exc}") from exc


def _build(
    ids: Ids, fetch: Fetch, dimension: int, kind: BaseType, keep: Callable[[Vectors], object] | None
) -> Base:
    parts = [slice(start, stop) for start, stop in blocks(len(ids), _ROWS)]
    coder = Coder(kind, dimension, step_of(kind, (fetch(ids[part])[0] for part in parts)))
    usable = np.empty(len(ids), dtype=np.bool_)
    sums = np.empty(len(ids), dtype=np.uint32)
    for part in parts:
        rows, inherited = fetch(ids[part])
        if keep is not None and not inherited:  # a file that lacks rows is not read
            keep(rows)
        usable[part] = rows.any(axis=1)
        sums[part] = sums_of(rows)
        coder.add(rows, inherited)
    return Base(ids, usable, sums, coder.codes())
