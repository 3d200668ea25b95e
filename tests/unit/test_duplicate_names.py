"""Names that are alike: precision and recall on labelled pairs, what speaks against, order, and how work grows."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.resolving.candidates import alike
from stateless_rag.resolving.compare import compare, opposed
from stateless_rag.resolving.names import taken_apart
from stateless_rag.stores.faiss import neighbours
from stateless_rag.stores.faiss.segments import VectorIndex

DATA = Path(__file__).parent.parent / "data"


def labelled(name: str) -> tuple[list[str], list[str], set[tuple[int, int]]]:
    """All names of a set with their types, and the pairs that are one, also by way of others."""
    lines = (DATA / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    types = {name: kind for one, other, kind, _ in reversed(rows) for name in (one, other)}
    names = list(types)
    group = {name: {name} for name in names}
    for one, other, _, same in rows:
        if same == "1":
            joined = group[one] | group[other]
            group.update(dict.fromkeys(joined, joined))
    pairs = {(a, b) for a, b in combinations(range(len(names)), 2) if names[b] in group[names[a]]}
    return names, list(types.values()), pairs


@pytest.mark.parametrize(
    ("name", "precision", "recall"), [("duplicates", 0.97, 0.93), ("duplicates_unseen", 0.88, 0.82)]
)
def test_precision_and_recall(name: str, precision: float, recall: float) -> None:
    """`duplicates` is the set that the rules were written with, `duplicates_unseen` one that they were not."""
    names, types, truth = labelled(name)
    found = {pair for pair, likeness in alike(names, types).items() if likeness.score >= 0.75}
    assert len(truth) >= 30
    assert len(found & truth) / len(found) >= precision
    assert len(found & truth) / len(truth) >= recall


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Apollo 11", "Apollo 12"),
        ("World War I", "World War II"),
        ("Henry the Eighth 8", "Henry the Eighth 7"),
        ("Martin Luther King", "Martin Luther King Jr."),
        ("Mercury (planet)", "Mercury (element)"),
        ("Chapter Two", "Chapter Three"),
    ],
)
def test_what_speaks_against(one: str, other: str) -> None:
    assert opposed(taken_apart(one), taken_apart(other))
    assert compare(taken_apart(one), taken_apart(other)) is None


def test_a_short_form_of_two_things_counts_less() -> None:
    names = ["WHO", "World Health Organization", "World Heritage Office"]
    alone = alike(names[:2], ["", ""])[0, 1]
    among = alike(names, ["", "", ""])
    assert alone.score >= 0.75 > among[0, 1].score
    assert among[0, 1].score == among[0, 2].score


def test_types_that_differ_count_less() -> None:
    one, other = taken_apart("Washington"), taken_apart("washington")
    scores = [
        compare(one, other, types)
        for types in (("person", "person"), ("place", "concept"), ("person", "place"))
    ]
    assert [score.score for score in scores if score] == [0.95, 0.85, 0.6499999999999999]


WORDS = (
    "Ada",
    "A.",
    "King",
    "Dr.",
    "Byron",
    "II",
    "12",
    "WHO",
    "(x)",
    "of",
    "Smith,",
    "the",
    "Inc.",
    "é",
    "'s",
    "-",
)
NAMES = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, max_size=6), st.randoms())
def test_the_order_of_the_names_does_not_matter(names: list[str], chance: object) -> None:
    order = list(range(len(names)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    turned = alike([names[place] for place in order], [""] * len(names))
    there = {tuple(sorted((order[a], order[b]))): likeness.score for (a, b), likeness in turned.items()}
    assert there == {pair: likeness.score for pair, likeness in alike(names, [""] * len(names)).items()}


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES)
def test_comparing_is_symmetric_and_bounded(one: str, other: str) -> None:
    first, second = taken_apart(one), taken_apart(other)
    there, back = compare(first, second), compare(second, first)
    assert (there and there.score) == (back and back.score)
    assert there is None or 0 <= there.score <= 1
    if first.words:
        same = compare(first, first)
        assert same is not None
        assert same.score == 0.95


def _note(compared: list[object], *given: object) -> None:
    compared.append(given)


def test_work_grows_with_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that all share a family name, a beginning and an end: the pairs compared stay in proportion."""
    counts = []
    for size in (500, 1000, 2000):
        compared: list[object] = []
        record = partial(_note, compared)
        monkeypatch.setattr("stateless_rag.resolving.candidates.compare", record)
        letters = "abcdefghijklmnopqrst"
        names = [
            f"Anna{letters[n % 20]}{letters[n // 20 % 20]}{letters[n // 400]} Smith" for n in range(size)
        ]
        alike(names, [""] * size)
        counts.append(len(compared))
    assert counts[2] < 2.5 * counts[1] < 6.25 * counts[0]
    assert counts[2] < 60 * 2000


@pytest.mark.parametrize("exact", [4096, 100])
def test_near_pairs_are_those_of_comparing_each_with_each(
    monkeypatch: pytest.MonkeyPatch, exact: int
) -> None:
    monkeypatch.setattr(neighbours, "_EXACT", exact)
    rows = np.random.default_rng(1).normal(size=(400, 16)).astype(np.float32)
    rows[200:] = rows[:200] + 0.2 * rows[200:]  # each has one that is near
    rows[7] = 0
    view = VectorIndex.from_rows(range(10, 410), rows).view
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    cosines = unit @ unit.T
    wanted = {(10 + a, 10 + b) for a, b in combinations(range(400), 2) if cosines[a, b] >= 0.9}
    found = neighbours.near_pairs(view, 5, 0.9)
    assert len(wanted) > 150
    assert {(a, b) for a, b, _ in found} <= wanted
    assert len(found) >= (1.0 if exact > 400 else 0.95) * len(wanted)
    for a, b, score in found[:20]:
        assert score == pytest.approx(cosines[a - 10, b - 10], abs=1e-4)
