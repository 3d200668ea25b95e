"""Servers of a known answer, and calls to them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from stateless_rag.errors import (
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from stateless_rag.protocols import LLMReply, LLMRequest, StreamPart
from stateless_rag.providers import OpenAIEmbedder, OpenAILLM
from stateless_rag.testing import Disconnect, Fault, Malformed, RateLimited, ServerError
from stateless_rag.types import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import numpy as np

REQUEST = LLMRequest(prompt="A secret question?", system="Be brief.", history=(Message("user", "Hi"),))
KEY = "sk-very-secret"
HI = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
# What every server may do, and what it becomes.
FAULTS: tuple[tuple[Fault, type[ProviderError]], ...] = (
    (RateLimited(2.5), ProviderRateLimited),
    (ServerError(500), ProviderUnavailable),
    (ServerError(503), ProviderUnavailable),
    (ServerError(408), ProviderUnavailable),
    (ServerError(400), ProviderRejected),
    (ServerError(401), ProviderRejected),
    (ServerError(404), ProviderRejected),
    (ServerError(422), ProviderRejected),
    (Disconnect("before"), ProviderUnavailable),
    (Disconnect("body"), ProviderUnavailable),
    (Malformed("body"), InvalidReply),
)


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
