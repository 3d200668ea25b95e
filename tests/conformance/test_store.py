"""What every store must do, one suite for all of them.

Another store is plugged in by a class like `DuckDBRoot`, added to `KINDS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidWorkspaceName, StoreError, WorkspaceMismatch, WorkspaceNotFound
from stateless_rag.protocols import Claim, Snapshot, VectorKind
from stateless_rag.providers import O200kTokenizer
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document, Status

MODES = ("naive", "local", "global", "hybrid", "mix")
NAMES = ("ERP", "erp", "main", "information_schema", "x" * 63 + "a", "x" * 63 + "b", "-", "_", "0")
REFUSED = (
    *("", "../x", "a/b", "a\\b", ".", "..", "a.b", "a b", "x" * 65, "nul\0", "\0", "line\n", "\n"),
    *("con", "NUL", "com1", "Lpt9", "prn", "AUX", "erр", "ＥＲＰ", "naïve", "e\u200brp", "١٢", 'a"b', "a'b"),
)
TEXTS = (
    "Ada Lovelace wrote notes on the Analytical Engine. Charles Babbage designed the Analytical Engine.",
    "Alan Turing read the notes of Ada Lovelace. Alan Turing worked at Bletchley Park.",
    "Grace Hopper wrote a compiler for the UNIVAC. Grace Hopper worked with Howard Aiken at Harvard.",
)


@dataclass(frozen=True)
class DuckDBRoot:
    """A root folder with workspaces in one file, or each in its own."""

    root: Path
    placement: Literal["root", "own"]
    settings: StoreSettings

    async def open(self, **changes: Any) -> Store:
        return await Store.open(self.root, self.settings)

    def traces(self) -> set[str]:
        """The names of what there is outside the store's own database."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())


KINDS = ("root", "own")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> DuckDBRoot:
    settings = StoreSettings(placement=request.param, base_rows=50)
    return DuckDBRoot(tmp_path / "root", request.param, settings)


@pytest.fixture
async def store(kind: DuckDBRoot) -> AsyncIterator[Store]:
    opened = await kind.open()
    yield opened
    await opened.close()


@cache
def tokenizer() -> O200kTokenizer:
    return O200kTokenizer()


async def engine_on(store: Store, name: str, **options: Any) -> Engine:
    options = {
        "llm": DeterministicLLM(),
        "embedder": DeterministicEmbedder(),
        "tokenizer": tokenizer(),
        **options,
    }
    return await Engine.open(store, name, **options)


# ---- names ---------------------------------------------------------------------------------------------


async def test_names_that_look_alike_to_databases_are_apart(kind: DuckDBRoot) -> None:
    store = await kind.open()
    for position, name in enumerate(NAMES):
        engine = await engine_on(store, name)
        await engine.insert(Document(f"Canary{position} lives here.", id="d"))
    await store.close()

    store = await kind.open()
    assert list(await store.names()) == sorted(NAMES)
    for position, name in enumerate(NAMES):
        engine = await engine_on(store, name, create=False)
        info = await store.describe(name)
        assert (info.name, info.revision, info.chunks, info.entities) == (name, 1, 1, 1)
        found = await engine.retrieve("Canary", mode="naive", min_similarity=-1.0)
        assert [passage.text for passage in found.passages] == [f"Canary{position} lives here."]
        assert await engine.entity(f"Canary{position}") is not None
        assert await engine.entity(f"Canary{position + 1}") is None
    await store.close()


async def test_a_refused_name_makes_nothing(kind: DuckDBRoot, store: Store) -> None:
    before = kind.traces()
    for name in REFUSED:
        for refused in (store.create(name), store.workspace(name), store.drop(name), store.describe(name)):
            with pytest.raises(InvalidWorkspaceName):
                await refused
        with pytest.raises(InvalidWorkspaceName):
            await engine_on(store, name)
    assert list(await store.names()) == []
    assert kind.traces() == before
    assert not (kind.root.parent / "x").exists()


async def test_a_name_that_is_not_text_is_refused(store: Store) -> None:
    for name in (None, 7, b"erp"):
        with pytest.raises(InvalidWorkspaceName):
            await store.create(name)  # type: ignore[arg-type]


# ---- create, describe, open ----------------------------------------------------------------------------


async def test_create_twice_is_the_same_workspace(store: Store) -> None:
    assert await store.create("a", info={"embedder": "e", "key_policy": "exact"})
    assert not await store.create("a", info={"embedder": "other"})
    info = await store.describe("a")
    assert (info.embedder, info.key_policy, info.revision, info.dimension) == ("e", "exact", 0, None)
    assert (info.chunks, info.entities, info.relations, sum(info.documents.values())) == (0, 0, 0, 0)


async def test_describe_counts_what_is_there(kind: DuckDBRoot, store: Store) -> None:
    engine = await engine_on(store, "a")
    await engine.insert([Document(text, id=f"d{n}") for n, text in enumerate(TEXTS)])
    await engine.submit(Document("Later.", id="later"))
    info = await engine.describe()
    assert (info.placement, info.chunks) == (kind.placement, 3)
    assert info.documents == {**dict.fromkeys(Status, 0), Status.PROCESSED: 3, Status.PENDING: 1}
    held = await dump(engine)
    assert (info.entities, info.relations) == (len(held["entities"]), len(held["relations"]))
    assert (info.embedder, info.dimension) == ("deterministic-32", 32)
    assert info.tokenizer and info.generations and sum(info.generations.values()) == 3
    assert info.bytes >= 0


async def test_what_is_not_there_is_an_error_of_its_own(store: Store) -> None:
    for asked in (store.workspace("none"), store.describe("none"), store.drop("none")):
        with pytest.raises(WorkspaceNotFound, match="'none'"):
            await asked
    with pytest.raises(WorkspaceNotFound):
        await engine_on(store, "none", create=False)
    assert list(await store.names()) == []


async def test_a_workspace_keeps_to_what_it_was_made_with(store: Store) -> None:
    await (await engine_on(store, "a")).insert("Ada Lovelace.")
    with pytest.raises(WorkspaceMismatch, match="embedder"):
        await Engine.open(store, "a", embedder=DeterministicEmbedder(16))


async def test_an_unused_workspace_costs_no_tables(kind: DuckDBRoot, store: Store) -> None:
    await store.create("first")
    for number in range(20):
        await store.create(f"unused-{number}")
        await store.describe(f"unused-{number}")
    with store.reading() as cursor:
        tables = cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'w\\_%' ESCAPE '\\'"
        ).fetchall()
    assert tables == []


# ---- the same after opening again, the same in both placements -----------------------------------------


async def test_the_same_after_opening_again(kind: DuckDBRoot) -> None:
    store = await kind.open()
    engine = await engine_on(store, "a")
    await engine.insert([Document(text, id=f"d{n}", metadata={"n": n}) for n, text in enumerate(TEXTS)])
    await engine.alias("Ada Lovelace", "Countess of Lovelace")
    await engine.submit(Document("Pending Paul.", id="p"))
    before, found = await dump(engine), await everything_found(engine)
    statuses = await engine.documents()
    costs = await engine.costs()
    await store.close()

    store = await kind.open()
    engine = await engine_on(store, "a")
    assert await engine.costs() == costs
    assert await dump(engine) == before
    assert await everything_found(engine) == found
    assert await engine.documents() == statuses
    await store.close()


async def test_placements_hold_the_same(tmp_path: Path) -> None:
    held = []
    async with Store.open(tmp_path) as store:
        for placement in KINDS:
            await store.create(placement, placement=placement)  # type: ignore[arg-type]
            engine = await engine_on(store, placement)
            await engine.insert([Document(text, id=f"d{n}") for n, text in enumerate(TEXTS)])
            await engine.delete("d1")
            held.append((await dump(engine), await everything_found(engine)))
            assert (await engine.describe()).placement == placement
        assert list(await store.names()) == sorted(KINDS)
        own = list((tmp_path / "workspaces").glob("*.duckdb"))
        assert len(own) == 1
        await store.drop("own")
        assert not own[0].exists()
        assert await everything_found(await engine_on(store, "root")) == held[0][1]
    assert held[0] == held[1]


async def everything_found(engine: Engine) -> list[Any]:
    """What each mode finds and what raw search finds, with scores."""
    found: list[Any] = []
    for question in ("Who wrote notes on the Analytical Engine?", "Grace Hopper at Harvard", "zebra"):
        for mode in MODES:
            answer = await engine.retrieve(
                question, mode=mode, low_level_keywords=("Ada Lovelace", "Grace Hopper")
            )
            found.append((answer.passages, answer.entities, answer.relations, answer.context))
    embedder = DeterministicEmbedder()
    vectors = (await embedder.embed(list(TEXTS), role="query")).vectors

    def search(snapshot: Snapshot) -> list[Any]:
        kinds: tuple[VectorKind, ...] = ("chunk", "entity", "relation")
        return [snapshot.search(kind, vector, 20, -1.0) for kind in kinds for vector in vectors]

    return [*found, *await engine._workspace.read(search)]


# ---- drop ----------------------------------------------------------------------------------------------


async def test_drop_frees_what_it_held(kind: DuckDBRoot) -> None:
    store = await kind.open()
    keeper = await engine_on(store, "keeper")
    await keeper.insert(Document(TEXTS[0], id="d"))
    kept = await dump(keeper)
    await store.close()
    store = await kind.open()
    small = kind.size()
    rng = np.random.default_rng(7)
    for position in range(2):  # used again and again, the file does not grow without end
        engine = await engine_on(store, "large")
        texts = ["".join(rng.choice(list("abcdefghijklmnop "), 8_000)) for _ in range(40)]
        await engine.insert(
            [Document(f"Text {position}. {text}", id=f"t{n}") for n, text in enumerate(texts)]
        )
        await store.close()
        store = await kind.open()
        large = (await store.describe("large")).bytes
        assert large > 300_000
        await store.drop("large")
        assert list(await store.names()) == ["keeper"]
        with pytest.raises(WorkspaceNotFound):
            await store.describe("large")
    assert await dump(await engine_on(store, "keeper")) == kept
    await store.close()
    assert kind.size() < small + large
    store = await kind.open()
    assert await dump(await engine_on(store, "keeper")) == kept
    assert not [trace for trace in kind.traces() if trace.startswith("faiss/")]
    await store.close()


async def test_an_engine_on_a_dropped_workspace_gets_a_store_error(store: Store) -> None:
    engine = await engine_on(store, "a")
    await engine.insert(Document(TEXTS[0], id="d"))
    unused = await engine_on(store, "unused")
    for name in ("a", "unused"):
        await store.drop(name)
    for dropped in (engine, unused):
        await refuses_everything(dropped)
    assert list(await store.names()) == []


async def test_an_engine_on_a_dropped_workspace_does_not_see_its_successor(store: Store) -> None:
    engine = await engine_on(store, "a")
    unused = await engine_on(store, "b")
    await engine.insert(Document("Old Oscar lived here.", id="d"))
    for name in ("a", "b"):
        await store.drop(name)
        successor = await engine_on(store, name)
        await successor.insert(Document("New Nora lives here.", id="d"))
    await refuses_everything(engine)
    await refuses_everything(unused)
    for name in ("a", "b"):
        successor = await engine_on(store, name)
        assert {row["text"] for row in (await dump(successor))["chunks"]} == {"New Nora lives here."}
        assert successor.revision == 1


async def refuses_everything(engine: Engine) -> None:
    for call in (
        lambda: engine.insert(Document("More Mary.", id="m")),
        lambda: engine.submit(Document("More Mary.", id="m")),
        lambda: engine.retrieve("Oscar?", mode="naive"),
        lambda: engine.query("Oscar?", mode="naive", low_level_keywords=("Oscar",)),
        lambda: engine.delete("d"),
        engine.documents,
        engine.describe,
        lambda: engine.alias("Oscar", "Otto"),
        engine.resume,
        engine.costs,
    ):
        with pytest.raises(StoreError, match="dropped"):
            await call()


async def test_a_workspace_that_is_worked_on_is_not_dropped(store: Store) -> None:
    engine = await engine_on(store, "a")
    await engine.submit(Document(TEXTS[0], id="d"))
    taken = await engine._workspace.claim(1, failed=False)
    with pytest.raises(StoreError, match="worked on"):
        await store.drop("a")
    await engine._workspace.release([claim.sequence for claim in taken])
    await store.drop("a")


async def test_a_dropped_workspace_does_not_come_back(kind: DuckDBRoot) -> None:
    store = await kind.open()
    await (await engine_on(store, "a")).insert(Document("Old Oscar lived here.", id="d"))
    await store.drop("a")
    engine = await engine_on(store, "a")
    assert (await dump(engine))["chunks"] == []
    await store.close()
    store = await kind.open()
    assert (await store.describe("a")).chunks == 0
    await store.close()


# ---- the queue and the revision ------------------------------------------------------------------------


async def test_pending_documents_and_the_journal_do_not_advance_the_revision(store: Store) -> None:
    engine = await engine_on(store, "a")
    await engine.submit([Document("Pending Paul.", id="p")])
    assert engine.revision == 0
    await engine.work(until_empty=True)
    assert engine.revision == 1


async def test_a_claim_is_taken_once_and_newest_first(store: Store) -> None:
    workspace = await store.workspace("a", create={})
    claims = [
        Claim(sequence=0, document_id=id_, source=None, metadata={}, text=text, tracking_id="t")
        for id_, text in (("x", "one"), ("y", "other"), ("x", "two"))
    ]
    await workspace.submit(claims, claimed=False)
    taken = await workspace.claim(10, failed=False)
    assert [(claim.document_id, claim.text) for claim in taken] == [("y", "other"), ("x", "two")]
    assert await workspace.claim(10, failed=True) == []
    await workspace.release([taken[0].sequence])
    assert [claim.text for claim in await workspace.claim(10, failed=False)] == ["other"]
    await workspace.fail(taken[0], [{"error": "no"}])
    assert await workspace.claim(10, failed=False) == []
    assert [claim.attempts for claim in await workspace.claim(10, failed=True)] == [1]
    assert sorted(workspace.superseded(taken[1])) == [1, 3]


async def test_text_that_no_database_can_encode_does_no_lasting_harm(store: Store) -> None:
    engine = await engine_on(store, "a")
    with pytest.raises((StoreError, ValueError)):
        await engine.insert(Document("Fine.", id="d"), tracking_id="\ud800")
    await engine.insert(Document("Fine Fred.", id="e"))
    assert [row.id for row in await engine.documents()] == ["e"]
