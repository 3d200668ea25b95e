"""Every answer belongs to one revision, whatever is committed, compacted or thrown away meanwhile."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.protocols import LLMReply, LLMRequest, Snapshot, StreamPart, VectorKind
from stateless_rag.providers import O200kTokenizer
from stateless_rag.settings import ChunkSettings, ExtractSettings, Settings, StoreSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document

MODES = ("naive", "local", "global", "hybrid", "mix")
KINDS: tuple[VectorKind, ...] = ("chunk", "entity", "relation")
SETTINGS = Settings(
    chunking=ChunkSettings(strategy="separator", separator_only=True), extraction=ExtractSettings(gleaning=0)
)
MARK = re.compile(r"Gen(\d+)x")


async def open_engine(store: Store, llm: Any = None) -> Engine:
    return await Engine.open(
        store,
        "w",
        settings=SETTINGS,
        llm=llm or DeterministicLLM(),
        embedder=DeterministicEmbedder(),
        tokenizer=O200kTokenizer(),
    )


async def found_in(engine: Engine) -> list[Any]:
    found: list[Any] = []
    for mode in MODES:
        for question in ("Who met Person7?", "Town3 and Town4", "nothing of the kind"):
            answer = await engine.retrieve(question, mode=mode, min_similarity=-1.0, top_k=10)
            found.append((answer.passages, answer.entities, answer.relations, answer.context))
    vectors = np.random.default_rng(5).normal(size=(8, 32)).astype(np.float32)

    def search(snapshot: Snapshot) -> list[Any]:
        return [snapshot.search(kind, vector, 25, -1.0) for kind in KINDS for vector in vectors]

    return [*found, *await engine._workspace.read(search)]


# ---- the files of FAISS are a cache ---------------------------------------------------------------------


def delete_all(files: list[Path]) -> None:
    for path in files:
        path.unlink()


def truncate(files: list[Path]) -> None:
    files[0].write_bytes(files[0].read_bytes()[:-100])


def empty(files: list[Path]) -> None:
    files[-1].write_bytes(b"")


def flip_a_bit(files: list[Path]) -> None:
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content)


def swap(files: list[Path]) -> None:
    one, other = files[0].read_bytes(), files[-1].read_bytes()
    files[0].write_bytes(other)
    files[-1].write_bytes(one)


def remove_folder(files: list[Path]) -> None:
    shutil.rmtree(files[0].parent.parent)


def leave(files: list[Path]) -> None:
    """So that answers from whole files are the same, too."""


@pytest.mark.parametrize("placement", ["root", "own"])
async def test_the_files_may_be_lost_or_damaged(tmp_path: Path, placement: Any) -> None:
    settings = StoreSettings(base_rows=50, placement=placement)
    async with Store.open(tmp_path / "root", settings) as store:
        engine = await open_engine(store)
        for part in range(3):
            await engine.insert(
                Document(f"Person{n} met Person{n + 1} in Town{n % 9}.", id=f"d{n}")
                for n in range(40 * part, 40 * part + 40)
            )
        await engine.delete([f"d{n}" for n in range(0, 120, 7)])
        whole = await found_in(engine)
    damages: tuple[Callable[[list[Path]], None], ...] = (
        *(leave, delete_all, truncate, empty, flip_a_bit, swap, remove_folder),
    )
    for damage in damages:
        root = tmp_path / damage.__name__
        shutil.copytree(tmp_path / "root", root)
        files = sorted(root.rglob("*.base"))
        assert len(files) >= 2
        damage(files)
        async with Store.open(root, settings) as store:
            engine = await open_engine(store)
            assert await found_in(engine) == whole, damage.__name__
            # and it goes on from there
            await engine.insert(Document("Person7 met Newcomer in Town3.", id="new"))
            assert await engine.entity("Newcomer") is not None
        async with Store.open(root, settings) as store:
            assert (await (await open_engine(store)).retrieve("Newcomer", mode="naive")).passages


# ---- searches beside commits ----------------------------------------------------------------------------


def generation(number: int) -> Document:
    """A document that says in every chunk, entity and relation of which generation it is."""
    chunks = (
        f"Gen{number}x Person{n} met Gen{number}x Town{n}. Gen{number}x Hub saw Gen{number}x Person{n}."
        for n in range(12)
    )
    return Document("\n\n".join(chunks), id="d")


def bases(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*.base")}


def marks(value: object) -> set[str]:
    return set(MARK.findall(repr(value)))


async def search_until(
    engine: Engine, stop: threading.Event, problems: list[Any], seen: set[str], seed: int
) -> None:
    choose = random.Random(seed)
    while not stop.is_set():
        answer = await engine.retrieve(
            "Who met Person3 in Town3?",
            mode=choose.choice(MODES),
            min_similarity=-1.0,
            top_k=choose.choice((3, 40)),
        )
        found = marks((answer.passages, answer.entities, answer.relations))
        seen |= found
        if len(found) != 1 or not answer.passages:
            problems.append((answer.revision, found))

        def consistent(snapshot: Snapshot) -> list[Any]:
            probe = np.ones(32, dtype=np.float32)
            wrong = []
            for kind in KINDS:
                hits = [hit.id for hit in snapshot.search(kind, probe, 1000, -1.0)]
                rows = {
                    "chunk": snapshot.passages,
                    "entity": snapshot.entities,
                    "relation": snapshot.relations,
                }[kind]
                if len(rows(hits)) != len(hits) or len(hits) != snapshot.count(kind):
                    wrong.append((snapshot.revision, kind, len(hits), snapshot.count(kind)))
            return wrong

        problems.extend(await engine._workspace.read(consistent))


async def test_every_answer_belongs_to_one_revision(tmp_path: Path) -> None:
    async with Store.open(tmp_path, StoreSettings(base_rows=10, readers=6)) as store:
        engine = await open_engine(store)
        await engine.insert(generation(0))
        stop, problems, seen = threading.Event(), list[Any](), set[str]()

        async def search(seed: int) -> None:
            try:
                async with await_closing(await open_engine(store)) as mine:
                    await search_until(mine, stop, problems, seen, seed)
            except BaseException as error:
                problems.append(error)
                raise

        threads = [threading.Thread(target=lambda n=n: asyncio.run(search(n))) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(1, 9):
                report = await engine.insert(generation(number))
                assert not report.failed
        finally:
            stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
        assert problems == []
        assert len(seen) > 2
        assert bases(tmp_path)
    # Compactions clear up behind them; the last ones may have been cut short by closing.
    assert len(bases(tmp_path)) <= 6


class await_closing:  # noqa: N801 -- reads like contextlib's
    """`async with` for an engine that is open already."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def __aenter__(self) -> Engine:
        return self.engine

    async def __aexit__(self, *_: object) -> None:
        await self.engine.close()


# ---- a slow reader --------------------------------------------------------------------------------------


class EndlessLLM(DeterministicLLM):
    """Streams without end."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        return await super().complete(request)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        while True:
            yield StreamPart(text="word ")


async def test_a_slow_consumer_does_not_keep_the_log_from_shrinking(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        engine = await open_engine(store, EndlessLLM())
        await engine.insert(generation(0))
        stream = engine.stream("Who met Person3?", low_level_keywords=("Person3",))
        assert await anext(stream) == "word"  # white space waits for what comes after it
        events = engine.insert_events(generation(1))
        await anext(events)  # neither does one who is slow to look at the progress
        for number in range(2, 5):
            await engine.insert(Document(f"Gen{number}x " + "met Somebody.\n\n" * 2000, id=f"long{number}"))
        log = tmp_path / "stateless_rag.duckdb.wal"
        assert log.stat().st_size > 50_000
        store._connection.execute("CHECKPOINT root")
        assert not log.exists() or log.stat().st_size < 5_000
        assert await anext(stream) == " word"
        await stream.aclose()
        await events.aclose()
