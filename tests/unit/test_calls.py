from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stateless_rag.calls import complete, embed_texts, request_digest, rerank, stream, vector_digest
from stateless_rag.context import Clock, Context
from stateless_rag.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    StreamAbandoned,
)
from stateless_rag.flights import Flights
from stateless_rag.limits import Limits, Priority
from stateless_rag.protocols import Embeddings, JournalEntry, LLMReply, LLMRequest, StreamPart
from stateless_rag.settings import CallSettings, Settings
from stateless_rag.types import Message, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from stateless_rag.protocols import Vectors


class Words:
    name = "words"

    def __init__(self) -> None:
        self.threads: list[int] = []

    def count(self, text: str) -> int:
        self.threads.append(threading.get_ident())
        return len(text.split())

    def offsets(self, text: str) -> Sequence[int]:
        return [0] * self.count(text)


class Memory:
    """A journal; `slow` makes every read and write suspend until it is set."""

    def __init__(self) -> None:
        self._flights = Flights()
        self.entries: dict[str, JournalEntry] = {}
        self.vectors: dict[str, Vectors] = {}
        self.batches: list[tuple[int, Usage, str]] = []
        self.slow: asyncio.Event | None = None

    @property
    def flights(self) -> Flights:
        return self._flights

    async def get(self, digest: str) -> LLMReply | None:
        await self._wait()
        return self.entries[digest].reply if digest in self.entries else None

    async def put(self, entry: JournalEntry) -> None:
        await self._wait()
        self.entries[entry.digest] = entry

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        await self._wait()
        return {digest: self.vectors[digest] for digest in digests if digest in self.vectors}

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        await self._wait()
        self.vectors.update(vectors)
        self.batches.append((len(vectors), entry_usage, model))

    async def _wait(self) -> None:
        await asyncio.sleep(0)
        if self.slow is not None:
            await self.slow.wait()


@dataclass
class Script:
    """What a provider does, call after call: an answer, an error, or an event to wait for first."""

    steps: list[Any] = field(default_factory=list)
    asked: int = 0

    async def next(self) -> Any:
        self.asked += 1
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                return step
        return None


class Model(Script):
    model = "m"
    closed = 0

    async def complete(self, request: LLMRequest) -> LLMReply:
        step = await self.next()
        return step if isinstance(step, LLMReply) else LLMReply(text=step or f"re: {request.prompt}")

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
        try:
            while True:
                step = await self.next()
                if step is None:
                    return
                yield step if isinstance(step, StreamPart) else StreamPart(text=step)
        finally:
            self.closed += 1


class Letters(Script):
    """Embeds a text as (its length, its first code point, 0)."""

    model = "e"
    dimension: int | None = None
    max_tokens: int | None = None
    max_batch = 2
    max_batch_tokens: int | None = None

    def __init__(self, *steps: Any, **attributes: Any) -> None:
        super().__init__(list(steps))
        self.__dict__.update(attributes)
        self.batches: list[tuple[str, ...]] = []

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.batches.append(tuple(texts))
        step = await self.next()
        if isinstance(step, Embeddings):
            return step
        rows: Any = step if step is not None else [[len(text), ord(text[0]), 0] for text in texts]
        return Embeddings(vectors=rows)


class Ranker(Script):
    model = "r"

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> Sequence[tuple[int, float]]:
        step: Sequence[tuple[int, float]] = await self.next()
        return step


@dataclass
class FakeTime:
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


QUICK = CallSettings(attempts=3, backoff=0.001, max_backoff=0.004)


def make(calls: CallSettings = QUICK, **fields: Any) -> Context:
    defaults: dict[str, Any] = {"embedder": Letters(), "tokenizer": Words(), "extractor": None}
    return Context(settings=Settings(calls=calls), **(defaults | fields))


def request(prompt: str = "hello you", **fields: Any) -> LLMRequest:
    return LLMRequest(prompt=prompt, purpose="extract", **fields)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def idle(context: Context) -> bool:
    return not any(
        context.limits.in_use(kind) + context.limits.waiting(kind) for kind in ("llm", "embedder", "reranker")
    ) and (context.journal is None or not len(context.journal.flights))


# ---- digests -------------------------------------------------------------------------------------------


def test_the_digest_of_a_request_follows_all_that_determines_the_reply_and_nothing_else() -> None:
    one = request(system="s", history=(Message("user", "a"), Message("assistant", "b")))
    changed = [
        replace(one, prompt="other"),
        replace(one, system=None),
        replace(one, system=""),
        replace(one, history=(Message("user", "a"),)),
        replace(one, history=(Message("user", "a"), Message("user", "b"))),
        replace(one, json=True),
        replace(one, max_tokens=5),
        LLMRequest(prompt="s", system=one.prompt, history=one.history),
        replace(one, history=(Message("assistant", "a"), Message("user", "b"))),
        LLMRequest(prompt="s", history=(Message("user", one.prompt), Message("user", "a"))),
    ]
    digests = [request_digest("m", each) for each in (one, *changed)] + [request_digest("other", one)]
    assert len(set(digests)) == len(digests)
    assert request_digest("m", replace(one, purpose="glean")) == digests[0]


def test_the_digest_of_a_vector_follows_model_and_text() -> None:
    assert len({vector_digest("m", "a"), vector_digest("m", "b"), vector_digest("n", "a")}) == 3
    assert vector_digest("m", "a") == vector_digest("m", "a")


# ---- complete ------------------------------------------------------------------------------------------


async def test_a_reply_is_metered_journaled_and_not_paid_for_again() -> None:
    journal, llm = Memory(), Model([LLMReply(text="yes", prompt_tokens=7, completion_tokens=2)])
    context = make(llm=llm, journal=journal)
    assert (await complete(context, request())).text == "yes"
    assert (await complete(context, replace(request(), purpose="glean"))).text == "yes"
    assert llm.asked == 1
    assert context.meter.totals() == {"extract": Usage(1, 7, 2), "glean": Usage(cached=1)}
    (entry,) = journal.entries.values()
    assert (entry.digest, entry.purpose, entry.model) == (request_digest("m", request()), "extract", "m")
    assert entry.usage == Usage(1, 7, 2)
    assert idle(context)


async def test_tokens_are_counted_where_the_provider_gives_none() -> None:
    context = make(llm=Model(["one two three"]))
    await complete(context, request("a b", system="c", history=(Message("user", "d e"),)))
    assert context.meter.totals()["extract"] == Usage(1, 5, 3)


LONG = "word " * 2_000


async def test_long_texts_are_counted_in_a_thread_and_short_ones_at_once() -> None:
    here = threading.get_ident()
    for prompt, answer, inline in (("hi", "ho", True), (LONG, "ho", False), ("hi", LONG.strip(), False)):
        context = make(llm=Model([answer, answer]))
        await complete(context, request(prompt))
        async with aclosing(stream(context, request(prompt))) as parts:
            assert [part.reply async for part in parts][-1] is not None
        words = len(prompt.split()), len(answer.split())
        assert context.meter.totals()["extract"] == Usage(2, 2 * words[0], 2 * words[1])
        assert [thread == here for thread in context.tokenizer.threads] == [inline] * 4

    for texts, inline in ((["a", "b"], True), (["a", LONG], False)):
        context = make(embedder=Letters())
        await embed_texts(context, texts, role="query")
        assert context.meter.totals()["embed_query"].prompt_tokens == sum(len(t.split()) for t in texts)
        assert [thread == here for thread in context.tokenizer.threads] == [inline] * 2


@pytest.mark.parametrize(("limit", "counted"), [(None, 0), (26, 0), (25, 3)])
async def test_texts_whose_bytes_fit_into_a_batch_are_not_counted(limit: int | None, counted: int) -> None:
    texts = ["ä" * 3, "word " * 4, "ö" * 2]
    context = make(embedder=Letters(max_batch=2, max_batch_tokens=limit))
    await embed_texts(context, texts, role="query")
    assert len(context.tokenizer.threads) == counted + len(texts)


async def test_what_the_provider_counted_is_not_counted_again() -> None:
    context = make(llm=Model([LLMReply(text=LONG, prompt_tokens=1, completion_tokens=2)]))
    await complete(context, request(LONG))
    assert context.tokenizer.threads == []


@pytest.mark.parametrize("kept", [None, Memory()])
async def test_without_a_journal_every_call_is_paid_for(kept: Memory | None) -> None:
    llm = Model()
    context = make(llm=llm, journal=kept)
    for _ in range(2):
        await complete(context, request(), journal=False)
    assert llm.asked == 2
    assert kept is None or not kept.entries


async def test_a_context_without_llm_is_refused() -> None:
    with pytest.raises(InvalidInput, match="extract"):
        await complete(make(), request())


async def test_errors_that_may_pass_are_tried_again_and_the_last_is_raised() -> None:
    errors = [ProviderUnavailable("1"), ProviderRateLimited("2"), ProviderTimeout("3")]
    context = make(llm=Model([*errors[:2], "fine"]))
    assert (await complete(context, request())).text == "fine"
    context = make(llm=Model(list(errors)), journal=Memory())
    with pytest.raises(ProviderTimeout, match="3"):
        await complete(context, request())
    assert context.meter.totals() == {}
    assert idle(context)


@pytest.mark.parametrize(
    ("error", "expected", "asked"),
    [
        (ProviderRejected("no"), ProviderRejected, 1),
        (KeyError("odd"), ProviderError, 1),
        (StopAsyncIteration(), ProviderError, 1),
        (TimeoutError("slow"), ProviderTimeout, 3),
        (ConnectionResetError("lost"), ProviderUnavailable, 3),
    ],
)
async def test_foreign_errors_are_mapped(error: Exception, expected: type[ProviderError], asked: int) -> None:
    llm = Model([error] * 3)
    context = make(llm=llm)
    with pytest.raises(expected) as caught:
        await complete(context, request())
    assert type(caught.value) is expected
    assert caught.value is error or caught.value.__cause__ is error
    assert llm.asked == asked
    assert idle(context)


async def test_waits_between_attempts_double_at_random_up_to_a_bound() -> None:
    waits: list[list[float]] = []
    for _ in range(20):
        time_ = FakeTime()
        settings = CallSettings(attempts=6, backoff=1.0, max_backoff=4.0)
        context = make(settings, llm=Model([ProviderUnavailable("x")] * 5), clock=time_.clock)
        await complete(context, request())
        waits.append(time_.slept)
    for bound, column in zip([1, 2, 4, 4, 4], zip(*waits, strict=True), strict=True):
        assert 0 <= min(column) < max(column) <= bound
    assert max(max(waited) for waited in waits) > 2


@pytest.mark.parametrize(("asked_for", "waited"), [(7.0, 7.0), (0.0, 0.0), (1e6, 40.0)])
async def test_the_time_a_provider_asks_to_wait_is_obeyed_within_reason(
    asked_for: float, waited: float
) -> None:
    time_ = FakeTime()
    limited = ProviderRateLimited("wait", retry_after=asked_for)
    context = make(replace(QUICK, max_backoff=4.0), llm=Model([limited]), clock=time_.clock)
    await complete(context, request())
    assert time_.slept == [waited]


async def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    time_ = FakeTime()
    limited = ProviderRateLimited("busy", retry_after=30)
    context = make(replace(QUICK, max_backoff=30.0), llm=Model([limited]), clock=time_.clock, deadline=1020.0)
    with pytest.raises(DeadlineExceeded, match="busy") as caught:
        await complete(context, request())
    assert time_.slept == []
    assert caught.value.__cause__ is limited


async def test_a_call_longer_than_its_time_is_a_time_out_and_may_be_tried_again() -> None:
    llm = Model([1.0, 1.0, "late"])
    context = make(replace(QUICK, llm_timeout=0.01, attempts=2), llm=llm)
    with pytest.raises(ProviderTimeout, match=r"0\.01 s"):
        await complete(context, request())
    assert llm.asked == 2
    assert idle(context)


async def test_a_provider_that_turns_the_time_out_into_its_own_error_still_timed_out() -> None:
    class Stubborn(Model):
        async def complete(self, request: LLMRequest) -> LLMReply:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                raise ProviderRejected("request aborted") from None
            return LLMReply(text="late")

    with pytest.raises(ProviderTimeout):
        await complete(make(replace(QUICK, llm_timeout=0.01, attempts=1), llm=Stubborn()), request())


async def test_the_wait_for_a_slot_does_not_count_as_time_of_the_call() -> None:
    gate = asyncio.Event()
    limits = Limits(llm=1)
    slow = make(llm=Model([gate]), limits=limits)
    quick = make(replace(QUICK, llm_timeout=0.05, attempts=1), llm=Model(), limits=limits)
    first = asyncio.create_task(complete(slow, request("slow")))
    await settle()
    second = asyncio.create_task(complete(quick, request("quick")))
    await asyncio.sleep(0.1)
    gate.set()
    assert (await second).text == "re: quick"
    await first


async def test_the_deadline_covers_waiting_for_a_slot_and_the_call() -> None:
    limits = Limits(llm=1)
    context = make(llm=Model([asyncio.Event()]), limits=limits, deadline=time.monotonic() + 0.1)
    with pytest.raises(DeadlineExceeded, match="answering"):
        await complete(context, request())
    async with limits.slot("llm", workspace="w", priority=Priority.QUERY):
        with pytest.raises(DeadlineExceeded, match="slot"):
            await complete(context.derive(deadline=time.monotonic() + 0.1), request())
    assert idle(context)


async def test_no_slot_is_held_between_attempts_nor_while_the_journal_works() -> None:
    held: list[int] = []

    async def sleep(_: float) -> None:
        held.append(context.limits.in_use("llm"))

    journal = Memory()
    context = make(llm=Model([ProviderUnavailable("x")]), journal=journal, clock=Clock(sleep=sleep))
    journal.slow = asyncio.Event()
    task = asyncio.create_task(complete(context, request()))
    await settle()
    assert context.limits.in_use("llm") == 0
    journal.slow.set()
    await task
    assert held == [0]

    journal.slow = None
    gate = asyncio.Event()
    context = context.derive(llm=Model([gate]))
    task = asyncio.create_task(complete(context, request("other")))
    await settle()
    assert context.limits.in_use("llm") == 1
    journal.slow = asyncio.Event()
    gate.set()
    await settle()
    assert context.limits.in_use("llm") == 0
    assert not task.done()  # a call counts as returned when it is kept
    journal.slow.set()
    await task


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_empty_reply_is_asked_for_again_unless_it_was_cut_off(text: str) -> None:
    empty = LLMReply(text=text, prompt_tokens=3, completion_tokens=0)
    context = make(llm=Model([empty, "something"]))
    assert (await complete(context, request())).text == "something"
    assert context.meter.totals()["extract"] == Usage(2, 5, 1)
    with pytest.raises(InvalidReply):
        await complete(make(llm=Model([empty] * 3)), request())
    cut = replace(empty, truncated=True)
    context = make(llm=Model([cut]), journal=Memory())
    assert await complete(context, request()) == cut
    assert await complete(context, request()) == cut


async def test_equal_requests_at_the_same_time_pay_once() -> None:
    gate = asyncio.Event()
    llm = Model([gate, "once"])
    context = make(llm=llm, journal=Memory())
    tasks = [asyncio.create_task(complete(context, request())) for _ in range(6)]
    await settle()
    assert context.limits.in_use("llm") == 1
    gate.set()
    assert {reply.text for reply in await asyncio.gather(*tasks)} == {"once"}
    assert llm.asked == 1
    assert context.meter.totals()["extract"] == Usage(1, 2, 1, cached=5)
    assert idle(context)


@pytest.mark.parametrize("failure", ["cancelled", "rejected"])
async def test_when_the_caller_that_pays_is_lost_another_one_pays(failure: str) -> None:
    gate = asyncio.Event()
    llm = Model([gate, ProviderRejected("no") if failure == "rejected" else "lost", "second"])
    context = make(llm=llm, journal=Memory())
    tasks = [asyncio.create_task(complete(context, request())) for _ in range(4)]
    await settle()
    if failure == "cancelled":
        tasks[0].cancel()
        llm.steps[:] = ["second"]
    gate.set()
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError if failure == "cancelled" else ProviderRejected)
    assert [reply.text for reply in others if isinstance(reply, LLMReply)] == ["second"] * 3
    assert llm.asked == 2
    assert idle(context)


async def test_the_deadline_covers_waiting_for_a_caller_who_asks_the_same() -> None:
    gate = asyncio.Event()
    context = make(llm=Model([gate]), journal=Memory())
    first = asyncio.create_task(complete(context, request()))
    await settle()
    with pytest.raises(DeadlineExceeded, match="same request"):
        await complete(context.derive(deadline=time.monotonic() + 0.1), request())
    gate.set()
    await first
    assert idle(context)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_at_any_point_leaves_nothing_behind(turns: int) -> None:
    journal = Memory()
    context = make(llm=Model([ProviderUnavailable("x")]), journal=journal, limits=Limits(llm=1))
    task = asyncio.create_task(complete(context, request()))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert idle(context)
    assert (await complete(context, request())).text == "re: hello you"


def test_two_loops_in_two_threads_pay_once_for_the_same() -> None:
    class Slow(Model):
        async def complete(self, request: LLMRequest) -> LLMReply:
            await asyncio.sleep(0.002)
            paid[request.prompt] += 1
            return LLMReply(text=request.prompt)

    paid: Counter[str] = Counter()
    journal, limits = Memory(), Limits(llm=3)
    start = threading.Barrier(2)
    replies: list[LLMReply] = []

    async def main() -> None:
        context = make(llm=Slow(), journal=journal, limits=limits)
        start.wait()
        wanted = [request(str(number % 15)) for number in range(60)]
        replies.extend(await asyncio.gather(*(complete(context, each) for each in wanted)))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(replies) == 120
    assert paid == {str(number): 1 for number in range(15)}
    assert limits.in_use("llm") == 0


# ---- stream --------------------------------------------------------------------------------------------


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
    async with asyncio.timeout(5):
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
        asyncio.timeout(10),
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


# ---- embed_texts ---------------------------------------------------------------------------------------


def rows(*texts: str) -> list[list[int]]:
    return [[len(text), ord(text[0]), 0] for text in texts]


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
    task = asyncio.create_task(embed_texts(context, [*"abcdefgh"], role="document"))
    await settle()
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
    one = asyncio.create_task(embed_texts(context, [*"abcd"], role="document"))
    await settle()
    other = asyncio.create_task(embed_texts(context, [*"fdcbe"], role="document"))
    await settle()
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
    one = asyncio.create_task(embed_texts(context, [*"abcd"], role="document"))
    await settle()
    other = asyncio.create_task(embed_texts(context, [*"ba"], role="document"))
    await settle()
    first.set()
    async with asyncio.timeout(5):
        assert (await other).tolist() == rows(*"ba")
    assert not one.done()
    second.set()
    await one


async def test_texts_of_a_caller_that_was_cancelled_are_embedded_by_the_one_who_waits() -> None:
    gate = asyncio.Event()
    embedder = Letters(gate, max_batch=8)
    context = make(embedder=embedder, journal=Memory())
    one = asyncio.create_task(embed_texts(context, [*"ab"], role="document"))
    await settle()
    other = asyncio.create_task(embed_texts(context, [*"bc"], role="document"))
    await settle()
    one.cancel()
    assert (await other).tolist() == rows(*"bc")
    assert embedder.batches == [("a", "b"), ("c",), ("b",)]
    assert idle(context)


async def test_the_deadline_covers_waiting_for_a_caller_who_embeds_the_same() -> None:
    gate = asyncio.Event()
    context = make(embedder=Letters(gate), journal=Memory())
    one = asyncio.create_task(embed_texts(context, ["a"], role="document"))
    await settle()
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
    async with asyncio.timeout(10):
        found = await asyncio.gather(*(embed_texts(context, each, role="document") for each in wanted))
    assert [vectors.tolist() for vectors in found] == [rows(*each) for each in wanted]
    assert Counter(text for batch in embedder.batches for text in batch) == Counter(letters)


# ---- rerank --------------------------------------------------------------------------------------------


async def test_ranks_come_best_first_and_cut() -> None:
    context = make(reranker=Ranker([[(2, 0.1), (0, 0.9), (1, 0.9)]]))
    assert await rerank(context, "q", ["a", "b", "c"], 2) == [(0, 0.9), (1, 0.9)]
    assert context.meter.totals() == {"rerank": Usage(1)}
    assert await rerank(context, "q", [], 2) == []
    assert idle(context)


@pytest.mark.parametrize(
    "bad", [[(3, 0.1)], [(-1, 0.1)], [(0, 0.1), (0, 0.2)], [(0, float("nan"))], [(0,)], [(0, "x")], [0]]
)
async def test_ranks_that_cannot_be_used_are_asked_for_again(bad: Any) -> None:
    assert await rerank(make(reranker=Ranker([bad, [(1, 1.0)]])), "q", [*"abc"], 3) == [(1, 1.0)]
    with pytest.raises(InvalidReply):
        await rerank(make(reranker=Ranker([bad] * 3)), "q", [*"abc"], 3)


async def test_a_context_without_reranker_is_refused() -> None:
    with pytest.raises(InvalidInput):
        await rerank(make(), "q", ["a"], 1)


async def test_a_reply_that_fails_its_check_is_asked_for_again_and_never_journaled() -> None:
    checked: list[str] = []

    def check(reply: LLMReply) -> None:
        checked.append(reply.text)
        if reply.text == "useless":
            raise InvalidReply("of no use")

    context = make(llm=Model(["useless", "useful"]), journal=Memory())
    request = LLMRequest(prompt="p", purpose="extract")
    assert (await complete(context, request, check=check)).text == "useful"
    assert checked == ["useless", "useful"]
    assert (await complete(context, request, check=check)).text == "useful"
    assert context.meter.totals()["extract"].calls == 2
