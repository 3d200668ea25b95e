"""What the fake server sends, whole or broken off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.testing import wire

if TYPE_CHECKING:
    import asyncio

__all__ = ["Answer", "send"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A body to send at once, or events to stream. `whole` is false if the connection breaks in it."""

    status: int
    body: bytes = b""
    events: tuple[bytes, ...] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    whole: bool = True
    tokens: tuple[int, int] = (0, 0)


async def send(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Send an answer, or the first half of one that breaks off; whether it went out whole."""
    if not answer.status:
        return False
    headers = {"Content-Type": "application/json", **dict(answer.headers)}
    if answer.events is None:
        headers["Content-Length"] = str(len(answer.body))
        body = answer.body if answer.whole else answer.body[: len(answer.body) // 2]
        writer.write(wire.http_head(answer.status, headers) + body)
        await writer.drain()
        return answer.whole
    headers |= {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    writer.write(wire.http_head(answer.status, headers))
    events = answer.events if answer.whole else answer.events[: len(answer.events) // 2]
    for event in events:
        writer.write(wire.http_chunk(b"data: " + event + b"\n\n"))
        await writer.drain()
    if answer.whole:
        writer.write(wire.http_chunk(b""))
        await writer.drain()
    return answer.whole
