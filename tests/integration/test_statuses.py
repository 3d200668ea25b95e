"""Where documents stand, asked while they are committed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from stateless_rag import Engine


async def test_a_document_that_is_committed_meanwhile_is_listed(
    tmp_path: Path,
) -> None:
    async with Engine.open(tmp_path) as engine:
        await engine.submit(["Turing lived in London."])
        workspace = engine._workspace
        select, read, committed = workspace.select, threading.Event(), threading.Event()

        def slow(name: str, *values: Any) -> Any:
            rows = select(name, *values)
            if name in ("document_list", "pending_list") and not read.is_set():
                read.set()
                assert committed.wait(30)
            return rows

        workspace.select = slow  # type: ignore[assignment, method-assign]
        listing = asyncio.create_task(engine.documents())
        await asyncio.to_thread(read.wait, 30)
        await engine.work(until_empty=True)
        committed.set()
        assert len(await listing) == 1
        assert [each.status for each in await engine.documents()] == ["processed"]
