"""Roots that earlier versions wrote are opened, brought to the current format, and keep what they hold."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, Settings, Status, Store
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump

ARCHIVES = sorted((Path(__file__).parents[1] / "formats").glob("format_*.tar.xz"))
ONE = "Ada Lovelace met Charles Babbage in London. Alan Turing read Ada Lovelace."
TWO = "Grace Hopper wrote COBOL in Arlington."
THREE = "Konrad Zuse built the Z3 in Berlin."


def opened(store: Store, workspace: str, *, create: bool = True) -> Any:
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    return Engine.open(
        store,
        workspace,
        llm=DeterministicLLM(),
        embedder=DeterministicEmbedder(8),
        settings=settings,
        create=create,
    )


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
