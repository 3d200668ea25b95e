"""The public names: sorted, all there, cheap to import."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import stateless_rag

HEAVY = (
    "numpy",
    "openai",
    "faiss",
    "duckdb",
    "pyarrow",
    "rustworkx",
    "tiktoken",
    "fastembed",
    "typer",
    "rich",
)
LIGHT = (
    "stateless_rag",
    "stateless_rag.stages",
    "stateless_rag.providers",
    "stateless_rag.testing",
    "stateless_rag.engine",
    "stateless_rag.sync",
    "stateless_rag.workspaces",
)


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


@pytest.mark.parametrize("name", stateless_rag.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(stateless_rag, name) is not None


@pytest.mark.parametrize("module", ["stateless_rag", "stateless_rag.providers", "stateless_rag.testing"])
def test_names_are_sorted_and_listed(module: str) -> None:
    names = import_module(module).__all__
    assert names == sorted(names)
    assert dir(import_module(module)) == sorted(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Engin"):
        _ = stateless_rag.Engin


@pytest.mark.parametrize("module", LIGHT)
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    assert run(code) == ""


def test_creating_settings_documents_and_limits_loads_nothing_heavy() -> None:
    code = (
        "import sys; from stateless_rag import Settings, Document, Limits, QueryOptions, Prompts, Engine;"
        "Settings(), Document('x'), Limits(), QueryOptions(), Prompts();"
        f"print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    assert run(code) == ""


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import stateless_rag.stages.chunk, stateless_rag.stages.merge",
        "from stateless_rag.stages.extract import LLMExtractor",
        "import stateless_rag.engine, stateless_rag.ingest",
        "import stateless_rag.stages.summarize as s",
        "import importlib; importlib.import_module('stateless_rag.stages.embed')",
    ],
)
def test_stages_are_functions_whatever_is_imported_first(before: str) -> None:
    code = (
        f"{before}\n"
        "from stateless_rag.stages import chunk, embed, extract, merge, summarize\n"
        "import stateless_rag.stages.chunk, stateless_rag.stages.merge\n"
        "from stateless_rag import stages\n"
        "print(*(type(f).__name__ for f in (chunk, embed, extract, merge, summarize)))\n"
        "print(stages.chunk is chunk, stages.merge is merge)"
    )
    assert run(code).splitlines() == ["function " * 4 + "function", "True True"]


def test_the_version_is_the_distributions() -> None:
    assert stateless_rag.__version__[0].isdigit()
