"""Roots that earlier versions wrote are opened, brought to the current format, and keep what they hold."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from laws.test_batch_files_law import BatchedLLM
from stateless_rag import Budget, Document, Engine, ExtractSettings, Settings, Status, Store
from stateless_rag.errors import StoreError
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.attaching import log_of
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump

ARCHIVES = sorted((Path(__file__).parents[1] / "formats").glob("format_*.tar.xz"))
ONE = "Ada Lovelace met Charles Babbage in London. Alan Turing read Ada Lovelace."
TWO = "Grace Hopper wrote COBOL in Arlington."
THREE = "Konrad Zuse built the Z3 in Berlin."


def opened(store: Store, workspace: str, *, create: bool = True, llm: Any = None) -> Any:
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    return Engine.open(
        store,
        workspace,
        llm=llm or DeterministicLLM(),
        embedder=DeterministicEmbedder(8),
        settings=settings,
        create=create,
    )


def copies_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.format*"))


def test_each_earlier_format_is_kept() -> None:
    assert len(ARCHIVES) == FORMAT_VERSION - 1


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.split(".")[0])
@pytest.mark.parametrize("workspace", ["root", "own"])
async def test_a_root_of_an_earlier_format_goes_on(archive: Path, workspace: str, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    root = tmp_path / archive.name.split(".")[0]
    async with Store.open(root) as store, opened(store, workspace, create=False) as engine:
        assert (await engine.describe()).format_version == FORMAT_VERSION
        statuses = {document.id: document.status for document in await engine.documents()}
        assert statuses == {"one": Status.PROCESSED, "two": Status.PROCESSED, "three": Status.PENDING}
        assert (await engine.document("one")).metadata == {"year": 1843}
        assert (await engine.entity("Ada Lovelace")).name == (await engine.entity("Ada")).name
        report = await engine.resume()
        assert [document.status for document in report.documents] == [Status.PROCESSED]
        await engine.insert_chunks(["Lise Meitner lived in Berlin."], document_id="four")
        after = await dump(engine)
    # As if it had been written by this version from the start.
    async with (
        Store.open(tmp_path / "new", StoreSettings(placement=workspace)) as store,  # type: ignore[arg-type]
        opened(store, workspace) as engine,
    ):
        await engine.insert([Document(ONE, id="one", source="one.txt", metadata={"year": 1843})])
        await engine.insert([Document(TWO, id="two"), Document(THREE, id="three")])
        await engine.alias("Ada Lovelace", "Ada")
        await engine.insert_chunks(["Lise Meitner lived in Berlin."], document_id="four")
        assert await dump(engine) == after
    async with Store.open(root) as store:  # a second opening finds nothing to do
        assert await store.names() == ["own", "root"]


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.split(".")[0])
async def test_what_is_newer_than_the_format_works_on_it(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    llm = BatchedLLM(frozenset(), 10)
    async with Store.open(tmp_path / archive.name.split(".")[0]) as store:
        async with opened(store, "own", create=False, llm=llm) as engine:
            ledger = await engine.costs()
            (row,) = await engine.costs(["document", "batch"])  # nobody noted these then
            assert (row.document, row.batch) == (None, None)
            status = await engine.set_budget(Budget(tokens=1))
            assert status.tokens == sum(used.tokens for used in ledger.values()) > 1
            assert (await engine.resume()).paused is not None
            await engine.set_budget(None)
            (batch,) = await engine.submit_batch()
            await engine.backup(tmp_path / "backup")
            assert (await engine.collect_batches()).replies == 1
            assert (await engine.resume()).usage["extract"].cached == 1
            before, grouped = await dump(engine), await engine.communities(level=None)
            assert {"Konrad Zuse", "COBOL"} < {name for one in grouped for name in one.members}
            await engine.disable("two")
            found = await engine.query("What are the main themes?", mode="themes", metadata_filter={})
            assert not any("COBOL" in theme.title for theme in found.retrieval.themes)
            await engine.enable("two")
            assert await engine.communities(level=None) == grouped
            assert await dump(engine) == before
            assert (await engine.check(deep=True)).ok
            erased = await engine.delete("three", erase=True)
            assert erased.erased is not None and erased.erased.replies["extract"] == 1
        await store.restore(tmp_path / "backup", "again")
        async with opened(store, "again", create=False, llm=llm) as engine:
            assert await engine.batches() == [batch]
            assert (await engine.check(deep=True)).ok


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.split(".")[0])
async def test_a_copy_of_the_earlier_format_is_kept(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    name = archive.name.split(".")[0]
    root, number = tmp_path / name, name.split("_")[1]
    async with Store.open(root) as store:
        async with opened(store, "own", create=False) as engine:
            found = await dump(engine)
        async with opened(store, "root", create=False) as engine:
            await engine.delete(["one", "two", "three"])
    copies = copies_in(root)
    assert len(copies) == 2
    assert all(copy.name.endswith(f".duckdb.format{number}") for copy in copies)
    assert [str(copy) in caplog.text for copy in copies] == [True, True]
    async with Store.open(root) as store:  # nothing more is copied
        assert copies_in(root) == copies
    # The copies in their places are the root as it was.
    for copy in copies:
        log_of(copy.with_suffix("")).unlink(missing_ok=True)
        copy.replace(copy.with_suffix(""))
    async with Store.open(root) as store:
        async with opened(store, "own", create=False) as engine:
            assert await dump(engine) == found
        async with opened(store, "root", create=False) as engine:
            assert {document.id for document in await engine.documents()} == {"one", "two", "three"}


async def test_a_new_root_is_not_copied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Store.open(tmp_path) as store, opened(store, "one") as engine:
        await engine.insert(ONE)
    await (await Store.open(tmp_path)).close()
    assert not copies_in(tmp_path)
    assert "format" not in caplog.text


@pytest.mark.parametrize("archive", ARCHIVES[:1])
async def test_without_room_for_the_copy_all_stays_as_it_is(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    root = tmp_path / archive.name.split(".")[0]
    taken = root / "stateless_rag.duckdb.format1"
    taken.mkdir()
    before = (root / "stateless_rag.duckdb").read_bytes()
    with pytest.raises(StoreError, match=r"format1"):
        await Store.open(root)
    assert (root / "stateless_rag.duckdb").read_bytes() == before
    taken.rmdir()
    async with Store.open(root) as store:
        assert await store.names() == ["own", "root"]
