"""(g) Delete about a sixth of the documents: how long it takes, and what it asks the LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.arms import open_arm
from bench.corpus import passages
from bench.meter import section
from bench.runs import BASELINE, OURS, Run, Scale
from bench.workloads import Bench, Workload
from bench.workloads.ingest import ingest

__all__ = ["WORKLOAD"]

_NAME = "deletion"


async def _measure(bench: Bench) -> Mapping[str, float]:
    """Delete `count` documents, spread evenly."""
    run = bench.run
    every = run.size // run.count
    ids = [passage.id for passage in passages(run.corpus, run.size)[::every][: run.count]]
    async with open_arm(run, bench.folder, bench.providers) as arm, arm.open() as subject:
        with section(bench.providers.tally) as taken:
            await subject.delete(ids)
        return {**taken.values, **await subject.sizes()}


def _plan(scale: Scale) -> Sequence[Run]:
    size, count = (100, 17) if scale == "quick" else (500, 85)
    return [
        Run(workload=_NAME, arm=arm, size=size, count=count, limit=90 if scale == "quick" else 600)
        for arm in (OURS, BASELINE)
    ]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure, prepare=ingest)
