"""Calls of an LLM at the same time: equal ones pay once, and who is cancelled leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import pytest

from stateless_rag.calls import complete
from stateless_rag.errors import (
    DeadlineExceeded,
    ProviderRejected,
    ProviderUnavailable,
)
from stateless_rag.limits import Limits
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.types import Usage
from unit.scripted import Memory, Model, idle, make, request, settle


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
