"""What is written together, and what is not looked for again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import WorkspaceMismatch
from stateless_rag.protocols import JournalEntry, LLMReply
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.journal import DuckJournal
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document, Usage

USAGE = Usage(calls=1, prompt_tokens=7, completion_tokens=3)


@pytest.fixture
async def workspace(tmp_path: Path) -> AsyncIterator[Any]:
    async with (
        Store.open(tmp_path / "root") as store,
        Engine.open(store, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder()) as engine,
    ):
        yield engine._workspace


class Lane:
    """Holds the lane of a workspace, so that what comes meanwhile has to wait for the next transaction."""

    def __init__(self, workspace: Any) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self._done = workspace.write(Write(self._apply, alone=True))

    def _apply(self, _: Cursor) -> None:
        self._begun.set()
        assert self._go.wait(60)

    async def __aenter__(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 60)

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await asyncio.wrap_future(self._done)


def vectors(name: str, dimension: int = 32) -> dict[str, Any]:
    return {f"{name}-{number}": np.full(dimension, 0.5, dtype=np.float32) for number in range(3)}


def entry(name: str) -> JournalEntry:
    return JournalEntry(
        digest=name, purpose="extract", model="m", reply=LLMReply(text=f"re: {name}"), usage=USAGE
    )


async def waiting(*calls: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(call) for call in calls]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_what_waits_is_flushed_together(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = workspace.journal
    written: list[tuple[str, int]] = []

    def append(cursor: Cursor, table: str, columns: dict[str, Any]) -> None:
        written.append((table.rpartition(".")[2], len(columns["digest"])))
        plain(cursor, table, columns)

    names = DuckJournal._write.__globals__
    plain = names["append"]
    monkeypatch.setitem(names, "append", append)
    async with Lane(workspace):
        tasks = await waiting(
            *(journal.put(entry(name)) for name in "abcd"),
            *(journal.put_vectors(vectors(name), USAGE, "m") for name in "efg"),
        )
    await asyncio.gather(*tasks)
    assert sorted(written) == [("journal", 3), ("journal", 4)]
    assert [(await journal.get(name)).text for name in "ad"] == ["re: a", "re: d"]
    assert len(await journal.get_vectors([*vectors("e"), *vectors("f"), *vectors("g")])) == 9
    costs = await workspace.costs()
    assert (costs["extract"], costs["embed"]) == (Usage(4, 28, 12), Usage(3, 21, 9))


async def test_vectors_of_another_dimension_fail_alone(workspace: Any) -> None:
    journal = workspace.journal
    async with Lane(workspace):
        tasks = await waiting(
            journal.put(entry("a")),
            journal.put_vectors(vectors("b"), USAGE, "m"),
            journal.put_vectors(vectors("c", 16), USAGE, "other"),
            journal.put_vectors(vectors("d"), USAGE, "m"),
        )
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), WorkspaceMismatch, type(None)]
    found = await journal.get_vectors([*vectors("b"), *vectors("c"), *vectors("d")])
    assert sorted({key[0] for key in found}) == ["b", "d"]
    assert (await journal.get("a")).text == "re: a"


async def test_a_flush_that_fails_is_told_to_all_who_wait_and_to_nobody_after(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = workspace.journal

    def broken(*_: Any) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setitem(DuckJournal._write.__globals__, "append", broken)
        tasks = await waiting(journal.put(entry("a")), journal.put_vectors(vectors("b"), USAGE, "m"))
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    assert await journal.get("a") is None
    assert await journal.get_vectors([*vectors("b")]) == {}
    await asyncio.gather(journal.put(entry("a")), journal.put_vectors(vectors("b"), USAGE, "m"))
    assert (await journal.get("a")).text == "re: a"


async def test_rows_are_replaced_and_removed_whichever_were_there(tmp_path: Path) -> None:
    texts = [
        "Ada Lovelace met Charles Babbage.",
        "Charles Babbage lived in London.",
        "Ada Lovelace wrote notes.",
    ]
    async with (
        Store.open(tmp_path / "root") as store,
        Engine.open(store, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder()) as engine,
    ):
        for number, text in enumerate(texts):
            await engine.insert([Document(text, id=f"d{number}")])
        await engine.insert([Document("Ada Lovelace met nobody in Paris.", id="d0")])
        await engine.delete(["d1"])

        def ids(table: str) -> list[Any]:
            workspace: Any = engine._workspace
            with store.reading() as cursor:
                found = cursor.execute(f"SELECT id FROM {workspace.schema}.{table}").fetchall()
            return sorted(row[0] for row in found)

        view: Any = engine._workspace.view
        for table, known in (
            ("entities", view.entities),
            ("relations", view.relations),
            ("chunks", view.pieces),
        ):
            assert ids(table) == known.ids().tolist(), table  # each once
        assert ids("documents") == ["d0", "d2"]


@pytest.mark.parametrize(
    ("held", "tried"),
    [([40, 40, 40, 40], 1), ([40, 40, 50, 57, 57], 2), ([40, 40, 20, 40, 40], 2), ([30, 31, 32], 0)],
    ids=["stuck", "grown", "freed in between", "little"],
)
async def test_blocks_that_cannot_be_let_go_of_are_not_tried_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: list[int], tried: int
) -> None:
    async with Store.open(tmp_path / "root") as store:
        connection: Any = store._connection
        seen, shrunk = iter([*held, held[-1], held[-1]]), []
        now = [next(seen)]

        def cached() -> tuple[int, int]:
            return now[0] * 1_000_000, 0

        monkeypatch.setattr(connection, "_cached", cached)
        monkeypatch.setattr(connection, "_shrink", lambda: shrunk.append(now[0]))
        for _ in held:
            connection.relieve()
            now[0] = next(seen)
        assert len(shrunk) == tried
