"""Search by words: what BM25 promises, whatever way the chunks came and went."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.stores.words import WordIndex, question_words, words_of

NONE = np.array([], dtype=np.int64)
WORDS = st.lists(
    st.sampled_from(["ada", "babbage", "engine", "loom", "notes", "图灵", "図書館"]), max_size=8
).map(" ".join)


def index_of(texts: dict[int, str]) -> WordIndex:
    return WordIndex().apply(texts, NONE)


def hits(index: WordIndex, question: str, allowed: list[int] | None = None) -> list[tuple[int, float]]:
    among = None if allowed is None else np.array(sorted(allowed), dtype=np.int64)
    return [(hit.id, hit.score) for hit in index.search(question, 100, among)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada's NOTES", ["ada", "s", "notes"]),
        ("图灵机", ["图灵", "灵机"]),
        ("ﬁne Straße", ["fine", "strasse"]),
        ("東京 Tower", ["東京", "tower"]),
        ("São Tomé, Łódź, Ærø", ["sao", "tome", "lodz", "aero"]),
        ("Ελλάδα Война йога がく 한글", ["ελλαδα", "война", "йога", "がく", "한글"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("தமிழ் мой שָׁלוֹם", ["தமிழ்", "мой", "שָׁלוֹם"]),
        ("ไทย", ["ไท", "ทย"]),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_function_words_count_only_where_there_are_no_others() -> None:
    assert question_words("the engine of the king") == ["engine", "king"]
    assert question_words("to be or not to be") == sorted({"to", "be", "or", "not"})


def test_a_score_is_what_the_formula_says() -> None:
    found = hits(index_of({1: "loom loom engine", 2: "engine", 3: "notes"}), "loom")
    mean, idf = 5 / 3, math.log(1 + (3 - 1 + 0.5) / 1.5)
    expected = idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / mean))
    assert [id_ for id_, _ in found] == [1]
    assert found[0][1] == pytest.approx(expected, abs=1e-8)


def test_ties_go_by_id_and_only_the_best_are_returned() -> None:
    index = index_of(dict.fromkeys((7, -3, 5), "ada"))
    assert [hit.id for hit in index.search("Ada?", 2)] == [-3, 5]


@given(
    texts=st.dictionaries(st.integers(-50, 50), WORDS, max_size=25), seed=st.integers(0, 99), question=WORDS
)
def test_history_leaves_no_trace(texts: dict[int, str], seed: int, question: str) -> None:
    chance = random.Random(seed)
    ids = list(texts)
    chance.shuffle(ids)
    index = WordIndex()
    for id_ in ids:
        index = index.apply({id_: texts[id_], 1000 + id_: "ada loom 图灵"}, NONE)
        if chance.random() < 0.5:
            index = index.apply({}, np.array([1000 + id_, 12345]))
    index = index.apply({}, np.array([1000 + id_ for id_ in ids], dtype=np.int64))
    assert index.ids().tolist() == sorted(texts)
    assert hits(index, question) == hits(index_of(texts), question)


@given(texts=st.dictionaries(st.integers(0, 30), WORDS, max_size=20), question=WORDS)
def test_a_limited_search_is_a_search_of_what_is_allowed(texts: dict[int, str], question: str) -> None:
    allowed = [id_ for id_ in texts if id_ % 3]
    alone = index_of({id_: texts[id_] for id_ in allowed})
    assert hits(index_of(texts), question, allowed) == hits(alone, question)


def test_a_chunk_that_comes_back_is_found_again() -> None:
    index = index_of({1: "ada", 2: "loom"}).apply({}, np.array([1]))
    assert hits(index, "ada") == []
    assert hits(index.apply({1: "ada"}, NONE), "ada") == hits(index_of({1: "ada", 2: "loom"}), "ada")


def test_an_index_made_in_steps_covers_what_one_made_at_once_does() -> None:
    chance = random.Random(7)
    told = ["ada", "babbage", "engine", "loom", "notes", "weaver", "card"]
    texts = {chance.randrange(-(10**9), 10**9): " ".join(chance.sample(told, 3)) for _ in range(60)}
    ids = np.array(sorted(texts), dtype=np.int64)
    stepwise = WordIndex()
    for id_, text in texts.items():
        stepwise = stepwise.apply({id_: text}, NONE)
        stepwise.search("ada", 1)
    whole = index_of(texts)
    for question in ("ada loom", "card weaver notes", "engine"):
        assert hits(stepwise, question) == hits(whole, question)
        for one, other in zip(stepwise.coverage(question, ids), whole.coverage(question, ids), strict=True):
            assert np.array_equal(one, other)


def test_coverage_tells_which_chunks_have_which_words() -> None:
    index = index_of({1: "ada loom", 2: "loom"}).apply({3: "engine"}, NONE)
    idf, has = index.coverage("ada engine loom", np.array([3, 1, 99]))
    assert has.tolist() == [[False, True, False], [True, False, True], [False, False, False]]
    assert idf[0] == idf[1] > idf[2]
    assert idf[2] == pytest.approx(math.log(1 + 1.5 / 2.5))
