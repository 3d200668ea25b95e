"""Cosine similarity that comes out the same wherever a row is stored and whatever rows are scored with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Flags = NDArray[np.bool_]
    Scores = NDArray[np.float64]
    Vectors = NDArray[np.float32]

__all__ = [
    "Query",
    "blocks",
    "float32_error",
    "normalize_into",
    "products_of",
    "query_of",
    "scores_of",
    "stacked",
    "unit_rows",
]

_DECIMALS = 9
_UNIT_TOLERANCE = 1e-6
_ROWS = 256  # float64 copies of so many rows fit a core's cache


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A vector of length one to search with: `exact` for scores, `coarse` (float32) to find candidates."""

    exact: NDArray[np.float64]
    coarse: Vectors


def query_of(vector: ArrayLike, dimension: int) -> Query | None:
    """The query for a vector of shape (dimension,); None for the zero vector, to which nothing is near.

    Raises `InvalidInput` for another shape and for values that are not finite.
    """
    wide = np.array(vector, dtype=np.float64)
    if wide.shape != (dimension,):
        raise InvalidInput(f"a query vector has the shape {wide.shape}; this index holds ({dimension},)")
    largest = float(np.abs(wide).max(initial=0.0))
    if not np.isfinite(largest):
        raise InvalidInput("a query vector holds NaN or infinity; ask the embedder again")
    if largest == 0.0:
        return None
    wide /= largest  # squares of very large or small values would leave float64's range
    wide /= np.sqrt((wide * wide).sum())
    return Query(exact=wide, coarse=wide.astype(np.float32))


def normalize_into(rows: ArrayLike, out: Vectors) -> Flags:
    """Write the rows into `out`, scaled to length one; say which of them can be near to anything.

    Both have the shape (rows, dimension). A row without a direction (zero, NaN, infinite) becomes zero. A row
    that has length one within 1e-6 is kept bit for bit, so normalising twice changes nothing. What becomes of
    a row does not depend on the others.
    """
    with np.errstate(over="ignore"):
        np.copyto(out, np.asarray(rows), casting="same_kind")
    usable = np.empty(len(out), dtype=np.bool_)
    for start, stop in blocks(len(out), _ROWS):
        block = out[start:stop]
        wide = block.astype(np.float64)
        lengths = _lengths(wide)
        good = np.isfinite(lengths) & (lengths > 0.0)
        usable[start:stop] = good
        if not good.all():
            block[~good] = 0.0
        scaled = good & (np.abs(lengths - 1.0) > _UNIT_TOLERANCE)
        if scaled.all():
            block[:] = wide / lengths[:, None]
        elif scaled.any():
            block[scaled] = wide[scaled] / lengths[scaled, None]
    return usable


def unit_rows(vectors: Sequence[NDArray[Any]]) -> bool:
    """Whether `normalize_into` would leave all of these vectors, at least one, as they are."""
    rows = stacked(vectors).astype(np.float32, copy=False)
    scaled = np.empty_like(rows)
    normalize_into(rows, scaled)
    return np.array_equal(rows, scaled)


def scores_of(rows: Vectors, query: Query) -> Scores:
    """The cosine of each row with the query, in float64, rounded to nine decimals; 0 for zero rows.

    Sums run along each row by itself, each in one call. A matrix product would group its sums by the shape of the
    batch, and the same row would score differently in different company.
    """
    scores = np.zeros(len(rows), dtype=np.float64)
    for start, stop in blocks(len(rows), _ROWS):
        wide = rows[start:stop].astype(np.float64, order="C")
        lengths = np.sqrt(np.vecdot(wide, wide))
        np.divide(np.vecdot(wide, query.exact), lengths, out=scores[start:stop], where=lengths > 0.0)
    rounded: Scores = np.round(scores, _DECIMALS) + 0.0  # no negative zero
    return rounded


def products_of(rows: Vectors, query: Query) -> Vectors:
    """The float32 product of each row with the query: rough scores, see `float32_error`.

    A matrix product would be shared out to threads, and then wait for the slowest of them: under load that is
    milliseconds. This stays on the calling thread and lets others run meanwhile.
    """
    products: Vectors = np.vecdot(rows, query.coarse)
    return products


def float32_error(dimension: int) -> float:
    """How far a float32 product of a stored row and a query can be from the score.

    The rounding of one sum of `dimension` products (Higham, Accuracy and Stability of Numerical Algorithms,
    §3.1), the tolerance in the rows' lengths, and the rounding of the score.
    """
    return 2 * _UNIT_TOLERANCE + (dimension + 4) * 2.0**-24


def stacked(vectors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Vectors of one length, at least one, as the rows of a matrix; three times as fast as `numpy.stack`."""
    return np.concatenate(vectors).reshape(len(vectors), -1)


def blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Bounds (start, stop) of consecutive blocks of at most `size` rows."""
    for start in range(0, count, size):
        yield start, min(count, start + size)


def _lengths(wide: NDArray[Any]) -> Scores:
    lengths: Scores = np.sqrt((wide * wide).sum(axis=1))
    return lengths
