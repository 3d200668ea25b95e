"""The base segment: a FAISS index that is built once, never written to again, and rescored exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from stateless_rag.errors import StoreError
from stateless_rag.stores.faiss.cosine import blocks, normalize_into, stacked
from stateless_rag.stores.ids import distinct, lookup

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from numpy.typing import ArrayLike, NDArray

    from stateless_rag.stores.faiss.cosine import Flags, Query, Vectors
    from stateless_rag.stores.ids import Ids

    Fetch = Callable[[Ids], tuple[Vectors, float]]

__all__ = ["Base", "BaseType", "LiveBase", "Rescore", "build"]

BaseType = Literal["float16", "int8", "float32"]
Rescore = Callable[[Sequence[int]], Mapping[int, "ArrayLike"]]
_ROWS = 4096
_SHARED_FROM = 40_000  # rows that two threads scan sooner than one, whatever it takes to wake the other
_ROUNDING = 1e-6  # of the distance between a row and what the index holds of it


class RowSource(Protocol):
    """Where rows can be read as they are."""

    def rows(self, positions: Iterable[int]) -> Vectors | None:
        """The rows at these positions of the base; None if one cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """Rows that are scanned quickly but, unless `kind` is "float32", held only roughly.

    `ids` ascend; row i of the FAISS `index` belongs to `ids[i]`. `usable` is false for zero rows. `error` is
    the greatest distance between a row and what the index holds of it, and so (Cauchy-Schwarz) bounds how far
    a score that is computed from the index can be off. `whole`, if there, is a file of the rows as they are; it
    is believed where it fits what the index holds. `helper`, if there, has threads that scan half of a large base
    while the thread that searches scans the other half.
    """

    ids: Ids
    usable: Flags
    index: Any
    kind: BaseType
    error: float
    whole: RowSource | None = None
    helper: Executor | None = None

    @property
    def dimension(self) -> int:
        """The length of the vectors."""
        return int(self.index.d)

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory."""
        return int(self.ids.nbytes + self.usable.nbytes + self.index.ntotal * self.index.code_size)

    def __len__(self) -> int:
        return len(self.ids)

    def exact(self, positions: NDArray[np.int64]) -> Vectors | None:
        """The rows at these positions as they are; None if there is no file of them, or a damaged one."""
        rows = None if self.whole is None else self.whole.rows(positions.tolist())
        if rows is None:
            return None
        far = np.linalg.norm(rows - self.reconstruct(positions), axis=1)
        return rows if (far <= self.error + _ROUNDING).all() else None

    def reconstruct(self, positions: NDArray[np.int64]) -> Vectors:
        """The rows at these positions as the index holds them, shape (positions, dimension)."""
        if not len(positions):
            return np.empty((0, self.dimension), dtype=np.float32)
        rows: Vectors = self.index.reconstruct_batch(positions)
        return rows


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

        `exact` gives vectors by id; rows it leaves out are taken from the index.
        """
        if exact is None or self.segment.kind == "float32":
            return self.segment.reconstruct(positions), self.segment.error
        held = self.segment.exact(positions)
        if held is not None:
            return held, 0.0
        ids = self.segment.ids[positions].tolist()
        vectors = exact(ids)
        known = np.fromiter((row_id in vectors for row_id in ids), dtype=np.bool_, count=len(ids))
        if not known.any():
            return self.segment.reconstruct(positions), self.segment.error
        given = stacked([np.asarray(vectors[row_id]) for row_id in ids if row_id in vectors])
        exact_rows = np.empty(given.shape, dtype=np.float32)
        normalize_into(given, exact_rows)
        if known.all():
            return exact_rows, 0.0
        rows = np.empty((len(ids), self.segment.dimension), dtype=np.float32)
        rows[known] = exact_rows
        rows[~known] = self.segment.reconstruct(positions[~known])
        return rows, self.segment.error

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

    def nearest(
        self, query: Query, count: int, bitmap: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` rows with the greatest products, best first: positions and rough products.

        Fewer if `bitmap` (from `searchable`) has fewer.
        """
        index, rows, helper = self.segment.index, len(self.segment), self.segment.helper
        count = min(count, rows)
        middle = rows // 16 * 8 if helper is not None and rows >= _SHARED_FROM else 0
        other = _begun(helper, index, query, count, _selected(bitmap, 0, middle, rows)) if middle else None
        found = _scan(index, query, count, _selected(bitmap, middle if other else 0, rows, rows))
        if other is None:
            return found
        half = other.result()
        positions, products = np.concatenate((half[0], found[0])), np.concatenate((half[1], found[1]))
        best = np.argsort(-products, kind="stable")[:count]
        return positions[best], products[best]


def _selected(bitmap: NDArray[np.uint8] | None, start: int, stop: int, rows: int) -> tuple[Any, object]:
    """A selector of the rows from `start` (divisible by eight) to `stop` that are in the bitmap, None for all; and what
    it points to.
    """
    faiss = _faiss()
    if bitmap is None:
        return (None if stop - start == rows else faiss.IDSelectorRange(start, stop)), None
    part = bitmap
    if stop - start < rows:
        part = np.zeros_like(bitmap)
        part[start // 8 : -(-stop // 8)] = bitmap[start // 8 : -(-stop // 8)]
    return faiss.IDSelectorBitmap(part), part


def _begun(
    helper: Executor | None, index: Any, query: Query, count: int, selected: tuple[Any, object]
) -> Future[tuple[NDArray[np.int64], NDArray[np.float32]]] | None:
    """A scan in a thread of the helper; None if that takes no more work."""
    try:
        return None if helper is None else helper.submit(_scan, index, query, count, selected)
    except RuntimeError:  # its store is being closed
        return None


def _scan(
    index: Any, query: Query, count: int, selected: tuple[Any, object]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    faiss = _faiss()
    parameters = None if selected[0] is None else faiss.SearchParameters(sel=selected[0])
    threads = faiss.omp_get_max_threads()
    # One query is scanned by one thread, yet FAISS would wait for all. This sets the calling thread only.
    faiss.omp_set_num_threads(1)
    try:
        products, positions = index.search(query.coarse[None, :], count, params=parameters)
    finally:
        faiss.omp_set_num_threads(threads)
    found = positions[0] >= 0
    return positions[0][found], products[0][found]


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
    index = _empty_index(dimension, kind)
    if kind == "int8":
        index.train(_extremes(ids, fetch, dimension))
    usable = np.empty(len(ids), dtype=np.bool_)
    error = 0.0
    for start, stop in blocks(len(ids), _ROWS):
        rows, inherited = fetch(ids[start:stop])
        if keep is not None and not inherited:  # a file that lacks rows is not read
            keep(rows)
        usable[start:stop] = rows.any(axis=1)
        index.add(rows)
        lost = rows - index.reconstruct_n(start, stop - start)
        error = max(error, inherited + float(np.linalg.norm(lost, axis=1).max()))
    return Base(ids, usable, index, kind, error)


def _empty_index(dimension: int, kind: BaseType) -> Any:
    faiss = _faiss()
    if kind == "float32":
        return faiss.IndexFlatIP(dimension)
    quantizer = faiss.ScalarQuantizer.QT_fp16 if kind == "float16" else faiss.ScalarQuantizer.QT_8bit_uniform
    return faiss.IndexScalarQuantizer(dimension, quantizer, faiss.METRIC_INNER_PRODUCT)


def _extremes(ids: Ids, fetch: Fetch, dimension: int) -> Vectors:
    """Two rows, the least and the greatest value in each dimension: all that the 8-bit quantiser learns."""
    extremes = np.zeros((2, dimension), dtype=np.float32)
    for start, stop in blocks(len(ids), _ROWS):
        rows, _ = fetch(ids[start:stop])
        np.minimum(extremes[0], rows.min(axis=0), out=extremes[0])
        np.maximum(extremes[1], rows.max(axis=0), out=extremes[1])
    return extremes


def _faiss() -> Any:
    """The module, imported when the first base needs it and without its incomplete annotations."""
    import faiss

    return faiss
