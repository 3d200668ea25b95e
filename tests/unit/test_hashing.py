"""The hashing embedder: the same vectors everywhere, and like texts near each other."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import Embedder, Embeddings
from stateless_rag.providers.hashing import HashingEmbedder

TRIPLES = [
    (
        "Ada Lovelace wrote the first algorithm for the Analytical Engine.",
        "The algorithm by Lovelace was meant for Babbage's Analytical Engine.",
        "The football club won the league cup in the spring.",
    ),
    (
        "The children were running in the garden.",
        "A child runs through gardens.",
        "Interest rates fell in May.",
    ),
    (
        "Konrad Zuse baute in Berlin den ersten Computer.",
        "Der erste Computer von Zuse entstand in Berlin.",
        "Der Hund schläft gern in der warmen Sonne.",
    ),
    (
        "Die Rechenmaschine wurde in der Werkstatt gebaut.",
        "In Werkstätten entstanden viele Rechenmaschinen.",
        "Das Orchester spielt am Abend im Park.",
    ),
    (
        "艾达·洛夫莱斯编写了第一个计算机程序。",
        "第一个计算机程序是由洛夫莱斯编写的。",
        "今天的天气很好，我们去公园散步。",
    ),
]
PINNED = [0.4209, -0.3227, 0.1791, -0.2743, 0.416, -0.5992, 0.2622, -0.1032]


@pytest.mark.parametrize("triple", TRIPLES)
def test_like_texts_are_nearer(triple: tuple[str, str, str]) -> None:
    one, like, other = HashingEmbedder().vectors(triple)
    # Unrelated texts differ from 0 by about 0.05 (1 / sqrt of the dimension).
    assert one @ like > one @ other + 0.12


@given(st.lists(st.text(max_size=60), max_size=8))
@settings(max_examples=100)
def test_unit_length_or_zero_and_the_same_alone_as_in_a_batch(texts: list[str]) -> None:
    embedder = HashingEmbedder(64)
    vectors = embedder.vectors(texts)
    assert vectors.shape == (len(texts), 64)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(vector, embedder.vectors([text])[0])
        norm = float(np.linalg.norm(vector))
        assert norm == pytest.approx(1.0, abs=1e-5) if vector.any() else norm == 0.0


def test_texts_without_words_get_the_zero_vector() -> None:
    assert not HashingEmbedder().vectors(["", " \n", "…—!?"]).any()
    assert HashingEmbedder().vectors(["?", "Ada", ""]).any(axis=1).tolist() == [False, True, False]
    assert HashingEmbedder().vectors([]).shape == (0, 384)


def test_case_and_compatibility_forms_keep_the_words() -> None:
    one, lower, wide = HashingEmbedder().vectors(["Ada Lovelace", "ada lovelace", "Ａｄａ Ｌｏｖｅｌａｃｅ"])
    assert one @ lower > 0.9
    assert one @ wide == pytest.approx(1.0, abs=1e-6)


def test_function_words_weigh_little() -> None:
    question, answer, filler = HashingEmbedder().vectors(
        ["What was the name of the engine?", "Engine", "This was the end of the day and of the year."]
    )
    assert question @ answer > question @ filler


@pytest.mark.parametrize("seed", ["0", "1"])
def test_vectors_do_not_depend_on_the_process(seed: str) -> None:
    code = (
        "from stateless_rag.providers.hashing import HashingEmbedder as H\n"
        "print(H(48).vectors(['Ada wrote programs, programs!', '计算机程序', 'Größe']).tobytes().hex())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    here = HashingEmbedder(48).vectors(["Ada wrote programs, programs!", "计算机程序", "Größe"])
    assert out == here.tobytes().hex()


def test_hashes_are_pinned() -> None:
    # Stored vectors must stay comparable: a change of the rules must change `model` too.
    vector = HashingEmbedder(8).vectors(["Ada Lovelace wrote programs"])[0]
    assert HashingEmbedder(8).model == "hashing-1-8"
    assert vector.tolist() == pytest.approx(PINNED, abs=1e-4)


async def test_a_large_batch_is_worked_on_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    embeddings = HashingEmbedder._embeddings

    def noted(self: HashingEmbedder, texts: list[str]) -> Embeddings:
        threads.append(threading.get_ident())
        return embeddings(self, texts)

    monkeypatch.setattr(HashingEmbedder, "_embeddings", noted)
    embedder = HashingEmbedder()
    small, large = await asyncio.gather(
        embedder.embed(["Ada"], role="query"), embedder.embed(["Ada Lovelace"] * 1000, role="document")
    )
    assert small.vectors.shape == (1, 384)
    assert large.vectors.shape == (1000, 384)
    assert threads[0] == threading.get_ident() != threads[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("It's 1 + 1_000, \tisn't\x0bit?\x1cyes", 9),
        ("Größe x_y", 3),
        ("计算机 \N{FULLWIDTH DIGIT ONE}a", 4),
    ],
)
async def test_the_tokens_of_texts_are_their_words(text: str, words: int) -> None:
    assert (await HashingEmbedder(8).embed([text, "one two"], role="document")).tokens == words + 2


@given(st.text(st.characters(max_codepoint=127), max_size=80))
@settings(max_examples=200)
def test_ascii_texts_have_the_words_that_any_text_has(text: str) -> None:
    # With a letter beyond ASCII in it a text goes the general way; the letter alone is one more word.
    one, other, letter = (
        HashingEmbedder(2048)._embeddings([text]),
        HashingEmbedder(2048)._embeddings([f"{text} ö"]),
        1,
    )
    assert one.tokens is not None
    assert other.tokens == one.tokens + letter


def test_texts_beyond_a_block_are_embedded_as_they_are_alone() -> None:
    texts = [f"Text {number} of Ada " * 40 for number in range(60)]
    together = HashingEmbedder(32).vectors(texts)
    assert np.array_equal(together, np.vstack([HashingEmbedder(32).vectors([text]) for text in texts]))


def test_is_an_embedder() -> None:
    embedder = HashingEmbedder(16)
    assert isinstance(embedder, Embedder)
    assert (embedder.dimension, embedder.max_batch, embedder.max_tokens) == (16, 1024, None)
    with pytest.raises(InvalidInput, match="dimension is 0"):
        HashingEmbedder(0)
