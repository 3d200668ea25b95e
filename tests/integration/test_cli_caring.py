"""The commands `check`, `repair`, `backup`, `restore`, `copy`, `compact` and `delete --erase`."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from integration.command_line import Cli
from stateless_rag.cli.options import Exit
from stateless_rag.stores.duckdb.names import schema_name

ROOT = Path("stateless-rag-data")


def damage(statement: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{ROOT / 'stateless_rag.duckdb'}' AS root")
        connection.execute(f'USE root."{schema_name("default")}"')
        assert connection.execute(statement).fetchall()[0][0]


def test_a_fault_is_told_and_mended(cli: Cli, corpus: Path) -> None:
    assert cli("ingest", str(corpus))[0] == Exit.OK
    code, out, err = cli("check")
    assert (code, err) == (Exit.OK, "") and "nothing wrong in 5 documents" in out
    damage("UPDATE entities SET weight = weight + 1 WHERE key = 'ada lovelace'")
    code, out, err = cli("check")
    assert code == Exit.SOME_FAILED
    assert "ada lovelace" in out and "1 fault found" in out
    assert "next: `stateless-rag repair` mends it" in err
    code, out, _ = cli("check", "--json", "--deep")
    report = json.loads(out)
    assert code == Exit.SOME_FAILED and [fault["kind"] for fault in report["faults"]] == ["entities_values"]
    code, out, err = cli("repair")
    assert (code, err) == (Exit.OK, "") and "1 fault found, 1 mended" in out
    assert cli("check")[0] == Exit.OK


def test_what_is_lost_is_told(cli: Cli, corpus: Path) -> None:
    cli("ingest", str(corpus))
    damage("UPDATE documents SET digest = 'x' WHERE source LIKE '%ada-lovelace.md'")
    code, out, err = cli("repair")
    assert code == Exit.SOME_FAILED
    assert "0 mended" in out and "is lost: ingest it again" in err
    assert cli("delete", str(corpus / "ada-lovelace.md"))[0] == Exit.OK
    assert cli("ingest", str(corpus))[0] == Exit.OK
    assert cli("check")[0] == Exit.OK


def test_backups_and_copies(cli: Cli, corpus: Path) -> None:
    cli("ingest", str(corpus))
    code, out, _ = cli("backup", "one.backup")
    assert code == Exit.OK and "is backed up in one.backup" in out
    code, _, err = cli("backup", "one.backup")
    assert code in (Exit.ERROR, Exit.USAGE) and "--overwrite" in err
    code, out, _ = cli("backup", "one.backup", "--overwrite", "--json")
    assert code == Exit.OK and json.loads(out)["workspace"] == "default"
    code, out, _ = cli("restore", "one.backup", "--as", "two", "--placement", "own")
    assert code == Exit.OK and "Workspace two is restored" in out and "5 documents" in out
    code, out, _ = cli("restore", "one.backup", "--root", "elsewhere")
    assert code == Exit.OK and "Workspace default is restored" in out
    code, _, err = cli("restore", "one.backup")
    assert code in (Exit.ERROR, Exit.USAGE) and "is there already" in err
    assert cli("restore", "one.backup", "--overwrite")[0] == Exit.OK
    code, _, err = cli("restore", "nothing.backup")
    assert code in (Exit.ERROR, Exit.USAGE) and "nothing.backup" in err
    assert cli("copy", "three")[0] == Exit.OK
    for name in ("default", "two", "three"):
        assert cli("check", "--workspace", name)[0] == Exit.OK
    assert cli("check", "--root", "elsewhere")[0] == Exit.OK


@pytest.mark.parametrize("source", ["ada-lovelace.md", "zh-alan-turing.md"])
def test_erased_is_gone(source: str, cli: Cli, corpus: Path) -> None:
    cli("ingest", str(corpus))
    told = (corpus / source).read_text(encoding="utf-8")[200:240].encode()
    assert told in b"".join(file.read_bytes() for file in ROOT.rglob("*") if file.is_file())
    code, out, _ = cli("delete", str(corpus / source), "--erase")
    assert code == Exit.OK and "the file is rewritten" in out
    assert told not in b"".join(file.read_bytes() for file in ROOT.rglob("*") if file.is_file())
    code, out, err = cli("delete", str(corpus / source), "--erase")
    assert code == Exit.NOTHING_FOUND and "not there" in err
    code, out, _ = cli("compact")
    assert code == Exit.OK and "before" in out
