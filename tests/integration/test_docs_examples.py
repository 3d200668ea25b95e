"""Every Python block and every command of README and docs runs, offline, as it is printed."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from integration.command_line import Cli
from integration.folders import Doc, Piece, lightrag_folder
from stateless_rag.testing import FakeOpenAIServer

PROJECT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/guide.md",
    "docs/costs.md",
    "docs/architecture.md",
    "docs/coming-from-lightrag.md",
    "docs/operations.md",
    "CONTRIBUTING.md",
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (PROJECT / page).read_text(encoding="utf-8")
    return [body for kind, body in FENCE.findall(text) if kind == language]


def program(parts: list[str]) -> str:
    """One page's blocks as a script: as they are, or, where they await something, in a coroutine."""
    source = "\n".join(parts)
    if "await " not in source or any("asyncio.run(" in part for part in parts):
        return source
    return f"import asyncio\n\nasync def main():\n{textwrap.indent(source, '    ')}\n\nasyncio.run(main())\n"


def brought_along(folder: Path) -> None:
    """A working folder of LightRAG, for the page that imports one."""
    told = (("Ada Lovelace", "Person", "Ada wrote notes."),)
    lightrag_folder(folder / "rag_storage", [Doc("ada", (Piece("Ada Lovelace wrote notes.", told),))])


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_blocks_run(page: str, tmp_path: Path) -> None:
    brought_along(tmp_path)
    script = tmp_path / "example.py"
    script.write_text(program(blocks(page, "python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_library_example_is_short_and_complete() -> None:
    (example,) = blocks("README.md", "python")
    assert len(example.splitlines()) <= 15
    ast.parse(example)


@pytest.mark.timeout(900)
def test_commands_run(cli: Cli, tmp_path: Path, server: FakeOpenAIServer) -> None:
    with_key = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": server.base_url}
    commands = [
        (line.removeprefix("$ "), with_key if "stateless-rag batch" in block else {})
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    assert commands
    brought_along(tmp_path)
    articles = tmp_path / "articles"
    articles.mkdir()
    for name in ("ada-lovelace.md", "analytical-engine.md"):
        shutil.copy(PROJECT / "examples" / "corpus" / name, articles)
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    (tmp_path / "notes.txt").write_text("Charles Babbage was born in London.", encoding="utf-8")
    for command, environ in commands:
        program_name, *arguments = shlex.split(command)
        assert program_name == "stateless-rag"
        code, out, err = cli(*arguments, **environ)
        assert code == 0, (command, err)
        assert out


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        text = (PROJECT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert ((PROJECT / page).parent / link).exists(), (page, link)


def test_the_wheel_carries_its_data(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        timeout=600,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        metadata = next(opened.read(name).decode() for name in names if name.endswith("/METADATA"))
        scripts = next(opened.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    source = PROJECT / "src"
    data = [path for path in (source / "stateless_rag").rglob("*") if path.suffix in (".sql", ".xz", ".py")]
    assert {path.relative_to(source).as_posix() for path in data} <= names
    assert "stateless_rag/py.typed" in names
    assert "License-Expression: MIT" in metadata
    assert "stateless-rag = stateless_rag.cli:main" in scripts
