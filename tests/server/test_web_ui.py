"""A web UI that was built for LightRAG's API: its pages, and every field that it reads of every call it makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.serving import GRAPH, running
from stateless_rag.server import ApiKey

MARK = "<!-- __LIGHTRAG_RUNTIME_CONFIG__ -->"
PAGE = {
    "status_filter": None,
    "status_filters": None,
    "page": 1,
    "page_size": 10,
    "sort_field": "updated_at",
    "sort_direction": "desc",
}
SHOWN = ["core_version", "api_version", "webui_title", "webui_description"]
QUEUE = ["queued", "running", "max_async", "submitted_total"]
# The method, the path, the body, and the fields that are read of the answer; "0" is the first of a list.
CALLS: list[tuple[str, str, Any, list[str]]] = [
    ("GET", "/auth-status", None, ["auth_configured", "access_token", "auth_mode", "message", *SHOWN]),
    ("GET", "/auth-status", None, ["ai_content_notice_enabled"]),
    ("GET", "/ui/customization", None, ["brand.title"]),
    ("GET", "/health", None, ["status", "pipeline_busy", "pipeline_active", "api_docs_available", *SHOWN]),
    ("GET", "/health", None, ["configuration.max_graph_nodes", "configuration.force_llm_summary_on_merge"]),
    ("GET", "/health", None, ["input_directory", "server_mode", "workers", "keyed_locks.process_id"]),
    ("GET", "/health", None, ["keyed_locks.current_status.total_mp_locks", "configuration.role_llm_config"]),
    ("GET", "/health", None, [f"embedding_queue_status.{each}" for each in QUEUE]),
    ("GET", "/health", None, [f"llm_queue_status.query.{each}" for each in QUEUE]),
    ("POST", "/documents/paginated", PAGE, ["pagination.total_count", "status_counts"]),
    ("POST", "/documents/paginated", PAGE, [f"documents.0.{each}" for each in (
        "id", "file_path", "content_summary", "status", "content_length", "chunks_count",
        "created_at", "updated_at", "error_msg", "metadata", "track_id")]),
    ("GET", "/documents/supported_file_types", None, ["supported_extensions", "engines"]),
    ("GET", "/documents/pipeline_status", None, [
        "busy", "cancellation_requested", "job_name", "job_start", "cur_batch", "batchs", "history_messages"]),
    ("POST", "/documents/cancel_pipeline", None, ["status", "message"]),
    ("GET", "/graph/label/popular?limit=300", None, ["0"]),
    ("GET", "/graph/label/search?q=bab&limit=50", None, ["0"]),
    ("GET", "/graphs?label=*&max_depth=3&max_nodes=1000", None, [
        "nodes.0.id", "nodes.0.labels.0", "nodes.0.properties.entity_id", "nodes.0.properties.entity_type",
        "edges.0.id", "edges.0.source", "edges.0.target", "edges.0.properties.keywords",
        "edges.0.properties.weight", "is_truncated"]),
    ("GET", "/graph/entity/exists?name=Baby", None, ["exists"]),
    ("POST", "/graph/entity/edit", {
        "entity_name": "Baby", "updated_data": {"description": "Old."}, "allow_rename": True, "allow_merge": False,
    }, ["operation_summary", "status", "message"]),
    ("POST", "/query", {
        "query": "Who?", "mode": "mix", "response_type": "Multiple Paragraphs", "conversation_history": []},
        ["response"]),
    ("POST", "/documents/clear_cache", {}, ["status", "message"]),
    ("DELETE", "/documents", None, ["status", "message"]),
]  # fmt: skip


async def test_each_call_has_the_fields_that_are_read(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        assert (await client.post("/insert_custom_kg", json=GRAPH)).status_code == 200
        for method, path, body, fields in CALLS:
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 200, (path, answer.text)
            for field in fields:
                _at(answer.json(), field)
        streamed = {"query": "Who?", "include_progress": True, "stream": True}
        lines = (await client.post("/query/stream", json=streamed)).text.splitlines()
        assert any("response" in json.loads(line) for line in lines)


def _at(value: Any, field: str) -> Any:
    for part in field.split("."):
        value = value[int(part)] if part.isdigit() else value[part]
    return value


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "ui"
    (folder / "assets").mkdir(parents=True)
    for page in ("index.html", "workspace.html"):
        (folder / page).write_text(f"<html>{page}{MARK}</html>")
    (folder / "assets" / "app-1.js").write_text("run()")
    (folder / "favicon.png").write_bytes(b"png")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


async def test_the_pages_are_served(tmp_path: Path, built: Path) -> None:
    keys = (ApiKey(key="k"),)
    settings = {"webui_dir": str(built), "title": "</script>", "keys": keys}
    async with running(tmp_path / "root", **settings) as client:  # type: ignore[arg-type]
        first = await client.get("/")
        assert (first.status_code, first.headers["location"]) == (307, "/webui/")
        assert (await client.get("/webui")).headers["location"] == "/webui/"
        for app, page in (("webui", "index.html"), ("workspace", "workspace.html")):
            answer = await client.get(f"/{app}/")
            assert answer.status_code == 200
            assert answer.text.startswith(f"<html>{page}<script>window.__LIGHTRAG_CONFIG__ = ")
            assert answer.text.count("</script>") == 1
            assert "no-cache" in answer.headers["cache-control"]
            assert (await client.get(f"/{app}/{page}")).status_code == 404
        told = (await client.get("/w/papers/webui/")).text
        assert '"apiPrefix": "/w/papers"' in told
        asset = await client.get("/webui/assets/app-1.js")
        assert (asset.text, "immutable" in asset.headers["cache-control"]) == ("run()", True)
        assert (await client.get("/webui/favicon.png")).content == b"png"
        for path in (
            "../secret.txt",
            "%2e%2e/secret.txt",
            "assets/..%2f..%2fsecret.txt",
            "nothing.js",
            "assets",
        ):
            assert (await client.get(f"/webui/{path}")).status_code == 404, path
        assert (await client.get("/health")).json()["webui_available"] is True


async def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        assert (await client.get("/webui/")).status_code == 404
        assert (await client.get("/")).json()["health_url"] == "/health"
        assert (await client.get("/health")).json()["webui_available"] is False
