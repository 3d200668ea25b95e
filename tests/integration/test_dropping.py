"""Dropping a workspace that is being read: it waits, others do not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Engine, Store, StoreSettings
from stateless_rag.errors import StoreClosed, StoreError, WorkspaceNotFound
from stateless_rag.stores.duckdb.catalog import Catalog

TEXT = "Ada Lovelace met Charles Babbage in London."


@pytest.fixture(params=["root", "own"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path, StoreSettings(placement=request.param)) as opened:
        yield opened


class SlowRead:
    """A read of a workspace that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, snapshot: Any) -> list[str]:
        self.begun.set()
        self.end.wait(60)
        return [snapshot.document("d")["text"]]

    async def of(self, engine: Engine) -> asyncio.Task[list[str]]:
        reading = asyncio.create_task(engine._workspace.read(self))
        assert await asyncio.to_thread(self.begun.wait, 60)
        return reading


@contextmanager
def slow_read() -> Iterator[SlowRead]:
    slow = SlowRead()
    try:
        yield slow
    finally:
        slow.end.set()


async def filled(store: Store) -> Engine:
    from stateless_rag import Document

    engine = await Engine.open(store, "a")
    await engine.insert(Document(TEXT, id="d"))
    return engine


async def refused(engine: Engine) -> None:
    """Returns when the workspace takes no more work."""
    async with asyncio.timeout(240):
        while not engine._workspace.dropped:  # noqa: ASYNC110 -- another thread marks it
            await asyncio.sleep(0.001)


async def test_a_read_holds_up_the_drop_of_its_workspace_and_nothing_else(store: Store) -> None:
    with slow_read() as slow:
        engine = await filled(store)
        reading = await slow.of(engine)
        drops = [asyncio.create_task(store.drop("a")) for _ in range(2)]
        await refused(engine)
        with pytest.raises(StoreError, match="was dropped"):
            await engine.documents()
        async with asyncio.timeout(240):
            async with Engine.open(store, "b") as other:
                await other.insert(TEXT)
            assert await store.waiting("b") == 0
            await store.drop("b")
        assert not await store.create("a")  # it is not gone yet
        assert not any(drop.done() for drop in drops)
        slow.end.set()
        assert await reading == [TEXT]  # what had begun sees all it has begun with
        outcomes = await asyncio.gather(*drops, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), WorkspaceNotFound]
        assert await store.names() == [] and store.memory("a") == 0
        await engine.close()
        assert await store.create("a")


async def test_who_is_cancelled_while_the_drop_waits_has_dropped_it(store: Store) -> None:
    with slow_read() as slow:
        engine = await filled(store)
        reading = await slow.of(engine)
        drop = asyncio.create_task(store.drop("a"))
        await refused(engine)
        drop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drop
        slow.end.set()
        await reading
        async with asyncio.timeout(240):
            while await store.names():  # noqa: ASYNC110 -- the store's own thread removes it
                await asyncio.sleep(0.001)


async def test_a_drop_that_fails_leaves_the_workspace_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StoreError("the disk is full")

    with slow_read() as slow:
        engine = await filled(store)
        reading = await slow.of(engine)
        drop = asyncio.create_task(store.drop("a"))
        await refused(engine)
        monkeypatch.setattr(Catalog, "remove", fail)
        slow.end.set()
        await reading
        with pytest.raises(StoreError, match="disk is full"):
            await drop
        assert [status.id for status in await engine.documents()] == ["d"]
        monkeypatch.undo()
        await store.drop("a")
        assert await store.names() == []


async def test_a_store_that_is_closed_while_a_drop_waits_tells_it(tmp_path: Path) -> None:
    with slow_read() as slow:
        store = await Store.open(tmp_path)
        engine = await filled(store)
        reading = await slow.of(engine)
        drop = asyncio.create_task(store.drop("a"))
        await refused(engine)
        closing = asyncio.create_task(store.close())
        async with asyncio.timeout(240):
            while not store._closed:  # noqa: ASYNC110 -- another thread closes it
                await asyncio.sleep(0.001)
        slow.end.set()
        await asyncio.gather(reading, closing)
        with pytest.raises(StoreClosed):
            await drop
    async with Store.open(tmp_path) as again:
        assert await again.names() == ["a"]
