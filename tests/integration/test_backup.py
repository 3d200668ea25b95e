"""Backups: what is restored equals what was backed up; a crash leaves what was there."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from stateless_rag import (
    Document,
    Engine,
    ExtractSettings,
    InvalidInput,
    InvalidWorkspaceName,
    Settings,
    Store,
    StoreCorrupt,
    StoreError,
    WorkspaceMismatch,
    WorkspaceNotFound,
)
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

CHILD = Path(__file__).parent / "children" / "killed.py"
DOCUMENTS = [
    Document(
        "Ada Lovelace met Charles Babbage in London. Alan Turing read Ada Lovelace.", id="one", source="1.txt"
    ),
    Document("Grace Hopper wrote COBOL in Arlington.", id="two", metadata={"year": 1959}),
]
Placement = Literal["root", "own"]
Scene = tuple[Path, dict[str, Any], dict[str, Any], dict[str, Any]]


@asynccontextmanager
async def opened(store: Store | Path, name: str = "one", *, create: bool = True) -> AsyncIterator[Engine]:
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    async with Engine.open(
        store,
        name,
        llm=DeterministicLLM(),
        embedder=DeterministicEmbedder(8),
        tokenizer=WordTokenizer(),
        settings=settings,
        create=create,
    ) as engine:
        yield engine


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def killed(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, CHILD, *arguments], capture_output=True, timeout=280)


async def fill(engine: Engine) -> dict[str, Any]:
    """Something in every table."""
    await engine.insert(DOCUMENTS)
    await engine.alias("Countess", "Ada Lovelace")
    await engine.edit_entity("London", description="The capital.")
    await engine.submit([Document("Konrad Zuse built the Z3.", id="later")])
    await engine.query("Who met Charles Babbage?", cache=True)
    return await dump(engine)


async def held(store: Store, name: str = "one") -> dict[str, Any]:
    async with opened(store, name, create=False) as engine:
        return await dump(engine)


async def whole(store: Store | Path, name: str = "one") -> dict[str, Any]:
    async with opened(store, name, create=False) as engine:
        assert (await engine.check(deep=True)).faults == ()
        return await dump(engine)


@pytest.mark.parametrize("placed", ["root", "own"])
@pytest.mark.parametrize("restored", ["root", "own"])
async def test_what_is_restored_equals_what_was_backed_up(
    placed: Placement, restored: Placement, tmp_path: Path
) -> None:
    file = tmp_path / "one.backup"
    async with Store.open(tmp_path / "root") as store:
        await store.create("one", placement=placed, info={})
        async with opened(store) as engine:
            before = await fill(engine)
            report = await engine.backup(file)
            assert (report.workspace, report.revision) == ("one", engine.revision)
            assert report.bytes == file.stat().st_size > 0
            costs, history = await engine.costs(), await engine.history()
            await engine.insert(Document("Lise Meitner lived in Berlin.", id="new"))
            assert await store.restore(file, "two", placement=restored) == "two"
            assert await whole(store, "two") == before
            assert await dump(engine) != before
        # In place of what there is: as if nothing had come after the backup.
        assert await store.restore(file, placement=restored, overwrite=True) == "one"
        assert (await store.describe("one")).placement == restored
        assert await whole(store) == before
    async with Store.open(tmp_path / "other") as store:  # and in another root
        assert await store.restore(file, placement=restored) == "one"
        async with opened(store, create=False) as engine:
            assert await dump(engine) == before
            assert (await engine.costs(), await engine.history()) == (costs, history)
            report_of_insert = await engine.resume()
            assert [document.id for document in report_of_insert.documents] == ["later"]
            again = await engine.query("Who met Charles Babbage?", cache=True)
            assert again.text
    assert files(tmp_path) == {"one.backup", "other", "root"}


@pytest.mark.parametrize("placed", ["root", "own"])
@pytest.mark.parametrize("to", ["root", "own"])
async def test_a_copy_equals_its_original_and_goes_its_own_way(
    placed: Placement, to: Placement, tmp_path: Path
) -> None:
    async with Store.open(tmp_path) as store:
        await store.create("one", placement=placed, info={})
        async with opened(store) as engine:
            before = await fill(engine)
            await store.copy("one", "two", placement=to)
            assert await whole(store, "two") == before
            async with opened(store, "two") as copy:
                paid = (await copy.insert(DOCUMENTS)).usage
                assert all(not usage.calls for usage in paid.values())
                await copy.delete("one")
            assert await dump(engine) == before
            with pytest.raises(InvalidInput, match="is there already"):
                await engine.copy("two")
        await store.drop("one")
        async with opened(store, "two", create=False) as copy:
            assert (await copy.check(deep=True)).faults == ()


async def test_a_backup_is_of_one_revision_while_documents_come(tmp_path: Path) -> None:
    documents = [
        Document(f"Person{n} Smith met Person{n + 1} Smith in Town{n}.", id=f"{n:02}") for n in range(40)
    ]
    async with Store.open(tmp_path / "root") as store, opened(store) as engine:

        async def ingest() -> None:
            for document in documents:
                await engine.insert(document)

        coming = asyncio.create_task(ingest())
        revisions: list[int] = []
        while not coming.done():
            file = tmp_path / f"{len(revisions)}.backup"
            revisions.append((await engine.backup(file)).revision)
            await asyncio.sleep(0.05)
        await coming
        assert revisions == sorted(revisions) and len(set(revisions)) > 1, revisions
        middle = len(revisions) // 2
        await store.restore(tmp_path / f"{middle}.backup", "then")
        assert (await store.describe("then")).revision == revisions[middle]
        async with opened(store, "then", create=False) as then:
            assert (await then.check(deep=True)).faults == ()
            known = {status.id for status in await then.documents() if status.status == "processed"}
            await then.resume()
        async with opened(store, "fresh") as fresh:
            await fresh.insert([document for document in documents if document.id in known])
            wanted = await dump(fresh)
        await store.restore(tmp_path / f"{middle}.backup", "again")
        async with opened(store, "again", create=False) as again:
            found = await dump(again)
            found["pending"] = []
            assert found == wanted


# ---- what cannot be done -------------------------------------------------------------------------------


async def test_what_cannot_be_done_is_told_and_changes_nothing(tmp_path: Path) -> None:
    file, junk, empty = tmp_path / "one.backup", tmp_path / "junk", tmp_path / "empty"
    junk.write_bytes(b"not a database" * 1000)
    empty.write_bytes(b"")
    async with Store.open(tmp_path / "root") as store, opened(store) as engine:
        before = await fill(engine)
        await engine.backup(file)
        held = file.read_bytes()
        refused: list[tuple[Any, type[Exception], str]] = [
            (store.backup("none", tmp_path / "b"), WorkspaceNotFound, "none"),
            (store.backup("one", file), InvalidInput, "is there already"),
            (store.backup("one", tmp_path), InvalidInput, "is a folder"),
            (store.backup("one", tmp_path / "no" / "b"), InvalidInput, "does not exist"),
            (store.backup("one", tmp_path / "root" / "b"), InvalidInput, "own folder"),
            (store.backup("one", file, overwrite=1), InvalidInput, "overwrite"),  # type: ignore[arg-type]
            (store.backup("one", 5), InvalidInput, "path"),  # type: ignore[arg-type]
            (store.restore(tmp_path / "nothing"), InvalidInput, "no backup"),
            (store.restore(junk), StoreCorrupt, "cannot be read"),
            (store.restore(empty, "x"), StoreError, "empty"),
            (store.restore(file), InvalidInput, "is there already"),
            (store.restore(file, overwrite=True), StoreError, "in use"),
            (store.restore(file, "a b"), InvalidWorkspaceName, "a b"),
            (store.restore(file, "x", placement="here"), InvalidInput, "placement"),  # type: ignore[arg-type]
            (store.copy("one", "one"), InvalidInput, "is there already"),
            (store.copy("none", "x"), WorkspaceNotFound, "none"),
            (store.copy("one", "a/b"), InvalidWorkspaceName, "a/b"),
            (store.compact("none"), WorkspaceNotFound, "none"),
        ]
        for operation, kind, told in refused:
            with pytest.raises(kind, match=told):
                await operation
        assert await store.names() == ["one"]
        assert file.read_bytes() == held
        assert await dump(engine) == before
    left = files(tmp_path) | files(tmp_path / "root") - {"stateless_rag.duckdb.wal"}
    assert not {name for name in left if name.endswith((".part", ".wal"))}, left


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.97], ids=str)
async def test_a_damaged_backup_is_refused(cut: float, tmp_path: Path) -> None:
    file = tmp_path / "one.backup"
    async with Store.open(tmp_path / "root") as store:
        async with opened(store) as engine:
            before = await fill(engine)
            await engine.backup(file)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * cut)])
        for placement in get_args(Placement):
            with pytest.raises(StoreError):
                await store.restore(file, "two", placement=placement)
            with pytest.raises(StoreError):
                await store.restore(file, placement=placement, overwrite=True)
        assert await store.names() == ["one"]
        assert await whole(store) == before


async def test_a_roots_file_is_no_backup(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "root") as store:
        for name in ("one", "two"):
            await store.create(name, info={})
    async with Store.open(tmp_path / "other") as store:
        with pytest.raises(InvalidInput, match="2 workspaces"):
            await store.restore(tmp_path / "root" / "stateless_rag.duckdb")


async def test_backups_of_other_formats(tmp_path: Path) -> None:
    import duckdb

    file, newer = tmp_path / "one.backup", tmp_path / "newer.backup"
    async with Store.open(tmp_path / "root") as store:
        async with opened(store) as engine:
            before = await fill(engine)
            await engine.backup(file)
        shutil.copy(file, newer)
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{newer}' AS b")
            connection.execute(f"INSERT INTO b.catalog.format VALUES ({FORMAT_VERSION + 1})")
            connection.execute("DETACH b")
            connection.execute(f"ATTACH '{file}' AS b")
            connection.execute(f"UPDATE b.catalog.format SET version = {FORMAT_VERSION - 1}")
        with pytest.raises(WorkspaceMismatch, match="newer version"):
            await store.restore(newer, "two")
        held = file.read_bytes()
        await store.restore(file, "two")
        assert await whole(store, "two") == before
        assert file.read_bytes() == held  # what is migrated is a copy of it


# ---- crashes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A root with a workspace in the root's file, `one`, and one in a file of its own, `two`, and a log beside either;
    a backup of `one`.
    """
    folder = tmp_path_factory.mktemp("scene")

    async def make() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        async with Store.open(folder / "root") as store:
            async with opened(store) as engine:
                one = await fill(engine)
                await engine.backup(folder / "backup")
                await engine.insert(Document("Lise Meitner lived in Berlin.", id="newer"))
                newer = await dump(engine)
            await store.create("two", placement="own", info={})
            async with opened(store, "two") as engine:
                await engine.insert(DOCUMENTS[0])
                two = await dump(engine)
        assert len(list((folder / "root").rglob("*.wal"))) == 2
        return one, newer, two

    return folder, *asyncio.run(make())


@pytest.mark.parametrize(
    ("operation", "moments"),
    [
        ("backup", ("tables are copied", "file is written", "file is renamed")),
        ("restore", ("tables are copied", "file is written", "file is to be renamed", "file is in place")),
        ("restore into the root", ("tables are copied",)),
        ("copy", ("tables are copied",)),
        ("compact", ("file is written", "file is renamed")),
        ("compact a file of its own", ("file is written", "file is to be renamed", "file is in place")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_kill_leaves_old_or_new(
    operation: str,
    moments: tuple[str, ...],
    scene: Scene,
    tmp_path: Path,
) -> None:
    folder, old_backup, one, two = scene
    for number, moment in enumerate(moments):
        place = Path(shutil.copytree(folder, tmp_path / str(number)))
        root, file = place / "root", place / "backup"
        done = await asyncio.to_thread(killed, root, operation, moment, file)
        assert done.returncode == -signal.SIGKILL, (operation, moment, done.stderr.decode())
        async with Store.open(root) as store:
            left = [path.name for path in root.rglob("*") if ".part" in path.name]
            assert not left, (operation, moment)
            assert set(await store.names()) <= {"one", "two", "three"}
            assert await held(store) == one, (operation, moment)
            assert await held(store, "two") in (two, old_backup), (operation, moment)
            if "three" in await store.names():
                assert await held(store, "three") == one
            await store.restore(file, "four")
            assert await held(store, "four") in (old_backup, one), (operation, moment)
            # And what was cut off can be done again.
            await store.backup("one", file, overwrite=True)
            await store.compact("two")
            assert await whole(store) == one


@pytest.mark.parametrize("placed", ["root", "own"])
async def test_queries_go_on_while_a_file_is_rewritten(placed: Placement, tmp_path: Path) -> None:
    documents = [
        Document(f"Person{n} Smith met Person{n + 1} Smith in Town{n}. " * 20, id=f"{n}") for n in range(60)
    ]
    async with Store.open(tmp_path) as store:
        await store.create("one", placement=placed, info={})
        async with opened(store) as engine, opened(store, "other") as other:
            await engine.insert(documents)
            before = await dump(engine)
            rewriting = asyncio.create_task(engine.compact())
            asked = 0
            while not rewriting.done():
                assert (await engine.retrieve("Who met Person3 Smith?")).passages
                assert len(await engine.documents()) == len(documents)
                await other.insert(Document(f"Other{asked} Jones wrote Book{asked}.", id=f"{asked}"))
                asked += 1
            report = await rewriting
            assert asked and report.after > 0
            assert await dump(engine) == before
            assert len(await other.documents()) == asked
            await engine.delete([document.id or "" for document in documents[1:]])
            await engine.compact()
            assert (await engine.compact()).after < report.after
            assert (await engine.check(deep=True)).faults == () == (await other.check(deep=True)).faults
