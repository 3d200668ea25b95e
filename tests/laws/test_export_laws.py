"""What is exported and brought in again is the same workspace."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laws.by_hand import steps
from laws.generators import CountingEmbedder, StatementLLM, aliases, corpora, settings
from laws.profiles import examples
from laws.workspaces import contents, new_store, opened
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput
from stateless_rag.text import entity_key

awkward = st.text(st.characters() | st.sampled_from("\t\n\r\x00\x85\u2028\"'`,;|\\<>&=漢ａＡ"), max_size=8)
names = awkward.filter(lambda name: entity_key(name) != "")


async def taken(engine: Engine, hands: list[Any], pairs: list[tuple[str, str]]) -> None:
    """Change by hand what can be changed."""
    for name, target in pairs:
        try:
            await engine.alias(name, target)
        except InvalidInput:
            continue
    for step in hands:
        try:
            await step.take(engine)
        except InvalidInput:
            continue
    log = await engine.history()
    if len(log) > 2:
        await engine.undo(log[1].number)


async def same(engine: Engine, other: Engine, path: Path, *, vectors: bool) -> None:
    """Export, bring in, and compare; also what a second export says."""
    await engine.export(path, vectors=vectors)
    await other.import_jsonl(path)
    assert await contents(other) == await contents(engine)
    assert await other.history() == await engine.history()
    again = path.with_name("again.jsonl")
    await other.export(again, vectors=vectors)
    first, second = (file.read_bytes().splitlines()[1:-1] for file in (path, again))
    assert first == second


@given(corpora(), st.lists(steps(), max_size=4), aliases(), st.booleans(), st.sampled_from((1, 512)))
@examples(12)
def test_a_workspace_comes_back(
    documents: Any, hands: Any, pairs: Any, vectors: bool, commit_chunks: int
) -> None:
    async def run() -> None:
        llm, chosen = StatementLLM(), settings(commit_chunks=commit_chunks)
        with tempfile.TemporaryDirectory() as folder:
            async with (
                new_store() as store,
                opened(store, "one") as engine,
                opened(store, "two", llm=llm, embedder=CountingEmbedder(), chosen=chosen) as other,
            ):
                await engine.insert(documents)
                await taken(engine, hands, pairs)
                await same(engine, other, Path(folder) / "w.jsonl", vectors=vectors)
                assert not llm.calls

    asyncio.run(run())


@given(st.lists(st.tuples(names, names, awkward, awkward), min_size=1, max_size=4), awkward)
@examples(12)
def test_any_names_and_texts_come_back(rows: list[tuple[str, str, str, str]], content: str) -> None:
    graph = {
        "chunks": [{"content": f"{content}.", "source_id": "c"}],
        "entities": [
            {"entity_name": one, "entity_type": kind, "description": said, "source_id": "c"}
            for one, _, kind, said in rows
        ],
        "relationships": [
            {"src_id": one, "tgt_id": other, "keywords": kind, "description": said, "source_id": "c"}
            for one, other, kind, said in rows
        ],
    }

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "w.jsonl"
            async with new_store() as store, opened(store, "one") as engine, opened(store, "two") as other:
                await engine.insert_graph(graph)
                await same(engine, other, path, vectors=True)
                told = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
                assert [row["name"] for row in told if row["kind"] == "entity"] == await engine.labels()

    asyncio.run(run())
