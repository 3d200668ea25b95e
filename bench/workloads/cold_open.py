"""(e) Cold open: a fresh process opens a workspace and answers its first question."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise

from bench.arms import load_arm, open_arm
from bench.corpus import questions
from bench.meter import memory_mib
from bench.runs import BASELINE, BASELINE_FAISS, OURS, Run, Scale
from bench.workloads import Bench, Workload
from bench.workloads.ingest import ingest

__all__ = ["WORKLOAD"]

_NAME = "cold_open"


async def _measure(bench: Bench) -> Mapping[str, float]:
    """Milliseconds: of the imports, the store, the workspace (the baseline has no other store), a question."""
    (question,) = questions(bench.run.corpus, bench.run.size, 1)
    async with AsyncExitStack() as stack:
        times = [time.perf_counter()]
        load_arm(bench.run)
        times.append(time.perf_counter())
        arm = await stack.enter_async_context(open_arm(bench.run, bench.folder, bench.providers))
        times.append(time.perf_counter())
        subject = await stack.enter_async_context(arm.open())
        times.append(time.perf_counter())
        await subject.retrieve(question, "mix")
        times.append(time.perf_counter())
        steps = [(stop - start) * 1000 for start, stop in pairwise(times)]
        return {
            **dict(zip(("imports", "store", "workspace", "question"), steps, strict=True)),
            "memory_mib": memory_mib(),
        }


def _plan(scale: Scale) -> Sequence[Run]:
    if scale == "quick":
        sized = [(OURS, 100), (BASELINE, 100), (OURS, 1000)]
    else:
        sized = [(OURS, 1000), (BASELINE, 1000), (BASELINE_FAISS, 1000), (OURS, 6119)]
    return [
        Run(workload=_NAME, arm=arm, size=size, repetition=repetition, limit=600)
        for repetition in (1, 2, 3)
        for arm, size in sized
    ]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure, prepare=ingest)
