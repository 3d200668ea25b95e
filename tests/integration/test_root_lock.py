"""One process owns a root, and one store in it: whoever else comes is refused, and nothing is overwritten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import StoreError, StoreLocked
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document

CHILDREN = Path(__file__).parent / "children"


@contextmanager
def child(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(CHILDREN / script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def engine_on(store: Store | Path, name: str = "a") -> Engine:
    return await Engine.open(store, name, llm=DeterministicLLM(), embedder=DeterministicEmbedder())


async def test_a_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "root")
    async with Store.open(tmp_path / "root") as store:
        engine = await engine_on(store)
        await engine.insert(Document("Ada Lovelace.", id="d"))
        before = contents(tmp_path / "root")
        for path in (tmp_path / "root", tmp_path / "link", tmp_path / "root" / ".." / "root"):
            with pytest.raises(StoreLocked, match="PostgreSQL") as refusal:
                await Store.open(path)
            assert str(os.getpid()) in refusal.value.holder
        with pytest.raises(StoreLocked):
            await engine_on(tmp_path / "root")
        assert contents(tmp_path / "root") == before
        await engine.insert(Document("Alan Turing.", id="e"))
    async with Store.open(tmp_path / "link") as store:
        assert (await store.describe("a")).chunks == 2


async def test_another_process_is_told_who_holds_the_root(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "root")
    async with Store.open(tmp_path / "root") as store:
        engine = await engine_on(store)
        await engine.insert(Document("Ada Lovelace.", id="d"))
        before = contents(tmp_path / "root")  # reads the files: the owner's POSIX locks are gone from here on
        for path, *options in (
            (tmp_path / "root",),
            (tmp_path / "link",),
            (tmp_path / "root", "--read-first"),
        ):
            with child("hold_store.py", str(path), *options) as process:
                said = line(process)
            assert said.startswith(f"locked process {os.getpid()} on "), said
            assert "One process owns a root" in said
        assert contents(tmp_path / "root") == before
        held = await dump(engine)
    async with Store.open(tmp_path / "root") as store:
        assert await dump(await engine_on(store)) == held


async def test_this_process_is_told_that_another_holds_the_root(tmp_path: Path) -> None:
    with child("hold_store.py", str(tmp_path)) as process:
        assert line(process) == "open"
        with pytest.raises(StoreLocked, match=f"process {process.pid} on") as refusal:
            await Store.open(tmp_path)
        assert f"process {process.pid} on" in refusal.value.holder
        process.communicate("", timeout=280)
    async with Store.open(tmp_path) as store:
        assert list(await store.names()) == ["held"]


async def test_the_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    with child("hold_store.py", str(tmp_path)) as process:
        assert line(process) == "open"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert str(process.pid) in (tmp_path / "lock").read_text()
    async with Store.open(tmp_path) as store:
        assert list(await store.names()) == ["held"]


@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
async def test_a_fork_is_refused_and_harms_nothing(tmp_path: Path, leave: str) -> None:
    with child("fork_store.py", str(tmp_path), leave) as process:
        assert line(process) == "refused 8"
        assert line(process) == "left with 0"
        assert line(process) == "still locked"
        with pytest.raises(StoreLocked, match=f"process {process.pid} "):
            await Store.open(tmp_path)
        process.communicate("\n", timeout=280)
        assert process.returncode == 0
    async with Store.open(tmp_path) as store:
        held = await dump(await engine_on(store))
        assert [row["id"] for row in held["documents"]] == ["one", "two"]


async def test_a_folder_that_cannot_be_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError):
            await Store.open(path)
