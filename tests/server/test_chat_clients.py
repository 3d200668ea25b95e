"""What chat clients ask: the real clients of OpenAI and Ollama, over a socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import ollama
import openai
import pytest

from server.serving import GRAPH, graph_of, listening, running

QUESTION = "Where was the Baby built?"


class Ollama(ollama.AsyncClient):
    async def aclose(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def two_workspaces(root: Path, **settings: Any) -> AsyncGenerator[str]:
    async with (
        listening(root, **settings) as address,
        httpx2.AsyncClient(base_url=address, timeout=240) as client,
    ):
        for name, graph in (("default", GRAPH), ("papers", graph_of("Colossus"))):
            answer = await client.post(f"/w/{name}/insert_custom_kg", json=graph)
            assert answer.status_code == 200
        yield address


async def test_the_client_of_openai_asks_a_workspace(tmp_path: Path) -> None:
    async with (
        two_workspaces(tmp_path) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
    ):
        models = [model.id async for model in client.models.list()]
        assert {"default", "papers", "papers:local", "papers:naive"} <= set(models)
        assert (await client.models.retrieve("papers:mix")).id == "papers:mix"
        messages: Any = [
            {"role": "system", "content": "In one sentence."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ]
        answer = await client.chat.completions.create(model="papers:naive", messages=messages)
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage and answer.usage.total_tokens > 0
        assert [each["source"] for each in answer.model_extra["references"]] == ["Colossus.txt"]  # type: ignore[index]

        stream = await client.chat.completions.create(
            model="papers:naive", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == answer.choices[0].message.content
        assert chunks[-1].usage and chunks[-1].usage.completion_tokens > 0
        for model in ("unknown", "papers:best", "../x"):
            with pytest.raises(openai.NotFoundError, match="not found"):
                await client.chat.completions.create(model=model, messages=messages)
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="papers", messages=[{"role": "user", "content": " "}])
        with pytest.raises(openai.BadRequestError, match="name one"):
            await client.chat.completions.create(
                model="papers", messages=messages, extra_headers={"X-Workspace": "default"}
            )


async def test_the_client_of_ollama_asks_a_workspace(tmp_path: Path) -> None:
    async with (
        two_workspaces(tmp_path) as address,
        contextlib.aclosing(Ollama(address)) as client,
        contextlib.aclosing(Ollama(f"{address}/w/papers")) as below,
    ):
        names = [model.model for model in (await client.list()).models]
        assert names[0] == "lightrag:latest"
        assert "papers:local" in names
        assert [model.model for model in (await client.ps()).models] == ["lightrag:latest"]
        question = [{"role": "user", "content": f"/naivecontext {QUESTION}"}]
        contexts = {
            model: (await client.chat(model=model, messages=question)).message.content or ""
            for model in ("lightrag:latest", "papers", "papers:latest")
        }
        assert "Baby" in contexts["lightrag:latest"]
        assert "Colossus" not in contexts["lightrag:latest"]
        assert contexts["papers"] == contexts["papers:latest"]
        assert "Colossus" in contexts["papers"]
        assert (await below.chat(model="lightrag:latest", messages=question)).message.content == contexts[
            "papers"
        ]

        plain = [{"role": "user", "content": QUESTION}]
        whole = await client.chat(model="papers:naive", messages=plain)
        parts = [part async for part in await client.chat(model="papers:naive", messages=plain, stream=True)]
        assert "".join(part.message.content or "" for part in parts) == whole.message.content
        assert parts[-1].done
        assert parts[-1].eval_count == whole.eval_count
        said = await client.generate(model="papers", prompt="Say something.")
        assert said.response
        with pytest.raises(ollama.ResponseError, match="not found"):
            await client.chat(model="unknown", messages=plain)


async def test_what_is_no_chat_is_refused_as_clients_of_ollama_know(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        cases: list[tuple[int, str, bytes]] = [
            (400, "chat", b"{"),
            (400, "chat", b'{"model": "lightrag:latest", "messages": []}'),
            (
                400,
                "chat",
                b'{"model": "lightrag:latest", "messages": [{"role": "assistant", "content": "x"}]}',
            ),
            (400, "chat", b'{"model": "lightrag:latest", "messages": [{"role": "user", "content": "a"}]}'),
            (
                413,
                "chat",
                b'{"model": "lightrag:latest", "messages": [{"role": "user", "content": "%s"}]}'
                % (b"a" * 40_000),
            ),
            (400, "generate", b'{"model": "lightrag:latest", "prompt": " "}'),
            (413, "generate", b'{"model": "lightrag:latest", "prompt": "%s"}' % (b"a" * 70_000)),
        ]
        for status, path, body in cases:
            answer = await client.post(f"/api/{path}", content=body, headers={"Content-Type": "text/plain"})
            assert answer.status_code == status, (body[:100], answer.text)
            assert answer.json()["error"]
