"""The OpenAI providers against a server on a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2
import numpy as np
import pytest

from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.protocols import LLM, Embedder, LLMReply, LLMRequest, StreamPart
from stateless_rag.providers import OpenAIEmbedder, OpenAILLM
from stateless_rag.providers.openai_client import retry_after
from stateless_rag.testing import (
    DeterministicEmbedder,
    Disconnect,
    Empty,
    FakeOpenAIServer,
    Fault,
    Faults,
    Hang,
    Malformed,
    RateLimited,
    ServerError,
    Truncated,
)
from stateless_rag.types import Message

REQUEST = LLMRequest(prompt="A secret question?", system="Be brief.", history=(Message("user", "Hi"),))
KEY = "sk-very-secret"
HI = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


class Says:
    """An LLM that says one thing, and keeps what it was asked."""

    model = "says"

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[LLMRequest] = []

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request)
        return LLMReply(text=self.text, prompt_tokens=11, completion_tokens=7)

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        yield StreamPart(reply=await self.complete(request))


class Raw:
    """A server that sends the same bytes to every request; None breaks the connection."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces = pieces
        self.heads: list[bytes] = []
        self.bodies: list[Any] = []
        self.closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        self.bodies.append(json.loads(await reader.readexactly(int(length.split(b":")[1]))))
        for piece in self.pieces:
            if piece is None:
                await reader.read()
                self.closed.set()
                break
            writer.write(piece)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


def json_answer(body: Any, status: int = 200, headers: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}{headers}Connection: close\r\n\r\n".encode() + content


def event_stream(*events: Any) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return head + b"".join(b"data: " + line + b"\n\n" for line in lines)


def delta(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **more}, "finish_reason": finish}]}


def llm_at(server: Any, **settings: Any) -> OpenAILLM:
    return OpenAILLM("gpt-x", api_key=KEY, base_url=server.base_url, **settings)


def embedder_at(server: Any, **settings: Any) -> OpenAIEmbedder:
    return OpenAIEmbedder("embed-x", api_key=KEY, base_url=server.base_url, **settings)


async def complete(server: Any, request: LLMRequest = REQUEST, **settings: Any) -> LLMReply:
    llm = llm_at(server, **settings)
    try:
        return await llm.complete(request)
    finally:
        await llm.close()


async def stream(server: Any, **settings: Any) -> tuple[list[str], LLMReply | None]:
    llm = llm_at(server, **settings)
    texts: list[str] = []
    reply = None
    try:
        async for part in llm.stream(REQUEST):
            if part.text:
                texts.append(part.text)
            reply = part.reply
    finally:
        await llm.close()
    return texts, reply


async def embed(server: Any, texts: Sequence[str] = ("a", "b"), **settings: Any) -> np.ndarray:
    embedder = embedder_at(server, **settings)
    try:
        return (await embedder.embed(texts, role="document")).vectors
    finally:
        await embedder.close()


async def test_messages_json_mode_and_tokens_arrive() -> None:
    says = Says('{"a": 1}')
    async with FakeOpenAIServer(says) as server:
        request = LLMRequest(
            prompt="Who?", system="S", history=(Message("user", "Hi"), Message("assistant", "Ho")), json=True
        )
        reply = await complete(server, request, max_tokens=50)
        (record,) = server.log
    assert reply == LLMReply(text='{"a": 1}', prompt_tokens=11, completion_tokens=7)
    (asked,) = says.asked
    assert (asked.prompt, asked.system, asked.history, asked.json, asked.max_tokens) == (
        "Who?",
        "S",
        request.history,
        True,
        50,
    )
    assert (record.model, record.status, record.prompt_tokens, record.completion_tokens, record.stream) == (
        "gpt-x",
        200,
        11,
        7,
        False,
    )


async def test_the_wire_holds_what_was_set() -> None:
    async with Raw(json_answer(HI)) as server:
        settings = {
            "headers": {"X-Team": "a"},
            "temperature": 0.5,
            "extra_body": {"top_k": 3},
            "max_tokens": 9,
        }
        await complete(server, REQUEST, **settings)
        await complete(server, LLMRequest(prompt="Who?", max_tokens=4), **settings)
        with pytest.raises(ProviderUnavailable):
            await stream(server)
    head = server.heads[0].decode().lower()
    assert f"authorization: bearer {KEY}" in head
    assert "x-team: a" in head
    bounded, other, streamed = server.bodies
    assert bounded == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": "A secret question?"},
        ],
        "temperature": 0.5,
        "max_tokens": 9,
        "top_k": 3,
    }
    assert other["max_tokens"] == 4
    assert (streamed["stream"], streamed["stream_options"]) == (True, {"include_usage": True})
    own = OpenAILLM("gpt-x", api_key=KEY, max_tokens=9)._arguments(REQUEST)
    assert own["max_completion_tokens"] == 9
    assert "max_tokens" not in own


async def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_API_KEY": "env-key",
        "OPENAI_ADMIN_KEY": "env-admin",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/env",
        "OPENAI_ORG_ID": "env-org",
        "OPENAI_PROJECT_ID": "env-project",
        "OPENAI_CUSTOM_HEADERS": "X-Env: env-header",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    async with Raw(json_answer(HI)) as server:
        llm = OpenAILLM("local", base_url=server.base_url)
        assert (await llm.complete(REQUEST)).text == "hi"
        await llm.close()
        (head,) = server.heads
    assert b"env-" not in head
    assert b"openai-organization" not in head.lower()
    with pytest.raises(InvalidInput, match="api_key"):
        OpenAILLM("gpt-x")
    assert OpenAILLM("gpt-x", api_key="k")._clients.server == "https://api.openai.com/v1"


FAULTS: list[tuple[Fault, type[ProviderError]]] = [
    (RateLimited(2.5), ProviderRateLimited),
    (ServerError(500), ProviderUnavailable),
    (ServerError(503), ProviderUnavailable),
    (ServerError(408), ProviderUnavailable),
    (ServerError(409), ProviderUnavailable),
    (ServerError(400), ProviderRejected),
    (ServerError(401), ProviderRejected),
    (ServerError(403), ProviderRejected),
    (ServerError(404), ProviderRejected),
    (ServerError(422), ProviderRejected),
    (Disconnect("before"), ProviderUnavailable),
    (Disconnect("body"), ProviderUnavailable),
    (Malformed("body"), InvalidReply),
]


@pytest.mark.parametrize(("fault", "error"), FAULTS, ids=lambda value: str(value))
@pytest.mark.parametrize("call", [complete, stream, embed])
async def test_faults_end_in_the_right_error(
    call: Callable[..., Any], fault: Fault, error: type[ProviderError]
) -> None:
    async with FakeOpenAIServer(faults=Faults.first(1, fault)) as server:
        with pytest.raises(error) as caught:
            await call(server)
        assert len(server.log) == 1  # the SDK did not try again
        await call(server)
        assert [record.fault for record in server.log] == [type(fault).__name__, None]
    assert type(caught.value) is error
    message = str(caught.value)
    assert KEY not in message
    assert "secret" not in message
    if isinstance(fault, ServerError):
        assert caught.value.status == fault.status
        assert str(fault.status) in message
    if isinstance(fault, RateLimited):
        assert caught.value.retry_after == 2.5


@pytest.mark.parametrize("fault", [Empty(), Truncated(), Malformed("text")], ids=str)
async def test_spoiled_embeddings_are_invalid(fault: Fault) -> None:
    async with FakeOpenAIServer(faults=Faults.first(1, fault)) as server:
        with pytest.raises(InvalidReply):
            await embed(server)


async def test_spoiled_answers_are_answers() -> None:
    faults = Faults([Empty(), Truncated(), Malformed("text")])
    async with FakeOpenAIServer(Says("twelve chars"), faults=faults) as server:
        empty, truncated, nonsense = [await complete(server) for _ in range(3)]
    assert (empty.text, empty.truncated) == ("", False)
    assert (truncated.text, truncated.truncated) == ("twelve", True)
    assert "<|#|>" in nonsense.text


async def test_a_refused_connection_and_a_slow_server() -> None:
    with pytest.raises(ProviderUnavailable):
        llm = OpenAILLM("m", base_url="http://127.0.0.1:9/v1")
        try:
            await llm.complete(REQUEST)
        finally:
            await llm.close()
    async with FakeOpenAIServer(faults=Faults.first(1, Hang(30))) as server:
        llm = llm_at(server)
        # The SDK is told not to time calls; should it do so all the same, the error is the right one.
        llm._clients.get().timeout = 0.1
        with pytest.raises(ProviderTimeout):
            await llm.complete(REQUEST)
        await llm.close()


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


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"message": {"content": None}, "finish_reason": "stop"}, InvalidReply),
        ({"message": {"content": 7}, "finish_reason": "stop"}, InvalidReply),
        ({"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}, ProviderRejected),
        ({"message": {"content": "a"}, "finish_reason": "content_filter"}, ProviderRejected),
        ({}, InvalidReply),
        (None, InvalidReply),
    ],
)
async def test_answers_without_content(choice: Any, error: type[ProviderError]) -> None:
    async with Raw(json_answer({"choices": [choice] if choice is not None else []})) as server:
        with pytest.raises(error) as caught:
            await complete(server)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff\xfe", b"<html>", b'{"choices": 5}', b"[" * 100_000]
)
async def test_bodies_that_are_no_answer(body: bytes) -> None:
    async with Raw(json_answer(body)) as server:
        with pytest.raises(InvalidReply):
            await complete(server)
        with pytest.raises(InvalidReply):
            await embed(server)


def sent(status: int = 200, headers: str = "", content: bytes = b"{}") -> bytes:
    """An answer with these headers, and a length."""
    return (
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}Connection: close\r\n\r\n".encode()
        + content
    )


UNUSUAL: list[tuple[str, bytes, type[ProviderError]]] = [
    ("no HTTP", b"\x00 what?\r\n\r\n", ProviderUnavailable),
    ("no number as length", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ProviderUnavailable),
    (
        "no number as size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ProviderUnavailable,
    ),
    ("a header without end", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", ProviderUnavailable),
    ("no content", b"HTTP/1.1 204 No Content\r\n\r\n", InvalidReply),
    ("a status of its own", sent(999), ProviderUnavailable),
    ("not gzip", sent(headers="Content-Encoding: gzip\r\n", content=b"plain"), InvalidReply),
    ("an error not gzip", sent(400, "Content-Encoding: gzip\r\n", b"plain"), InvalidReply),
    ("a ring of redirects", sent(307, "Location: /v1/again\r\n"), ProviderRejected),
    ("a redirect to no URL", sent(307, "Location: http://[::1\r\n"), ProviderUnavailable),
    ("a redirect to another protocol", sent(307, "Location: ftp://host/\r\n"), ProviderRejected),
    ("a redirect without a place", sent(307), ProviderRejected),
    ("an error as a list", sent(400, content=b"[1]"), ProviderRejected),
    ("an error of numbers", sent(400, content=b'{"error": {"code": 5, "message": [1]}}'), ProviderRejected),
    ("an error not UTF-8", sent(400, content=b"\xff\xfe"), ProviderRejected),
    ("an error too deep", sent(500, content=b"[" * 100_000), ProviderUnavailable),
    ("an unknown charset", sent(400, "Content-Type: text/x; charset=none\r\n", b"?"), ProviderRejected),
    ("a number without end", sent(content=b'{"choices": ' + b"9" * 5_000 + b"}"), InvalidReply),
    ("a body not UTF-8", sent(content=b'{"choices": "\xff"}'), InvalidReply),
    ("a list in place of choices", sent(content=b'{"choices": {"0": 1}, "data": {"0": 1}}'), InvalidReply),
]


@pytest.mark.parametrize(("answer", "error"), [pytest.param(*case[1:], id=case[0]) for case in UNUSUAL])
@pytest.mark.parametrize("call", [complete, embed])
async def test_whatever_a_server_sends_ends_in_the_error_tree(
    call: Callable[..., Any], answer: bytes, error: type[ProviderError]
) -> None:
    async with Raw(answer) as server:
        with pytest.raises(error) as caught:
            await call(server)
    assert type(caught.value) is error
    assert caught.value.__cause__ is not None or type(caught.value) is InvalidReply


@pytest.mark.parametrize(
    "usage", [5, [1], {"prompt_tokens": 10**30, "completion_tokens": True}, {"prompt_tokens": -1}, {}, None]
)
async def test_counts_that_are_none_are_left_out(usage: Any) -> None:
    async with Raw(json_answer({**HI, "usage": usage})) as server:
        assert await complete(server) == LLMReply(text="hi")


@pytest.mark.parametrize("call", [complete, stream, embed])
async def test_headers_that_http_cannot_carry_are_refused(call: Callable[..., Any]) -> None:
    async with Raw(json_answer(HI)) as server:
        with pytest.raises(ProviderRejected, match="ascii"):
            await call(server, headers={"X-Team": "ä"})
        assert server.heads == []


async def test_texts_that_http_cannot_carry_are_refused() -> None:
    async with Raw(json_answer(HI)) as server:
        with pytest.raises(ProviderRejected, match="utf-8") as caught:
            await complete(server, LLMRequest(prompt="secret \ud800"))
        with pytest.raises(ProviderRejected, match="utf-8"):
            await embed(server, ["\ud800"])
        assert server.heads == []
    assert "secret" not in str(caught.value)


async def test_thinking_is_removed() -> None:
    async with FakeOpenAIServer(Says("<think>I wonder.\n</think>\n\nIt is 42.")) as server:
        assert (await complete(server)).text == "It is 42."
        texts, reply = await stream(server)
    assert "".join(texts) == "It is 42."
    assert reply == LLMReply(text="It is 42.", prompt_tokens=11, completion_tokens=7)
    message: dict[str, str | None] = {"content": "<think>too long", "reasoning_content": "more"}
    async with Raw(json_answer({"choices": [{"message": message, "finish_reason": "length"}]})) as server:
        assert await complete(server) == LLMReply(text="", truncated=True)
    message = {"content": None, "reasoning_content": "all of it"}
    async with Raw(json_answer({"choices": [{"message": message, "finish_reason": "length"}]})) as server:
        assert await complete(server) == LLMReply(text="", truncated=True)


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


async def test_embeddings_in_both_encodings_and_any_order() -> None:
    async with FakeOpenAIServer(embedder=DeterministicEmbedder(8)) as server:
        embedder = embedder_at(server)
        dimensions = [embedder.dimension]
        embeddings = await embedder.embed(["Ada wrote", "", "Zuse"], role="document")
        await embedder.close()
        dimensions.append(embedder.dimension)
    assert dimensions == [None, 8]
    assert embeddings.tokens is not None
    expected = (await DeterministicEmbedder(8).embed(["Ada wrote", "", "Zuse"], role="document")).vectors
    assert np.array_equal(embeddings.vectors, expected)
    assert embeddings.vectors.dtype == np.float32
    assert embeddings.vectors.flags.writeable
    rows = [
        {"index": 1, "embedding": [3.0, 4.0]},
        {"index": 0, "embedding": base64.b64encode(struct.pack("<2f", 1.0, 2.0)).decode()},
    ]
    async with Raw(json_answer({"data": rows})) as server:
        assert (await embed(server)).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": [], "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}],
        [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}],
        [{"embedding": []}, {"embedding": []}],
        [{"embedding": None}, {"embedding": [1.0]}],
        [{"embedding": [10**400]}, {"embedding": [1.0]}],
        [{"embedding": "äö"}, {"embedding": [1.0]}],
        [{"embedding": [1.0, [2.0]]}, {"embedding": [1.0]}],
        [{"embedding": {"0": 1.0}}, {"embedding": [1.0]}],
        [{"embedding": "!"}, {"embedding": "!"}],
        [{"embedding": [[1.0]]}, {"embedding": [[1.0]]}],
        [{"embedding": "AAA="}, {"embedding": "AAA="}],
        [1, 2],
        None,
    ],
)
async def test_rows_that_are_no_vectors(rows: Any) -> None:
    async with Raw(json_answer({"data": rows})) as server:
        with pytest.raises(InvalidReply):
            await embed(server)


async def test_prefixes_dimensions_and_names() -> None:
    asked: list[str] = []
    faults = Faults(lambda request: asked.append(request.text))
    async with FakeOpenAIServer(embedder=DeterministicEmbedder(4), faults=faults) as server:
        embedder = embedder_at(server, query_prefix="query: ", document_prefix="passage: ")
        await embedder.embed(["Ada"], role="query")
        await embedder.embed(["Ada", "Zuse"], role="document")
        await embedder.close()
    assert asked == ["query: Ada", "passage: Ada\npassage: Zuse"]
    with pytest.raises(InvalidInput, match="send_dimensions"):
        OpenAIEmbedder("e", send_dimensions=True, api_key="k")
    assert OpenAIEmbedder("e", api_key="k").model == "e"
    assert OpenAIEmbedder("e", api_key="k", dimension=4).model == "e"
    assert OpenAIEmbedder("e", api_key="k", dimension=4, send_dimensions=True).model == "e;dimensions=4"
    assert embedder.model.startswith("embed-x;prefixes=")
    assert isinstance(embedder, Embedder)


def test_model_names_what_changes_answers_and_no_secret() -> None:
    plain = OpenAILLM("gpt-x", api_key=KEY)
    assert isinstance(plain, LLM)
    assert plain.model == "gpt-x"
    one = OpenAILLM("gpt-x", api_key=KEY, extra_body={"a": 1, "b": KEY}, temperature=0, headers={"X": KEY})
    same = OpenAILLM("gpt-x", api_key="other", extra_body={"b": KEY, "a": 1}, temperature=0)
    other = OpenAILLM("gpt-x", api_key=KEY, extra_body={"a": 2}, temperature=0)
    assert one.model == same.model != other.model
    assert one.model.startswith("gpt-x;temperature=0;extra_body=")
    assert KEY not in one.model + repr(one) + str(vars(one).get("_model"))
    with pytest.raises(InvalidInput, match="blank"):
        OpenAILLM("", api_key=KEY)
    for url in ("localhost:80", "ftp://host", "https://"):
        with pytest.raises(InvalidInput, match="base_url"):
            OpenAILLM("m", base_url=url)


async def test_messages_do_not_hold_what_servers_echo() -> None:
    error = {"error": {"message": f"Wrong key {KEY}: A secret question?", "code": KEY, "type": "auth_error"}}
    async with Raw(json_answer(error, 401)) as server:
        url = server.base_url.replace("http://", "http://user:hidden@") + "?token=hidden"
        llm = OpenAILLM("gpt-x", api_key=KEY, base_url=url)
        with pytest.raises(ProviderRejected, match=r"401 \(auth_error\): check api_key") as caught:
            await llm.complete(REQUEST)
        await llm.close()
    for secret in (KEY, "secret", "hidden"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        (
            {
                "retry-after": "Thu, 01 Jan 1970 00:01:40 GMT",
                "date": "Thu, 01 Jan 1970 00:01:35 GMT",
            },
            5.0,
        ),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf", "retry-after": "2"}, 2.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=10.0) == seconds


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


def test_the_log_survives_a_kill(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with FakeOpenAIServer(faults=Faults([None, Hang(60)]), log_path=log).in_thread() as server:
        code = (
            "import asyncio, sys\n"
            "from stateless_rag.protocols import LLMRequest\n"
            "from stateless_rag.providers import OpenAILLM\n"
            "async def main():\n"
            f"    llm = OpenAILLM('m', base_url={server.base_url!r})\n"
            "    await llm.complete(LLMRequest(prompt='one'))\n"
            "    print('answered', flush=True)\n"
            "    await llm.complete(LLMRequest(prompt='two'))\n"
            "asyncio.run(main())\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "answered\n"
            while len(server.log) < 2 and child.poll() is None:
                time.sleep(0.01)
            child.kill()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["event"], line["number"], line["status"]) for line in lines] == [
        ("received", 1, None),
        ("answered", 1, 200),
        ("received", 2, None),
    ]


def test_the_server_answers_other_clients() -> None:
    with FakeOpenAIServer().in_thread() as server:
        with urllib.request.urlopen(f"{server.base_url}/models") as answer:
            assert [model["object"] for model in json.load(answer)["data"]] == ["model", "model"]
        for path, content, status in (
            ("/nowhere", b"{}", 404),
            ("/chat/completions", b"{", 400),
            ("/chat/completions", b"{}", 400),
        ):
            request = urllib.request.Request(f"{server.base_url}{path}", data=content)
            with pytest.raises(urllib.error.HTTPError, match=str(status)) as caught:
                urllib.request.urlopen(request)
            caught.value.close()
