"""Which tokens are counted, and in which thread."""

from __future__ import annotations

import threading
from contextlib import aclosing

import pytest

from stateless_rag.calls import complete, embed_texts, stream
from stateless_rag.protocols import LLMReply
from stateless_rag.types import Message, Usage
from unit.scripted import Letters, Model, Words, make, request


async def test_tokens_are_counted_where_the_provider_gives_none() -> None:
    context = make(llm=Model(["one two three"]))
    await complete(context, request("a b", system="c", history=(Message("user", "d e"),)))
    assert context.meter.totals()["extract"] == Usage(1, 5, 3)


LONG = "word " * 2_000


async def test_long_texts_are_counted_in_a_thread_and_short_ones_at_once() -> None:
    here = threading.get_ident()
    for prompt, answer, inline in (("hi", "ho", True), (LONG, "ho", False), ("hi", LONG.strip(), False)):
        tokenizer = Words()
        context = make(llm=Model([answer, answer]), tokenizer=tokenizer)
        await complete(context, request(prompt))
        async with aclosing(stream(context, request(prompt))) as parts:
            assert [part.reply async for part in parts][-1] is not None
        words = len(prompt.split()), len(answer.split())
        assert context.meter.totals()["extract"] == Usage(2, 2 * words[0], 2 * words[1])
        assert [thread == here for thread in tokenizer.threads] == [inline] * 4

    for texts, inline in ((["a", "b"], True), (["a", LONG], False)):
        tokenizer = Words()
        context = make(embedder=Letters(), tokenizer=tokenizer)
        await embed_texts(context, texts, role="query")
        assert context.meter.totals()["embed_query"].prompt_tokens == sum(len(t.split()) for t in texts)
        assert [thread == here for thread in tokenizer.threads] == [inline] * 2


@pytest.mark.parametrize(("limit", "counted"), [(None, 0), (26, 0), (25, 3)])
async def test_texts_whose_bytes_fit_into_a_batch_are_not_counted(limit: int | None, counted: int) -> None:
    texts = ["ä" * 3, "word " * 4, "ö" * 2]
    tokenizer = Words()
    context = make(embedder=Letters(max_batch=2, max_batch_tokens=limit), tokenizer=tokenizer)
    await embed_texts(context, texts, role="query")
    assert len(tokenizer.threads) == counted + len(texts)


async def test_what_the_provider_counted_is_not_counted_again() -> None:
    tokenizer = Words()
    llm = Model([LLMReply(text=LONG, prompt_tokens=1, completion_tokens=2)])
    await complete(make(llm=llm, tokenizer=tokenizer), request(LONG))
    assert tokenizer.threads == []
