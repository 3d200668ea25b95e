"""(a) Ingest with an LLM that answers at once: how the time grows with the number of passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bench.arms import open_arm
from bench.corpus import passages
from bench.meter import disk_mib, section
from bench.runs import BASELINE, BASELINE_FAISS, OURS, Run, Scale
from bench.workloads import Bench, Workload

__all__ = ["WORKLOAD", "ingest"]

_NAME = "ingest"
_QUICK_LIMITS = MappingProxyType({50: 60.0, 100: 90.0})  # seconds by size, which the baseline needs
_FULL_LIMITS = MappingProxyType({250: 600.0, 500: 1200.0, 1000: 2400.0})


async def ingest(bench: Bench) -> Mapping[str, float]:
    """Take all passages in at once; `wall` includes what closing still writes."""
    texts = passages(bench.run.corpus, bench.run.size)
    async with open_arm(bench.run, bench.folder, bench.providers) as arm:
        with section(bench.providers.tally) as taken:
            async with arm.open() as subject:
                await subject.insert(texts)
        async with arm.open() as subject:
            sizes = await subject.sizes()
    return {
        **taken.values,
        **sizes,
        "ms_per_passage": taken.values["wall"] * 1000 / len(texts),
        "disk_mib": disk_mib(bench.folder),
    }


def _plan(scale: Scale) -> Sequence[Run]:
    limits = _QUICK_LIMITS if scale == "quick" else _FULL_LIMITS
    alone = (250, 1000) if scale == "quick" else (3000, 6119)
    runs: list[Run] = []
    for repetition in range(1, 2 if scale == "quick" else 4):
        for size, limit in limits.items():
            arms = [OURS]
            # Where the baseline takes minutes, once is enough.
            if repetition == 1 or size == min(limits):
                arms.append(BASELINE)
            if repetition == 1 and (scale == "full" or size == max(limits)):
                arms.append(BASELINE_FAISS)
            runs += [
                Run(workload=_NAME, arm=arm, size=size, repetition=repetition, limit=limit) for arm in arms
            ]
        runs += [Run(workload=_NAME, arm=OURS, size=size, repetition=repetition) for size in alone]
    over_http = [max(limits.items())] if scale == "quick" else sorted(limits.items())[:2]
    for size, limit in over_http:
        runs += [
            Run(workload=_NAME, arm=arm, size=size, transport="http", limit=limit) for arm in (OURS, BASELINE)
        ]
    return runs


def _leaves(run: Run) -> bool:
    return run.transport == "in-process" and run.placement == "root" and not run.variant


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=ingest, leaves=_leaves)
