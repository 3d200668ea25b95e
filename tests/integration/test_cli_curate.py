"""The commands `curate …`."""

from __future__ import annotations

from pathlib import Path

from integration.command_line import Cli, only_json


def test_changes_are_made_shown_and_undone(cli: Cli, corpus: Path) -> None:
    assert cli("ingest", "corpus")[0] == 0
    code, out, err = cli("curate", "create", "Max Newman", "--type", "Person", "--description", "A teacher.")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["Change 1 is made.", "Max Newman (person, 0 chunks): A teacher."]
    _, out, _ = cli("curate", "relate", "Max Newman", "Ada Lovelace", "--keywords", "b,a", "--weight", "2")
    assert out.splitlines()[1] == "Max Newman -> Ada Lovelace [a, b] (weight 2)"
    _, out, _ = cli("curate", "edit-relation", "Max Newman", "Ada Lovelace", "--description", "Read her.")
    assert out.splitlines()[1].endswith("(weight 2): Read her.")
    _, out, _ = cli("curate", "edit", "Ada Lovelace", "--description", "A countess.", "--json")
    assert only_json(out)["entity"]["description"] == "A countess."
    assert cli("curate", "rename", "Max Newman", "Maxwell Newman")[0] == 0
    _, out, _ = cli("curate", "alias", "Max", "Max Newman")
    assert out.splitlines() == ["max stands for max newman", "max newman stands for maxwell newman"]
    _, out, _ = cli("curate", "merge", "Max", "--into", "Ada Lovelace", "--json")
    merged = only_json(out)
    assert (merged["number"], merged["entity"]["name"]) == (7, "Ada Lovelace")
    assert cli("curate", "undo", "7")[0] == 0
    assert cli("curate", "unrelate", "Max", "Ada Lovelace")[0] == 0
    assert cli("curate", "delete", "Max")[0] == 0
    _, out, _ = cli("curate", "history", "--json")
    kinds = [(entry["number"], entry["kind"], entry["undone_by"]) for entry in only_json(out)]
    assert kinds[:4] == [
        (10, "delete_entity", None),
        (9, "delete_relation", None),
        (8, "undo", None),
        (7, "merge_entities", 8),
    ]
    _, out, _ = cli("curate", "history", "Ada Lovelace", "--limit", "1")
    assert "delete relation" in out and "Maxwell Newman, Ada Lovelace" in out


def test_what_cannot_be_done_says_why(cli: Cli, corpus: Path) -> None:
    assert cli("ingest", "corpus")[0] == 0
    code, out, _ = cli("curate", "history")
    assert (code, out) == (0, "Nothing was changed by hand.\n")
    code, out, err = cli("curate", "delete", "Nobody")
    assert (code, out) == (2, "") and "there is no such entity" in err
    assert cli("curate", "undo", "1")[0] == 2
    assert cli("curate", "merge", "Ada Lovelace")[0] == 2
