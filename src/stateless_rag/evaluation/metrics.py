"""How good a ranking is, against the passages that were needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

__all__ = ["DEPTH", "METRICS", "all_at", "percentile", "recall_at", "reciprocal_rank", "scores"]

DEPTH = 10
"""How many passages of a ranking are looked at."""

METRICS = ("recall@2", "recall@5", "recall@10", "all@5", "all@10", "mrr")
"""The names of what `scores` gives, each from 0 to 1, higher for better."""


def recall_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """The share of the gold passages that are among the first `k`.

    >>> recall_at(["a", "x", "b"], {"a", "b"}, 2)
    0.5
    """
    return len(set(ranked[:k]) & set(gold)) / len(set(gold))


def all_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """1 if all gold passages are among the first `k`, else 0."""
    return float(set(gold) <= set(ranked[:k]))


def reciprocal_rank(ranked: Sequence[str], gold: Collection[str]) -> float:
    """1 over the rank of the first gold passage, 0 if there is none.

    >>> reciprocal_rank(["x", "a", "b"], {"a", "b"})
    0.5
    """
    wanted = set(gold)
    return next((1 / rank for rank, id_ in enumerate(ranked, start=1) if id_ in wanted), 0.0)


def scores(ranked: Sequence[str], gold: Collection[str]) -> Mapping[str, float]:
    """All `METRICS` of one ranking, of which the first `DEPTH` count."""
    first = ranked[:DEPTH]
    return {
        **{f"recall@{k}": recall_at(first, gold, k) for k in (2, 5, 10)},
        **{f"all@{k}": all_at(first, gold, k) for k in (5, 10)},
        "mrr": reciprocal_rank(first, gold),
    }


def percentile(values: Collection[float], share: float) -> float:
    """The value below which a share of the values lies, interpolated; 0 without values.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.5
    """
    ordered = sorted(values)
    if not ordered:
        return 0.0
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
