"""The command line with an environment: configuration, a server, failed documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.command_line import Cli, only_json
from stateless_rag.errors import InvalidInput
from stateless_rag.settings import Configuration, from_env
from stateless_rag.testing import FakeOpenAIServer, Faults, ServerError


def test_the_environment_becomes_a_configuration() -> None:
    assert from_env({}) == Configuration()
    assert from_env({"OPENAI_API_KEY": " ", "STATELESS_RAG_ROOT": ""}).offline
    found = from_env(
        {"OPENAI_API_KEY": "secret", "STATELESS_RAG_LLM_CALLS": "3", "STATELESS_RAG_WORKSPACE": "w"}
    )
    assert (found.api_key, found.llm_calls, found.workspace, found.offline) == ("secret", 3, "w", False)
    assert "secret" not in repr(found)
    for wrong in ("0", "-1", "many", "²"):
        with pytest.raises(InvalidInput, match="STATELESS_RAG_LLM_CALLS"):
            from_env({"STATELESS_RAG_LLM_CALLS": wrong})


def test_a_wrong_environment_is_an_error_not_a_traceback(cli: Cli) -> None:
    code, _, err = cli("status", STATELESS_RAG_LLM_CALLS="many")
    assert code == 2
    assert err.startswith("error: STATELESS_RAG_LLM_CALLS")


def test_with_a_server_the_llm_extracts_and_answers(cli: Cli, corpus: Path, server: FakeOpenAIServer) -> None:
    keyed = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.base_url, "STATELESS_RAG_ROOT": "other"}
    code, out, _ = cli("ingest", "corpus/ada-lovelace.md", **keyed)
    assert code == 0
    assert "extract:" in out
    code, out, _ = cli("query", "Who was Ada?", "--stream", **keyed)
    assert code == 0
    assert "Who was Ada?" in out  # the fake LLM quotes the question
    assert "[1] corpus/ada-lovelace.md, characters 0–" in out
    # Without a key the recorded embedding model cannot be asked, and the message says so.
    code, _, err = cli("query", "Who was Ada?", STATELESS_RAG_ROOT="other")
    assert code == 1
    assert "text-embedding-3-small" in err
    assert "OPENAI_API_KEY" in err
    assert cli("status", STATELESS_RAG_ROOT="other")[0] == 0


def test_a_workspace_made_offline_keeps_its_embedder(
    cli: Cli, corpus: Path, server: FakeOpenAIServer
) -> None:
    cli("ingest", "corpus/ada-lovelace.md")
    code, _, err = cli("query", "Who was Ada?", OPENAI_BASE_URL=server.base_url)
    assert code == 0
    assert "stays with it" in err
    assert not [record for record in server.log if "embeddings" in record.path]


def test_failed_documents_are_shown_and_resumed(cli: Cli, corpus: Path) -> None:
    faults = Faults.matching("Jacquard", ServerError(status=400), times=1)
    fake = FakeOpenAIServer(faults=faults)
    keyed = {"OPENAI_API_KEY": "k"}
    with fake.in_thread():
        keyed["OPENAI_BASE_URL"] = fake.base_url
        code, out, err = cli("ingest", "corpus/jacquard-loom.md", "corpus/ada-lovelace.md", **keyed)
        assert code == 3
        assert "1 failed" in out
        assert "stateless-rag resume --root stateless-rag-data --workspace default" in err
        code, out, _ = cli("status", "--failed")
        assert code == 0
        assert "tried 1 time: ProviderRejected" in out
        code, out, _ = cli("resume", "--json", **keyed)
        assert code == 0
        assert only_json(out)["counts"] == {"processed": 1}
