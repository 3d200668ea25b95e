"""An ingest by batches makes the same workspace as an ordinary one, whatever the provider leaves unanswered."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import corpora
from laws.profiles import examples
from stateless_rag import Engine, ExtractSettings, Settings
from stateless_rag.protocols import BatchReply, BatchState, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump


class Memory:
    """Implements `Batches` in memory, for `llm`; requests whose number is in `silent` are never answered."""

    def __init__(self, llm: DeterministicLLM, silent: frozenset[int], most: int) -> None:
        self.max_requests, self.max_bytes = most, 1_000_000
        self._llm = llm
        self._silent = silent
        self._requests: dict[str, LLMRequest] = {}
        self._files: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.answered: list[str] = []

    def line(self, key: str, request: LLMRequest) -> bytes:
        self._requests[key] = request
        return f"{key}\n".encode()

    async def submit(self, name: str, lines: IO[bytes]) -> str:
        self._files[name] = lines.read().decode().split()
        return name

    async def find(self, name: str, since: float) -> str | None:
        return name if name in self._files else None

    async def poll(self, id_: str) -> BatchState:
        return BatchState(status="completed")

    async def replies(self, id_: str) -> AsyncIterator[BatchReply]:
        for key in reversed(self._files[id_]):
            self.asked.append(key)
            if len(self.asked) in self._silent:
                yield BatchReply(key=key, error="silent")
            else:
                self.answered.append(key)
                yield BatchReply(key=key, reply=await self._llm.complete(self._requests[key]))

    async def cancel(self, id_: str) -> None:
        raise AssertionError

    async def remove(self, name: str, id_: str | None, since: float) -> None:
        del self._files[name]


class BatchedLLM(DeterministicLLM):
    """Takes batches, too, and counts what it is asked one by one."""

    def __init__(self, silent: frozenset[int], most: int) -> None:
        super().__init__()
        self.batches = Memory(DeterministicLLM(), silent, most)
        self.single: list[str] = []

    async def complete(self, request: LLMRequest) -> Any:
        self.single.append(request.purpose)
        return await super().complete(request)


async def made(documents: list[Any], gleaning: int, llm: BatchedLLM | None, rounds: int) -> dict[str, Any]:
    settings = Settings(extraction=ExtractSettings(gleaning=gleaning))
    with tempfile.TemporaryDirectory() as root:
        opening = Engine.open(
            root, llm=llm or DeterministicLLM(), embedder=DeterministicEmbedder(8), settings=settings
        )
        async with opening as engine:
            if llm is None:
                await engine.insert(documents)
                return await dump(engine)
            await engine.submit(documents)
            for _ in range(rounds):
                await engine.submit_batch()
                await engine.collect_batches()
            await engine.resume()
            batches = [batch for batch in await engine.batches() if not batch.collected]
            assert not batches and not llm.batches._files
            return await dump(engine)


@examples(12)
@given(
    documents=corpora(),
    gleaning=st.integers(0, 1),
    rounds=st.integers(1, 3),
    silent=st.frozensets(st.integers(1, 8), max_size=4),
    most=st.integers(1, 4),
)
def test_batches_make_what_an_ingest_makes(
    documents: list[Any], gleaning: int, rounds: int, silent: frozenset[int], most: int
) -> None:
    llm = BatchedLLM(silent, most)
    by_batch = asyncio.run(made(documents, gleaning, llm, rounds))
    assert by_batch == asyncio.run(made(documents, gleaning, None, 0))
    assert len(llm.batches.answered) == len(set(llm.batches.answered))
    if not silent and rounds > gleaning:
        assert not {"extract", "glean"}.intersection(llm.single)
