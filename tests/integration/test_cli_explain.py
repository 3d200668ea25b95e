"""The command `explain`, and the trace of `query --json`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli

QUESTION = "Who designed the machine that Ada Lovelace wrote about?"


@pytest.fixture
def asked(cli: Cli, ingested: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(ingested)
    return cli


def test_passages_with_their_reasons(asked: Cli) -> None:
    code, out, _ = asked("explain", QUESTION)
    assert code == 0
    lines = out.splitlines()
    assert re.fullmatch(r"Mode mix, revision [1-9]\d*", lines[0])
    assert lines[1].startswith("Seeds: ")
    assert "1. corpus/ada-lovelace.md, characters 0–" in out
    assert "    evidence: " in out
    assert "    seeds: entity 'Ada Lovelace' 1.00; relation 'Ada Lovelace—" in out
    assert "    edges: Ada Lovelace—" in out
    assert "Expected" not in out
    _, local, _ = asked("explain", QUESTION, "--mode", "local")
    assert re.match(r"Mode local, revision \d+; keywords: Ada Lovelace, ", local)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 0, "found at rank 1 of "),
        (("--where", '{"$id": "other"}'), 4, "lost at filter: the document does not meet metadata_filter"),
        (("--mode", "naive", "--chunk-top-k", "1"), 0, "found at rank 1 of 1"),
    ],
)
def test_a_document_by_its_file(asked: Cli, options: tuple[str, ...], code: int, told: str) -> None:
    document = "corpus/ada-lovelace.md"
    result, out, _ = asked("explain", QUESTION, "--expect", document, *options)
    assert (result, f"Expected '{document}': {told}" in out) == (code, True), out


def test_a_document_that_was_lost(asked: Cli) -> None:
    code, out, _ = asked("explain", QUESTION, "--expect", "corpus/analytical-engine.md", "--chunk-top-k", "1")
    assert code == 4
    assert "Expected 'corpus/analytical-engine.md': lost at fusion: its best passage ranks " in out
    code, out, _ = asked("explain", QUESTION, "--expect", "nowhere.md")
    assert code == 4
    assert "Expected 'nowhere.md': lost at workspace: no document of this id" in out


def test_as_json(asked: Cli) -> None:
    code, out, err = asked(
        "explain", QUESTION, "--expect", "nobody", "--json", "--mode", "local", "--top-k", "2"
    )
    told: dict[str, Any] = json.loads(out)
    assert (code, err) == (4, "")
    assert told["expected"]["lost"] == "workspace"
    assert (told["mode"], told["question"], told["found"]["entity_seeds"]) == ("local", QUESTION, 2)
    assert {seed["kind"] for seed in told["seeds"]} == {"entity"}
    assert [reason["rank"] for reason in told["reasons"]] == [*range(1, len(told["reasons"]) + 1)]
    assert told["reasons"][0]["edges"]


@pytest.mark.parametrize("arguments", [("--mode", "best"), ("--where", "{")])
def test_options_that_cannot_be_used(asked: Cli, arguments: tuple[str, str]) -> None:
    code, out, err = asked("explain", QUESTION, *arguments)
    assert (code, out) == (2, "")
    assert arguments[1] in err


@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_query_tells_its_trace_if_wanted(asked: Cli, stream: tuple[str, ...]) -> None:
    for wanted in (False, True):
        _, out, _ = asked("query", QUESTION, "--json", *stream, *(("--trace",) if wanted else ()))
        said = json.loads(out.splitlines()[-1])
        trace = (said["answer"] if stream else said)["retrieval"]["trace"]
        assert (trace is not None) is wanted
        if wanted:
            assert trace["revision"] >= 1 and trace["messages"] == []
            assert trace["candidates"]
