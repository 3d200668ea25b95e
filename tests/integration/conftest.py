"""Fixtures for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.command_line import PROJECT, Cli
from stateless_rag.cli.app import run
from stateless_rag.testing import FakeOpenAIServer


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process, in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **environ: str) -> tuple[int, str, str]:
        code = run(arguments, environ)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return articles(tmp_path / "corpus")


def articles(folder: Path) -> Path:
    folder.mkdir()
    for name in ("ada-lovelace", "analytical-engine", "jacquard-loom", "zh-alan-turing", "de-konrad-zuse"):
        text = (PROJECT / "examples" / "corpus" / f"{name}.md").read_bytes()
        (folder / f"{name}.md").write_bytes(text)
    return folder


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `corpus` was ingested, for tests of a module that change nothing."""
    folder = tmp_path_factory.mktemp("ingested")
    articles(folder / "corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["ingest", "corpus"], {}) == 0
    return folder


@pytest.fixture
def server() -> Iterator[FakeOpenAIServer]:
    fake = FakeOpenAIServer()
    with fake.in_thread():
        yield fake
