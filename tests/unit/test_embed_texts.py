"""Calls of an embedder: batches, journal, spoiled vectors, callers that want the same."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stateless_rag.calls import embed_texts, vector_digest
from stateless_rag.errors import (
    DeadlineExceeded,
    InvalidReply,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.limits import Limits
from stateless_rag.protocols import Embeddings
from stateless_rag.types import Usage
from unit.scripted import QUICK, Letters, Memory, Words, idle, make, settle

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Vectors


def rows(*texts: str) -> list[list[int]]:
    return [[len(text), ord(text[0]), 0] for text in texts]


async def begun(context: Context, letters: str) -> asyncio.Task[Vectors]:
    """Embedding these letters, as far as it gets without waiting."""
    task = asyncio.create_task(embed_texts(context, [*letters], role="document"))
    await settle()
    return task


async def test_vectors_come_in_order_as_the_embedder_gave_them() -> None:
    context = make(embedder=Letters())
    vectors = await embed_texts(context, ["b b", "a", "b b", "cc"], role="document")
    assert vectors.tolist() == rows("b b", "a", "b b", "cc")
    assert (vectors.dtype.name, vectors.flags.c_contiguous) == ("float32", True)
    assert context.meter.totals() == {"embed": Usage(2, 4, 0)}
    assert idle(context)


@pytest.mark.parametrize(("dimension", "width"), [(None, 0), (3, 3)])
async def test_no_texts_make_no_call(dimension: int | None, width: int) -> None:
    embedder = Letters(dimension=dimension)
    vectors = await embed_texts(make(embedder=embedder), [], role="document")
    assert (vectors.shape, vectors.dtype.name, embedder.asked) == ((0, width), "float32", 0)


async def test_document_vectors_are_journaled_per_batch_and_not_paid_for_again() -> None:
    journal, embedder = Memory(), Letters(Embeddings(vectors=np.ones((2, 3), np.float32), tokens=50))
    context = make(embedder=embedder, journal=journal)
    await embed_texts(context, ["a", "b", "a"], role="document")
    vectors = await embed_texts(context, ["c", "b"], role="document")
    assert vectors.tolist() == [*rows("c"), [1, 1, 1]]
    assert embedder.batches == [("a", "b"), ("c",)]
    assert journal.batches == [(2, Usage(1, 50), "e"), (1, Usage(1, 1), "e")]
    assert context.meter.totals() == {"embed": Usage(2, 51, 0, cached=1)}


async def test_questions_are_not_journaled() -> None:
    journal = Memory()
    context = make(journal=journal)
    for _ in range(2):
        await embed_texts(context, ["a"], role="query")
    assert journal.vectors == {}
    assert context.meter.totals() == {"embed_query": Usage(2, 2)}


@examples(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    size=st.integers(1, 5),
    limit=st.none() | st.integers(1, 12),
)
def test_batches_respect_the_embedders_limits(lengths: list[int], size: int, limit: int | None) -> None:
    texts = [" ".join([f"{chr(97 + number)}"] * length) for number, length in enumerate(lengths)]
    embedder = Letters(max_batch=size, max_batch_tokens=limit)
    vectors = asyncio.run(embed_texts(make(embedder=embedder), texts, role="document"))
    assert vectors.tolist() == rows(*texts)
    for batch in embedder.batches:
        assert len(batch) <= size
        assert limit is None or len(batch) == 1 or sum(Words().count(text) for text in batch) <= limit
    assert sorted(text for batch in embedder.batches for text in batch) == texts
    if limit is None:
        assert len(embedder.batches) == -(-len(texts) // size)


async def test_batches_run_at_once_up_to_the_limit() -> None:
    gate = asyncio.Event()
    embedder = Letters(*[gate] * 4, max_batch=1)
    context = make(embedder=embedder, limits=Limits(embedder=4))
    task = await begun(context, "abcdefgh")
    assert embedder.asked == 4
    gate.set()
    assert (await task).tolist() == rows(*"abcdefgh")


@pytest.mark.parametrize(
    "bad",
    [
        [[1.0, 2.0, 3.0]],
        [1.0, 2.0],
        [[1.0], [1.0, 2.0]],
        [[], []],
        [["x"], ["y"]],
        [[1.0, float("nan"), 0.0], [1.0, 1.0, 1.0]],
        [[1.0, 1e300, 0.0], [1.0, 1.0, 1.0]],
        [[1.0, 2.0], [3.0, 4.0]],
    ],
)
async def test_vectors_that_cannot_be_used_are_asked_for_again(bad: Any) -> None:
    journal = Memory()
    context = make(embedder=Letters(bad, dimension=3), journal=journal)
    assert (await embed_texts(context, ["a", "b"], role="document")).tolist() == rows("a", "b")
    context = make(embedder=Letters(bad, bad, bad, dimension=3), journal=journal)
    with pytest.raises(InvalidReply):
        await embed_texts(context, ["c", "d"], role="document")
    assert len(journal.vectors) == 2
    assert idle(context)


async def test_an_embedder_that_changes_its_dimension_between_batches_is_an_error() -> None:
    short = [[1.0, 2.0]] * 2
    context = make(embedder=Letters(short, short), journal=Memory())
    with pytest.raises(InvalidReply, match="dimensions"):
        await embed_texts(context, [*"abcdefgh"], role="document")
    assert idle(context)


async def test_zero_vectors_are_kept() -> None:
    vectors = await embed_texts(make(embedder=Letters([[0.0, 0.0]])), ["a"], role="query")
    assert vectors.tolist() == [[0.0, 0.0]]


async def test_an_error_of_the_embedder_is_raised_bare_with_its_cause_and_what_came_is_kept() -> None:
    journal, odd = Memory(), ValueError("odd")
    context = make(embedder=Letters(rows("a", "b"), odd), journal=journal, limits=Limits(embedder=1))
    with pytest.raises(ProviderError, match="odd") as caught:
        await embed_texts(context, [*"abcdefgh"], role="document")
    assert caught.value.__cause__ is odd
    assert set(journal.vectors) == {vector_digest("e", "a"), vector_digest("e", "b")}
    assert idle(context)


async def test_embedding_has_its_own_time_out() -> None:
    context = make(replace(QUICK, embed_timeout=0.01, attempts=1), embedder=Letters(1.0))
    with pytest.raises(ProviderTimeout):
        await embed_texts(context, ["a"], role="query")
    assert idle(context)


async def test_texts_that_two_callers_want_at_once_are_embedded_once() -> None:
    gate = asyncio.Event()
    embedder = Letters(gate, max_batch=8)
    context = make(embedder=embedder, journal=Memory())
    one = await begun(context, "abcd")
    other = await begun(context, "fdcbe")
    assert not other.done()
    gate.set()
    assert (await one).tolist() == rows(*"abcd")
    assert (await other).tolist() == rows(*"fdcbe")
    assert embedder.batches == [tuple("abcd"), tuple("fe")]
    assert context.meter.totals() == {"embed": Usage(2, 6, 0, cached=3)}
    assert idle(context)


async def test_who_waits_for_a_text_gets_it_with_its_batch() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    embedder = Letters(first, rows("a", "b"), second)
    context = make(embedder=embedder, journal=Memory(), limits=Limits(embedder=1))
    one = await begun(context, "abcd")
    other = await begun(context, "ba")
    first.set()
    async with asyncio.timeout(240):
        assert (await other).tolist() == rows(*"ba")
    assert not one.done()
    second.set()
    await one


async def test_texts_of_a_caller_that_was_cancelled_are_embedded_by_the_one_who_waits() -> None:
    gate = asyncio.Event()
    embedder = Letters(gate, max_batch=8)
    context = make(embedder=embedder, journal=Memory())
    one = await begun(context, "ab")
    other = await begun(context, "bc")
    one.cancel()
    assert (await other).tolist() == rows(*"bc")
    assert embedder.batches == [("a", "b"), ("c",), ("b",)]
    assert idle(context)


async def test_the_deadline_covers_waiting_for_a_caller_who_embeds_the_same() -> None:
    gate = asyncio.Event()
    context = make(embedder=Letters(gate), journal=Memory())
    one = await begun(context, "a")
    with pytest.raises(DeadlineExceeded, match="same texts"):
        await embed_texts(context.derive(deadline=time.monotonic() + 0.1), ["a"], role="document")
    gate.set()
    await one
    assert idle(context)


@pytest.mark.parametrize("turns", range(10))
async def test_cancelling_embedding_at_any_point_leaves_nothing_behind(turns: int) -> None:
    context = make(embedder=Letters(ProviderUnavailable("x")), journal=Memory(), limits=Limits(embedder=1))
    task = asyncio.create_task(embed_texts(context, [*"abcde"], role="document"))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert idle(context)
    assert (await embed_texts(context, [*"abcde"], role="document")).tolist() == rows(*"abcde")


async def test_overlapping_callers_in_opposite_order_do_not_wait_for_each_other_for_ever() -> None:
    embedder = Letters(max_batch=3)
    context = make(embedder=embedder, journal=Memory())
    letters = [chr(97 + number) for number in range(20)]
    wanted = [letters, letters[::-1], letters[5:15], letters[::3], letters[::-2]]
    async with asyncio.timeout(240):
        found = await asyncio.gather(*(embed_texts(context, each, role="document") for each in wanted))
    assert [vectors.tolist() for vectors in found] == [rows(*each) for each in wanted]
    assert Counter(text for batch in embedder.batches for text in batch) == Counter(letters)
