"""What a review found in the store and the pool, once each."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Engine, Store, StoreSettings, Workspaces
from stateless_rag.errors import StoreCorrupt, StoreLocked, WorkFailed, WorkspaceNotFound
from stateless_rag.stores.duckdb.attaching import log_of
from stateless_rag.stores.duckdb.workspace import DuckWorkspace
from stateless_rag.stores.faiss.segments import VectorIndex

TEXT = "Ada Lovelace met Charles Babbage in London."
OWN = StoreSettings(placement="own")


async def two_files(root: Path) -> tuple[Path, Path]:
    """Make workspaces `a` and `b`, each with a pending document; their files."""
    made: list[Path] = []
    async with Store.open(root, OWN) as store:
        for name in ("a", "b"):
            async with Engine.open(store, name) as engine:
                await engine.submit(TEXT)
            (new,) = set(files(root, "workspaces/*.duckdb")) - set(made)
            made.append(new)
    return made[0], made[1]


def lose(file: Path, _: Path) -> None:
    file.unlink()


def damage(file: Path, _: Path) -> None:
    file.write_bytes(b"x" * 9000)


def truncate(file: Path, _: Path) -> None:
    os.truncate(file, 10_000)


def empty(file: Path, _: Path) -> None:
    os.truncate(file, 0)


def swap(file: Path, other: Path) -> None:
    shutil.copy(other, file)


def swap_with_log(file: Path, other: Path) -> None:
    shutil.copy(other, file)
    shutil.copy(log_of(other), log_of(file))


def lose_log(file: Path, _: Path) -> None:
    log_of(file).unlink()


def damage_log(file: Path, _: Path) -> None:
    log = log_of(file)
    log.write_bytes(log.read_bytes().replace(b"Babbage", b"Cabbage"))


HARM = pytest.mark.parametrize(
    "harm", [lose, damage, truncate, empty, swap, swap_with_log, lose_log, damage_log]
)


@HARM
async def test_a_file_that_is_lost_or_damaged_is_told_and_can_be_dropped(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    file, other = await two_files(tmp_path)
    harm(file, other)
    async with Store.open(tmp_path, OWN) as store:
        for attempt in (store.waiting, store.describe, store.workspace):
            with pytest.raises(StoreCorrupt, match="workspace 'a'"):
                await attempt("a")
            assert file.exists() == (harm is not lose)
        assert await store.names() == ["a", "b"]
        await store.drop("a")
        assert await store.names() == ["b"]
        with pytest.raises(WorkspaceNotFound):
            await store.drop("a")
        assert await store.waiting("b") == 1
        async with Engine.open(store, "a") as engine:
            assert await engine.documents() == []


@HARM
async def test_work_tells_of_a_workspace_whose_file_is_lost_or_damaged(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    harm(*await two_files(tmp_path))
    async with Workspaces.open(tmp_path, store_settings=OWN) as pool:
        with pytest.raises(WorkFailed) as failed:
            await pool.work(until_empty=True)
    assert list(failed.value.reports) == ["b"]
    assert [(name, type(error)) for name, error in failed.value.errors.items()] == [("a", StoreCorrupt)]


async def test_dropping_forgets_what_waited(tmp_path: Path) -> None:
    await two_files(tmp_path)
    async with Store.open(tmp_path, OWN) as store:
        assert await store.waiting("a") == 1
        await store.drop("a")
        with pytest.raises(WorkspaceNotFound):
            await store.waiting("a")
        await store.create("a")
        assert await store.waiting("a") == 0


def files(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern))


@contextmanager
def opened_at_the_end() -> Iterator[threading.Event]:
    """An event that threads wait for; set at the end, so that none waits for ever."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


async def test_a_slow_read_of_a_closed_workspace_holds_up_no_other(tmp_path: Path) -> None:
    with opened_at_the_end() as gate:
        reads = threading.Event()

        def slow(_: object) -> str:
            reads.set()
            gate.wait(60)
            return "read"

        async with Store.open(tmp_path) as store:
            engine = await Engine.open(store, "a")
            await engine.insert(TEXT)
            reading = asyncio.create_task(engine._workspace.read(slow))
            await asyncio.to_thread(reads.wait, 60)
            closing = asyncio.create_task(engine.close())
            await asyncio.wait({closing}, timeout=0.1)
            async with asyncio.timeout(240):
                async with Engine.open(store, "b") as other:
                    await other.insert(TEXT)
                assert await store.waiting("b") == 0
            assert not closing.done()
            gate.set()
            assert await reading == "read"
            await closing
            assert store.memory("a") == 0


async def test_compactions_leave_the_reading_threads_to_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = VectorIndex.build_base
    with opened_at_the_end() as gate:
        begun = threading.Event()

        def slow(*arguments: Any, **options: Any) -> Any:
            begun.set()
            gate.wait(60)
            return build(*arguments, **options)

        monkeypatch.setattr(VectorIndex, "build_base", slow)
        async with Store.open(tmp_path, StoreSettings(base_rows=20, readers=2)) as store:
            engines = [await Engine.open(store, f"w{n}") for n in range(3)]
            many = [f"Person{n} Smith met Person{n} Jones in City{n}." for n in range(15)]
            for engine in engines:
                await engine.insert(many)
            assert await asyncio.to_thread(begun.wait, 60)
            async with asyncio.timeout(240), Engine.open(store, "q") as other:
                await other.insert(TEXT)
                assert (await other.retrieve("Ada Lovelace", min_similarity=-1.0)).passages
            gate.set()
            for engine in engines:
                await engine.close()
    assert files(tmp_path, "faiss/*/*.base")


async def test_what_a_compaction_that_died_has_left_is_removed(tmp_path: Path) -> None:
    settings = StoreSettings(base_rows=20)
    async with Store.open(tmp_path, settings) as store, Engine.open(store, "a") as engine:
        await engine.insert([f"Person{n} Smith met Person{n} Jones in City{n}." for n in range(30)])
        busy = engine._workspace._segments._busy
        await asyncio.to_thread(busy.acquire)  # the compaction has ended
        busy.release()
    kept = files(tmp_path, "faiss/*/*")
    assert kept
    for name in ("chunk-9.rows.tmp", "chunk-9.base.tmp", "chunk-9.rows", "chunk-9.base"):
        (kept[0].parent / name).write_bytes(b"half")
    async with Store.open(tmp_path, settings) as store, Engine.open(store, "a"):
        pass  # closing waits for the vectors, which are read after opening
    assert files(tmp_path, "faiss/*/*") == kept


async def test_close_one_waits_for_an_engine_that_is_being_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = DuckWorkspace.close
    with opened_at_the_end() as gate:

        def slow(self: DuckWorkspace) -> None:
            gate.wait(60)
            close(self)

        async with Workspaces.open(tmp_path, store_settings=OWN) as pool:
            async with pool.lease("a") as engine:
                await engine.insert(TEXT)
            monkeypatch.setattr(DuckWorkspace, "close", slow)
            calls = [asyncio.create_task(pool.close_one("a")) for _ in range(2)]
            done, _ = await asyncio.wait(calls, timeout=0.2)
            assert not done
            gate.set()
            assert await asyncio.gather(*calls) == [True, True]
            assert not pool.store._catalog._attached
            assert await pool.close_one("never-opened")


async def test_cancelling_an_opening_that_fails_leaves_nothing_to_log(tmp_path: Path) -> None:
    logged: list[dict[str, Any]] = []
    async with Store.open(tmp_path):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
        for _ in range(10):
            opening = asyncio.create_task(Store.open(tmp_path).__aenter__())
            await asyncio.sleep(0)
            opening.cancel()
            (outcome,) = await asyncio.gather(opening, return_exceptions=True)
            assert isinstance(outcome, asyncio.CancelledError)
        with pytest.raises(StoreLocked):  # by now the threads of the others have ended, too
            await Store.open(tmp_path)
        await asyncio.sleep(0.1)
        gc.collect()
    assert logged == []
