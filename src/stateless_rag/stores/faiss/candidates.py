"""Candidates of a search: rows whose scores are known roughly, each between two bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stateless_rag.stores.faiss.cosine import Vectors

__all__ = ["Candidates", "floor_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Rows by number, and bounds of their scores, each of shape (rows,)."""

    rows: NDArray[np.int64]
    lower: Vectors
    upper: Vectors

    @classmethod
    def of(cls, rows: NDArray[np.int64], products: Vectors, error: float) -> Candidates:
        """Rows with their rough scores, which are off by at most `error`."""
        return cls(rows, products - np.float32(error), products + np.float32(error))

    @classmethod
    def joined(cls, parts: Sequence[tuple[int, Candidates]]) -> Candidates:
        """The candidates of all parts, whose rows are counted from the number that stands with each."""
        if not parts:
            return cls.of(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), 0.0)
        if len(parts) == 1 and not parts[0][0]:
            return parts[0][1]
        return cls(
            np.concatenate([first + part.rows for first, part in parts]),
            np.concatenate([part.lower for _, part in parts]),
            np.concatenate([part.upper for _, part in parts]),
        )

    def reaching(self, floor: float) -> Candidates:
        """Those whose score may be as high as the floor."""
        kept = self.upper >= floor
        return self if kept.all() else Candidates(self.rows[kept], self.lower[kept], self.upper[kept])

    def between(self, floor: float, ceiling: float = np.inf) -> NDArray[np.int64]:
        """The rows whose score may be as high as the floor, but surely is not as high as the ceiling."""
        return self.rows[(self.upper >= floor) & (self.upper < ceiling)]


def floor_of(top_k: int, least: float, *bounds: NDArray[np.floating[Any]]) -> float:
    """The `top_k`-th of these scores or bounds, or `least` if that is more, or they are fewer."""
    some = [part for part in bounds if len(part)]
    all_bounds = some[0] if len(some) == 1 else np.concatenate(bounds)
    at = len(all_bounds) - top_k
    return least if at < 0 else max(least, float(np.partition(all_bounds, at)[at]))
