"""`query --where`: the command line's metadata filters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integration.command_line import Cli, only_json

QUESTION = "Who wrote notes about the Analytical Engine?"


def test_only_documents_that_meet_the_filter_answer(cli: Cli, corpus: Path) -> None:
    cli("ingest", "corpus")
    ada = str((corpus / "ada-lovelace.md").resolve())
    _, out, _ = cli("query", QUESTION, "--json")
    assert {ada} < {passage["source"] for passage in only_json(out)["retrieval"]["passages"]}
    code, out, _ = cli("query", QUESTION, "--json", "--where", json.dumps({"$source": ada}))
    answer = only_json(out)
    assert code == 0
    assert {passage["source"] for passage in answer["retrieval"]["passages"]} == {ada}
    assert {reference["source"] for reference in answer["references"]} == {ada}
    code, out, _ = cli("query", QUESTION, "--json", "--where", json.dumps({"$not": {"$source": ada}}))
    assert ada not in {passage["source"] for passage in only_json(out)["retrieval"]["passages"]}
    code, _, _ = cli("query", QUESTION, "--where", '{"year": 1843}')
    assert code == 4


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("year=1843", "--where is 'year=1843', which is not JSON"),
        ("[" * 100_000, "which is not JSON"),
        ("5", "--where is '5'; it must be an object of fields and conditions"),
        ('{"year": {"above": 1843}}', "unknown test 'above'; there are eq, in, gt"),
        ('{"year": NaN}', "it must be finite"),
    ],
)
def test_a_filter_that_cannot_be_used_says_why(
    cli: Cli, ingested: Path, monkeypatch: pytest.MonkeyPatch, where: str, message: str
) -> None:
    monkeypatch.chdir(ingested)
    code, out, err = cli("query", QUESTION, "--where", where)
    assert code == 2
    assert out == ""
    assert message in " ".join(err.split())
