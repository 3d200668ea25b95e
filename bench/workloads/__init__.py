"""What is measured: one file for each workload, and their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.providers import Providers
from bench.runs import Run, Scale

__all__ = ["Bench", "Workload", "plan", "workload", "workloads"]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a workload is given: the run, a folder, and the providers."""

    run: Run
    folder: Path
    providers: Providers


Phase = Callable[[Bench], Awaitable[Mapping[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of work. `measure` runs in a process of its own and gives numbers by name.

    `prepare` runs before it, in another, on the folder that `measure` then gets a copy of; runs of one
    `prepared_by` share it. Where `leaves` is true of a run, the folder it leaves is what `prepare` would make.
    """

    name: str
    plan: Callable[[Scale], Sequence[Run]]
    measure: Phase
    prepare: Phase | None = None
    prepared_by: Callable[[Run], str] = lambda run: f"{run.arm}-{run.corpus}-{run.size}"
    leaves: Callable[[Run], bool] = lambda _: False


def workloads() -> tuple[Workload, ...]:
    """All of them, in the order in which they run."""
    from bench.workloads import (
        calls,
        codes,
        cold_open,
        deletion,
        hub,
        ingest,
        many_workspaces,
        resident,
        retrieval,
        serving,
        slots,
        together,
    )

    engines = (ingest, slots, together, retrieval, cold_open, many_workspaces, deletion, hub, calls, codes)
    modules = (*engines, serving, resident)
    return tuple(module.WORKLOAD for module in modules)


def workload(name: str) -> Workload:
    """The workload of that name."""
    return next(each for each in workloads() if each.name == name)


def plan(scale: Scale, names: Sequence[str] = (), arms: Sequence[str] = ()) -> list[Run]:
    """The runs of a scale, in order; only those of some workloads or arms if any are named."""
    return [
        run
        for each in workloads()
        if not names or each.name in names
        for run in each.plan(scale)
        if not arms or run.arm in arms
    ]
