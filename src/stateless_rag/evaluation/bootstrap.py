"""Paired bootstrap: how far a mean difference over questions would vary with other questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["Interval", "bootstrap_means", "interval", "paired_intervals"]

_RESAMPLES = 10_000
_BLOCK = 1_000  # resamples at once, so that many questions take little memory
_SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds between which 95 % of the resampled means lie."""

    mean: float
    low: float
    high: float


def bootstrap_means(values: Values, *, resamples: int = _RESAMPLES, seed: int = _SEED) -> Values:
    """Means over questions that are drawn again, with replacement; the same draws for all columns.

    `values` has shape (questions, arms), the result (resamples, arms).
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    count = len(values)
    shares = np.full(count, 1 / count)
    blocks = [
        rng.multinomial(count, shares, size=min(_BLOCK, resamples - start)) @ values / count
        for start in range(0, resamples, _BLOCK)
    ]
    return np.concatenate(blocks)


def interval(mean: float, resampled: Values) -> Interval:
    """The mean with the middle 95 % of its resampled values, shape (resamples,)."""
    import numpy as np

    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(mean), float(low), float(high))


def paired_intervals(
    values: Values, *, resamples: int = _RESAMPLES, seed: int = _SEED
) -> dict[tuple[int, int], Interval]:
    """For each two columns `(a, b)` with a < b: the mean of a minus that of b, question by question.

    `values` has shape (questions, arms). The same values and seed give the same intervals.
    """
    means, resampled = values.mean(axis=0), bootstrap_means(values, resamples=resamples, seed=seed)
    columns = range(values.shape[1])
    return {
        (one, other): interval(means[one] - means[other], resampled[:, one] - resampled[:, other])
        for one in columns
        for other in columns[one + 1 :]
    }
