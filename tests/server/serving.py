"""Applications for tests: run in this process, or behind a socket, and asked by a client."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from stateless_rag.context import Clock
from stateless_rag.server import ServerSettings, create_app
from stateless_rag.testing import DeterministicLLM

__all__ = ["GRAPH", "engine_options", "graph_of", "listening", "running", "served", "settled"]


def graph_of(name: str) -> dict[str, Any]:
    """A custom graph about one thing."""
    return {
        "chunks": [
            {"content": f"{name} was built in Manchester.", "source_id": name, "file_path": f"{name}.txt"}
        ],
        "entities": [
            {
                "entity_name": name,
                "entity_type": "machine",
                "description": f"{name} is a machine.",
                "source_id": name,
            },
            {"entity_name": "Manchester", "entity_type": "city", "description": "A city.", "source_id": name},
        ],
        "relationships": [
            {
                "src_id": name,
                "tgt_id": "Manchester",
                "description": "built in",
                "keywords": "place",
                "weight": 1.0,
                "source_id": name,
            }
        ],
    }


GRAPH = graph_of("Baby")


def engine_options(_name: str, _embedder: str | None) -> Mapping[str, Any]:
    """An LLM that follows rules."""
    return {"llm": DeterministicLLM()}


@asynccontextmanager
async def running(
    root: Path,
    llm: bool = True,
    options: Any = engine_options,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of an application on a root; errors in it are answers."""
    made = ServerSettings(root=str(root), **settings)
    app = create_app(made, engine_options=options if llm else None, clock=clock)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            client.app = app  # type: ignore[attr-defined]  # for tests that look inside
            yield client


@asynccontextmanager
async def listening(root: Path, options: Any = engine_options, **settings: Any) -> AsyncGenerator[str]:
    """The address of an application behind a socket."""
    app = create_app(ServerSettings(root=str(root), **settings), engine_options=options)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        task = asyncio.create_task(server.serve([bound]))
        try:
            while not server.started:  # noqa: ASYNC110 -- it tells by this alone
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an application behind a socket, in a thread of its own."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()  # so that who connects before the server is ready waits for it
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def settled(
    client: httpx2.AsyncClient, tracking_id: str, headers: Mapping[str, str] | None = None
) -> list[Any]:
    """The documents of a tracking id, when all are settled."""
    async with asyncio.timeout(240):
        while True:
            answer = await client.get(f"/documents/track_status/{tracking_id}", headers=headers)
            documents: list[Any] = answer.json()["documents"]
            if documents and all(each["status"] in ("processed", "failed") for each in documents):
                return documents
            await asyncio.sleep(0.02)
