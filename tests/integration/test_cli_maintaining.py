"""The commands `reembed`, `upgrade`, `disable` and `enable`."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.command_line import Cli, only_json
from stateless_rag.testing import FakeOpenAIServer


def test_to_a_served_embedder_and_on(cli: Cli, corpus: Path, server: FakeOpenAIServer) -> None:
    assert cli("ingest", "corpus")[0] == 0
    served = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": server.base_url}
    code, out, err = cli("status", "--json", **served)
    _, _, note = cli("query", "Ada Lovelace", "--mode", "naive", **served)
    assert "stateless-rag reembed default --embedder text-embedding-3-small" in note
    code, out, err = cli("reembed", "default", "--embedder", "text-embedding-3-small", "--json", **served)
    report = only_json(out)
    assert (code, report["embedder"], report["changed"]) == (0, "text-embedding-3-small", True)
    assert cli("query", "Who was Ada Lovelace?", "--mode", "naive", **served)[0] == 0
    code, out, err = cli("query", "Who was Ada Lovelace?", "--offline", **served)
    assert (code, out) == (1, "")
    # Back again, with no server to be asked.
    code, out, err = cli("reembed", "default", "--embedder", "hashing")
    assert (code, err) == (0, "")
    assert out.startswith("Workspace default has embedder hashing-1-384 now: ")
    assert cli("reembed", "default", "--embedder", "hashing")[1] == (
        "Workspace default has embedder hashing-1-384 already.\n"
    )
    assert cli("query", "Who was Ada Lovelace?")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("reembed", "default", "--embedder", "text-embedding-3-small"), 2, "needs a server"),
        (("reembed", "other", "--embedder", "hashing"), 1, "there is no workspace 'other'"),
        (("reembed", "default"), 2, "--embedder"),
        (("upgrade",), 2, "nothing is chosen"),
        (("upgrade", "--where", "{"), 2, "is not JSON"),
        (("upgrade", "nobody"), 2, "are not there"),
        (("disable", "nobody"), 4, "not there: nobody"),
    ],
)
def test_what_cannot_be_done(
    arguments: tuple[str, ...],
    code: int,
    told: str,
    cli: Cli,
    ingested: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ingested)
    got, _, err = cli(*arguments)
    assert got == code
    assert told in err


def test_disabled_upgraded_enabled(cli: Cli, corpus: Path, server: FakeOpenAIServer) -> None:
    assert cli("ingest", "corpus")[0] == 0
    path = str(corpus / "ada-lovelace.md")
    assert cli("disable", path)[:2] == (0, "1 document disabled\n")
    assert cli("disable", path)[:2] == (0, "0 documents disabled, 1 already\n")
    assert "processed, disabled" in cli("status")[1]
    assert "(1 of them disabled)" in cli("workspaces", "describe", "default")[1]
    assert "ada-lovelace" not in cli("query", "Ada Lovelace", "--mode", "naive")[1]
    assert cli("enable", path)[:2] == (0, "1 document enabled\n")
    served = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": server.base_url}
    code, out, _ = cli("upgrade", path, **served)
    assert code == 0
    assert out.startswith("1 document upgraded; ")
    code, out, err = cli("upgrade", "--all", "--budget", "1", **served)
    assert (code, out.split(";")[0]) == (3, "0 documents upgraded")
    assert "paused: the budget of this call is used up" in err and "4 documents not done" in err
    code, out, _ = cli("upgrade", "--all", "--json", **served)
    assert len(only_json(out)["documents"]) == 4
