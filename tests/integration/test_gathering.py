"""What finishes close together shares a commit, and what was paid for at about the same time shares a flush."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, Status
from stateless_rag.context import Clock, Context
from stateless_rag.stores.duckdb import journal as journaling
from stateless_rag.stores.duckdb.database import Database, Write
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Chunk, Event, Extraction

_LONG = 60.0  # seconds that no test takes: who waits as long has missed something


class Held:
    """An extractor that finds nothing, and keeps each document whose text has a name until it is let go."""

    def __init__(self, *names: str) -> None:
        self.kept = {name: asyncio.Event() for name in names}
        self.done: list[str] = []
        self.changed = asyncio.Event()

    def generation(self, _: Context) -> str:
        return "held-1"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        if chunk.text in self.kept:
            await asyncio.wait_for(self.kept[chunk.text].wait(), _LONG)
        return Extraction(chunk_id=chunk.id, generation=self.generation(context))

    def observe(self, event: Event) -> None:
        """Note which documents are done."""
        if event.kind == "extracted":
            self.done.append(str(event.document_id))
            self.changed.set()

    async def let_go(self, name: str) -> None:
        """Return when the document is done."""
        self.kept[name].set()
        while name not in self.done:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), _LONG)


async def inserted(root: Path, held: Held, sleep: Any, *names: str) -> int:
    """How many revisions it took to insert documents of these names."""
    async with Engine.open(
        root,
        extractor=held,
        embedder=DeterministicEmbedder(8),
        observer=held.observe,
        clock=Clock(sleep=sleep),
    ) as engine:
        report = await engine.insert([Document(name, id=name) for name in names])
        assert report.counts == {Status.PROCESSED: len(names)}
        return engine.revision


async def test_documents_that_finish_close_together_share_a_commit(tmp_path: Path) -> None:
    held, pauses = Held("second", "third"), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        for name in ("second", "third"):
            if name not in held.done:
                await held.let_go(name)
                return

    assert await inserted(tmp_path, held, sleep, "first", "second", "third") == 1
    assert len(pauses) == 2 and max(pauses) <= 0.005  # and none once nothing else is under way


async def test_one_document_waits_for_nobody(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    assert await inserted(tmp_path, Held(), sleep, "first") == 1
    assert pauses == []


async def test_a_document_that_takes_longer_is_not_waited_for(tmp_path: Path) -> None:
    held, pauses = Held("second"), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def observe(event: Event) -> None:
        held.observe(event)
        if event.kind == "committed" and event.document_id == "first":
            held.kept["second"].set()

    async with Engine.open(
        tmp_path,
        extractor=held,
        embedder=DeterministicEmbedder(8),
        observer=observe,
        clock=Clock(sleep=sleep),
    ) as engine:
        report = await engine.insert([Document("first", id="first"), Document("second", id="second")])
        assert report.counts == {Status.PROCESSED: 2}
        assert engine.revision == 2
    assert 0 < sum(pauses) <= 0.02


# ---- flushes -------------------------------------------------------------------------------------------


class Transactions:
    """A connection that counts its transactions."""

    def __init__(self) -> None:
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def commit(self) -> None:
        return

    def rollback(self) -> None:
        return


@pytest.mark.parametrize("ending", ["hurry", "another write"])
def test_patient_writes_share_a_transaction(ending: str) -> None:
    counted: Any = Transactions()
    with ThreadPoolExecutor(1) as executor:
        database = Database(lambda: counted, lambda _: None, executor, "root")
        numbers = iter(range(4))
        futures = [database.submit(Write(lambda _: next(numbers), patience=_LONG)) for _ in range(3)]
        assert not any(future.done() for future in futures)
        if ending == "hurry":
            database.hurry()
        else:
            futures.append(database.submit(Write(lambda _: next(numbers))))
        assert [future.result(_LONG / 2) for future in futures] == list(range(len(futures)))
        assert counted.begun == 1
        last = database.submit(Write(lambda _: "again", patience=0.001))
        assert last.result(_LONG / 2) == "again"  # nobody else comes, and it does not wait for ever
        assert counted.begun == 2


async def test_what_is_alone_under_way_is_flushed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_REPLIES_WAIT", "_VECTORS_WAIT"):
        monkeypatch.setattr(journaling, name, _LONG)
    async with (
        asyncio.timeout(_LONG / 2),
        Engine.open(tmp_path, llm=DeterministicLLM(), embedder=DeterministicEmbedder(8)) as engine,
    ):
        documents = [Document(f"Alice met Bob{n} in Paris.") for n in range(4)]
        report = await engine.insert(documents)
        assert report.counts == {Status.PROCESSED: 4}
