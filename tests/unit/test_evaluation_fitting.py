"""Cross-validation: weights are fitted to the questions of other folds, and rank those of this one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation import Dataset, Item, Question
from stateless_rag.evaluation.fitting import (
    Ranking,
    checked_folds,
    cross_validated,
    fit,
    fold_of,
    reranked,
)
from stateless_rag.settings import WALK_PARTS

PARTS = tuple(WALK_PARTS)


def ranking(gold_part: str, seed: int) -> Ranking:
    """Ten passages with noise in all parts, and one part that tells which is gold."""
    chance = np.random.default_rng(seed)
    values = chance.random((10, len(PARTS)))
    gold = np.zeros(10, dtype=np.bool_)
    gold[seed % 10] = True
    values[:, PARTS.index(gold_part)] = 0.2 * chance.random(10) + 0.5 * gold
    return Ranking(ids=tuple(f"p{at}" for at in range(10)), values=values, gold=gold)


def dataset_of(count: int) -> Dataset:
    questions = tuple(Question(id=f"q{at}", text="?", gold=("p0",)) for at in range(count))
    return Dataset(name="x", corpus=(Item(id="p0", text="x"),), questions=questions)


@pytest.mark.parametrize("part", PARTS)
def test_the_part_that_tells_gold_gets_the_weight(part: str) -> None:
    weights = fit([ranking(part, seed) for seed in range(20)])
    assert max(weights, key=lambda name: weights[name]) == part
    new = ranking(part, 99)
    assert reranked(new, weights).ranked[0] == "p9"


def test_a_question_is_ranked_by_weights_that_it_had_no_part_in() -> None:
    # Its gold differs from that of all others: only weights that were fitted to it could find that.
    found = [ranking("words", seed) for seed in range(9)] + [ranking("title", 9)]
    made = cross_validated(dataset_of(10), found, 10)
    place = fold_of([f"q{at}" for at in range(10)], 10)[9]
    assert made.weights[place] == fit(found[:9])
    assert made.outcomes[9] == reranked(found[9], fit(found[:9]))
    assert made.outcomes[9] != reranked(found[9], fit(found))


@given(ids=st.lists(st.text(max_size=5), min_size=2, unique=True), folds=st.integers(2, 6))
def test_folds_are_of_a_size_whatever_the_order(ids: list[str], folds: int) -> None:
    places = fold_of(ids, folds)
    sizes = np.bincount(places, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    turned = list(reversed(ids))
    assert dict(zip(turned, fold_of(turned, folds), strict=True)) == dict(zip(ids, places, strict=True))


def test_equal_sums_keep_their_order_and_ten_are_kept() -> None:
    flat = Ranking(
        ids=(*(f"p{at}" for at in range(12)), "p0"),
        values=np.zeros((13, len(PARTS))),
        gold=np.zeros(13, dtype=np.bool_),
    )
    assert reranked(flat, WALK_PARTS).ranked == tuple(f"p{at}" for at in range(10))
    assert set(fit([flat]).values()) == {0.0}


@pytest.mark.parametrize("folds", [1, -1, 5])
def test_numbers_of_folds_that_cannot_be(folds: int) -> None:
    with pytest.raises(InvalidInput, match="folds"):
        checked_folds(folds, dataset_of(4))


def test_no_folds_or_as_many_as_questions() -> None:
    assert [checked_folds(folds, dataset_of(4)) for folds in (0, 2, 4)] == [0, 2, 4]
