"""(k) One server: many ask at once while documents come into many workspaces."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.corpus import Passage, passages, questions
from bench.meter import percentile
from bench.runs import OURS, Run, Scale
from bench.server import serving
from bench.service import served
from bench.workloads import Bench, Workload

if TYPE_CHECKING:
    import httpx2

    from bench.corpus import Question

__all__ = ["PROJECTS", "WORKLOAD", "client_of", "insert", "names", "until_taken_in"]

PROJECTS = "/api/v1/projects"
_NAME = "serving"
_WORKSPACES = 20
_ASKING = 64
_QUIET_ROUNDS = 3
_HEALTH_PAUSE = 0.02
_POLL = 0.25


def names(workspaces: int) -> list[str]:
    """What the workspaces are called."""
    return [f"tenant-{number}" for number in range(workspaces)]


def client_of(address: str) -> httpx2.AsyncClient:
    """A client that may ask as much at once as it likes."""
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.AsyncClient(base_url=address, timeout=600, limits=limits)


async def insert(client: httpx2.AsyncClient, name: str, texts: Sequence[Passage]) -> None:
    """Hand documents over; the server takes them in afterwards. Their ids tell whose they are."""
    documents = [{"text": each.text, "id": f"{name}/{each.id}"} for each in texts]
    answer = await client.post(f"{PROJECTS}/{name}/documents", json={"documents": documents})
    answer.raise_for_status()


async def until_taken_in(client: httpx2.AsyncClient, names: Sequence[str], documents: int) -> None:
    """Wait until every workspace holds so many documents. Raises RuntimeError if any failed."""
    for name in names:
        while True:
            counts = (await client.get(f"{PROJECTS}/{name}/documents", params={"limit": 1})).json()["counts"]
            if counts.get("failed"):
                raise RuntimeError(f"{counts['failed']} documents of {name} failed")
            if counts.get("processed", 0) >= documents:
                break
            await asyncio.sleep(_POLL)


async def _measure(bench: Bench) -> Mapping[str, float]:
    """`size` documents in each workspace and then as many again, while `count` ask. Times are milliseconds."""
    run, chosen = bench.run, names(_WORKSPACES)
    texts = passages(run.corpus, 2 * run.size * _WORKSPACES)
    parts = [texts[at : at + 2 * run.size] for at in range(0, len(texts), 2 * run.size)]
    async with AsyncExitStack() as held:
        base_url = held.enter_context(serving(run.latency, os.environ))
        providers = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": base_url}
        models = {"STATELESS_RAG_LLM_MODEL": "fake", "STATELESS_RAG_EMBED_MODEL": "fake"}
        server = await held.enter_async_context(served(bench.folder / "root", providers | models))
        client = await held.enter_async_context(client_of(server.address))
        await asyncio.gather(
            *(insert(client, name, own[: run.size]) for name, own in zip(chosen, parts, strict=True))
        )
        await until_taken_in(client, chosen, run.size)
        asked = questions(run.corpus, len(texts), len(texts))
        quiet: list[float] = []
        await _ask(client, chosen, asked, run.count, quiet, lambda turn: turn < _QUIET_ROUNDS)
        memory, asking, health = server.memory_mib(), list[float](), list[float]()
        started = time.perf_counter()
        coming = asyncio.create_task(_come(client, chosen, [own[run.size :] for own in parts], 2 * run.size))
        await asyncio.gather(
            _ask(client, chosen, asked, run.count, asking, lambda turn: not (turn and coming.done())),
            _knock(client, health, coming),
        )
        await coming
        wall = time.perf_counter() - started
        return {
            "asked": len(asking),
            **_told("quiet", quiet),
            **_told("query", asking),
            **_told("health", health),
            "passages_per_s": run.size * _WORKSPACES / wall,
            "memory_mib": memory,
            "server_peak_mib": server.peak_mib(),
        }


def _told(name: str, times: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}_p50": percentile(times, 0.5),
        f"{name}_p95": percentile(times, 0.95),
        f"{name}_longest": max(times),
    }


async def _come(
    client: httpx2.AsyncClient, names: Sequence[str], parts: Sequence[Sequence[Passage]], documents: int
) -> None:
    await asyncio.gather(*(insert(client, name, own) for name, own in zip(names, parts, strict=True)))
    await until_taken_in(client, names, documents)


async def _ask(
    client: httpx2.AsyncClient,
    names: Sequence[str],
    asked: Sequence[Question],
    asking: int,
    times: list[float],
    goes_on: Callable[[int], bool],
) -> None:
    """So many ask one question after the other, each of another workspace than before."""

    async def ask(first: int) -> None:
        for turn in count():
            if not goes_on(turn):
                return
            name = names[(first + turn) % len(names)]
            question = asked[(first * 7 + turn) % len(asked)]
            body = {"question": question.text, "options": {"mode": "mix"}}
            found = await _timed(times, lambda: client.post(f"{PROJECTS}/{name}/retrieve", json=body))  # noqa: B023
            strangers = {each["document_id"] for each in found["passages"]}
            strangers = {id_ for id_ in strangers if not id_.startswith(f"{name}/")}
            if strangers:
                raise RuntimeError(f"{name} was answered with {strangers}")

    await asyncio.gather(*(ask(number) for number in range(asking)))


async def _knock(client: httpx2.AsyncClient, times: list[float], until: asyncio.Task[Any]) -> None:
    while not (times and until.done()):
        await _timed(times, lambda: client.get("/health"))
        await asyncio.sleep(_HEALTH_PAUSE)


async def _timed(times: list[float], call: Callable[[], Awaitable[httpx2.Response]]) -> Any:
    started = time.perf_counter()
    answer = await call()
    times.append((time.perf_counter() - started) * 1000)
    return answer.raise_for_status().json()


def _plan(scale: Scale) -> Sequence[Run]:
    # Who asks does so without a pause, and takes most of the processor: few documents come in a minute.
    run = Run(workload=_NAME, arm=OURS, size=10, count=_ASKING, limit=600)
    return [replace(run, size=2, limit=90)] if scale == "quick" else [run]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure)
