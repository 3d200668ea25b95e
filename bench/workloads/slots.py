"""(b) An LLM that takes 200 ms, 16 calls at once: how much of what it could do is made use of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.runs import BASELINE, OURS, Run, Scale
from bench.workloads import Bench, Workload
from bench.workloads.ingest import ingest

__all__ = ["WORKLOAD", "busy"]

_NAME = "slots"
_LATENCY = 0.2


async def _measure(bench: Bench) -> Mapping[str, float]:
    taken = await ingest(bench)
    return {**taken, "busy": busy(bench.run, taken["llm_calls"], taken["wall"])}


def busy(run: Run, calls: float, wall: float) -> float:
    """The share of the slots' time in which a call was out that the LLM itself was working on."""
    return calls * run.latency / (run.slots * wall)


def _plan(scale: Scale) -> Sequence[Run]:
    if scale == "quick":
        sized: list[tuple[str, int]] = [(OURS, 100), (BASELINE, 100), (OURS, 500)]
        return [Run(workload=_NAME, arm=arm, size=size, latency=_LATENCY, limit=120) for arm, size in sized]
    sized = [(OURS, 500), (BASELINE, 500), (OURS, 2000)]
    in_process = [
        Run(workload=_NAME, arm=arm, size=size, latency=_LATENCY, limit=1200) for arm, size in sized
    ]
    # Behind HTTP the baseline is not run: the wait for its own work hides what HTTP costs.
    return [*in_process, *(replace(run, transport="http") for run in in_process if run.arm == OURS)]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure)
