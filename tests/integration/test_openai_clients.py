"""The HTTP clients of the OpenAI providers: one for each loop, closed with it."""

from __future__ import annotations

import asyncio
import threading

import httpx2
import pytest

from integration.openai_servers import (
    HI,
    REQUEST,
    Raw,
    Says,
    json_answer,
    llm_at,
)
from stateless_rag.protocols import LLMRequest
from stateless_rag.testing import (
    FakeOpenAIServer,
    Faults,
    Hang,
)


async def test_http_clients_of_the_callers_own() -> None:
    made: list[httpx2.AsyncClient] = []

    def factory() -> httpx2.AsyncClient:
        made.append(httpx2.AsyncClient(headers={"X-Mine": "1"}, trust_env=False))
        return made[-1]

    async with Raw(json_answer(HI)) as server:
        llm = llm_at(server, http_client_factory=factory)
        await asyncio.gather(llm.complete(REQUEST), llm.complete(REQUEST))
        await llm.close()
        assert b"x-mine: 1" in server.heads[0].lower()
    (client,) = made
    assert client.is_closed


async def test_a_call_can_be_cancelled() -> None:
    async with FakeOpenAIServer(faults=Faults.first(1, Hang(30))) as server:
        llm = llm_at(server)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(llm.complete(REQUEST), 0.2)
        assert (await llm.complete(REQUEST)).text
        await llm.close()


def test_two_loops_use_one_provider() -> None:
    with FakeOpenAIServer(Says("fine")).in_thread() as server:
        llm = llm_at(server)
        meet = threading.Barrier(2)
        replies: list[str] = []

        async def use() -> None:
            replies.append((await llm.complete(REQUEST)).text)
            await asyncio.to_thread(meet.wait, 10)
            replies.append((await llm.complete(REQUEST)).text)
            await llm.close()

        threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert replies == ["fine"] * 4
        assert len(server.log) == 4
        assert len({record.digest for record in server.log}) == 1


def test_clients_of_closed_loops_are_dropped() -> None:
    with FakeOpenAIServer(Says("fine")).in_thread() as server:
        # Nothing is left open that a forgotten close would leave behind.
        llm = llm_at(server, headers={"Connection": "close"})

        async def use() -> int:
            await llm.complete(REQUEST)
            return len(llm._clients._clients)

        loops = [asyncio.new_event_loop() for _ in range(3)]
        try:
            assert [loop.run_until_complete(use()) for loop in loops[:2]] == [1, 2]
            for loop in loops[:2]:
                loop.close()
            assert loops[2].run_until_complete(use()) == 1
            loops[2].run_until_complete(llm.close())
        finally:
            for loop in loops:
                if not loop.is_closed():
                    loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()


async def test_many_calls_at_once() -> None:
    async with FakeOpenAIServer(Says("fine"), latency=0.01) as server:
        llm = llm_at(server)
        replies = await asyncio.gather(
            *(llm.complete(LLMRequest(prompt=f"Question {number}")) for number in range(60))
        )
        await llm.close()
        assert {reply.text for reply in replies} == {"fine"}
        assert len({record.digest for record in server.log}) == 60
        assert all(record.finished and record.finished >= record.started for record in server.log)
