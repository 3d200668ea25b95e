"""(h) One entity that every chunk mentions: does a batch cost more the more mentions there are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from bench.arms import open_arm
from bench.corpus import passages
from bench.meter import section
from bench.runs import BASELINE, OURS, Run, Scale
from bench.workloads import Bench, Workload

__all__ = ["WORKLOAD"]

_NAME = "hub"
_BATCHES = 20
_ENDS = 4  # the first and the last fifth are compared


async def _measure(bench: Bench) -> Mapping[str, float]:
    """Insert in twenty batches; `growth` is the last four's time by the second to fifth's."""
    texts = passages(bench.run.corpus, bench.run.size)
    each = len(texts) // _BATCHES
    seconds = []
    async with open_arm(bench.run, bench.folder, bench.providers) as arm, arm.open() as subject:
        with section(bench.providers.tally) as taken:
            for start in range(0, len(texts), each):
                began = time.perf_counter()
                await subject.insert(texts[start : start + each])
                seconds.append(time.perf_counter() - began)
    batches = {f"batch_{number:02}": value for number, value in enumerate(seconds, 1)}
    growth = sum(seconds[-_ENDS:]) / sum(seconds[1 : 1 + _ENDS])  # the first also pays for what is built once
    return {**taken.values, "growth": growth, **batches}


def _plan(scale: Scale) -> Sequence[Run]:
    if scale == "quick":
        return [Run(workload=_NAME, arm=OURS, corpus="hub", size=2000, limit=60)]
    return [
        Run(workload=_NAME, arm=OURS, corpus="hub", size=500, limit=600),
        Run(workload=_NAME, arm=BASELINE, corpus="hub", size=500, limit=600),
        Run(workload=_NAME, arm=OURS, corpus="hub", size=20_000, limit=600),
    ]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure)
