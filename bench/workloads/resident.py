"""(l) The memory of one server that has many workspaces: when it has started, and when all of them were used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from bench.corpus import passages
from bench.runs import OURS, Run, Scale
from bench.service import served
from bench.workloads import Bench, Workload
from bench.workloads.serving import PROJECTS, client_of, insert, names, until_taken_in

if TYPE_CHECKING:
    import httpx2

__all__ = ["WORKLOAD"]

_NAME = "resident"
_TOGETHER = 8
_IDLE = 1.0  # seconds
_LONGEST = 600.0
_PATIENT = MappingProxyType({"STATELESS_RAG_SERVER_MAX_WAIT": "600"})


async def _fill(bench: Bench) -> Mapping[str, float]:
    """`size` workspaces of `count` documents each."""
    run = bench.run
    texts = passages(run.corpus, run.size * run.count if run.size * run.count <= 6000 else run.count)
    async with served(bench.folder / "root", _PATIENT) as server, client_of(server.address) as client:

        async def fill(numbers: Sequence[int]) -> None:
            for number in numbers:
                own = texts[number * run.count :][: run.count] or texts[: run.count]
                await insert(client, names(run.size)[number], own)

        lanes = [range(first, run.size, _TOGETHER) for first in range(_TOGETHER)]
        await asyncio.gather(*map(fill, lanes))
        await until_taken_in(client, names(run.size), run.count)
    return {}


async def _measure(bench: Bench) -> Mapping[str, float]:
    """MiB of the process: `started`; `touched`, when each workspace was asked once and all may stay open; `usual`, the
    same with the settings as they come; `closed`, when those were closed that nobody asked any more.
    """
    run = bench.run
    as_they_come, started = await _touched(bench, {})
    keep = {"STATELESS_RAG_SERVER_MAX_OPEN": str(run.size + 1)}
    all_open, _ = await _touched(bench, keep)
    idle = await _closed(bench, keep | {"STATELESS_RAG_SERVER_MAX_IDLE": str(_IDLE)})
    return {"started": started, "touched": all_open, "usual": as_they_come, "closed": idle}


async def _touched(bench: Bench, settings: Mapping[str, str]) -> tuple[float, float]:
    async with served(bench.folder / "root", settings) as server, client_of(server.address) as client:
        (await client.get("/health")).raise_for_status()
        started = server.memory_mib()
        await _ask_all(client, bench.run)
        return server.memory_mib(), started


async def _closed(bench: Bench, settings: Mapping[str, str]) -> float:
    async with served(bench.folder / "root", settings) as server, client_of(server.address) as client:
        await _ask_all(client, bench.run)
        end = time.monotonic() + _LONGEST
        while (await client.get("/health")).json()["workspaces"]["open"]:
            if time.monotonic() > end:
                raise RuntimeError("workspaces that nobody uses stay open")
            await asyncio.sleep(_IDLE / 4)
        return server.memory_mib()


async def _ask_all(client: httpx2.AsyncClient, run: Run) -> None:
    body = {"question": "Who directed the film?", "options": {"mode": "mix"}}
    for name in names(run.size):
        (await client.post(f"{PROJECTS}/{name}/retrieve", json=body)).raise_for_status()


def _plan(scale: Scale) -> Sequence[Run]:
    run = Run(workload=_NAME, arm=OURS, size=10, count=1, limit=600)
    if scale == "quick":
        return [replace(run, limit=90)]
    return [run, replace(run, count=100), replace(run, size=1000, limit=3600)]


WORKLOAD = Workload(
    name=_NAME,
    plan=_plan,
    measure=_measure,
    prepare=_fill,
    prepared_by=lambda run: f"{_NAME}-{run.size}-{run.count}",
)
