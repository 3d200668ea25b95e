"""Answers kept by their idempotency key."""

from __future__ import annotations

import asyncio

import pytest

from stateless_rag.errors import Overloaded
from stateless_rag.server.keyed import Keyed
from stateless_rag.server.problems import Refused


async def test_one_key_works_once_and_for_one_request() -> None:
    keyed, calls = Keyed(), 0

    async def work() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return calls

    assert await asyncio.gather(*(keyed.once("one", "k", "body", work) for _ in range(5))) == [1] * 5
    assert await keyed.once("two", "k", "body", work) == 2
    assert await keyed.once("one", None, "body", work) == 3
    with pytest.raises(Refused):
        await keyed.once("one", "k", "another body", work)
    keyed.forget("one")
    assert await keyed.once("one", "k", "another body", work) == 4


@pytest.mark.parametrize("waited_for", [True, False])
async def test_what_failed_may_be_sent_again(waited_for: bool) -> None:
    keyed, fail = Keyed(), asyncio.Event()

    async def fails() -> str:
        await fail.wait()
        raise Overloaded("full", retry_after=1.0)

    async def works() -> str:
        return "done"

    first = asyncio.create_task(keyed.once("one", "k", "body", fails))
    await asyncio.sleep(0)
    if waited_for:
        fail.set()
    else:
        first.cancel()
    with pytest.raises(Overloaded if waited_for else asyncio.CancelledError):
        await first
    fail.set()
    for _ in range(3):  # turns of the loop, in which what nobody waits for ends
        await asyncio.sleep(0)
    assert await keyed.once("one", "k", "body", works) == "done"
