"""(f) A thousand workspaces with one document each in one root, in either placement."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from bench.arms import load_arm, open_arm
from bench.corpus import passages, questions
from bench.meter import disk_mib, memory_mib, percentile
from bench.runs import OURS, Run, Scale
from bench.workloads import Bench, Workload

__all__ = ["WORKLOAD"]

_NAME = "many_workspaces"
_ASKED = 20


async def _fill(bench: Bench) -> Mapping[str, float]:
    run = bench.run
    async with open_arm(run, bench.folder, bench.providers) as arm:
        for number, passage in enumerate(passages(run.corpus, run.size)):
            async with arm.open(f"tenant-{number}") as subject:
                await subject.insert([passage])
    return {}


async def _measure(bench: Bench) -> Mapping[str, float]:
    """Open the root, ask some of the workspaces, then insert a second document in as many.

    Times are milliseconds; `longest_insert` is the longest that one small commit held its caller up.
    """
    run = bench.run
    disk = disk_mib(bench.folder)
    asked = questions(run.corpus, run.size, _ASKED)
    more = passages(run.corpus, run.size + _ASKED)[run.size :]
    first, inserts = [], []
    load_arm(run)
    started = time.perf_counter()
    async with open_arm(run, bench.folder, bench.providers) as arm:
        store = (time.perf_counter() - started) * 1000
        after_open = memory_mib()
        for place in range(_ASKED):
            number = place * run.size // _ASKED
            started = time.perf_counter()
            async with arm.open(f"tenant-{number}") as subject:
                await subject.retrieve(asked[place], "mix")
                first.append((time.perf_counter() - started) * 1000)
                started = time.perf_counter()
                await subject.insert([more[place]])
                inserts.append((time.perf_counter() - started) * 1000)
        return {
            "store": store,
            "disk_mib": disk,
            "memory_mib": after_open,
            "first_question_p50": percentile(first, 0.5),
            "insert_p50": percentile(inserts, 0.5),
            "longest_insert": max(inserts),
        }


def _plan(scale: Scale) -> Sequence[Run]:
    size = 50 if scale == "quick" else 1000
    return [
        Run(workload=_NAME, arm=OURS, size=size, placement="root", limit=120),
        Run(workload=_NAME, arm=OURS, size=size, placement="own", limit=120),
    ]


WORKLOAD = Workload(
    name=_NAME,
    plan=_plan,
    measure=_measure,
    prepare=_fill,
    prepared_by=lambda run: f"tenants-{run.placement}-{run.size}",
)
