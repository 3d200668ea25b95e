"""Work that a request waits for, told as it goes: server-sent events, the last of them with the report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import StoreClosed
from stateless_rag.server.board import CLOSING
from stateless_rag.server.problems import error_kind, error_text, status_of
from stateless_rag.server.replies import server_event
from stateless_rag.types import InsertReport

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.asked import Asked
    from stateless_rag.types import Event

__all__ = ["failed_event", "run_events", "shown_event"]

_QUIET = 15.0  # seconds after which a comment shows that the stream is alive
_STEPS = frozenset({"accepted", "unchanged", "chunked", "extracted", "committed", "failed", "embedding"})


async def run_events(
    asked: Asked, work: Callable[[Engine], Awaitable[Any]], *, create: bool = False
) -> AsyncGenerator[bytes]:
    """Do something on an engine, and tell of its steps; at last "report" with what it returned, or "error".

    Whoever stops reading cancels it. So does the end of the server; what is not committed then stays pending.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def note(event: Event) -> None:
        queue.put_nowait(event)

    engine_of = asked.writing_engine if create else asked.engine
    async with (
        asked.service.board.listening(asked.workspace) as told,
        engine_of() as leased,
        asked.service.leases.another(leased, note) as engine,
    ):
        run: asyncio.Future[Any] = asyncio.ensure_future(work(engine))
        run.add_done_callback(lambda _: queue.put_nowait(None))
        closing = asyncio.create_task(_closing(told, run))
        try:
            async for event in _until_none(queue):
                if event is None:
                    yield b": alive\n\n"
                elif event.kind in _STEPS:
                    yield server_event(event.kind, shown_event(event))
            if not run.cancelled() and run.exception() is None and isinstance(run.result(), InsertReport):
                asked.note(run.result().usage)
            yield _ended(run)
        finally:
            run.cancel()
            closing.cancel()
            # Its error is told above; nobody is left to be told of one that comes after the reader has gone.
            await asyncio.gather(run, closing, return_exceptions=True)


async def _until_none(queue: asyncio.Queue[Event | None]) -> AsyncGenerator[Event | None]:
    """What is queued, until None is; None where for a while nothing is."""
    while True:
        try:
            async with asyncio.timeout(_QUIET):
                event = await queue.get()
        except TimeoutError:
            yield None
            continue
        if event is None:
            return
        yield event


async def _closing(told: asyncio.Queue[Event], run: asyncio.Future[Any]) -> None:
    """Stop the work when the server ends."""
    while (await told.get()).kind != CLOSING:
        pass
    run.cancel()


def _ended(run: asyncio.Future[Any]) -> bytes:
    if run.cancelled():
        return failed_event(StoreClosed("the server is being stopped; what is not done stays pending"))
    error = run.exception()
    if error is None:
        return server_event("report", run.result())
    if isinstance(error, Exception):
        return failed_event(error)
    raise error


def failed_event(error: Exception) -> bytes:
    """An error, where the answer has begun already."""
    told = {"status": status_of(error), "detail": error_text(error, ""), "error": error_kind(error)}
    return server_event("error", told)


def shown_event(event: Event) -> dict[str, Any]:
    """An event without its report."""
    return {
        "kind": event.kind,
        "document_id": event.document_id,
        "done": event.done,
        "total": event.total,
        "message": event.message,
    }
