"""Questions whose answers are told step by step: what is being done, what was found, the text piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stateless_rag.types import Answer, Event, Retrieval

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.asked import Asked

__all__ = ["Failed", "Found", "Piece", "Step", "Told", "ask", "is_generated"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that begins: keywords, searching, summarizing, reranking, answering."""

    kind: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, before it is answered from."""

    retrieval: Retrieval


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An error, after which nothing comes."""

    error: Exception


Told = Step | Found | Piece | Answer | Failed
_STEPS = frozenset({"keywords", "searching", "summarizing", "reranking", "answering"})


async def ask(asked: Asked, question: str, options: Mapping[str, Any]) -> AsyncGenerator[Told]:
    """The answer to a question, as it comes about; last the Answer, or Failed.

    `options` are fields of QueryOptions. Raises what can be said before anything is done: that there is no such
    workspace. Close it to cancel the question.
    """
    queue: asyncio.Queue[Told | None] = asyncio.Queue()

    def note(event: Event) -> None:
        if event.kind in _STEPS:
            queue.put_nowait(Step(event.kind))
        elif event.kind == "retrieved" and isinstance(event.report, Retrieval):
            queue.put_nowait(Found(event.report))

    async with asked.engine() as leased, asked.service.leases.another(leased, note) as engine:
        pump = asyncio.create_task(_pump(engine, question, options, queue))
        try:
            while (told := await queue.get()) is not None:
                if isinstance(told, Answer):
                    asked.note(told.usage)
                yield told
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


async def _pump(
    engine: Engine, question: str, options: Mapping[str, Any], queue: asyncio.Queue[Told | None]
) -> None:
    try:
        async with aclosing(engine.stream(question, **options)) as pieces:
            async for piece in pieces:
                queue.put_nowait(Piece(piece) if isinstance(piece, str) else piece)
    except Exception as error:  # noqa: BLE001 -- told to who reads, of whatever kind
        queue.put_nowait(Failed(error))
    finally:
        queue.put_nowait(None)


def is_generated(answer: Answer) -> bool:
    """Whether an LLM has said the text of an answer."""
    return bool(answer.trace and answer.trace.messages) and not answer.no_context
