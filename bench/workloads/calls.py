"""(i) Everything at its defaults: how many LLM calls and tokens a passage costs, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.runs import BASELINE, OURS, Run, Scale
from bench.workloads import Bench, Workload
from bench.workloads.ingest import ingest

__all__ = ["WORKLOAD"]

_NAME = "calls"


async def _measure(bench: Bench) -> Mapping[str, float]:
    taken = await ingest(bench)
    per = {
        f"{name}_per_passage": taken[name] / bench.run.size
        for name in ("llm_calls", "tokens_in", "tokens_out", "embed_texts")
    }
    return {**taken, **per}


def _plan(scale: Scale) -> Sequence[Run]:
    size, limit = (50, 90.0) if scale == "quick" else (250, 1200.0)
    return [Run(workload=_NAME, arm=arm, size=size, defaults=True, limit=limit) for arm in (OURS, BASELINE)]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure)
