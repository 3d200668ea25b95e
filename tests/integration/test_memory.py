"""What is held in memory after a commit and after opening: the views, and not what DuckDB would keep beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.database import Cursor
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Usage

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
