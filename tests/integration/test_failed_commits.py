"""A commit that fails anywhere between its first row and COMMIT leaves what is held in memory as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.protocols import Snapshot, VectorKind
from stateless_rag.settings import ExtractSettings, Settings, StoreSettings
from stateless_rag.stores.duckdb.committing import Committer
from stateless_rag.stores.duckdb.segments import Segments
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.stores.faiss import VectorIndex
from stateless_rag.stores.graph import GraphView
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document
from unit.scripted import WordTokenizer

KINDS: tuple[VectorKind, ...] = ("chunk", "entity", "relation")
FIRST = [Document(f"Ada{n} met Babbage{n % 3} in London.", id=f"d{n}") for n in range(6)]
SECOND = [Document(f"Hopper{n} met Babbage{n % 3} in London.", id=f"e{n}") for n in range(6)]
THIRD = [Document("Turing met Babbage1 in Bletchley.", id="d1"), Document("Turing met Ada4.", id="e1")]


class Broken(Exception):
    """What a test lets go wrong."""


@pytest.fixture(params=[20_000, 5], ids=["delta", "base"])
async def store(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "root", StoreSettings(base_rows=request.param)) as opened:
        yield opened


async def open_engine(store: Store | Path) -> Engine:
    return await Engine.open(
        store,
        "w",
        settings=Settings(extraction=ExtractSettings(gleaning=0)),
        llm=DeterministicLLM(),
        embedder=DeterministicEmbedder(),
        tokenizer=WordTokenizer(),
    )


def seen(snapshot: Snapshot) -> list[Any]:
    """What a reader finds, in the views and in the tables."""
    probes = np.random.default_rng(3).normal(size=(4, 32)).astype(np.float32)
    hits = [snapshot.search(kind, probe, 1000, -1.0) for kind in KINDS for probe in probes]
    entities = [hit.id for hit in hits[len(probes)]]
    relations = [hit.id for hit in hits[2 * len(probes)]]
    return [
        snapshot.revision,
        hits,
        [snapshot.count(kind) for kind in KINDS],
        snapshot.entities(sorted(entities)),
        snapshot.relations(sorted(relations)),
        snapshot.edges(sorted(entities)),
        snapshot.entity_chunks(sorted(entities), 100),
        snapshot.passages(sorted(hit.id for hit in hits[0])),
    ]


def during(read: Callable[[], list[Any]], found: list[Any]) -> Callable[..., Any]:
    """What is done in place of a step: look as a reader would, and fail."""

    def fail(*_: Any, **__: Any) -> Any:
        found.append(read())
        raise Broken("in the middle of a commit")

    return fail


class Half:
    """Lets a method do its work so many times, and then fail after having done it once more."""

    def __init__(self, whole: Callable[..., Any], times: int, fail: Callable[..., Any]) -> None:
        self.whole, self.times, self.fail = whole, times, fail

    def __get__(self, instance: Any, _: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = self.whole(instance, *args, **kwargs)
            self.times -= 1
            return self.fail() if self.times < 0 else result

        return call


class Watched:
    """A method before which a reader looks."""

    def __init__(self, whole: Callable[..., Any], look: Callable[[], None]) -> None:
        self.whole, self.look = whole, look

    def __get__(self, instance: Any, _: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.look()
            return self.whole(instance, *args, **kwargs)

        return call


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Any]]:
    """What the documents come to when nothing fails: all that is held, and what a reader finds."""

    async def made() -> tuple[dict[str, Any], list[Any]]:
        async with Store.open(tmp_path_factory.mktemp("undisturbed")) as fresh:
            engine = await open_engine(fresh)
            await engine.insert([*FIRST, *SECOND])
            await engine.insert(THIRD)
            workspace: Any = engine._workspace
            return await dump(engine), (await workspace.read(seen))[1:]

    return asyncio.run(made())


PLACES: tuple[tuple[Any, str, int], ...] = (
    (VectorIndex, "apply", 0),
    (VectorIndex, "apply", 2),
    (Segments, "advance", 0),
    (GraphView, "apply", 0),
    (Committer, "_apply", 0),
)


@pytest.mark.parametrize(
    ("owner", "name", "times"), PLACES, ids=[f"{o.__name__}.{n}-{t}" for o, n, t in PLACES]
)
async def test_an_error_leaves_no_trace_and_readers_see_the_last_revision(
    store: Store,
    undisturbed: tuple[dict[str, Any], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    times: int,
) -> None:
    engine = await open_engine(store)
    workspace: Any = engine._workspace
    await engine.insert(FIRST)
    before = await workspace.read(seen)

    def read() -> list[Any]:
        found: list[Any] = store.in_reader(lambda: workspace._reader.read_basis(seen)).result()
        return found

    meanwhile: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, Half(getattr(owner, name), times, during(read, meanwhile)))
        for step in ("restore", "load"):  # also while views are taken back, or made anew
            watched = Watched(getattr(Segments, step), lambda: meanwhile.append(read()))
            patch.setattr(Segments, step, watched)
        with pytest.raises(Broken):
            await engine.insert(SECOND)
    assert len(meanwhile) > 1 and all(found == before for found in meanwhile)
    assert await workspace.read(seen) == before

    await engine.resume()
    await engine.insert(THIRD)
    after = await workspace.read(seen)
    contents = await dump(engine)
    await engine.close()
    assert (contents, after[1:]) == undisturbed
