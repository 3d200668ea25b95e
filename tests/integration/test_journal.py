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
from stateless_rag.errors import StoreError
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


async def test_replies_that_are_new_are_not_looked_up_and_known_ones_are_found(tmp_path: Path) -> None:
    """Of what is there only hashes are held; they tell the same in the process that wrote it and in the next."""

    def entry(name: str) -> JournalEntry:
        return JournalEntry(
            digest=name * 32, purpose="extract", model="model", reply=LLMReply(text=name), usage=USAGE
        )

    async def found(journal: Journal, name: str) -> str | None:
        reply = await journal.get(name * 32)
        return reply.text if reply else None

    async with Store.open(tmp_path / "root") as store:
        engine = await open_engine(store)
        workspace: Any = engine._workspace
        await workspace.journal.put(entry("a"))  # before anybody asked
        assert [await found(workspace.journal, name) for name in "ab"] == ["a", None]
        await workspace.journal.put(entry("b"))
        assert [await found(workspace.journal, name) for name in "abc"] == ["a", "b", None]
        selected: list[str] = []
        select = workspace.select

        def noting(statement: str, *parameters: Any, **names: str) -> Any:
            selected.append(statement)
            return select(statement, *parameters, **names)

        workspace.select = noting
        assert [await found(workspace.journal, name) for name in "cde"] == [None] * 3
        assert selected == []
        await engine.close()
    async with Store.open(tmp_path / "root") as store:
        engine = await open_engine(store)
        journal = engine._workspace.journal
        assert [await found(journal, name) for name in "abc"] == ["a", "b", None]
        await engine.close()


async def test_an_error_of_one_look_up_is_told_and_the_next_one_works(engine: Engine) -> None:
    workspace: Any = engine._workspace
    await put_reply(workspace.journal)
    select = workspace.select

    def failing(*_: Any, **__: Any) -> Any:
        workspace.select = select
        raise MemoryError("no memory")

    workspace.select = failing
    with pytest.raises(MemoryError):
        await asyncio.wait_for(workspace.journal.get("d" * 32), 5)
    assert (await kept(workspace.journal))[0] == "Ada met Babbage."


async def test_a_put_after_one_that_came_to_nothing_is_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that cannot even begin fails those who wait for it, and nobody after them."""
    workspace: Any = engine._workspace

    def refused(*_: Any) -> Any:
        raise StoreError("no connection")

    with monkeypatch.context() as broken:
        broken.setattr(type(workspace.database), "_transaction", refused)
        with pytest.raises(StoreError, match="no connection"):
            await asyncio.wait_for(put_reply(workspace.journal), 5)
    await put_reply(workspace.journal)
    assert (await kept(workspace.journal))[0] == "Ada met Babbage."
