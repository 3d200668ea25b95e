"""What is held in memory after a commit and after opening: the views, and not what DuckDB would keep beside them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb import connection, workspace
from stateless_rag.stores.duckdb.database import Cursor
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document, Usage

if TYPE_CHECKING:
    from stateless_rag.protocols import Vectors

DIMENSION = 384
ROWS = 25_000  # nearly 40 MB


async def engine_on(store: Store) -> Engine:
    return await Engine.open(store, "a", llm=DeterministicLLM(), embedder=DeterministicEmbedder(DIMENSION))


def vectors_of(count: int, length: float) -> dict[str, Vectors]:
    rows = np.random.default_rng(count).standard_normal((count, DIMENSION))
    rows *= length / np.linalg.norm(rows, axis=1, keepdims=True)
    return {f"digest-{number}": row for number, row in enumerate(rows.astype(np.float32))}


def name_vectors(cursor: Cursor, engine: Engine, count: int) -> None:
    """Copy the only chunk there is, once for each of the vectors that were made."""
    chunks = f"{engine._workspace.schema}.chunks"
    cursor.execute(
        f"INSERT INTO {chunks} SELECT id + n, document_id, ordinal + n, start, stop, text, tokens, digest, generation, "
        f"error, 'digest-' || (n - 1), embedded, truncated FROM {chunks}, range(1, {count + 1}) r(n)"
    ).fetchall()


def blocks_held(store: Store) -> int:
    def ask(cursor: Cursor) -> int:
        (held,) = cursor.execute(
            "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory() WHERE tag = 'BASE_TABLE'"
        ).fetchall()[0]
        return int(held)

    with store.reading() as cursor:
        return ask(cursor)


async def test_blocks_of_the_files_are_let_go_of_unless_somebody_reads(tmp_path: Path) -> None:
    async with Store.open(tmp_path, StoreSettings(checkpoint_threshold="1MB")) as store:
        engine = await engine_on(store)
        await engine._workspace.journal.put_vectors(vectors_of(ROWS, 1.0), Usage(), "m")
        assert blocks_held(store) > 32_000_000
        with store.reading():
            store._connection.relieve()
        assert blocks_held(store) > 32_000_000
        store._connection.relieve()
        assert blocks_held(store) <= 20_000_000
        limit = "SELECT current_setting('memory_limit')"
        with store.reading() as cursor:
            assert cursor.execute(limit).fetchall() == [("953.6 MiB",)]  # 1 GB, as before
        found = await engine._workspace.journal.get_vectors(["digest-0", f"digest-{ROWS - 1}"])
        assert len(found) == 2
        await engine.close()


async def test_what_was_read_to_open_a_large_workspace_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_LARGE", 1000)
    monkeypatch.setattr(connection, "_CACHED", 2_000_000)
    monkeypatch.setattr(connection, "_LEFT", 1_000_000)
    async with Store.open(tmp_path) as store:
        engine = await engine_on(store)
        await engine.insert(Document("Ada Lovelace met Charles Babbage.", id="d"))
        await engine._workspace.journal.put_vectors(vectors_of(5000, 1.0), Usage(), "m")
        revision = engine._workspace.revision
        await engine._workspace.rewrite(revision, lambda cursor, _: name_vectors(cursor, engine, 5000))
        await engine.close()
    async with Store.open(tmp_path) as store:
        engine = await engine_on(store)
        assert (await engine.retrieve("Who met Ada?", mode="naive")).passages
        async with asyncio.timeout(60):
            while blocks_held(store) > 3_000_000:  # noqa: ASYNC110 -- another thread does it
                await asyncio.sleep(0.01)
        await engine.close()


async def test_what_was_freed_can_be_given_back_while_others_read(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        engine = await engine_on(store)
        await engine._workspace.journal.put_vectors(vectors_of(500, 1.0), Usage(), "m")
        with store.reading() as cursor:
            store.release_freed()
            limit = cursor.execute("SELECT current_setting('memory_limit')").fetchall()
        assert limit == [("953.6 MiB",)]  # 1 GB, as before
        assert len(await engine._workspace.journal.get_vectors(["digest-0", "digest-499"])) == 2
        await engine.close()
    store.release_freed()  # and when there is nothing any more


@pytest.mark.parametrize(("length", "unit"), [(1.0, True), (2.0, False)])
async def test_it_is_recorded_whether_all_vectors_have_length_one(
    tmp_path: Path, length: float, unit: bool
) -> None:
    async with Store.open(tmp_path) as store:
        engine = await engine_on(store)
        given = vectors_of(3, length)
        await engine._workspace.journal.put_vectors(vectors_of(2, 1.0), Usage(), "m")
        assert engine._workspace.unit_vectors
        await engine._workspace.journal.put_vectors(given, Usage(), "m")
        assert engine._workspace.unit_vectors is unit
        await engine.close()
        engine = await engine_on(store)
        assert engine._workspace.unit_vectors is unit
        kept = await engine._workspace.journal.get_vectors(["digest-2"])
        assert np.array_equal(kept["digest-2"], given["digest-2"])
        await engine.close()
