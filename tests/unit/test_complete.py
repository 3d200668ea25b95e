"""One call of an LLM: its digest, the journal, attempts, time-outs and slots."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from stateless_rag.calls import complete, request_digest, vector_digest
from stateless_rag.context import Clock
from stateless_rag.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.limits import Limits, Priority
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import CallSettings
from stateless_rag.types import Message, Usage
from unit.scripted import QUICK, FakeTime, Memory, Model, idle, make, request, settle


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
