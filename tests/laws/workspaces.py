"""Workspaces for the laws: opened in temporary folders, looked at as plain values, checked to be whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from laws.generators import CountingEmbedder, StatementLLM, settings
from laws.model import Model
from stateless_rag.engine import Engine
from stateless_rag.limits import Limits
from stateless_rag.protocols import VectorKind
from stateless_rag.settings import Settings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

KINDS: tuple[tuple[VectorKind, str], ...] = (
    ("chunk", "chunks"),
    ("entity", "entities"),
    ("relation", "relations"),
)


@contextmanager
def new_root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "root"


@asynccontextmanager
async def new_store() -> AsyncIterator[Store]:
    with new_root() as root:
        async with Store.open(root) as store:
            yield store


@asynccontextmanager
async def opened(
    store: Store | Path,
    workspace: str = "one",
    *,
    llm: StatementLLM | None = None,
    embedder: CountingEmbedder | None = None,
    chosen: Settings | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Engine]:
    async with Engine.open(
        store,
        workspace,
        llm=llm or StatementLLM(),
        embedder=embedder or CountingEmbedder(),
        tokenizer=WordTokenizer(),
        settings=chosen or settings(),
        limits=limits,
    ) as engine:
        yield engine


def new_model(engine: Engine, **fields: Any) -> Model:
    context = engine.context
    return Model(generation=context.extractor.generation(context), **fields)


def copied(root: Path, to: Path) -> Path:
    """What a kill at this moment would leave on disk."""
    shutil.copytree(root, to)
    return to


async def contents(engine: Engine) -> dict[str, Any]:
    """All that the workspace holds, as in `Model.dump`, after a look whether it is whole."""
    found = await dump(engine)
    check_no_orphans(found)
    check_views(engine, found)
    found["pending"] = [
        {name: value for name, value in row.items() if name not in ("errors", "attempts")}
        | {"failed": row["attempts"]}
        for row in found["pending"]
    ]
    found["pending"].sort(key=lambda row: [(value is not None, str(value)) for value in row.values()])
    return found


def check_no_orphans(found: dict[str, Any]) -> None:
    """Law 6."""
    documents = {row["id"] for row in found["documents"]}
    chunks = {row["id"] for row in found["chunks"]}
    entities = {row["id"] for row in found["entities"]}
    relations = {row["id"] for row in found["relations"]}
    assert len(documents) == len(found["documents"])
    assert len(chunks) == len(found["chunks"])
    assert len(entities) == len(found["entities"])
    assert len(relations) == len(found["relations"])
    assert {row["document_id"] for row in found["chunks"]} <= documents
    for row in found["relations"]:
        assert {row["left_id"], row["right_id"]} <= entities
    for row in found["mentions"]:
        assert row["chunk"] in chunks
    # Those without a mention were made by hand.
    told = {row["id"] for row in found["mentions"]} - {None}
    made = {row["id"] for row in (*found["entities"], *found["relations"]) if row["state"].startswith("[0,")}
    assert told | made == entities | relations and not told & made
    named = {row["vector"] for _, table in KINDS for row in found[table]}
    assert named == set(found["vectors"])


def check_views(engine: Engine, found: dict[str, Any]) -> None:
    """What is held in memory for searching is what the tables say."""
    view = engine._workspace.view
    for kind, table in KINDS:
        held = view.vectors.get(kind)
        ids = [] if held is None else held.ids().tolist()
        assert ids == sorted(row["id"] for row in found[table]), f"the {kind} index holds other rows"
    edges = dict(view.graph.endpoints([row["id"] for row in found["relations"]]))
    assert edges == {row["id"]: (row["left_id"], row["right_id"]) for row in found["relations"]}
    assert sorted(view.graph.to_rustworkx().edges()) == sorted(edges)
    assert dict(view.aliases) == {row["key"]: row["target"] for row in found["aliases"]}
