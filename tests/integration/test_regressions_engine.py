"""What reviews found about closing, cancelling, deleting many documents, and closing streams."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli
from stateless_rag.engine import Engine
from stateless_rag.opening import Opening
from stateless_rag.protocols import LLMRequest, StreamPart
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.stores.duckdb.views import View
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document, Status

TEXT = "Ada Lovelace met Charles Babbage in London."


def engine_on(store: Store) -> Opening[Engine]:
    return Engine.open(store, llm=DeterministicLLM(), embedder=DeterministicEmbedder())


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ---- closing -------------------------------------------------------------------------------------------


async def test_cancelling_while_an_engine_closes_unlocks_its_root(tmp_path: Path) -> None:
    inserted = asyncio.Event()

    async def use() -> None:
        async with Engine.open(tmp_path) as engine:
            await engine.insert(TEXT)
            inserted.set()

    using = asyncio.create_task(use())
    await inserted.wait()
    await cancelled(using)
    async with Engine.open(tmp_path) as engine:
        assert len(await engine.documents()) == 1


async def test_an_engine_that_threads_close_at_once_is_released_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store.open(tmp_path) as store:
        kept, closed = await engine_on(store), await engine_on(store)
        release, released = store.release, []
        second = threading.Event()

        def slow(workspace: Any) -> Future[None]:
            released.append(workspace)
            if len(released) > 1:
                second.set()
            second.wait(0.2)  # time for the other thread to come here too
            return release(workspace)

        monkeypatch.setattr(store, "release", slow)
        threads = [threading.Thread(target=lambda: asyncio.run(closed.close())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert len(released) == 1
        assert (await kept.insert(TEXT)).counts == {Status.PROCESSED: 1}


# ---- deleting ------------------------------------------------------------------------------------------


class _Counting(str):
    """An id that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        _Counting.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


async def test_deleting_many_documents_looks_at_each_a_few_times(tmp_path: Path) -> None:
    waiting = [_Counting(f"waiting{n}") for n in range(300)]
    unknown = [_Counting(f"unknown{n}") for n in range(300)]
    async with Store.open(tmp_path) as store, engine_on(store) as engine:
        await engine.submit([Document(TEXT, id=str(id_)) for id_ in waiting])
        _Counting.compared = 0
        report = await engine.delete([*waiting, *unknown])
    assert (report.deleted, report.missing) == (tuple(waiting), tuple(unknown))
    assert _Counting.compared < 20 * 600


# ---- cancelling ----------------------------------------------------------------------------------------


async def test_what_a_cancelled_insert_still_commits_is_no_failure_of_who_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store.open(tmp_path) as store, engine_on(store) as engine:
        await engine.insert(TEXT)
        committing, go_on = asyncio.Event(), threading.Event()
        loop, following, is_pending = asyncio.get_running_loop(), View.following, engine._workspace.is_pending

        def slow(view: View, *arguments: Any) -> View:
            loop.call_soon_threadsafe(committing.set)
            go_on.wait(30)
            return following(view, *arguments)

        def looked(sequence: int) -> bool:
            pending = is_pending(sequence)
            go_on.set()  # once who resumes has seen it pending, it is committed by the other
            return pending

        monkeypatch.setattr(View, "following", slow)
        inserting = asyncio.create_task(engine.insert(Document("Grace Hopper met Alan Turing.", id="g")))
        await committing.wait()
        monkeypatch.setattr(engine._workspace, "is_pending", looked)
        await cancelled(inserting)
        report = await engine.resume()
        assert [(document.id, document.status) for document in report.documents] == [("g", Status.PROCESSED)]
        assert [document.status for document in await engine.documents()] == [Status.PROCESSED] * 2


async def test_a_document_that_is_deleted_while_it_is_ingested_is_told_of(tmp_path: Path) -> None:
    class Blocked(DeterministicLLM):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def complete(self, request: LLMRequest) -> Any:
            self.begun.set()
            await self.go_on.wait()
            return await super().complete(request)

    llm = Blocked()
    async with Engine.open(tmp_path, llm=llm, embedder=DeterministicEmbedder()) as engine:
        inserting = asyncio.create_task(engine.insert(Document(TEXT, id="d")))
        await llm.begun.wait()
        await engine.delete("d")
        llm.go_on.set()
        (report,) = (await inserting).documents
        assert (report.status, report.error) == (Status.FAILED, "deleted while it was being ingested")
        assert await engine.documents() == []


# ---- streams -------------------------------------------------------------------------------------------


class _Parts(DeterministicLLM):
    """Streams words inside of a scope, and tells which tasks entered and left it."""

    def __init__(self, scope: Any) -> None:
        super().__init__()
        self._scope = scope
        self.tasks: list[Any] = []

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
        self.tasks.append(asyncio.current_task())
        try:
            async with self._scope():
                for n in range(50):
                    yield StreamPart(text=f"w{n} ")
        finally:
            self.tasks.append(asyncio.current_task())


@asynccontextmanager
async def refusing() -> AsyncIterator[None]:
    try:
        yield
    finally:
        raise ValueError("cannot be closed")


@pytest.mark.parametrize("scope", [asyncio.TaskGroup, lambda: asyncio.timeout(240), refusing])
@pytest.mark.parametrize("ending", ["cancelled", "closed", "in another task"])
async def test_a_stream_closes_quietly_in_the_task_that_reads_it(
    tmp_path: Path, scope: Any, ending: str
) -> None:
    llm = _Parts(scope)
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    async with Engine.open(tmp_path, llm=llm, embedder=DeterministicEmbedder()) as engine:
        await engine.insert(TEXT)
        words: dict[str, Any] = {"low_level_keywords": ("Ada Lovelace",), "high_level_keywords": ("x",)}
        pieces = engine.stream("Who met Ada Lovelace?", **words)
        if ending == "cancelled":
            begun = asyncio.Event()

            async def read() -> None:
                async with aclosing(pieces):
                    async for _ in pieces:
                        begun.set()
                        await asyncio.sleep(0)

            reading = asyncio.create_task(read())
            await begun.wait()
            await cancelled(reading)
        else:
            await anext(pieces)
            closing = pieces.aclose()
            await (closing if ending == "closed" else asyncio.create_task(closing))
        opened, closed = llm.tasks
        assert opened is closed
        assert engine.context.limits.in_use("llm") == 0
    assert complaints == []


# ---- the command line ----------------------------------------------------------------------------------


def test_resume_with_nothing_to_do_says_so(cli: Cli, corpus: Path) -> None:
    assert cli("ingest", str(corpus))[0] == 0
    assert cli("resume") == (0, "Nothing to do.\n", "")


@pytest.mark.parametrize("command", [["status"], ["query", "Ada Lovelace"], ["query", "Ada", "--json"]])
def test_a_reader_that_goes_away_ends_a_command_quietly(
    cli: Cli, corpus: Path, tmp_path: Path, command: list[str]
) -> None:
    assert cli("ingest", str(corpus))[0] == 0
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "stateless_rag", *command],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=280,
        )
    assert (done.returncode, done.stderr) == (141, "")
