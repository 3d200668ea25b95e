"""Vectors of a workspace are read while it is in use already: whoever needs them waits, and nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import StoreClosed, StoreError
from stateless_rag.opening import Opening
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.segments import Segments
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document

TEXTS = (
    "Ada Lovelace wrote notes on the Analytical Engine. Charles Babbage designed the Analytical Engine.",
    "Konrad Zuse built the Z3 in Berlin. Alan Turing broke Enigma at Bletchley Park.",
)
QUESTION = "Who designed the Analytical Engine?"
MODES = ("naive", "local", "hybrid", "mix")
NEW = Document("Grace Hopper wrote the A-0 compiler. Jean Bartik programmed the ENIAC.", id="new")


class Held:
    """Vectors that are held back until `let_go`; `begun` tells that somebody reads them."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._go = threading.Event()

    def hold(self) -> None:
        self._go.clear()

    def let_go(self) -> None:
        self._go.set()

    def wait(self) -> None:
        self.begun.set()
        assert self._go.wait(60)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """From now on no workspace's vectors arrive before they are let go of."""
    holding, load = Held(), Segments.load

    def late(self: Segments, cursor: Any) -> Any:
        holding.wait()
        return load(self, cursor)

    monkeypatch.setattr(Segments, "load", late)
    yield holding
    holding.let_go()


@pytest.fixture(params=["root", "own"])
async def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a workspace in it that nobody has open; some of its vectors are in files of their own."""
    settings = StoreSettings(placement=request.param, base_rows=4)
    async with Store.open(tmp_path, settings) as store, engine_on(store) as engine:
        await engine.insert([Document(text, id=f"d{number}") for number, text in enumerate(TEXTS)])
    return tmp_path


@pytest.fixture
async def store(root: Path) -> AsyncIterator[Store]:
    async with Store.open(root) as opened:
        yield opened


def engine_on(store: Store) -> Opening[Engine]:
    return Engine.open(store, "a", llm=DeterministicLLM(), embedder=DeterministicEmbedder())


async def found(engine: Engine, mode: str = "mix", question: str = QUESTION) -> Sequence[Any]:
    retrieval = await engine.retrieve(question, mode=mode)
    return [(passage.chunk_id, passage.score) for passage in retrieval.passages]


@pytest.fixture
async def answers(root: Path) -> dict[str, Sequence[Any]]:
    """What is found where nothing is held back."""
    async with Store.open(root) as store, engine_on(store) as engine:
        return {mode: await found(engine, mode) for mode in MODES}


async def is_waiting(task: asyncio.Task[Any], engine: Engine) -> bool:
    """Whether a task has not ended by the time that something else was read."""
    for _ in range(20):
        await engine.documents()
    return not task.done()


def without_vectors(root: Path) -> None:
    """Let there be no table of vectors any more, in a store that nobody has open."""
    with duckdb.connect() as connection:
        for number, file in enumerate(root.rglob("*.duckdb")):
            connection.execute(f"ATTACH '{file}' AS damaged{number}")
        found = "SELECT database_name, schema_name FROM duckdb_tables() WHERE table_name = 'vectors'"
        ((database, schema),) = connection.execute(found).fetchall()
        connection.execute(f'DROP TABLE {database}."{schema}".vectors')


async def test_the_first_question_waits_for_them(
    root: Path, answers: dict[str, Sequence[Any]], held: Held
) -> None:
    for mode, expected in answers.items():
        held.hold()
        async with Store.open(root) as store, engine_on(store) as engine:
            asking = asyncio.create_task(found(engine, mode))
            assert await is_waiting(asking, engine)
            held.let_go()
            assert await asking == expected != []


async def test_what_needs_none_does_not_wait(store: Store, held: Held) -> None:
    engine = await engine_on(store)
    assert [document.id for document in await engine.documents()] == ["d0", "d1"]
    assert (await engine.describe()).chunks == 2
    assert not held._go.is_set()
    held.let_go()
    await engine.close()


async def test_what_they_will_take_counts_as_memory(tmp_path: Path, held: Held) -> None:
    held.let_go()
    async with Store.open(tmp_path) as store:
        async with engine_on(store) as engine:
            await engine.insert(Document(TEXTS[0], id="d"))
        held.hold()
        async with engine_on(store) as engine:
            expected = store.memory("a")
            held.let_go()
            vectors = sum(view.nbytes for view in engine._workspace.view.vectors.values())
            assert expected == store.memory("a") > vectors > 0


async def test_many_questions_at_once_wait_together(store: Store, held: Held) -> None:
    engine = await engine_on(store)
    asking = [asyncio.create_task(found(engine, mode)) for mode in MODES for _ in range(8)]
    assert not any(task.done() for task in asking)
    held.let_go()
    answers = await asyncio.gather(*asking)
    assert all(answers)
    for number in range(0, len(answers), 8):
        assert answers[number : number + 8] == answers[number : number + 1] * 8
    await engine.close()


async def test_a_commit_waits_for_them(store: Store, held: Held) -> None:
    engine = await engine_on(store)
    inserting = asyncio.create_task(engine.insert(NEW))
    assert await is_waiting(inserting, engine)
    held.let_go()
    assert not (await inserting).failed
    assert len(await found(engine, "naive", NEW.text)) == 3
    assert (await engine.check()).ok
    expected = await dump(engine)
    await engine.close()
    async with engine_on(store) as again:
        assert await dump(again) == expected
        assert (await again.check()).ok


async def test_closing_waits_for_them_and_frees_them(store: Store, held: Held) -> None:
    engine = await engine_on(store)
    closing = asyncio.create_task(engine.close())
    assert held.begun.wait(30)
    await asyncio.sleep(0)
    held.let_go()
    await closing
    assert store.memory("a") == 0
    async with engine_on(store) as again:
        assert await found(again)


async def test_the_store_can_be_closed_meanwhile(root: Path, held: Held) -> None:
    store = await Store.open(root)
    engine = await engine_on(store)
    asking = asyncio.create_task(found(engine))
    assert await is_waiting(asking, engine)
    closing = asyncio.create_task(store.close())
    while not store.closed:  # noqa: ASYNC110 -- another thread closes it
        await asyncio.sleep(0.001)
    held.let_go()
    with suppress(StoreClosed):  # it may have been told either
        assert await asking
    await closing
    async with Store.open(root) as again, engine_on(again) as other:
        assert await found(other)


async def test_a_question_that_waits_can_be_cancelled(store: Store, held: Held) -> None:
    engine = await engine_on(store)
    asking = asyncio.create_task(found(engine))
    assert await is_waiting(asking, engine)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not held._go.is_set()
    held.let_go()
    assert await found(engine)
    await engine.close()


async def test_a_workspace_can_be_dropped_meanwhile(store: Store, held: Held) -> None:
    engine = await engine_on(store)
    dropping = asyncio.create_task(store.drop("a"))
    assert held.begun.wait(30)
    while not engine._workspace.dropped:  # noqa: ASYNC110 -- another thread refuses work from then on
        await asyncio.sleep(0.001)
    for _ in range(20):
        assert await store.names() == ["a"]
    assert not dropping.done()
    held.let_go()
    await dropping
    assert await store.names() == []
    with pytest.raises(StoreError, match="was dropped"):
        await found(engine)


async def test_vectors_that_cannot_be_read_are_told_of_at_each_question(root: Path) -> None:
    without_vectors(root)
    async with Store.open(root) as store:
        engine = await engine_on(store)
        depths = []
        for _ in range(3):
            with pytest.raises(StoreError, match=r"reading from the store failed.*vectors") as caught:
                await found(engine)
            depths.append(len(caught.traceback))
        assert len(set(depths)) == 1  # the error does not grow with those who met it
        with pytest.raises(StoreError, match=r"reading from the store failed.*vectors"):
            await engine.insert(NEW)
        assert [document.id for document in await engine.documents()][:2] == ["d0", "d1"]
        assert store.memory("a") > 0
        await engine.close()
        assert store.memory("a") == 0
