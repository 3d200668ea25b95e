"""What the log tells of each request and of what is taken in: whose it is, and what it cost."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from server.serving import GRAPH, running
from stateless_rag.server.logs import JsonLines

if TYPE_CHECKING:
    import httpx2

P = "/api/v1/projects/papers"
QUESTION = "Who wrote notes on the engine?"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTION}]}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(tmp_path_factory.mktemp("logged")) as client:
        yield client


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{P}/query", {"question": QUESTION}),
        (f"{P}/query/stream", {"question": QUESTION}),
        ("/w/papers/query", {"query": QUESTION}),
        ("/w/papers/query/stream", {"query": QUESTION}),
        ("/w/papers/query/data", {"query": QUESTION}),
        ("/w/papers/api/chat", {"model": "lightrag:latest", "stream": False, **CHAT}),
        ("/w/papers/api/chat", {"model": "lightrag:latest", "stream": True, **CHAT}),
        ("/v1/chat/completions", {"model": "papers", **CHAT}),
        ("/v1/chat/completions", {"model": "papers", "stream": True, **CHAT}),
        (f"{P}/ingest", {"documents": [{"text": "Grace Hopper wrote a compiler.", "id": "b"}]}),
        (f"{P}/insert_custom_kg", GRAPH),
    ],
)
async def test_a_request_is_logged_with_its_workspace_and_tokens(
    server: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    text = {"documents": [{"text": "Ada Lovelace wrote notes on the Analytical Engine.", "id": "a"}]}
    with caplog.at_level("INFO", "stateless_rag.server"):
        assert (await server.post(f"{P}/documents", json=text)).status_code == 202
        await server.app.state.service.ingestion.idle("papers")  # type: ignore[attr-defined]
    (taken,) = [each for each in caplog.records if "were worked on" in each.getMessage()]
    told = json.loads(JsonLines().format(taken))
    assert (told["workspace"], told["documents"], told["failed"]) == ("papers", 1, 0)
    assert told["tokens"] > 0
    caplog.clear()
    with caplog.at_level("INFO", "stateless_rag.server.access"):
        answer = await server.post(path, json=body, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 200, answer.text
    assert (await server.delete(P)).status_code == 204  # the next one pays for its own
    (line,) = [json.loads(JsonLines().format(each)) for each in caplog.records if hasattr(each, "route")]
    assert (line["request_id"], line["workspace"], line["status"]) == ("mine", "papers", 200)
    assert line["tokens"] > 0
    assert not any(secret in json.dumps(line) for secret in ("notes", "Hopper", "Manchester"))


def test_what_is_for_terminals_is_left_out() -> None:
    record = logging.LogRecord("uvicorn", logging.INFO, "", 1, "started", (), None)
    record.color_message = "\x1b[1mstarted"
    assert "color" not in JsonLines().format(record)
