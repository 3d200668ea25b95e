"""The command line: results, JSON, exit codes, messages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from converting.files import docx, encrypted_pdf, html, pdf
from integration.command_line import Cli, only_json
from stateless_rag.cli.files import find_files
from stateless_rag.errors import InvalidInput
from stateless_rag.stores.duckdb.names import schema_name


def test_ingest_query_status_delete(cli: Cli, corpus: Path) -> None:
    code, out, _ = cli("ingest", "corpus")
    assert code == 0
    assert "5 documents ready (0 unchanged)" in out
    code, out, err = cli("query", "Who wrote notes about the Analytical Engine?")
    assert code == 0
    assert err == ""
    assert "corpus/ada-lovelace.md, characters 0–" in out
    assert "found by walk; " in out
    code, out, _ = cli("status")
    assert code == 0
    assert out.count("processed") == 6
    code, out, _ = cli("delete", "corpus/ada-lovelace.md", "--json")
    assert code == 0
    assert len(only_json(out)["deleted"]) == 1
    _, out, _ = cli("status", "--json")
    assert only_json(out)["workspace"]["documents"] == {
        "pending": 0,
        "extracting": 0,
        "merging": 0,
        "processed": 4,
        "failed": 0,
    }
    code, _, err = cli("delete", "gone")
    assert code == 4
    assert "gone" in err


def test_ingesting_again_changes_nothing_and_from_another_folder_neither(
    cli: Cli, corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli("ingest", "corpus")
    monkeypatch.chdir(corpus)
    code, out, _ = cli(
        "ingest", ".", "../corpus", "./ada-lovelace.md", "--root", "../stateless-rag-data", "--json"
    )
    report = only_json(out)["report"]
    assert code == 0
    assert [document["unchanged"] for document in report["documents"]] == [True] * 5
    assert report["usage"] == {}


def test_json_is_all_that_is_on_stdout(cli: Cli, corpus: Path) -> None:
    (corpus / "binary.txt").write_bytes(b"a\0b")
    code, out, err = cli("ingest", "corpus", "--json")
    assert code == 3
    assert only_json(out)["skipped"] == [{"path": "corpus/binary.txt", "reason": "a binary file"}]
    assert only_json(out)["passed_over"] == {}
    assert "skipped corpus/binary.txt" in err
    for arguments in (
        ["query", "Ada"],
        ["query", "Ada", "--only-context"],
        ["status"],
        ["resume"],
        ["workspaces", "list"],
        ["workspaces", "describe", "default"],
        ["workspaces", "create", "other"],
        ["workspaces", "drop", "other", "--yes"],
    ):
        code, out, _ = cli(*arguments, "--json")
        assert code == 0
        assert only_json(out)
    _, out, _ = cli("query", "Ada Lovelace", "--json", "--stream")
    lines = [json.loads(line) for line in out.splitlines()]
    assert "".join(line.get("text", "") for line in lines) == lines[-1]["answer"]["text"]
    reference = lines[-1]["answer"]["references"][0]
    assert reference["source"] == str(corpus / "ada-lovelace.md")
    assert reference["start"] == 0


def test_what_files_are_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (corpus / ".git").mkdir()
    (corpus / ".git" / "a.md").write_text("hidden")
    (corpus / ".hidden.md").write_text("hidden")
    (corpus / "image.png").write_bytes(b"\x89PNG")
    (corpus / "sub").mkdir()
    (corpus / "sub" / "ada-lovelace.md").write_text("Same base name.")
    (corpus / "loop").symlink_to(corpus, target_is_directory=True)
    names = [str(path.relative_to(corpus)) for path in find_files([corpus])]
    assert "sub/ada-lovelace.md" in names
    assert "ada-lovelace.md" in names
    assert len(names) == 6
    assert find_files([corpus / "image.png"]) == [corpus / "image.png"]
    with pytest.raises(InvalidInput, match="no file or folder"):
        find_files([corpus / "gone"])


def test_unusable_files_are_reported_and_skipped(cli: Cli, corpus: Path) -> None:
    (corpus / "latin.txt").write_bytes("Zürich".encode("latin-1"))
    (corpus / "bom.txt").write_bytes(b"\xef\xbb\xbfPlain text.")
    (corpus / "binary.txt").write_bytes(b"zeros\0")
    code, out, err = cli("ingest", "corpus")
    assert code == 3
    assert "7 documents ready" in out
    assert "binary.txt: a binary file" in err


def test_files_of_other_kinds_become_texts(cli: Cli, corpus: Path) -> None:
    made = {"a.pdf": pdf(), "sub/b.docx": docx(), "sub/c.html": html(), "e.pdf": encrypted_pdf()}
    for name, content in made.items():
        (corpus / name).parent.mkdir(exist_ok=True)
        (corpus / name).write_bytes(content)
    code, out, err = cli("ingest", "corpus")
    assert code == 3
    assert "8 documents ready" in out
    assert "e.pdf: encrypted; remove its password, and send it again" in err
    rows = only_json(cli("status", "--json")[1])
    assert [each["metadata"]["title"] for each in rows["documents"] if each["metadata"]] == ["A title"] * 3
    code, out, _ = cli("ingest", "corpus/a.pdf", "corpus/sub")
    assert code == 0
    assert "3 documents ready (3 unchanged)" in out


def test_files_that_are_no_text_are_counted(cli: Cli, corpus: Path) -> None:
    for name in ("a.zip", "b.ZIP", "image.png", "LICENSE", ".hidden.pdf"):
        (corpus / name).write_bytes(b"%PDF-1.7\n")
    os.mkfifo(corpus / "pipe.txt")
    (corpus / "broken.txt").symlink_to("nowhere.txt")
    code, out, err = cli("ingest", "corpus")
    assert code == 0
    told = "2 .zip, 1 .png, 1 no regular files, 1 broken links, 1 without a suffix"
    assert err.startswith("passed over 6 files that are not .md, ")
    assert sorted(err.strip().rpartition(": ")[2].split(", ")) == sorted(told.split(", "))
    assert "5 documents ready" in out and "6 files skipped" in out
    code, out, err = cli("ingest", "corpus", "corpus/a.zip", "corpus/pipe.txt", "--json")
    assert code == 3
    report = only_json(out)
    assert [skipped["reason"] for skipped in report["skipped"]] == [
        "a PDF file by its contents, not what its name says; name it for what it is",
        "no regular file; write its text to one first",
    ]
    assert report["passed_over"] == {".zip": 1, ".png": 1, "broken links": 1, "without a suffix": 1}


def test_an_empty_file_is_told_of(cli: Cli, corpus: Path) -> None:
    (corpus / "blank.txt").write_text(" \n\t\n")
    for _ in range(2):
        code, out, err = cli("ingest", "corpus/blank.txt", "corpus/ada-lovelace.md")
        assert code == 0
        assert err.count("warning:") == 1
        assert "warning: corpus/blank.txt is empty" in err
    _, out, _ = cli("ingest", "corpus/blank.txt", "--json")
    assert only_json(out)["report"]["documents"][0]["warnings"] == {"empty": 1}


def test_counts_agree_with_their_nouns(cli: Cli, corpus: Path) -> None:
    _, out, _ = cli("ingest", "corpus/ada-lovelace.md")
    assert "1 document ready" in out
    assert "embed: 1 call, " in out
    assert "1 documents" not in out
    _, out, _ = cli("status")
    assert "Workspace default: 1 processed; " in out
    assert "1 document deleted" in cli("delete", "corpus/ada-lovelace.md")[1]
    assert "Workspace default: no documents; 0 chunks, 0 entities, 0 relations;" in cli("status")[1]
    assert ("documents", "none") in [tuple(line.split()) for line in describe(cli).splitlines()]


def describe(cli: Cli) -> str:
    return cli("workspaces", "describe", "default")[1]


def test_passages_are_numbered_as_references_are(cli: Cli, corpus: Path) -> None:
    long = "\n\n".join(f"Ada Lovelace wrote note {n} on the Analytical Engine. " * 12 for n in range(9))
    (corpus / "long.txt").write_text(long)
    cli("ingest", "corpus/long.txt", "corpus/ada-lovelace.md")
    question = "What did Ada Lovelace write about the Analytical Engine?"
    answer = only_json(cli("query", question, "--json")[1])
    numbers = [reference["number"] for reference in answer["references"]]
    assert len(set(numbers)) < len(numbers)  # several passages are of one document
    _, out, _ = cli("query", question)
    shown = [line for line in out.splitlines() if line.startswith("[")]
    assert [int(line[1 : line.index("]")]) for line in shown] == numbers[: len(shown)]
    assert all(", similarity 0." in line for line in shown)


def test_workspaces(cli: Cli, corpus: Path) -> None:
    assert cli("ingest", "corpus/jacquard-loom.md", "-w", "one")[0] == 0
    assert cli("workspaces", "create", "two", "--placement", "own")[0] == 0
    code, out, _ = cli("workspaces", "list", "--json")
    assert code == 0
    found = only_json(out)["workspaces"]
    assert [(w["name"], w["placement"], w["documents"]["processed"]) for w in found] == [
        ("one", "root", 1),
        ("two", "own", 0),
    ]
    assert cli("workspaces", "list")[1].splitlines()[1].startswith("one ")
    assert "hashing-1-384" in cli("workspaces", "describe", "two")[1]
    code, _, err = cli("workspaces", "create", "two")
    assert (code, "a workspace 'two' already" in err) == (1, True)
    code, _, err = cli("workspaces", "drop", "two")
    assert (code, "--yes" in err) == (2, True)
    assert cli("workspaces", "drop", "two", "--yes")[0] == 0
    code, _, err = cli("query", "What?", "-w", "two")
    assert (code, "workspaces list" in err) == (1, True)


def test_a_damaged_workspace_does_not_hide_the_others(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        assert cli("workspaces", "create", name, "--placement", "own")[0] == 0
    file = tmp_path / "stateless-rag-data" / "workspaces" / f"{schema_name('b')}.duckdb"
    assert file.exists()
    file.write_bytes(b"x" * 9000)
    code, out, err = cli("workspaces", "list")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (1, ["NAME", "a", "c"])
    assert err.startswith("error: b: cannot open the file of workspace 'b'") and "drop the workspace" in err
    assert "Traceback" not in err
    code, out, err = cli("workspaces", "list", "--json")
    listed = only_json(out)
    assert (code, [w["name"] for w in listed["workspaces"]], list(listed["errors"])) == (1, ["a", "c"], ["b"])
    assert "cannot open the file" in listed["errors"]["b"] and "error: b: " in err
    assert cli("workspaces", "drop", "b", "--yes")[0] == 0
    code, out, err = cli("workspaces", "list", "--json")
    assert (code, only_json(out)["errors"], err) == (0, {}, "")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["query", "What?"], 1, "stateless-rag ingest"),
        (["status", "--root", "nowhere"], 1, "nowhere"),
        (["resume"], 1, "stateless-rag ingest"),
        (["ingest", "gone.txt"], 2, "check the path"),
        (["ingest", "corpus", "-w", "../x"], 2, "../x"),
        (["query", "What?", "-w", "../x"], 1, "stateless-rag ingest"),
        (["ingest"], 2, "PATH"),
        (["query", "What?", "--top-k", "0"], 2, "top-k"),
        (["frobnicate"], 2, "frobnicate"),
        (["workspaces", "create", "a", "--placement", "moon"], 2, "moon"),
    ],
)
def test_errors_say_what_to_do(
    cli: Cli, corpus: Path, arguments: list[str], code: int, told: str, tmp_path: Path
) -> None:
    got, out, err = cli(*arguments)
    assert got == code
    assert out == ""
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "nowhere").exists()


def test_nothing_found(cli: Cli, corpus: Path) -> None:
    cli("workspaces", "create", "empty")
    code, out, _ = cli("query", "Anything?", "-w", "empty")
    assert code == 4
    assert out.strip()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["query", "Anything?", "--mode", "wrong"], "naive, local, global"),
        (["explain", "Anything?", "--mode", "wrong"], "naive, local, global"),
        (["query", "  "], "question is"),
        (["query", "Anything?", "-w", "../x"], "../x"),
        (["status", "-w", "con"], "con"),
        (["delete", ""], "ids"),
        (["workspaces", "create", "a/b"], "a/b"),
        (["curate", "delete", "Nobody"], "no such entity"),
    ],
)
def test_what_was_said_wrongly_is_wrong_usage(cli: Cli, arguments: list[str], told: str) -> None:
    cli("workspaces", "create", "default")
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert told in err and err.startswith("error: ")


def test_a_store_in_use_names_its_holder(cli: Cli, corpus: Path) -> None:
    from stateless_rag.sync import Engine

    with Engine.open("stateless-rag-data"):
        code, _, err = cli("ingest", "corpus")
    assert code == 1
    assert str(os.getpid()) in err
    assert cli("ingest", "corpus")[0] == 0


def test_version(cli: Cli) -> None:
    import stateless_rag

    assert cli("--version") == (0, f"stateless-rag {stateless_rag.__version__}\n", "")
