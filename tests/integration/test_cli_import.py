"""The command `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli, only_json
from integration.folders import Doc, Piece, lightrag_folder, nano_folder

ADA = Doc("doc-1", (Piece("Ada Lovelace wrote notes.", (("Ada Lovelace", "Person", "Ada wrote."),)),))
GRACE = Doc("doc-2", (Piece("Grace Hopper wrote a compiler.", (("Grace Hopper", "Person", "She wrote."),)),))
PENDING = Doc("doc-3", (Piece("Konrad Zuse built the Z3."),), "pending")


def test_one_folder(cli: Cli, tmp_path: Path) -> None:
    lightrag_folder(tmp_path / "rag", [ADA, PENDING])
    code, out, _ = cli("import", "rag", "--workspace", "mine")
    assert "Workspace mine: 1 processed, 1 pending" in out
    assert "1 from kept replies" in out
    # Its vectors are of another model than the built-in one, which is told.
    assert "everything was embedded anew" in out
    assert code == 0
    code, out, _ = cli("query", "What did Ada Lovelace write?", "-w", "mine")
    assert code == 0
    assert "Ada Lovelace wrote notes." in out
    code, out, _ = cli("resume", "-w", "mine")
    assert "1 document ready" in out
    code, out, _ = cli("import", "rag", "--workspace", "mine")
    assert (code, "2 there already" in out) == (0, True)


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        (["--map", "my space=mine"], {"default", "mine", "nano"}),
        (["--map", "my space=mine", "--map", "=main"], {"main", "mine", "nano"}),
    ],
)
def test_all_workspaces_of_a_folder(cli: Cli, tmp_path: Path, mapping: list[str], names: set[str]) -> None:
    lightrag_folder(tmp_path / "rag", [ADA])
    lightrag_folder(tmp_path / "rag" / "my space", [GRACE])
    nano_folder(tmp_path / "rag" / "nano", [ADA, GRACE])
    _, out, err = cli("import", "rag", "--all", *mapping, "--json")
    assert "my space → workspace mine" in err
    reports = only_json(out)["imports"]
    assert set(reports) == names
    assert [report["documents"] for report in reports.values()] == [{"processed": n} for n in (1, 1, 2)]
    _, out, _ = cli("workspaces", "list", "--json")
    assert {info["name"] for info in only_json(out)["workspaces"]} == names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["rag"],
            "holds no files of LightRAG or nano-graphrag; below it are the workspaces con, my space, x: give",
        ),
        (["gone"], "no folder"),
        (["rag", "--all"], "--map 'con=NEW' --map 'my space=NEW'"),
        (["rag", "--all", "--map", "my space=x", "--map", "con=y"], "would both become workspace 'x'"),
        (["rag", "--all", "--map", "other=x"], "must be OLD=NEW"),
        (["rag", "--all", "--map", "x"], "must be OLD=NEW"),
        (["rag/x", "--map", "x=y"], "--all"),
        (["rag/x", "-w", "no name"], "is refused"),
        (["empty", "--all"], "there is no folder"),
    ],
)
def test_what_cannot_be_imported_changes_nothing(
    cli: Cli, tmp_path: Path, arguments: list[str], told: str
) -> None:
    for name in ("con", "my space", "x"):
        lightrag_folder(tmp_path / "rag" / name, [ADA])
    (tmp_path / "empty").mkdir()
    code, out, err = cli("import", *arguments)
    assert code == 2
    assert told in err
    assert not out
    _, listed, _ = cli("workspaces", "list", "--json")
    found: Any = only_json(listed)["workspaces"] if listed else []
    assert not found
