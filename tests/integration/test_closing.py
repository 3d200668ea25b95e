"""With the last engine on a workspace its memory is freed and its file closed, whoever does what meanwhile."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import StoreClosed, StoreError, WorkspaceMismatch, WorkspaceNotFound
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.attaching import SMALL_LOG, log_of
from stateless_rag.stores.duckdb.database import Write
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document, Usage
from stateless_rag.workspaces import Workspaces

TEXT = "Ada Lovelace wrote notes on the Analytical Engine. Charles Babbage designed the Analytical Engine."


@pytest.fixture(params=["root", "own"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path, StoreSettings(placement=request.param, base_rows=50)) as opened:
        yield opened


async def engine_on(store: Store, name: str = "a", **options: Any) -> Engine:
    return await Engine.open(
        store, name, **{"llm": DeterministicLLM(), "embedder": DeterministicEmbedder(), **options}
    )


@contextmanager
def lane_blocked(engine: Engine) -> Iterator[None]:
    """Nothing is written to the workspace's file before this ends."""
    begun, end = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        begun.set()
        end.wait(30)

    engine._workspace.database.submit(Write(wait, alone=True))
    begun.wait(30)
    try:
        yield
    finally:
        end.set()


def is_free(store: Store, name: str = "a") -> bool:
    return (
        store.memory(name) == 0 and store._in_use.residents.get(name) is None and not store._catalog._attached
    )


async def removed(store: Store) -> None:
    """Returns when a workspace is on its way out."""
    async with asyncio.timeout(240):
        while store._in_use.residents.get("a") is not None:  # noqa: ASYNC110 -- another thread removes it
            await asyncio.sleep(0.001)


async def test_the_last_engine_frees_the_views(store: Store) -> None:
    one, other = await engine_on(store), await engine_on(store)
    await one.insert(Document(TEXT, id="d"))
    held = await dump(other)
    vectors = one._workspace.view.vectors["entity"].delta.matrix.blocks[0].rows
    assert store.memory("a") > vectors.nbytes > 0
    freed: list[weakref.ref[Any]] = [
        weakref.ref(vectors),
        weakref.ref(one._workspace.view.graph.base.relations),
    ]
    del vectors
    await one.close()
    await one.close()
    assert store.memory("a") > 0
    assert await dump(other) == held
    await other.close()
    assert is_free(store)
    gc.collect()
    assert [reference() for reference in freed] == [None, None]  # though both engines are still here
    for engine in (one, other):
        with pytest.raises(StoreClosed):
            await engine.documents()
    again = await engine_on(store)
    assert await dump(again) == held
    assert again.revision == other.revision == 1


@pytest.mark.parametrize(("size", "logs"), [(0, 1), (SMALL_LOG, 0)], ids=["with its log", "without a log"])
async def test_a_closed_file_of_its_own_is_whole_and_free(size: int, logs: int, tmp_path: Path) -> None:
    async with Store.open(tmp_path, StoreSettings(placement="own")) as store:
        engine = await engine_on(store)
        schema = engine._workspace.record.schema
        file = tmp_path / "workspaces" / f"{schema}.duckdb"
        await engine.insert(Document(TEXT + " " * size, id="d"))
        assert log_of(file).stat().st_size > size
        before = await dump(engine)
        await engine.close()
        assert list(file.parent.glob("*.wal")) == [log_of(file)] * logs
        with duckdb.connect(str(file), read_only=True) as connection:
            assert connection.execute(f"SELECT id FROM {schema}.{schema}.documents").fetchall() == [("d",)]
        again = await engine_on(store)
        assert await dump(again) == before
        await again.insert(Document("Grace Hopper wrote COBOL.", id="e"))
        before = await dump(again)
        killed = shutil.copytree(tmp_path, tmp_path / "killed")  # as at this moment
    assert await dump_of(tmp_path) == before
    assert await dump_of(killed) == before


@pytest.mark.parametrize("placement", ["root", "own"])
async def test_a_log_that_is_long_does_not_outlast_the_store(
    placement: Literal["root", "own"], tmp_path: Path
) -> None:
    async with Store.open(tmp_path, StoreSettings(placement=placement)) as store:
        engine = await engine_on(store)
        await engine.insert(Document(TEXT + " " * SMALL_LOG, id="d"))
        before = await dump(engine)
    assert not long_logs(tmp_path)
    assert await dump_of(tmp_path) == before


def long_logs(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.wal") if path.stat().st_size > SMALL_LOG]


async def dump_of(root: Path, name: str = "a") -> dict[str, Any]:
    """What a workspace of a closed store holds."""
    async with Store.open(root) as store:
        engine = await engine_on(store, name, create=False)
        assert (await engine.check(deep=True)).faults == ()
        return await dump(engine)


async def test_a_small_workspace_takes_little_room(tmp_path: Path) -> None:
    async with Store.open(tmp_path, StoreSettings(placement="own")) as store:
        engine = await engine_on(store)
        await engine.insert(Document(TEXT, id="d"))
        await engine.close()
        info = await store.describe("a")
        assert info.bytes < 60_000  # a block of 16 kB for each table that holds rows would make it 190,000


async def test_logs_do_not_add_up(tmp_path: Path) -> None:
    times = 3
    async with Store.open(tmp_path, StoreSettings(placement="own")) as store:
        for number in range(times):
            engine = await engine_on(store)
            await engine.insert(Document(f"{TEXT} Number {number}." + " " * (SMALL_LOG // 3), id=f"{number}"))
            await engine.close()
            assert not long_logs(tmp_path)
        again = await engine_on(store)
        assert [row.id for row in await again.documents()] == [str(number) for number in range(times)]


async def test_closing_waits_for_a_read_that_has_begun(store: Store) -> None:
    engine = await engine_on(store)
    await engine.insert(Document(TEXT, id="d"))
    begun, end = threading.Event(), threading.Event()

    def slow(snapshot: Any) -> Any:
        begun.set()
        end.wait(30)
        vector = np.ones(engine._workspace.dimension or 0)
        return snapshot.document("d")["text"], len(snapshot.search("chunk", vector, 5))

    reading = asyncio.create_task(engine._workspace.read(slow))
    await asyncio.to_thread(begun.wait, 30)
    closing = asyncio.create_task(engine.close())
    await asyncio.wait([closing], timeout=0.2)
    waited = not closing.done() and not is_free(store)
    end.set()
    assert waited
    assert await reading == (TEXT, 1)
    await closing
    assert is_free(store)
    assert [row.id for row in await (await engine_on(store)).documents()] == ["d"]


async def test_what_was_queued_is_written_before_the_file_is_closed(store: Store) -> None:
    engine = await engine_on(store)
    await engine.insert(Document(TEXT, id="d"))
    with lane_blocked(engine):
        submitting = asyncio.create_task(engine.submit(Document("Alan Turing.", id="e")))
        async with asyncio.timeout(240):
            while not engine._workspace.database._queue:  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0.001)
        closing = asyncio.create_task(engine.close())
        await removed(store)
        opening = asyncio.create_task(engine_on(store))
    await asyncio.gather(submitting, closing)
    again = await opening
    assert [(row.id, row.status.value) for row in await again.documents()] == [
        ("d", "processed"),
        ("e", "pending"),
    ]
    await again.resume()
    assert again.revision == 2
    await again.close()
    assert is_free(store)


async def test_an_engine_opened_before_the_last_is_gone_keeps_the_workspace(store: Store) -> None:
    engine = await engine_on(store)
    await engine.insert(Document(TEXT, id="d"))
    blocked = threading.Event()
    store._threads.cataloger.submit(blocked.wait, 30)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    other = await engine_on(store)
    assert other._workspace is engine._workspace
    blocked.set()
    await closing
    assert [row.id for row in await other.documents()] == ["d"]
    await other.close()
    assert is_free(store)


async def test_what_an_engine_was_doing_ends_with_it_and_is_kept(store: Store) -> None:
    class Waiting(DeterministicLLM):
        def __init__(self) -> None:
            super().__init__()
            self.asked, self.go_on = asyncio.Event(), asyncio.Event()

        async def complete(self, request: Any) -> Any:
            self.asked.set()
            await self.go_on.wait()
            return await super().complete(request)

    llm = Waiting()
    engine = await engine_on(store, llm=llm)
    inserting = asyncio.create_task(engine.insert(Document(TEXT, id="d")))
    await llm.asked.wait()
    await engine.close()
    assert is_free(store)
    llm.go_on.set()
    with pytest.raises(StoreClosed, match="'a'"):
        await inserting
    again = await engine_on(store)
    report = await again.resume()
    assert [document.id for document in report.documents] == ["d"] and not report.failed


async def test_openings_that_come_to_nothing_leave_nothing(store: Store) -> None:
    engine = await engine_on(store)
    await engine.insert(Document(TEXT, id="d"))
    await engine.close()
    with pytest.raises(WorkspaceMismatch):
        await engine_on(store, embedder=DeterministicEmbedder(dimension=7))
    with pytest.raises(WorkspaceNotFound):
        await engine_on(store, "none", create=False)
    for turns in range(12):
        opening = asyncio.create_task(engine_on(store))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        (opened,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(opened, Engine):
            await opened.close()
    assert (await store.describe("a")).chunks == 1
    await store.create("b")
    async with asyncio.timeout(240):
        while not is_free(store):  # noqa: ASYNC110 -- the store's own thread takes back what was cancelled
            await asyncio.sleep(0.001)


async def test_a_dropped_workspace_is_freed_though_engines_are_open(store: Store) -> None:
    engine = await engine_on(store)
    await engine.insert(Document(TEXT, id="d"))
    drops = await asyncio.gather(*(store.drop("a") for _ in range(3)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in drops) == [
        "NoneType",
        "WorkspaceNotFound",
        "WorkspaceNotFound",
    ]
    assert is_free(store)
    other = await engine_on(store)
    with pytest.raises(StoreError, match="was dropped"):
        await engine.documents()
    await engine.close()  # is not a use of the new one
    assert await other.documents() == []
    await other.close()
    assert is_free(store)


async def test_waiting_looks_without_opening(store: Store) -> None:
    for name, count in (("a", 3), ("b", 0)):
        async with Engine.open(store, name) as engine:
            await engine.submit([Document(f"Text {n}.", id=f"d{n}") for n in range(count)])
            assert await store.waiting(name) == count
        for _ in range(2):
            assert await store.waiting(name) == count
        assert is_free(store, name)
    engine = await engine_on(store, "c")
    await engine.submit([Document("x", id="same"), Document("y", id="same")])
    taken = await engine._workspace.claim(1, failed=False)
    assert await store.waiting("c") == 0
    await engine.close()  # lets go of what was claimed
    assert len(taken) == 1 and await store.waiting("c") == 1
    again = await engine_on(store, "c")
    await again.work(until_empty=True)
    await again.close()
    assert await store.waiting("c") == 0
    with pytest.raises(WorkspaceNotFound):
        await store.waiting("none")


async def test_vectors_paid_for_pending_documents_outlast_closing(store: Store) -> None:
    vectors = {f"digest{n}": np.full(4, n, dtype=np.float32) for n in range(200)}
    engine = await engine_on(store, embedder=DeterministicEmbedder(dimension=4))
    await engine.submit(Document("Pending.", id="d"))
    await engine._workspace.journal.put_vectors(vectors, Usage(1, 1, 0), "m")
    await engine.close()
    engine = await engine_on(store, embedder=DeterministicEmbedder(dimension=4))
    assert len(await engine._workspace.journal.get_vectors(vectors)) == 200
    await engine.delete("d")
    await engine.close()
    engine = await engine_on(store, embedder=DeterministicEmbedder(dimension=4))
    assert len(await engine._workspace.journal.get_vectors(vectors)) == 0


@pytest.mark.parametrize("placement", ["root", "own"])
def test_open_close_and_drop_from_many_threads(tmp_path: Path, placement: Literal["root", "own"]) -> None:
    """Every thread has an event loop of its own, and may find a workspace dropped, but nothing else."""
    store = asyncio.run(opened(tmp_path, placement))
    problems: list[BaseException] = []

    async def use(seed: int) -> None:
        choose = random.Random(seed)
        for turn in range(12):
            name = choose.choice("ab")
            try:
                if choose.random() < 0.15:
                    await store.drop(name)
                    continue
                async with Engine.open(store, name) as engine:
                    await engine.insert(Document(f"Person{seed} met Person{turn}.", id=f"{seed}-{turn}"))
                    found = await engine.retrieve(f"Person{seed}", min_similarity=-1.0)
                    assert found.passages
            except WorkspaceNotFound:
                continue
            except StoreError as error:
                if "dropped" not in str(error) and "being worked on" not in str(error):
                    raise

    def run(seed: int) -> None:
        try:
            asyncio.run(use(seed))
        except BaseException as error:  # noqa: BLE001 -- told by the test
            problems.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert problems == []
    assert all(is_free(store, name) for name in "ab")
    asyncio.run(store.close())


async def opened(root: Path, placement: Literal["root", "own"]) -> Store:
    return await Store.open(root, StoreSettings(placement=placement))


async def test_a_second_close_waits_for_the_first(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    engine = await engine_on(store)
    order = []

    async def close() -> None:
        await store.close()
        order.append("closed")

    with lane_blocked(engine):
        closing = [asyncio.create_task(close()) for _ in range(2)]
        while not store._closed:  # noqa: ASYNC110 -- another thread closes it
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0.001)
        order.append("written")
    await asyncio.gather(*closing)
    assert order == ["written", "closed", "closed"]
    async with Store.open(tmp_path):
        pass


async def test_a_store_registers_nothing_that_outlasts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise AssertionError("a callback at fork cannot be taken back")

    monkeypatch.setattr(os, "register_at_fork", refuse)
    store = await Store.open(tmp_path)
    await store.close()
    gone = weakref.ref(store)
    del store
    async with asyncio.timeout(240):  # a thread that is ending may hold it for a moment
        while gone() is not None:
            await asyncio.sleep(0.01)
            gc.collect()
    assert gone() is None


async def test_a_pool_tells_of_an_engine_that_could_not_be_closed_and_closes_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    detach = store._catalog.detach
    pool = Workspaces(store)
    for name in "abc":
        async with pool.lease(name) as engine:
            if name == "b":
                broken = engine._workspace.record.schema

    def refuse(schema: str) -> None:
        detach(schema)
        if schema == broken:
            raise StoreError("the file of b is not closed")

    monkeypatch.setattr(store._catalog, "detach", refuse)
    with pytest.raises(StoreError, match="of b"):
        await pool.close()
    assert pool.opened == () and all(is_free(store, name) for name in "abc")
    await pool.close()  # it was told once
