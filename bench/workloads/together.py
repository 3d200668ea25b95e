"""(c) Several engines at once in one process, sharing one limit of LLM calls: is it used, and fairly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from bench.arms import Subject, open_arm
from bench.corpus import Passage, passages
from bench.meter import section
from bench.runs import BASELINE, OURS, Run, Scale
from bench.workloads import Bench, Workload
from bench.workloads.slots import busy

__all__ = ["WORKLOAD"]

_NAME = "together"
_LATENCY = 0.2


async def _measure(bench: Bench) -> Mapping[str, float]:
    """Each of `count` engines gets its share of the passages; `fairness` is first to finish by last."""
    run = bench.run
    texts = passages(run.corpus, run.size)
    async with AsyncExitStack() as stack:
        arm = await stack.enter_async_context(open_arm(run, bench.folder, bench.providers))
        subjects = [await stack.enter_async_context(arm.open(f"engine-{n}")) for n in range(run.count)]
        with section(bench.providers.tally) as taken:
            seconds = await asyncio.gather(
                *(_timed(subject, texts[n :: run.count]) for n, subject in enumerate(subjects))
            )
    return {
        **taken.values,
        "busy": busy(run, taken.values["llm_calls"], taken.values["wall"]),
        "fairness": min(seconds) / max(seconds),
        "first_s": min(seconds),
        "last_s": max(seconds),
    }


async def _timed(subject: Subject, texts: Sequence[Passage]) -> float:
    started = time.perf_counter()
    await subject.insert(texts)
    return time.perf_counter() - started


def _plan(scale: Scale) -> Sequence[Run]:
    size = 320 if scale == "quick" else 1600
    runs = []
    for count in (1, 16) if scale == "quick" else (1, 4, 16):
        runs.append(Run(workload=_NAME, arm=OURS, size=size, count=count, latency=_LATENCY))
        if scale == "full":
            shared = Run(workload=_NAME, arm=BASELINE, size=320, count=count, latency=_LATENCY, limit=600)
            runs += [Run(workload=_NAME, arm=OURS, size=320, count=count, latency=_LATENCY), shared]
    return runs


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure)
