"""Which tokens are counted, and in which thread."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from stateless_rag.calls import complete, embed_texts, stream
from stateless_rag.context import Context
from stateless_rag.protocols import LLMReply
from stateless_rag.stages.extract import LLMExtractor, extract_one
from stateless_rag.stages.summarize import summarize
from stateless_rag.types import Message, Usage
from unit.scripted import Letters, Model, Words, a_chunk, make, request


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


class Slow(Words):
    """Is built when it first counts."""

    @property
    def built(self) -> bool:
        return bool(self.threads)


async def left_early(context: Context) -> None:
    async with aclosing(stream(context, request())) as parts:
        assert (await anext(parts)).text == "one two"


async def gleaning(context: Context) -> None:
    reply = "entity<|#|>Ada<|#|>person<|#|>Programmer.\n<|COMPLETE|>"
    counted = LLMReply(text=reply, prompt_tokens=1, completion_tokens=1)
    extraction = replace(context.settings.extraction, max_input_tokens=50)
    context = context.derive(
        llm=Model([counted]),
        extractor=LLMExtractor(),
        settings=replace(context.settings, extraction=extraction),
    )
    assert (await extract_one(context, a_chunk())).error is None


USES: dict[str, Callable[[Context], Awaitable[object]]] = {
    "a reply": lambda context: complete(context, request()),
    "a stream that is left early": left_early,
    "an embedder": lambda context: embed_texts(context, ["a"], role="query"),
    "gleaning": gleaning,
    "a summary": lambda context: summarize(context, "Ada", [f"Text {n}." for n in range(20)]),
}


@pytest.mark.parametrize("use", USES)
async def test_a_tokenizer_that_is_not_built_yet_counts_in_a_thread(use: str) -> None:
    tokenizer = Slow()
    await USES[use](make(llm=Model(["one two", "three"]), tokenizer=tokenizer))
    assert tokenizer.threads[0] != threading.get_ident()


async def test_what_was_said_before_a_stream_was_left_is_counted() -> None:
    context = make(llm=Model(["one two", "three"]), tokenizer=Slow())
    await left_early(context)
    assert context.meter.totals()["extract"] == Usage(1, 2, 2)


async def test_the_built_tokenizer_counts_on_the_loop() -> None:
    tokenizer = Slow()
    context = make(llm=Model(["one", "two"]), tokenizer=tokenizer)
    for _ in range(2):
        await complete(context, request())
    assert [thread == threading.get_ident() for thread in tokenizer.threads] == [False] * 2 + [True] * 2


@pytest.mark.parametrize(("limit", "counted"), [(2 * 8 * 6, 0), (8 * 6 - 1, 8)])
async def test_descriptions_that_fit_by_their_bytes_are_summarised_without_counting(
    limit: int, counted: int
) -> None:
    tokenizer = Words()
    context = make(llm=Model(["all of it"]), tokenizer=tokenizer)
    merging = replace(context.settings.merging, summarize_from=8, summary_context_tokens=limit)
    context = context.derive(settings=replace(context.settings, merging=merging))
    assert await summarize(context, "A", [f"said {n}" for n in range(8)]) == "all of it"
    assert len(tokenizer.threads) - 2 == counted  # two are for what the reply cost
