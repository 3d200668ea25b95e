"""(d) Retrieval: how long a question takes per mode, alone, under a filter, and beside an ingest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.arms import Subject, open_arm
from bench.corpus import Question, passages, questions
from bench.meter import Tally, memory_mib, percentile, watch_lag
from bench.runs import BASELINE, BASELINE_FAISS, OURS, Run, Scale
from bench.workloads import Bench, Workload
from bench.workloads.ingest import ingest

__all__ = ["MODES", "WORKLOAD"]

MODES = ("naive", "local", "global", "hybrid", "mix")
_NAME = "retrieval"
_QUESTIONS = 50
_TENTH = 3
_WIDE = 10_000  # generated passages, with 100,000 entities


async def _measure(bench: Bench) -> Mapping[str, float]:
    """`variant`: "" and "filtered" ask one question at a time; "ingesting" asks `count` at once, beside an
    ingest of as many passages again. Times are milliseconds.
    """
    run = bench.run
    asked = questions(run.corpus, run.size, _QUESTIONS)
    async with open_arm(run, bench.folder, bench.providers) as arm, arm.open() as subject:
        await subject.retrieve(asked[0], "mix")
        if run.variant == "ingesting":
            return await _beside_an_ingest(bench, subject, asked)
        if run.variant == "filtered" and not arm.filters:
            return {"filters": 0.0}
        tenth = _TENTH if run.variant == "filtered" else None
        values: dict[str, float] = {}
        for mode in MODES:
            values |= await _one_by_one(subject, asked, mode, bench.providers.tally, tenth)
        return {**values, "memory_mib": memory_mib()}


async def _one_by_one(
    subject: Subject, asked: Sequence[Question], mode: str, tally: Tally, tenth: int | None
) -> dict[str, float]:
    """Without the time in which an embedding was waited for, which is not the engine's."""
    times, found = [], 0
    for question in asked:
        waited, started = tally.waited, time.perf_counter()
        found += await subject.retrieve(question, mode, tenth=tenth)
        times.append((time.perf_counter() - started - (tally.waited - waited)) * 1000)
    return {
        f"{mode}_p50": percentile(times, 0.5),
        f"{mode}_p95": percentile(times, 0.95),
        f"{mode}_found": found / len(asked),
    }


async def _beside_an_ingest(bench: Bench, subject: Subject, asked: Sequence[Question]) -> Mapping[str, float]:
    """Whole times, waiting and embedding included, since calls overlap."""
    run = bench.run
    more = passages(run.corpus, run.size * 2)[run.size :]
    times: list[float] = []
    async with watch_lag() as lag:
        started = time.perf_counter()
        ingesting = asyncio.create_task(subject.insert(more))
        await asyncio.gather(*(_ask_until(ingesting, subject, asked[n:], times) for n in range(run.count)))
        await ingesting
        wall = time.perf_counter() - started
    return {
        "asked": len(times),
        "p50": percentile(times, 0.5),
        "p95": percentile(times, 0.95),
        "longest": max(times),
        "loop_lag": lag.longest_ms,
        "wall": wall,
        "passages_per_s": len(more) / wall,
    }


async def _ask_until(
    done: asyncio.Task[None], subject: Subject, asked: Sequence[Question], times: list[float]
) -> None:
    """Ask one after the other until the ingest is over, at least once."""
    turn = 0
    while not turn or not done.done():
        started = time.perf_counter()
        await subject.retrieve(asked[turn % len(asked)], "mix")
        times.append((time.perf_counter() - started) * 1000)
        turn += 1
        await asyncio.sleep(0)


def _plan(scale: Scale) -> Sequence[Run]:
    limit = 90.0 if scale == "quick" else 600.0
    ours = Run(workload=_NAME, arm=OURS, size=1000, limit=limit)
    filtered = replace(ours, variant="filtered")
    beside = replace(ours, variant="ingesting")
    if scale == "quick":
        small = [replace(ours, arm=arm, size=100) for arm in (OURS, BASELINE)]
        return [*small, ours, filtered, beside, replace(beside, count=32)]
    return [
        *(
            replace(ours, arm=arm, repetition=repetition)
            for repetition in (1, 2, 3)
            for arm in (OURS, BASELINE, BASELINE_FAISS)
        ),
        replace(ours, size=6119),
        replace(ours, corpus="wide", size=_WIDE),
        filtered,
        replace(filtered, size=6119),
        replace(filtered, corpus="wide", size=_WIDE),
        *(replace(beside, size=3000, count=count) for count in (1, 32)),
        *(replace(beside, arm=arm, size=250, count=count) for count in (1, 32) for arm in (OURS, BASELINE)),
    ]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure, prepare=ingest)
