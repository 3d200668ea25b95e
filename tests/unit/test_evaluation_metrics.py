"""Metrics of a ranking, computed by hand, and the laws of the paired bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.evaluation.bootstrap import bootstrap_means, paired_intervals
from stateless_rag.evaluation.metrics import METRICS, all_at, percentile, recall_at, reciprocal_rank, scores

RANKED = ["x", "a", "y", "b", "z", "c", "p", "q", "r", "s", "d"]


@pytest.mark.parametrize(
    ("ranked", "gold", "expected"),
    [
        # a is second, b fourth
        (RANKED, {"a", "b"}, (1 / 2, 1.0, 1.0, 1.0, 1.0, 1 / 2)),
        # c is sixth
        (RANKED, {"a", "b", "c"}, (1 / 3, 2 / 3, 1.0, 0.0, 1.0, 1 / 2)),
        # d is eleventh, which is too late for everything
        (RANKED, {"d"}, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
        (RANKED, {"a", "d"}, (1 / 2, 1 / 2, 1 / 2, 0.0, 0.0, 1 / 2)),
        (["a"], {"a", "b", "c", "d"}, (1 / 4, 1 / 4, 1 / 4, 0.0, 0.0, 1.0)),
        ([], {"a"}, (0.0,) * 6),
    ],
)
def test_scores_by_hand(ranked: list[str], gold: set[str], expected: tuple[float, ...]) -> None:
    assert tuple(scores(ranked, gold)) == METRICS
    assert tuple(scores(ranked, gold).values()) == pytest.approx(expected)


@given(st.permutations(RANKED), st.sets(st.sampled_from(RANKED), min_size=1))
def test_metrics_are_shares_that_grow_with_k(ranked: list[str], gold: set[str]) -> None:
    recalls = [recall_at(ranked, gold, k) for k in range(1, len(ranked) + 1)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1.0
    assert [all_at(ranked, gold, k) for k in range(1, len(ranked) + 1)] == [r == 1.0 for r in recalls]
    assert reciprocal_rank(ranked, gold) == 1 / (1 + min(ranked.index(id_) for id_ in gold))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.5), ([0.0, 10.0], 0.95, 9.5), ([], 0.5, 0.0)],
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == pytest.approx(expected)
    assert not values or percentile(values, share) == pytest.approx(float(np.percentile(values, share * 100)))


# ---- the bootstrap -------------------------------------------------------------------------------------

VALUES = np.random.default_rng(1).random((60, 3)) + np.array([0.0, 0.02, 0.3])


def test_the_same_seed_gives_the_same_intervals_and_another_does_not() -> None:
    assert paired_intervals(VALUES) == paired_intervals(VALUES)
    assert paired_intervals(VALUES, seed=1) != paired_intervals(VALUES)


def test_every_pair_has_the_difference_of_its_means_within_its_bounds() -> None:
    found = paired_intervals(VALUES)
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    for (one, other), pair in found.items():
        assert pair.mean == pytest.approx(VALUES[:, one].mean() - VALUES[:, other].mean())
        assert pair.low < pair.mean < pair.high
    assert found[0, 2].high < 0
    assert found[0, 1].low < 0 < found[0, 1].high


def test_intervals_turn_round_with_their_arms() -> None:
    there, back = paired_intervals(VALUES)[0, 2], paired_intervals(VALUES[:, ::-1])[0, 2]
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))


def test_pairs_are_drawn_together() -> None:
    """What two arms have in common on every question makes their difference no less certain."""
    common = np.random.default_rng(3).normal(0, 100, size=(60, 1))
    plain, shifted = paired_intervals(VALUES)[0, 1], paired_intervals(VALUES + common)[0, 1]
    assert (shifted.low, shifted.high) == pytest.approx((plain.low, plain.high))
    same = paired_intervals(np.hstack([common, common]))[0, 1]
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


def test_intervals_are_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(5).normal(0, 1, size=(400, 1))
    expected = values.std() / math.sqrt(len(values))
    assert bootstrap_means(values).std() == pytest.approx(expected, rel=0.05)
    found = paired_intervals(np.hstack([values, np.zeros_like(values)]))[0, 1]
    assert found.high - found.low == pytest.approx(2 * 1.96 * expected, rel=0.05)
    assert bootstrap_means(values, resamples=1234).shape == (1234, 1)
