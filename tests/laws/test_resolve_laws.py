"""A duplicate that was applied and taken back has never been applied: the same rows, and the same exports."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import aliases, corpora
from laws.profiles import examples
from laws.workspaces import contents, new_root, opened
from stateless_rag.engine import Engine
from stateless_rag.types import Document, Duplicate


async def state(engine: Engine, folder: Path) -> tuple[dict[str, Any], bytes]:
    """All rows, and what an export of the graph says."""
    target = folder / "graph.graphml"
    await engine.export(target, "graphml")
    return await contents(engine), target.read_bytes()


@given(corpora(min_size=2), aliases(), st.data())
@examples(12)
def test_undo_of_an_applied_duplicate_is_exact(
    documents: list[Document], pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    async def check() -> None:
        with new_root() as root:
            async with opened(root) as engine:
                await engine.insert(documents[:-1])
                for pair in pairs:
                    await engine.alias(*pair)
                found = await engine.propose_duplicates(least=0.0)
                names = [row["name"] for row in (await contents(engine))["entities"]]
                if not found and len(names) > 1:
                    found = [Duplicate(source=names[0], target=names[1], score=0.0, reasons=("by hand",))]
                if not found:
                    return
                chosen = data.draw(st.sampled_from(found))
                before = await state(engine, root.parent)
                applied = await engine.apply_duplicate(chosen)
                if data.draw(st.booleans()):  # what comes meanwhile is not touched
                    await engine.insert(documents[-1])
                    await engine.undo(applied.number)
                    await engine.delete(str(documents[-1].id))
                else:
                    assert await contents(engine) != before[0]
                    await engine.undo(applied.number)
                assert await state(engine, root.parent) == before

    asyncio.run(check())
