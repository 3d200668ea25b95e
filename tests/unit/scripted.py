"""Providers that follow a script or must not be called, a journal in memory, a clock, a chunk."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.context import Clock, Context
from stateless_rag.flights import Flights
from stateless_rag.protocols import Embeddings, JournalEntry, LLMReply, LLMRequest, StreamPart
from stateless_rag.settings import CallSettings, Settings
from stateless_rag.types import Chunk, Passage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping, Sequence

    from stateless_rag.protocols import Vectors
    from stateless_rag.types import Usage


class Words:
    name = "words"

    def __init__(self) -> None:
        self.threads: list[int] = []

    def count(self, text: str) -> int:
        self.threads.append(threading.get_ident())
        return len(text.split())

    def offsets(self, text: str) -> Sequence[int]:
        return [0] * self.count(text)


class WordTokenizer:
    """One token per word: quick to make, so that each example may have its own."""

    name = "words"

    def count(self, text: str) -> int:
        return len(self.offsets(text))

    def offsets(self, text: str) -> list[int]:
        return [match.start() for match in re.finditer(r"\S+", text)]


class NoTokenizer:
    name = "none"

    def count(self, text: str) -> int:
        return 0

    def offsets(self, text: str) -> Sequence[int]:
        return ()


class NoEmbedder:
    model, dimension, max_tokens, max_batch, max_batch_tokens = "none", 2, None, 1, None

    async def embed(self, texts: Sequence[str], *, role: str) -> Any:
        raise AssertionError("nothing is embedded here")


class Memory:
    """A journal; `slow` makes every read and write suspend until it is set."""

    def __init__(self) -> None:
        self._flights = Flights()
        self.entries: dict[str, JournalEntry] = {}
        self.vectors: dict[str, Vectors] = {}
        self.batches: list[tuple[int, Usage, str]] = []
        self.slow: asyncio.Event | None = None

    @property
    def flights(self) -> Flights:
        return self._flights

    async def get(self, digest: str) -> LLMReply | None:
        await self._wait()
        return self.entries[digest].reply if digest in self.entries else None

    async def put(self, entry: JournalEntry) -> None:
        await self._wait()
        self.entries[entry.digest] = entry

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        await self._wait()
        return {digest: self.vectors[digest] for digest in digests if digest in self.vectors}

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        await self._wait()
        self.vectors.update(vectors)
        self.batches.append((len(vectors), entry_usage, model))

    async def _wait(self) -> None:
        await asyncio.sleep(0)
        if self.slow is not None:
            await self.slow.wait()


@dataclass
class Script:
    """What a provider does, call after call: an answer, an error, or an event to wait for first."""

    steps: list[Any] = field(default_factory=list)
    asked: int = 0

    async def next(self) -> Any:
        self.asked += 1
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                return step
        return None


class Model(Script):
    model = "m"
    closed = 0

    async def complete(self, request: LLMRequest) -> LLMReply:
        step = await self.next()
        return step if isinstance(step, LLMReply) else LLMReply(text=step or f"re: {request.prompt}")

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
        try:
            while True:
                step = await self.next()
                if step is None:
                    return
                yield step if isinstance(step, StreamPart) else StreamPart(text=step)
        finally:
            self.closed += 1


class Letters(Script):
    """Embeds a text as (its length, its first code point, 0)."""

    model = "e"
    dimension: int | None = None
    max_tokens: int | None = None
    max_batch = 2
    max_batch_tokens: int | None = None

    def __init__(self, *steps: Any, **attributes: Any) -> None:
        super().__init__(list(steps))
        self.__dict__.update(attributes)
        self.batches: list[tuple[str, ...]] = []

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.batches.append(tuple(texts))
        step = await self.next()
        if isinstance(step, Embeddings):
            return step
        rows: Any = step if step is not None else [[len(text), ord(text[0]), 0] for text in texts]
        return Embeddings(vectors=rows)


class Ranker(Script):
    model = "r"

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> Sequence[tuple[int, float]]:
        step: Sequence[tuple[int, float]] = await self.next()
        return step


@dataclass
class FakeTime:
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


QUICK = CallSettings(attempts=3, backoff=0.001, max_backoff=0.004)


def make(calls: CallSettings = QUICK, **fields: Any) -> Context:
    defaults: dict[str, Any] = {"embedder": Letters(), "tokenizer": Words(), "extractor": None}
    return Context(settings=Settings(calls=calls), **(defaults | fields))


def request(prompt: str = "hello you", **fields: Any) -> LLMRequest:
    return LLMRequest(prompt=prompt, purpose="extract", **fields)


def a_chunk(text: str = "Ada met Bob.", number: int = 0) -> Chunk:
    return Chunk(
        id=f"chunk-{number:016x}",
        document_id="the-document",
        ordinal=77,
        start=0,
        stop=len(text),
        text=text,
        tokens=3,
        digest="d",
    )


def abandon(waiting: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that has begun, on a loop that was closed without finishing it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it complains of the pending task, as it should
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    return task


async def settle() -> None:
    """Let every task that can go on do so, until all wait."""
    for _ in range(30):
        await asyncio.sleep(0)


def idle(context: Context) -> bool:
    return not any(
        context.limits.in_use(kind) + context.limits.waiting(kind) for kind in ("llm", "embedder", "reranker")
    ) and (context.journal is None or not len(context.journal.flights))


class Late:
    """A workspace whose first commit comes after something else was committed."""

    def __init__(self, workspace: Any, first: Any) -> None:
        self._workspace = workspace
        self._first = first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workspace, name)

    async def commit(self, change: Any) -> int:
        first, self._first = self._first, None
        if first is not None:
            await first
        revision: int = await self._workspace.commit(change)
        return revision


def passage(id_: str, text: str) -> Passage:
    """A passage that is the whole of its document."""
    return Passage(
        chunk_id=id_,
        document_id=id_,
        source=None,
        ordinal=0,
        start=0,
        stop=len(text),
        text=text,
        tokens=9,
        score=0.0,
    )
