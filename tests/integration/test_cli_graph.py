"""`graph …`, `export` and `import-jsonl`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import rustworkx

from integration.command_line import Cli, only_json
from stateless_rag.cli.app import run

ROOT = "stateless-rag-data"  # where the command line puts it unless told
GRAPH: dict[str, Any] = {
    "chunks": [{"content": "main calls parse, parse calls read.", "source_id": "c", "file_path": "main.py"}],
    "entities": [
        {"entity_name": name, "entity_type": kind, "description": f"the {name}", "source_id": "c"}
        for name, kind in (("main", "function"), ("parse", "function"), ("Reader\n1", "class"))
    ],
    "relationships": [
        {"src_id": "main", "tgt_id": "parse", "keywords": "calls", "description": "calls", "source_id": "c"},
        {
            "src_id": "parse",
            "tgt_id": "Reader\n1",
            "keywords": "uses",
            "description": "uses",
            "source_id": "c",
        },
        {"src_id": "parse", "tgt_id": "parse", "source_id": "c"},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the graph was inserted."""
    made = tmp_path_factory.mktemp("inserted")
    (made / "graph.json").write_text(json.dumps(GRAPH))
    assert run(["graph", "insert", str(made / "graph.json"), "--root", str(made / ROOT)], {}) == 0
    return made


@pytest.fixture
def inserted(cli: Cli, folder: Path, tmp_path: Path) -> Cli:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return cli


def test_what_was_inserted_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    code, out, err = cli("graph", "insert", "graph.json")
    assert code == 0
    assert "1 document ready (0 unchanged), 0 failed; 3 entities and 2 relations told of" in out
    assert "warning: c: self loop, 1 time" in err


def test_a_graph_is_inserted_once(inserted: Cli) -> None:
    code, out, _ = inserted("graph", "insert", "graph.json", "--json")
    assert (code, only_json(out)["report"]["documents"][0]["unchanged"]) == (0, True)
    code, out, _ = inserted("graph", "insert", "graph.json", "--document-id", "mine", "--json")
    assert (code, only_json(out)["report"]["documents"][0]["id"]) == (0, "mine")


def test_an_entity_is_shown_with_what_is_around_it(inserted: Cli) -> None:
    code, out, _ = inserted("graph", "show", "MAIN")
    assert code == 0
    assert out.startswith("main (function; 1 chunk)\nthe main\n")
    calls = [line.split()[:2] for line in out.splitlines() if line.rstrip().endswith("calls")]
    assert calls == [["main", "parse"]]
    assert "Reader" not in out
    code, out, _ = inserted("graph", "show", "main", "--depth", "2", "--json")
    shown = only_json(out)
    assert [entity["name"] for entity in shown["entities"]] == ["main", "parse", "Reader\n1"]
    assert [relation["description"] for relation in shown["relations"]] == ["calls", "uses"]
    _, out, err = inserted("graph", "show", "*", "--limit", "1")
    assert "parse" in out and "No relations." in out and "raise --limit" in err


def test_who_is_not_there_is_not_shown(inserted: Cli) -> None:
    code, out, err = inserted("graph", "show", "pars")
    assert (code, out) == (4, "")
    assert "no entity 'pars'; there are 'parse'" in err
    code, out, _ = inserted("graph", "show", "nobody", "--json")
    assert (code, only_json(out)["entities"]) == (4, [])


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (["search", "PARS"], 0, ["parse"]),
        (["search", "pasre"], 0, ["parse"]),
        (["search", "zzz"], 4, []),
        (["labels"], 0, ["Reader\n1", "main", "parse"]),
        (["labels", "--limit", "1"], 0, ["Reader\n1"]),
        (["labels", "--popular", "--limit", "1"], 0, ["parse"]),
    ],
)
def test_names_are_found_and_listed(inserted: Cli, arguments: list[str], code: int, names: list[str]) -> None:
    found, out, _ = inserted("graph", *arguments)
    assert (found, out.splitlines()) == (code, [" ".join(name.split()) for name in names])
    found, out, _ = inserted("graph", *arguments, "--json")
    assert (found, only_json(out)) == (code, {"labels": names})


def test_types_are_counted(inserted: Cli) -> None:
    _, out, _ = inserted("graph", "types")
    assert [line.split() for line in out.splitlines()[1:]] == [["function", "2"], ["class", "1"]]
    _, out, _ = inserted("graph", "types", "--json")
    assert only_json(out) == {"types": {"function": 2, "class": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file 'other.json'"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "it must be a mapping"),
        ('{"entities": [{}]}', "entities[0].entity_name is None"),
    ],
)
def test_what_is_no_graph_says_why(cli: Cli, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "other.json").write_text(content)
    code, out, err = cli("graph", "insert", "other.json")
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    if "JSON" in message or content is None:
        assert not (tmp_path / "stateless-rag-data").exists()


def test_a_workspace_is_exported_and_brought_in(inserted: Cli, tmp_path: Path) -> None:
    inserted("curate", "create", "lexer", "--type", "function")
    code, out, _ = inserted("export", "graph.graphml")
    assert code == 0
    assert "4 entities, 2 relations" in " ".join(out.split())
    assert rustworkx.read_graphml(str(tmp_path / "graph.graphml"))[0].num_nodes() == 4
    # No provider is needed for it.
    code, out, _ = inserted("export", "w.jsonl", "--json", "--vectors", OPENAI_API_KEY="k")
    report = only_json(out)
    assert (code, report["path"]) == (0, str(tmp_path / "w.jsonl"))
    assert report["counts"] == {"curations": 1, "entities": 4, "relations": 2, "documents": 1, "chunks": 1}
    code, out, _ = inserted("import-jsonl", "w.jsonl", "--workspace", "copy")
    assert code == 0
    assert "1 document ready (0 unchanged), 0 failed; 1 change by hand" in out
    _, out, _ = inserted("graph", "show", "*", "--json")
    _, copied, _ = inserted("graph", "show", "*", "--json", "--workspace", "copy")
    assert only_json(copied) == only_json(out)
    code, out, _ = inserted("import-jsonl", "w.jsonl", "--workspace", "copy", "--json")
    assert (code, only_json(out)["unchanged"], only_json(out)["present"]) == (0, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["export", "graph"], 2, "whose suffix names no format"),
        (["export", "graph.md", "--include", "chunks"], 2, "markdown takes some of"),
        (["export", "graph.md", "--vectors"], 2, "no place for them"),
        (["export", "graph.csv", "--workspace", "none"], 1, "none"),
        (["import-jsonl", "nowhere.jsonl"], 2, "no such file"),
        (["import-jsonl", "graph.json"], 2, "line 1 of 'graph.json'"),
    ],
)
def test_what_cannot_be_done_says_why(inserted: Cli, arguments: list[str], code: int, message: str) -> None:
    ended, out, err = inserted(*arguments)
    assert (ended, out) == (code, "")
    assert message in " ".join(err.split())


def test_without_a_store_nothing_is_exported(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("export", "graph.csv")
    assert code == 1
    assert "there is no store" in " ".join(err.split())
    assert not list(tmp_path.iterdir())
