"""Streams from a server on a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from integration.openai_servers import (
    REQUEST,
    Raw,
    Says,
    delta,
    event_stream,
    llm_at,
    stream,
)
from stateless_rag.errors import (
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from stateless_rag.protocols import LLMReply
from stateless_rag.testing import (
    Disconnect,
    FakeOpenAIServer,
    Faults,
)


async def test_streams_come_in_pieces_with_tokens() -> None:
    async with FakeOpenAIServer(Says("one two three")) as server:
        assert await stream(server) == (
            ["one ", "two ", "three"],
            LLMReply(text="one two three", prompt_tokens=11, completion_tokens=7),
        )
        assert await stream(server, stream_usage=False) == (
            ["one ", "two ", "three"],
            LLMReply(text="one two three"),
        )
        assert all(record.stream for record in server.log)


async def test_tags_split_over_events() -> None:
    events = [
        delta(None, role="assistant"),
        delta("<th"),
        delta("ink>x</thi"),
        delta("nk>4"),
        delta("2", "length"),
    ]
    async with Raw(event_stream(*events, b"[DONE]")) as server:
        assert await stream(server) == (["4", "2"], LLMReply(text="42", truncated=True))


async def test_a_stream_that_breaks_off() -> None:
    async with FakeOpenAIServer(
        Says("one two three four five"), faults=Faults([Disconnect("stream")])
    ) as server:
        llm = llm_at(server)
        texts = []
        with pytest.raises(ProviderUnavailable):
            async for part in llm.stream(REQUEST):
                texts.append(part.text)  # noqa: PERF401
        await llm.close()
        assert server.log[0].status == 0
    assert texts[0] == "one "
    # An end without a finish reason is no end, even if the server says it is.
    for end in ((), (b"[DONE]",)):
        async with Raw(event_stream(delta("one"), *end)) as server:
            with pytest.raises(ProviderUnavailable, match="broke off"):
                await stream(server)


async def test_a_whole_answer_outlives_the_loss_of_its_token_count() -> None:
    # Chunked encoding that is never ended: the connection is lost after the finish reason.
    content = b"data: " + json.dumps(delta("one", "stop")).encode() + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Raw(head + b"%x\r\n%b\r\n" % (len(content), content)) as server:
        assert await stream(server) == (["one"], LLMReply(text="one"))


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": {"message": "A secret question?", "code": "overloaded"}}, ProviderUnavailable),
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, ProviderRateLimited),
        (b"{not json", InvalidReply),
        (b"[1, 2]", InvalidReply),
        (delta("x", "content_filter"), ProviderRejected),
        (delta(None, None, refusal="No."), ProviderRejected),
        ({"choices": [{"delta": {"content": 5}}]}, InvalidReply),
        ({"error": "A secret question?"}, ProviderUnavailable),
        ({"error": {"message": 5, "code": 429}}, ProviderRateLimited),
        (b"\xff\xfe", InvalidReply),
        (b"[" * 100_000, InvalidReply),
        (b"9" * 5_000, InvalidReply),
        (b"null", InvalidReply),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_bad_events(event: Any, error: type[ProviderError]) -> None:
    async with Raw(event_stream(delta("one"), event, b"[DONE]")) as server:
        with pytest.raises(error) as caught:
            await stream(server)
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)


async def test_closing_a_stream_early_closes_the_connection() -> None:
    async with Raw(event_stream(delta("one")), None) as server:
        llm = llm_at(server)
        parts = llm.stream(REQUEST)
        assert (await anext(parts)).text == "one"
        await parts.aclose()
        await asyncio.wait_for(server.closed.wait(), 5)
        await llm.close()
