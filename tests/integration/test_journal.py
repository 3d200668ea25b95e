"""What was paid for is durable before it counts as returned."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.protocols import Journal, JournalEntry, LLMReply
from stateless_rag.stores.duckdb.database import Write
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Usage

USAGE = Usage(calls=1, prompt_tokens=7, completion_tokens=3)
VECTOR = np.full(32, 0.25, dtype=np.float32)


async def put_reply(journal: Journal) -> None:
    reply = LLMReply(text="Ada met Babbage.", prompt_tokens=7, completion_tokens=3)
    await journal.put(
        JournalEntry(digest="d" * 32, purpose="extract", model="model", reply=reply, usage=USAGE)
    )


async def put_vectors(journal: Journal) -> None:
    await journal.put_vectors({"v" * 32: VECTOR}, USAGE, "model")


async def kept(journal: Journal) -> tuple[str | None, list[float] | None]:
    reply = await journal.get("d" * 32)
    vectors = await journal.get_vectors(["v" * 32])
    return (reply.text if reply else None, vectors["v" * 32].tolist() if vectors else None)


async def open_engine(store: Store | Path) -> Engine:
    return await Engine.open(store, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder())


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Store.open(tmp_path / "root") as store:
        engine = await open_engine(store)
        yield engine
        await engine.close()


class Held:
    """A write that keeps its transaction, and with it the lane, until it is let go."""

    def __init__(self, engine: Engine) -> None:
        self.running, self.go = threading.Event(), threading.Event()
        workspace: Any = engine._workspace
        self.done = workspace.write(Write(self._apply))

    def _apply(self, _: Any) -> None:
        self.running.set()
        assert self.go.wait(20)

    async def runs(self) -> None:
        assert await asyncio.to_thread(self.running.wait, 60)


@pytest.mark.parametrize(
    ("put", "expected"),
    [(put_reply, ("Ada met Babbage.", None)), (put_vectors, (None, VECTOR.tolist()))],
    ids=["reply", "vectors"],
)
async def test_put_returns_when_a_crash_would_not_lose_the_entry(
    engine: Engine, tmp_path: Path, put: Callable[[Journal], Awaitable[None]], expected: Any
) -> None:
    async def crashed(name: str) -> tuple[str | None, list[float] | None]:
        shutil.copytree(tmp_path / "root", tmp_path / name)
        async with Engine.open(
            tmp_path / name, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder()
        ) as again:
            return await kept(again._workspace.journal)

    async def put_and_crash() -> tuple[str | None, list[float] | None]:
        await put(engine._workspace.journal)
        returned.set()
        return await crashed("after")

    returned = asyncio.Event()
    first = Held(engine)
    await first.runs()
    putting = asyncio.create_task(put_and_crash())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not returned.is_set()
    # The entry and the second write share a transaction: one is written while the other holds up the COMMIT.
    second = Held(engine)
    first.go.set()
    await second.runs()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not returned.is_set()
    assert await crashed("before") == (None, None)
    assert not returned.is_set()

    second.go.set()
    assert await putting == expected
    assert await kept(engine._workspace.journal) == expected
