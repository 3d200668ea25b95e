"""How a server is configured and run: names, files, what is shown, and a process that is ended."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from stateless_rag.cli.app import run
from stateless_rag.cli.serve import _Providers
from stateless_rag.errors import InvalidInput
from stateless_rag.providers import HTTPReranker
from stateless_rag.server import ApiKey, Quota, ServerSettings, create_app
from stateless_rag.server.about import about
from stateless_rag.server.configuration import read_configuration
from stateless_rag.server.dotenv import parse_dotenv
from stateless_rag.server.logs import JsonLines
from stateless_rag.server.reranking import Reranking

BASELINE = """
# written for LightRAG
HOST=0.0.0.0
PORT=9622   # not the usual one
WORKING_DIR='./rag storage'
WORKSPACE=
LIGHTRAG_API_KEY="secret-key"
AUTH_ACCOUNTS='ada:pw,bob:{bcrypt}$2b$04$abc'
export TOKEN_SECRET=secret-token
WHITELIST_PATHS=/health,/api/*
CORS_ORIGINS=http://a.example,http://b.example
LIGHTRAG_API_PREFIX=rag/
LLM_BINDING=ollama
LLM_BINDING_HOST=http://localhost:11434
LLM_MODEL=mistral
EMBEDDING_BINDING=openai
EMBEDDING_BINDING_HOST=http://embed:1/v1
EMBEDDING_BINDING_API_KEY=secret-embed
EMBEDDING_MODEL=bge
MAX_ASYNC_LLM=7
MAX_UPLOAD_SIZE=None
MAX_REQUEST_BODY_BYTES=2000
TOP_K=11
CHUNK_SIZE=600
OLLAMA_EMULATING_MODEL_TAG=v2
LIGHTRAG_KV_STORAGE=JsonKVStorage
RERANK_BINDING=cohere
RERANK_MODEL=rerank-model
RERANK_BINDING_HOST=http://rerank:8000/v1/rerank
RERANK_BINDING_API_KEY=secret-rerank
RERANK_BY_DEFAULT=false
MIN_RERANK_SCORE=0.0
SUMMARY_LANGUAGE=German
MAX_GLEANING=0
"""


def test_a_file_written_for_the_baseline_is_read_as_it_is() -> None:
    found = read_configuration({}, dotenv=parse_dotenv(BASELINE))
    server = found.server
    assert (found.host, found.port) == ("0.0.0.0", 9622)
    assert (server.root, server.default_workspace) == ("./rag storage", "default")
    assert server.keys == (ApiKey(key="secret-key", name="LIGHTRAG_API_KEY"),)
    assert [(each.name, each.password) for each in server.accounts] == [
        ("ada", "pw"),
        ("bob", "{bcrypt}$2b$04$abc"),
    ]
    assert (server.token_secret, server.open_paths) == ("secret-token", ("/health", "/api/*"))
    assert server.cors_origins == ("http://a.example", "http://b.example")
    assert (server.api_prefix, server.llm_calls, server.max_upload) == ("/rag", 7, 0)
    assert (server.max_body, server.max_text_body, server.ollama_model) == (2000, 2000, "lightrag:v2")
    assert (found.llm.base_url, found.llm.api_key, found.llm.llm_model) == (
        "http://localhost:11434/v1",
        "ollama",
        "mistral",
    )
    assert (found.embedding.base_url, found.embedding.embed_model) == ("http://embed:1/v1", "bge")
    assert (found.engine.query.top_k, found.engine.chunking.max_tokens) == (11, 600)
    assert found.reranking == Reranking(
        style="cohere",
        model="rerank-model",
        base_url="http://rerank:8000/v1/rerank",
        api_key="secret-rerank",
    )
    assert (found.engine.query.rerank, found.engine.query.min_rerank_score) == (False, None)
    assert (found.engine.extraction.language, found.engine.extraction.gleaning) == ("German", 0)
    assert found.ignored == ("LIGHTRAG_KV_STORAGE",)


def test_timeouts_and_summaries_of_the_baseline_hold() -> None:
    names = {
        "LLM_TIMEOUT": "90",
        "EMBEDDING_TIMEOUT": "11",
        "RERANK_TIMEOUT": "12.5",
        "FORCE_LLM_SUMMARY_ON_MERGE": "4",
        "SUMMARY_MAX_TOKENS": "800",
        "SUMMARY_CONTEXT_SIZE": "9000",
        "SUMMARY_LENGTH_RECOMMENDED": "300",
        "LOG_LEVEL": "debug",
    }
    found = read_configuration({}, dotenv=names)
    assert found.ignored == ()
    assert found.log_level == "DEBUG"
    calls, merging = found.engine.calls, found.engine.merging
    assert (calls.llm_timeout, calls.embed_timeout, calls.rerank_timeout) == (90.0, 11.0, 12.5)
    assert (merging.summarize_from, merging.summary_max_tokens) == (4, 800)
    assert (merging.summary_context_tokens, merging.summary_length) == (9000, 300)


def test_https_of_the_baseline_is_not_dropped_in_silence() -> None:
    files = {"SSL_CERTFILE": "a.pem", "SSL_KEYFILE": "b.pem"}
    assert read_configuration(files | {"SSL": "true"}).tls == ("a.pem", "b.pem")
    assert read_configuration(files | {"SSL": "false"}).tls is None
    assert read_configuration(files).tls is None
    for wrong in ({"SSL": "true"}, files | {"SSL": "perhaps"}):
        with pytest.raises(InvalidInput, match="SSL"):
            read_configuration(wrong)


def test_llms_for_some_of_the_work_are_those_of_the_baseline() -> None:
    base = {"LLM_BINDING": "openai", "LLM_MODEL": "large", "LLM_BINDING_API_KEY": "secret"}
    assert not read_configuration(base).roles
    small = base | {"EXTRACT_LLM_MODEL": "small", "QUERY_LLM_BINDING": "ollama"}
    found = read_configuration(
        small | {"QUERY_LLM_BINDING_HOST": "http://gpu:11434", "QUERY_LLM_MODEL": "own"}
    )
    assert sorted(found.roles) == ["answer", "extract", "summarize"]
    assert found.roles["extract"] == found.roles["summarize"] == replace(found.llm, llm_model="small")
    answer = found.roles["answer"]
    assert (answer.base_url, answer.llm_model) == ("http://gpu:11434/v1", "own")
    assert answer.api_key == "ollama"  # the other server's key stays with that
    with pytest.raises(InvalidInput, match="KEYWORD_LLM_BINDING"):
        read_configuration({"KEYWORD_LLM_BINDING": "bedrock"})


def test_health_tells_of_the_providers_and_no_secret() -> None:
    found = read_configuration(
        {
            "LLM_BINDING_API_KEY": "secret-llm",
            "LLM_BINDING_HOST": "https://u:secret-pw@llm.example/v1?key=secret-q",
            "RERANK_BINDING": "jina",
            "RERANK_BINDING_HOST": "http://u:secret-pw@rerank:8000/v1",
            "RERANK_BINDING_API_KEY": "secret-rerank",
            "STATELESS_RAG_EMBED_MODEL": "hashing",
        }
    )
    told = about(found)
    assert (told["rerank_binding"], told["enable_rerank"]) == ("jina", True)
    assert (told["rerank_model"], told["rerank_binding_host"]) == (
        "jina-reranker-v2-base-multilingual",
        "http://rerank:8000/v1",
    )
    assert (told["llm_binding"], told["llm_binding_host"]) == ("openai", "https://llm.example/v1")
    assert (told["embedding_binding"], told["embedding_model"]) == ("built-in", "built-in")
    assert told["role_llm_config"]["query"]["model"] == "gpt-5-mini"
    assert "secret" not in json.dumps(dict(told))
    none = about(read_configuration({}))
    assert (none["rerank_binding"], none["enable_rerank"], none["llm_binding"]) == ("null", False, "built-in")


async def test_only_who_may_know_is_told_of_the_providers(tmp_path: Path) -> None:
    settings = ServerSettings(root=str(tmp_path), keys=(ApiKey(key="key"),))
    app = create_app(settings, about={"rerank_binding": "jina"})
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client,
    ):
        told = (await client.get("/health", headers={"X-API-Key": "key"})).json()["configuration"]
        assert (told["rerank_binding"], told["kv_storage"]) == ("jina", "DuckDB")
        assert "configuration" not in (await client.get("/health")).json()


def test_a_reranker_is_asked_for_only_where_one_is_named() -> None:
    assert read_configuration({}).reranking is None
    assert read_configuration({"RERANK_BINDING": "null", "RERANK_MODEL": "x"}).reranking is None
    found = read_configuration({"RERANK_BINDING": "jina", "MIN_RERANK_SCORE": "0.5"})
    assert found.reranking == Reranking(style="jina", model="jina-reranker-v2-base-multilingual")
    assert found.engine.query.min_rerank_score == 0.5
    found = read_configuration({"RERANK_BINDING": "aliyun", "RERANK_BINDING_API_KEY": "k"})
    assert found.reranking == Reranking(style="aliyun", model="gte-rerank-v2", api_key="k")
    with pytest.raises(InvalidInput, match="RERANK_BINDING"):
        read_configuration({"RERANK_BINDING": "other"})


async def test_what_is_configured_is_what_engines_get() -> None:
    providers = _Providers(read_configuration({}, dotenv=parse_dotenv(BASELINE)))
    given = providers.options("papers", None)
    assert isinstance(given["reranker"], HTTPReranker)
    assert given["settings"].extraction.language == "German"
    assert "roles" not in given
    await providers.close()
    roles = {"EXTRACT_LLM_MODEL": "small", "QUERY_LLM_MODEL": "large"}
    providers = _Providers(read_configuration(roles, dotenv=parse_dotenv(BASELINE)))
    made = providers.options("papers", None)["roles"]
    assert {role: llm.model for role, llm in made.items()} == {
        "extract": "small",
        "summarize": "small",
        "answer": "large",
    }
    await providers.close()


def test_what_is_nearer_wins() -> None:
    config = (
        'port = 1\nmax_open = 2\nroot = "c"\n[quota]\ndocuments = 3\n[[keys]]\nkey = "k"\naccess = "read"\n'
    )
    dotenv = {"PORT": "4", "WORKING_DIR": "e", "STATELESS_RAG_SERVER_MAX_OPEN": "5"}
    environ = {
        "STATELESS_RAG_SERVER_MAX_OPEN": "6",
        "STATELESS_RAG_SERVER_MAX_IDLE": "none",
        "STATELESS_RAG_SERVER_PLACEMENT": "own",
    }
    found = read_configuration(environ, dotenv=dotenv, config=config, changes={"root": "f", "port": 7})
    assert (found.port, found.server.max_open, found.server.root) == (7, 6, "f")
    assert (found.server.max_idle, found.server.quota) == (None, Quota(documents=3))
    assert found.server.placement == "own"
    assert found.server.keys == (ApiKey(key="k", access="read"),)
    keys = '[{"key": "a", "workspaces": ["erp"], "access": "write"}]'
    found = read_configuration({"STATELESS_RAG_SERVER_KEYS": keys}, config=config)
    assert (found.port, found.server.keys) == (1, (ApiKey(key="a", workspaces=("erp",), access="write"),))


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        ({"PORT": "x"}, ""),
        ({"PORT": "70000"}, ""),
        ({"STATELESS_RAG_SERVER_DOCS": "perhaps"}, ""),
        ({"STATELESS_RAG_SERVER_PLACEMENT": "elsewhere"}, ""),
        ({"STATELESS_RAG_SERVER_KEYS": "secret"}, ""),
        ({"STATELESS_RAG_SERVER_KEYS": '[{"name": "secret"}]'}, ""),
        ({"STATELESS_RAG_SERVER_QUOTA": '{"secret": 1}'}, ""),
        ({"AUTH_ACCOUNTS": "secret"}, ""),
        ({"AUTH_ACCOUNTS": "a:secret"}, ""),
        ({"WORKSPACE": "my space"}, ""),
        ({"LLM_BINDING": "bedrock"}, ""),
        ({}, "nothing = 1"),
        ({}, "secret"),
    ],
)
def test_what_cannot_be_used_is_refused_without_telling_it(environ: dict[str, str], config: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_configuration(environ, config=config)
    assert "secret" not in str(caught.value).replace("token_secret", "") or config or "QUOTA" in str(environ)


def test_a_line_that_is_none_is_named_and_not_shown() -> None:
    with pytest.raises(InvalidInput, match="line 2") as caught:
        parse_dotenv("A=1\nsecret\n")
    assert "secret" not in str(caught.value)


def test_check_shows_the_settings_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(BASELINE.replace("//rerank", "//u:secret-pw@rerank"))
    environ = {"OPENAI_API_KEY": "secret-openai", "OPENAI_BASE_URL": "http://u:secret-pw@llm.example/v1"}
    assert run(["serve", "--check", "--key", "secret-flag"], environ) == 0
    told = capsys.readouterr().out
    assert "secret-" not in told
    assert "{bcrypt}" not in told
    shown = json.loads(told)
    assert (shown["host"], shown["server"]["keys"][0]["name"]) == ("0.0.0.0", "--key")
    assert shown["ignored"] == ["LIGHTRAG_KV_STORAGE"]
    assert (shown["reranker"]["model"], shown["reranker"]["api_key"]) == ("rerank-model", "***")
    assert (shown["llm_server"], shown["reranker"]["base_url"]) == (
        "http://llm.example/v1",
        "http://rerank:8000/v1/rerank",
    )
    assert shown["engine"] == {
        "query": {"top_k": 11, "rerank": False},
        "chunking": {"max_tokens": 600},
        "extraction": {"language": "German", "gleaning": 0},
    }
    assert not (tmp_path / "rag storage").exists()


def test_nobody_listens_for_others_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--host", "0.0.0.0"], {}) == 2
    assert "--allow-open" in capsys.readouterr().err
    assert run(["serve", "--config", "none.toml"], {}) == 2
    assert list(tmp_path.iterdir()) == []


def test_records_are_lines_of_json() -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "said %s", ("so",), None)
    record.workspace = "erp"
    line = json.loads(JsonLines().format(record))
    assert (line["message"], line["level"], line["workspace"]) == ("said so", "INFO", "erp")


async def test_what_a_killed_process_has_accepted_is_taken_in_by_the_next(tmp_path: Path) -> None:
    async def served(*, documents: int, end: signal.Signals) -> tuple[dict[str, Any], str, int | None]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stateless_rag", "serve", "--offline", "--port", "0", "--root", "root"),
            stderr=asyncio.subprocess.PIPE, cwd=tmp_path, env={"STATELESS_RAG_SERVER_GRACE": "0"},
        )  # fmt: skip
        assert process.stderr is not None
        address, lines = "", []
        try:
            while not address:
                line = json.loads(await asyncio.wait_for(process.stderr.readline(), 240))
                lines.append(line)
                if "running on" in line["message"]:
                    address = line["message"].split()[3]
            async with httpx2.AsyncClient(base_url=address, timeout=240) as client:
                if documents:
                    texts = [
                        {"text": f"Engine {n} was built in Manchester. " * 40, "id": str(n)}
                        for n in range(documents)
                    ]
                    answer = await client.post("/api/v1/projects/one/documents", json={"documents": texts})
                    assert answer.status_code == 202
                counts = (await client.get("/w/one/documents/status_counts")).json()["status_counts"]
                while not documents and counts["processed"] < 100:
                    await asyncio.sleep(0.05)
                    counts = (await client.get("/w/one/documents/status_counts")).json()["status_counts"]
        finally:
            if process.returncode is None:
                process.send_signal(end)
        _, rest = await process.communicate()
        return counts, rest.decode(), process.returncode

    counts, _, code = await served(documents=100, end=signal.SIGKILL)
    assert (counts["all"], code) == (100, -signal.SIGKILL)
    counts, told, code = await served(documents=0, end=signal.SIGTERM)
    assert "Traceback" not in told
    assert code in (0, -signal.SIGTERM)
    assert counts == {**counts, "processed": 100, "all": 100}
