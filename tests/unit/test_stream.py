"""Streams of an LLM: attempts, slots, idle consumers, deadlines."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stateless_rag.calls import complete, stream
from stateless_rag.context import Clock, Context
from stateless_rag.errors import (
    DeadlineExceeded,
    InvalidReply,
    ProviderTimeout,
    ProviderUnavailable,
    StreamAbandoned,
)
from stateless_rag.limits import Limits, Priority
from stateless_rag.protocols import LLMReply, LLMRequest, StreamPart
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

from unit.scripted import QUICK, FakeTime, Model, idle, make, request


async def read(context: Context) -> list[StreamPart]:
    return [part async for part in stream(context, request())]


async def test_a_stream_ends_with_the_whole_reply_and_its_tokens() -> None:
    reply = LLMReply(text="one two", prompt_tokens=9, completion_tokens=4)
    context = make(llm=Model(["one", " two", StreamPart(reply=reply)]))
    parts = await read(context)
    assert [part.text for part in parts] == ["one", " two", ""]
    assert [part.reply for part in parts] == [None, None, reply]
    assert context.meter.totals() == {"extract": Usage(1, 9, 4)}
    assert idle(context)


@pytest.mark.parametrize(
    "steps",
    [
        ["one", " two"],
        ["", "one", "", " two"],
        [StreamPart(text="one two", reply=LLMReply(text="one two"))],
        [StreamPart(reply=LLMReply(text="one two"))],
        ["one", StreamPart(text=" two", reply=LLMReply(text=""))],
    ],
)
async def test_a_stream_without_token_counts_or_final_part_is_completed(steps: list[Any]) -> None:
    context = make(llm=Model(steps))
    parts = await read(context)
    assert "".join(part.text for part in parts) == "one two"
    assert parts[-1].reply == LLMReply(text="one two", prompt_tokens=2, completion_tokens=2)
    assert context.meter.totals() == {"extract": Usage(1, 2, 2)}


async def test_a_stream_is_tried_again_before_its_first_text_and_not_after() -> None:
    llm = Model([ProviderUnavailable("1"), " ", ProviderUnavailable("2"), "text"])
    assert "".join(part.text for part in await read(make(llm=llm))) == "text"
    assert llm.closed == 3

    llm = Model(["text", ProviderUnavailable("3"), "never"])
    context = make(llm=llm)
    got = []
    with pytest.raises(ProviderUnavailable, match="3"):
        async for part in stream(context, request()):
            got.append(part.text)  # noqa: PERF401  (what came before the error is the point)
    assert got == ["text"]
    assert context.meter.totals() == {"extract": Usage(1, 2, 1)}
    assert idle(context)


async def test_a_stream_holds_no_slot_between_attempts() -> None:
    held: list[int] = []

    async def sleep(_: float) -> None:
        held.append(context.limits.in_use("llm"))

    llm = Model([ProviderUnavailable("1"), ProviderUnavailable("2"), "text"])
    context = make(llm=llm, clock=Clock(sleep=sleep), limits=Limits(llm=1))
    async with asyncio.timeout(240):
        await read(context)
    assert held == [0, 0]


async def test_an_empty_stream_is_an_error_like_an_empty_reply() -> None:
    class Silent(Model):
        async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
            self.asked += 1
            yield StreamPart(reply=LLMReply(text="", truncated=self.model == "cut"))

    llm = Silent()
    context = make(llm=llm)
    with pytest.raises(InvalidReply):
        await read(context)
    assert llm.asked == 3
    assert idle(context)
    llm.model = "cut"
    context = make(llm=llm)
    (part,) = await read(context)
    assert context.meter.totals() == {"extract": Usage(1, 2, 0)}
    assert part.reply is not None
    assert part.reply.truncated


async def test_the_slot_is_held_until_the_stream_is_closed() -> None:
    llm = Model(["a", "b", "c"])
    context = make(llm=llm, limits=Limits(llm=1))
    async with aclosing(stream(context, request())) as parts:
        assert (await anext(parts)).text == "a"
        assert context.limits.in_use("llm") == 1
    assert llm.closed == 1
    assert idle(context)
    assert context.meter.totals() == {"extract": Usage(1, 2, 1)}


@pytest.mark.parametrize("part", ["text", None, StreamPart(text=5), StreamPart(text="a", reply="a")])  # type: ignore[arg-type]
async def test_parts_of_another_kind_are_errors_of_the_provider(part: Any) -> None:
    class Odd(Model):
        async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
            yield part if part is not None else object()  # type: ignore[misc]

    with pytest.raises(InvalidReply, match=r"m (streamed|answered)"):
        await read(make(llm=Odd()))


async def test_what_no_prompt_can_carry_is_taken_out_of_a_stream() -> None:
    reply = LLMReply(text="a\ud800b", prompt_tokens=1, completion_tokens=1)
    *parts, last = await read(make(llm=Model(["a\ud800b", StreamPart(reply=reply)])))
    assert "".join(part.text for part in parts) == "a\ufffdb"
    assert last.reply == replace(reply, text="a\ufffdb")


async def test_a_whole_reply_holds_no_slot_while_the_consumer_looks_at_it() -> None:
    context = make(llm=Model(["a"]))
    async with aclosing(stream(context, request())) as parts:
        held = [context.limits.in_use("llm") async for _ in parts]
    assert held == [1, 0]


IDLE = replace(QUICK, stream_idle=0.02)


async def let_go(context: Context) -> None:
    """Wait until the only slot is free."""
    async with (
        asyncio.timeout(240),
        context.limits.slot("llm", workspace="another", priority=Priority.QUERY),
    ):
        pass


async def test_a_stream_that_nobody_reads_is_closed_and_says_so_to_who_reads_on() -> None:
    llm = Model(["a", "b", "c"])
    context = make(IDLE, llm=llm, limits=Limits(llm=1))
    parts = stream(context, request())
    assert (await anext(parts)).text == "a"
    await let_go(context)
    assert llm.closed == 1
    assert await complete(context, request()) == LLMReply(text="b")  # the slot is free for others
    with pytest.raises(StreamAbandoned, match="stream_idle"):
        await anext(parts)
    assert context.meter.totals() == {"extract": Usage(2, 4, 2)}
    assert [part async for part in parts] == []
    assert idle(context)


async def test_a_stream_that_nobody_reads_can_still_be_closed() -> None:
    llm = Model(["a", "b"])
    context = make(IDLE, llm=llm, limits=Limits(llm=1))
    async with aclosing(stream(context, request())) as parts:
        await anext(parts)
        await let_go(context)
    assert llm.closed == 1
    assert context.meter.totals() == {"extract": Usage(1, 2, 1)}


async def test_a_provider_that_cannot_close_its_stream_loses_the_slot_all_the_same() -> None:
    class Stuck(Model):
        async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
            try:
                yield StreamPart(text="a")
            finally:
                raise ConnectionError("gone")

    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    context = make(IDLE, llm=Stuck(), limits=Limits(llm=1))
    parts = stream(context, request())
    await anext(parts)
    await let_go(context)
    with pytest.raises(StreamAbandoned):
        await anext(parts)
    del parts
    gc.collect()
    assert complaints == []


async def test_a_slow_consumer_keeps_its_stream_if_it_asks_in_time_each_time() -> None:
    loop = asyncio.get_running_loop()
    context = make(replace(QUICK, stream_idle=1000.0), llm=Model(["a", "b", "c"]))
    later, timers = loop.call_later, []

    def noted(delay: float, *arguments: Any) -> asyncio.TimerHandle:
        handle = later(delay, *arguments)
        if delay == 1000.0:
            timers.append(handle)
        return handle

    loop.call_later = noted  # type: ignore[method-assign,assignment]
    async with aclosing(stream(context, request())) as parts:
        waiting = [[timer.cancelled() for timer in timers] async for _ in parts]
    # A timer runs while the consumer has a part, and ends when it asks for the next.
    assert waiting == [[False], [True, False], [True, True, False], [True, True, True]]


async def test_the_time_of_the_consumer_does_not_count_but_the_providers_does() -> None:
    time_ = FakeTime()
    llm = Model(["a", "b", 5.0, "c"])
    context = make(replace(QUICK, llm_timeout=0.2), llm=llm, clock=time_.clock)
    got = []
    with pytest.raises(ProviderTimeout):
        async for part in stream(context, request()):
            got.append(part.text)
            time_.now += 100
    assert got == ["a", "b"]
    assert idle(context)


async def test_the_time_of_a_stream_is_counted_over_all_its_parts() -> None:
    time_ = FakeTime()

    class Slow(Model):
        async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
            while True:
                time_.now += 2
                await asyncio.sleep(0)
                yield StreamPart(text="x")

    got = []
    with pytest.raises(ProviderTimeout, match="within 7 s"):
        async for part in stream(
            make(replace(QUICK, llm_timeout=7.0), llm=Slow(), clock=time_.clock), request()
        ):
            got.append(part.text)  # noqa: PERF401  (what came before the error is the point)
    assert got == ["x"] * 4


async def test_a_stream_ends_at_the_deadline() -> None:
    context = make(llm=Model(["a", 1.0, "b"]), deadline=time.monotonic() + 0.1)
    with pytest.raises(DeadlineExceeded):
        await read(context)
    assert idle(context)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelling_a_stream_at_any_point_leaves_nothing_behind(turns: int) -> None:
    llm = Model(["a", 0.0, "b", 0.0, "c"])
    context = make(llm=llm, limits=Limits(llm=1))

    async def consume() -> None:
        async with aclosing(stream(context, request())) as parts:
            async for _ in parts:
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert idle(context)
    assert llm.closed == (1 if turns else 0)
