"""Codes of rows: what a FAISS index holds of them, scanned quickly, and how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stateless_rag.stores.faiss.candidates import Candidates, floor_of
from stateless_rag.stores.faiss.cosine import blocks, float32_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from stateless_rag.stores.faiss.cosine import Query, Vectors

__all__ = ["BaseType", "Coder", "Codes", "step_of"]

BaseType = Literal["int8", "float16", "float32"]
_ROWS = 256  # float32 copies of so many rows fit a core's cache
_GREATEST = 127
_EXTRA = (
    128  # rows, or a share of all, that are asked for beyond twice `top_k`: a thousand cost half as much as
)
_EXTRA_SHARE = 128  # scanning 100,000, and too few a second scan
_WIDEN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Rows, each held roughly: `step` times what the FAISS `index` holds of it, which for "int8" are whole numbers.

    `error` is the greatest distance between a row and what is held of it, and so (Cauchy-Schwarz) bounds how far a
    score that is computed from the codes can be off.
    """

    index: Any
    kind: BaseType
    step: float
    error: float

    @property
    def dimension(self) -> int:
        """The length of the rows."""
        return int(self.index.d)

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory."""
        return int(self.index.ntotal * self.index.code_size)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def rows(self, positions: NDArray[np.int64]) -> Vectors:
        """The rows at these positions as they are held, shape (positions, dimension)."""
        if not len(positions):
            return np.empty((0, self.dimension), dtype=np.float32)
        held: Vectors = self.index.reconstruct_batch(positions)
        held *= np.float32(self.step)
        return held

    def candidates(
        self, query: Query, top_k: int, least: float, lower: Vectors, bitmap: NDArray[np.uint8] | None
    ) -> Candidates:
        """All rows that can be among the best `top_k` with a score of at least `least`, and perhaps more.

        `lower` are lower bounds of other rows' scores. `bitmap` has one bit per row, lowest bit first; None for all.
        """
        count = 2 * top_k + max(_EXTRA, len(self) // _EXTRA_SHARE)
        while True:
            found = self.nearest(query, count, bitmap)
            floor = floor_of(top_k, least, lower, found.lower)
            if len(found.rows) < count or found.upper[-1] < floor:
                return found.reaching(floor)
            count *= _WIDEN

    def nearest(self, query: Query, count: int, bitmap: NDArray[np.uint8] | None) -> Candidates:
        """The `count` rows that the codes have nearest, best first; fewer if there are, or the bitmap has, fewer."""
        asked, unit, lost = self._asked(query)
        faiss = _faiss()
        chosen = None if bitmap is None else faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))
        threads = faiss.omp_get_max_threads()
        # One query is scanned by one thread, yet FAISS would wait for all. This sets the calling thread only.
        faiss.omp_set_num_threads(1)
        try:
            products, positions = self.index.search(asked[None, :], min(count, len(self)), params=chosen)
        finally:
            faiss.omp_set_num_threads(threads)
        found = positions[0] >= 0
        error = self.error + lost * (1.0 + self.error) + float32_error(self.dimension)
        return Candidates.of(positions[0][found], products[0][found] * np.float32(unit * self.step), error)

    def _asked(self, query: Query) -> tuple[Vectors, float, float]:
        """What the index is asked, times what it is the query roughly, and how far from it: FAISS multiplies whole
        numbers with whole numbers.
        """
        if self.kind != "int8":
            return query.coarse, 1.0, 0.0
        unit = np.abs(query.coarse).max() / np.float32(_GREATEST)
        asked = np.rint(query.coarse / unit)
        return asked, float(unit), float(np.linalg.norm(query.coarse - asked * unit))


class Coder:
    """Makes codes of rows that come block by block. `step` is that of all these rows."""

    def __init__(self, kind: BaseType, dimension: int, step: float) -> None:
        self._index = _empty_index(dimension, kind)
        self._kind: BaseType = kind
        self._step = step
        self._error = 0.0

    def add(self, rows: Vectors, inherited: float = 0.0) -> None:
        """Append rows; `inherited` is how far they may be from the true ones."""
        step = np.float32(self._step)
        for start, stop in blocks(len(rows), _ROWS):
            block = rows[start:stop]
            first = self._index.ntotal
            self._index.add(np.rint(block / step) if self._kind == "int8" else block)
            lost = self._index.reconstruct_n(first, len(block))
            lost *= step
            lost -= block
            self._error = max(self._error, inherited + float(np.sqrt(np.vecdot(lost, lost).max())))

    def codes(self) -> Codes:
        """The codes of all that was added. Nothing may be added any more."""
        return Codes(self._index, self._kind, self._step, self._error)


def step_of(kind: BaseType, rows: Iterable[Vectors]) -> float:
    """The step for rows that come block by block: 1 unless the codes are int8."""
    if kind != "int8":
        return 1.0
    greatest = max((max(block.max(), -block.min()) for block in rows), default=0.0)
    return float(np.float32(greatest) / np.float32(_GREATEST)) or 1.0


def _empty_index(dimension: int, kind: BaseType) -> Any:
    faiss = _faiss()
    if kind == "float32":
        return faiss.IndexFlatIP(dimension)
    types = faiss.ScalarQuantizer
    # FAISS scans whole numbers in half the time of its other 8-bit codes: nothing is unpacked.
    quantizer = types.QT_fp16 if kind == "float16" else types.QT_8bit_direct_signed
    return faiss.IndexScalarQuantizer(dimension, quantizer, faiss.METRIC_INNER_PRODUCT)


def _faiss() -> Any:
    """The module, imported when the first rows are coded and without its incomplete annotations."""
    import faiss

    return faiss
