"""A write that fails is a StoreError that says what to look at, and costs nothing that was committed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from stateless_rag.engine import Engine
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document, Status

SCRIPT = Path(__file__).parent / "children" / "full_disk.py"


@pytest.mark.parametrize("placement", ["root", "own"])
async def test_a_file_that_may_not_grow(tmp_path: Path, placement: str) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), placement]
    run = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=280)
    said = run.stdout.splitlines()
    assert said and said[0].startswith("failed "), run.stdout + run.stderr
    _, done, message = said[0].split(" ", 2)
    assert int(done) >= 3
    assert "is the disk full" in message
    assert said[-1] == "again True", run.stdout + run.stderr
    assert run.returncode == 0, run.stderr

    settings = StoreSettings(base_rows=50)
    async with (
        Store.open(tmp_path, settings) as store,
        Engine.open(
            store, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder(), create=False
        ) as engine,
    ):
        rows = {row.id: row.status for row in await engine.documents()}
        assert rows["first"] is Status.PROCESSED
        assert [rows.get(f"d{n}") for n in range(int(done))] == [Status.PROCESSED] * int(done)
        found = await engine.retrieve("Who met Charles Babbage?", mode="naive")
        assert found.passages[0].document_id == "first"
        await engine.resume()
        await engine.insert(Document("Alan Turing met Ada Lovelace.", id="last"))
        assert {row.status for row in await engine.documents()} == {Status.PROCESSED}
