"""Twenty engines in one process, on several event loops and threads: none sees a byte of another's."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stateless_rag.engine import Engine
from stateless_rag.limits import Limits
from stateless_rag.providers import O200kTokenizer
from stateless_rag.settings import ExtractSettings, Settings, StoreSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document

MODES = ("naive", "local", "global", "hybrid", "mix")


@dataclass
class Place:
    """Where an engine works, and the word that occurs in nothing but its documents."""

    root: str
    workspace: str
    canary: str
    answers: list[str] = field(default_factory=list)
    held: dict[str, Any] = field(default_factory=dict)


# Four event loops, each in a thread; the same names in two roots, several names in one root.
LOOPS = tuple(
    tuple(
        Place(root, f"{name}{loop // 2}", f"Canary{root.title()}{name.title()}{loop // 2}")
        for name in ("ant", "bee", "cat", "dog", "eel")
    )
    for loop, root in enumerate(("north", "south", "north", "south"))
)


def documents(place: Place, count: int = 4) -> list[Document]:
    return [
        Document(
            f"{place.canary} met Ada Lovelace in London{n}. Ada Lovelace wrote to {place.canary}Friend.",
            id=f"d{n}",
            source=f"/{place.canary}/{n}.txt",
            metadata={"owner": place.canary},
        )
        for n in range(count)
    ]


async def use(store: Store, place: Place, limits: Limits, tokenizer: O200kTokenizer) -> None:
    async with Engine.open(
        store,
        place.workspace,
        settings=Settings(extraction=ExtractSettings(gleaning=0)),
        llm=DeterministicLLM(),
        embedder=DeterministicEmbedder(),
        limits=limits,
        tokenizer=tokenizer,
    ) as engine:
        for document in documents(place):
            await engine.insert(document)
            found = await engine.retrieve("Who met Ada Lovelace in London?", mode="mix", min_similarity=-1.0)
            place.answers.append(repr(found))
        await engine.delete("d0")
        for mode in MODES:
            place.answers.append(
                repr(await engine.query("Who met Ada Lovelace?", mode=mode, min_similarity=-1.0))
            )
        place.answers.append(repr([await engine.documents(), await engine.describe(), await engine.graph()]))
        place.held = await dump(engine)


def run_loop(
    stores: dict[str, Store],
    places: tuple[Place, ...],
    limits: Limits,
    tokenizer: O200kTokenizer,
    errors: list[Any],
) -> None:
    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(use(stores[place.root], place, limits, tokenizer))

    try:
        asyncio.run(together())
    except BaseException as error:  # noqa: BLE001 -- whatever it was, the test shows it
        errors.append(error)


async def test_twenty_engines_leave_no_trace_in_each_other(tmp_path: Path) -> None:
    tokenizer, limits = O200kTokenizer(), Limits(llm=8)
    errors: list[Any] = []
    settings = {"north": StoreSettings(base_rows=10), "south": StoreSettings(base_rows=10, placement="own")}
    stores = {root: await Store.open(tmp_path / root, setting) for root, setting in settings.items()}
    threads = [
        threading.Thread(target=run_loop, args=(stores, places, limits, tokenizer, errors))
        for places in LOOPS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    for store in stores.values():
        await store.close()
    assert errors == []

    places = [place for loop in LOOPS for place in loop]
    assert len({place.canary for place in places}) == 20
    for place in places:
        others = [other.canary for other in places if other is not place]
        said = repr(place.held) + "".join(place.answers)
        assert place.canary in said
        assert [canary for canary in others if canary in said] == []
        assert len(place.held["documents"]) == 3
    await no_row_is_in_another_schema(tmp_path, settings, places)
    no_byte_is_in_another_root(tmp_path, places)


async def no_row_is_in_another_schema(
    tmp_path: Path, settings: dict[str, StoreSettings], places: list[Place]
) -> None:
    """Looks at every value of every table of each workspace, journal included."""
    for root, setting in settings.items():
        async with Store.open(tmp_path / root, setting) as store:
            for name in await store.names():
                workspace = await store.workspace(name)
                mine = next(p.canary for p in places if (p.root, p.workspace) == (root, name))
                with store.reading() as cursor:
                    tables = cursor.execute(
                        "SELECT table_name FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ?",
                        [workspace.database.alias, workspace.record.schema],
                    ).fetchall()
                    rows = [
                        cursor.execute(
                            f"SELECT * EXCLUDE (vector) FROM {workspace.schema}.{table}"
                        ).fetchall()
                        if table == "vectors"
                        else cursor.execute(f"SELECT * FROM {workspace.schema}.{table}").fetchall()
                        for (table,) in tables
                    ]
                text = repr(rows)
                assert len(tables) >= 9 and mine in text
                assert [p.canary for p in places if p.canary != mine and p.canary in text] == []


def no_byte_is_in_another_root(tmp_path: Path, places: list[Place]) -> None:
    for root in ("north", "south"):
        files = {path: path.read_bytes() for path in (tmp_path / root).rglob("*") if path.is_file()}
        for place in places:
            holds = [path for path, content in files.items() if place.canary.encode() in content]
            assert bool(holds) <= (place.root == root), (place.canary, holds)
            if root == place.root == "south":  # a file for each workspace
                assert len(holds) == 1


async def test_two_engines_on_one_workspace_see_each_others_commits(tmp_path: Path) -> None:
    tokenizer = O200kTokenizer()
    async with Store.open(tmp_path) as store:
        ready, seen, problems = threading.Event(), threading.Event(), []

        async def other() -> None:
            async with Engine.open(
                store, "w", embedder=DeterministicEmbedder(), tokenizer=tokenizer
            ) as engine:
                await engine.insert(Document("Grace Hopper met Howard Aiken at Harvard.", id="theirs"))
                ready.set()
                await asyncio.to_thread(seen.wait, 20)
                found = await engine.retrieve("Ada Lovelace", mode="naive", min_similarity=-1.0)
                if {p.document_id for p in found.passages} != {"mine", "theirs"} or engine.revision != 2:
                    problems.append((found, engine.revision))

        thread = threading.Thread(target=lambda: asyncio.run(other()))
        thread.start()
        async with Engine.open(store, "w", embedder=DeterministicEmbedder(), tokenizer=tokenizer) as engine:
            await asyncio.to_thread(ready.wait, 20)
            assert engine.revision == 1
            assert await engine.document("theirs") is not None
            await engine.insert(Document("Ada Lovelace met Charles Babbage.", id="mine"))
            seen.set()
            await asyncio.to_thread(thread.join)
        assert problems == []
