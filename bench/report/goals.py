"""What the engine must cost, line by line: the goal, what was measured, and the ratio to the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bench.report.cases import Case, cases, find, number
from bench.runs import BASELINE, OURS, Outcome
from bench.workloads.retrieval import MODES

__all__ = ["goals_table"]


_REACHED: Mapping[bool | None, str] = MappingProxyType({True: "yes", False: "no", None: "too small to say"})


@dataclass(frozen=True, slots=True)
class _Ratio:
    """The baseline's value by ours, at the largest size that both have."""

    quotient: float
    size: int

    def __str__(self) -> str:
        return f"{number(self.quotient)} (at {self.size:,})"


@dataclass(frozen=True, slots=True)
class _Finding:
    """A measured value, at what, whether it reaches the goal, and the baseline's value at the same."""

    text: str
    met: bool | None  # None: not at the size that the goal is for
    ratio: _Ratio | str | None = None


@dataclass(frozen=True, slots=True)
class _Goal:
    """`asked` is the ratio that the goal was set for: the baseline, on the machine of the goals, by the goal."""

    work: str
    goal: str
    look: Callable[[Sequence[Case]], _Finding | None]
    asked: float | None = None


def goals_table(outcomes: Sequence[Outcome]) -> str:
    """Every goal, whether or not it was measured. Goals are for the sizes they name; smaller runs say so.

    Machines differ in speed, and the baseline slows down with them: a goal whose time is missed where the ratio
    to the baseline is what it was set for is reached "by ratio".
    """
    found = cases(outcomes)
    lines = [
        "| work | goal | measured | reached | baseline ÷ goal | baseline ÷ ours |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for goal in _goals():
        finding = goal.look(found)
        measured, reached, ratio = "not measured", "–", "–"
        if finding is not None:
            measured, reached = finding.text, _reached(goal, finding)
            ratio = "–" if finding.ratio is None else str(finding.ratio)
        asked = "–" if goal.asked is None else number(goal.asked)
        lines.append(f"| {' | '.join((goal.work, goal.goal, measured, reached, asked, ratio))} |")
    return "\n".join(lines)


def _reached(goal: _Goal, finding: _Finding) -> str:
    in_proportion = (
        finding.met is False
        and goal.asked is not None
        and isinstance(finding.ratio, _Ratio)
        and finding.ratio.quotient >= goal.asked
    )
    return "by ratio" if in_proportion else _REACHED[finding.met]


def _goals() -> tuple[_Goal, ...]:
    return (
        _Goal("ingest 1,000 short passages", "≤ 3 s", _ingest, asked=577 / 3),
        _Goal("ingest the next 5,000", "same rate ± 20 %", _rate),
        _Goal("LLM slots busy, 200 ms per call, 16 slots, 2,000 passages", "≥ 95 %", _slots),
        _Goal("retrieval, 1,000 passages, p50, any mode", "≤ 5 ms", _retrieval, asked=140 / 5),
        _Goal("retrieval at 100k entities, p50, any mode", "≤ 15 ms", _wide),
        _Goal("… under a metadata filter", "≤ 25 ms", _filtered),
        _Goal("retrieval p95 while ingesting at full rate", "≤ 50 ms", _beside),
        _Goal("open a workspace of 1,000 passages, store open", "≤ 50 ms", _open, asked=795 / 50),
        _Goal("1,000 near-empty workspaces in one root: store open", "≤ 300 ms", _many("store", "ms", 300)),
        _Goal("… disk", "≤ 150 MB", _many("disk_mib", "MiB", 143)),
        _Goal("… longest commit stall", "reported", _many("longest_insert", "ms", None)),
        _Goal("16 engines at once, shared limit of 16", "≥ 90 % of the ideal, none starved", _together),
        _Goal("disk for 1,000 passages, 384 dimensions", "≤ 40 MB", _disk, asked=63 / 40),
        _Goal("peak memory for 6,119 passages", "< 600 MiB", _peak),
    )


def _nearest(found: Sequence[Case], size: int, value: str) -> Case | None:
    """The case of that size, or else the largest; None if none has the value."""
    measured = [case for case in found if case.measured(value) is not None]
    exact = [case for case in measured if case.run.size == size]
    return (exact or measured)[-1] if measured else None


def _value(case: Case, name: str) -> float:
    measured = case.measured(name)
    assert measured is not None
    return measured.median


def _said(case: Case, size: int, text: str) -> str:
    return text if case.run.size == size else f"{text} (at {case.run.size:,} documents)"


def _met(case: Case, size: int, reached: bool) -> bool | None:
    return reached if case.run.size >= size else None


def _ratio(found: Sequence[Case], workload: str, name: str, **wanted: object) -> _Ratio | None:
    """The baseline's value by ours, in process; None where both do not have one at some size."""
    theirs = {
        case.run.size: case for case in find(found, workload, BASELINE, **wanted) if case.measured(name)
    }
    ours = {case.run.size: case for case in find(found, workload, OURS, **wanted) if case.measured(name)}
    both = sorted(theirs.keys() & ours.keys())
    if not both:
        return None
    size = both[-1]
    return _Ratio(_value(theirs[size], name) / max(_value(ours[size], name), 1e-9), size)


def _ingest(found: Sequence[Case]) -> _Finding | None:
    case = _nearest(find(found, "ingest", OURS), 1000, "wall")
    if case is None:
        return None
    seconds = _value(case, "wall")
    text = _said(case, 1000, f"{case.measured('wall')} s")
    return _Finding(text, _met(case, 1000, seconds <= 3), _ratio(found, "ingest", "wall"))


def _rate(found: Sequence[Case]) -> _Finding | None:
    sized = {case.run.size: case for case in find(found, "ingest", OURS) if case.measured("wall")}
    if 1000 not in sized or max(sized) < 5000:
        return None
    largest = max(sized)
    first = _value(sized[1000], "wall")
    rest = (_value(sized[largest], "wall") - first) / (largest - 1000) * 1000
    return _Finding(
        f"{number(first)} s, then {number(rest)} s for each 1,000 up to {largest:,}", rest <= first * 1.2
    )


def _slots(found: Sequence[Case]) -> _Finding | None:
    case = _nearest(find(found, "slots", OURS), 2000, "busy")
    if case is None:
        return None
    busy = _value(case, "busy")
    theirs = _nearest(find(found, "slots", BASELINE), 500, "busy")
    ratio = None if theirs is None else f"baseline {_value(theirs, 'busy'):.0%} (at {theirs.run.size:,})"
    return _Finding(_said(case, 2000, f"{busy:.1%}"), _met(case, 2000, busy >= 0.95), ratio)


def _slowest(case: Case) -> tuple[float, str]:
    return max((_value(case, f"{mode}_p50"), mode) for mode in MODES)


def _by_mode(found: Sequence[Case], size: int, goal: float, **wanted: object) -> _Finding | None:
    case = _nearest(find(found, "retrieval", OURS, **wanted), size, "mix_p50")
    if case is None:
        return None
    slowest, mode = _slowest(case)
    text = _said(case, size, f"{number(slowest)} ms ({mode}, the slowest)")
    return _Finding(text, _met(case, size, slowest <= goal), _ratio(found, "retrieval", "mix_p50", **wanted))


def _retrieval(found: Sequence[Case]) -> _Finding | None:
    return _by_mode(found, 1000, 5)


def _wide(found: Sequence[Case]) -> _Finding | None:
    return _by_mode(found, 10_000, 15, corpus="wide")


def _filtered(found: Sequence[Case]) -> _Finding | None:
    return _by_mode(found, 10_000, 25, corpus="wide", variant="filtered")


def _beside(found: Sequence[Case]) -> _Finding | None:
    asking = {
        case.run.count: case
        for case in find(found, "retrieval", OURS, variant="ingesting")
        if case.measured("p95") is not None
    }
    if not asking:
        return None
    shown = "; ".join(f"{number(_value(case, 'p95'))} ms, {count} asking" for count, case in asking.items())
    count = min(asking)
    ratio = _ratio(found, "retrieval", "p95", variant="ingesting", count=count)
    return _Finding(shown, _value(asking[count], "p95") <= 50, ratio)


def _open(found: Sequence[Case]) -> _Finding | None:
    case = _nearest(find(found, "cold_open", OURS), 1000, "workspace")
    if case is None:
        return None
    workspace = case.measured("workspace")
    text = _said(case, 1000, f"{workspace} ms, and {case.measured('question')} ms for the first question")
    met = _met(case, 1000, _value(case, "workspace") <= 50)
    return _Finding(text, met, _ratio(found, "cold_open", "workspace"))


def _many(name: str, unit: str, goal: float | None) -> Callable[[Sequence[Case]], _Finding | None]:
    def look(found: Sequence[Case]) -> _Finding | None:
        placed = [case for case in find(found, "many_workspaces", OURS) if case.measured(name) is not None]
        if not placed:
            return None
        shown = "; ".join(f"{case.run.placement}: {number(_value(case, name))} {unit}" for case in placed)
        met = goal is None or any(_value(case, name) <= goal for case in placed)
        return _Finding(_said(placed[0], 1000, shown), _met(placed[0], 1000, met))

    return look


def _together(found: Sequence[Case]) -> _Finding | None:
    sixteen = [case for case in find(found, "together", OURS, count=16) if case.measured("busy") is not None]
    if not sixteen:
        return None
    busy, fairness = _value(sixteen[-1], "busy"), _value(sixteen[-1], "fairness")
    text = f"{busy:.1%}; the first ended after {fairness:.0%} of the last one's time"
    met = _met(sixteen[-1], 1600, busy >= 0.9)
    return _Finding(_said(sixteen[-1], 1600, text), met, _ratio(found, "together", "wall", count=16))


def _disk(found: Sequence[Case]) -> _Finding | None:
    case = _nearest(find(found, "ingest", OURS), 1000, "disk_mib")
    if case is None:
        return None
    megabytes = _value(case, "disk_mib") * 2**20 / 1e6
    met = _met(case, 1000, megabytes <= 40)
    return _Finding(_said(case, 1000, f"{number(megabytes)} MB"), met, _ratio(found, "ingest", "disk_mib"))


def _peak(found: Sequence[Case]) -> _Finding | None:
    case = _nearest(find(found, "ingest", OURS), 6119, "work_peak_mib")
    if case is None:
        return None
    peak = _value(case, "work_peak_mib")
    text = f"{number(peak)} MiB, and {number(_value(case, 'peak_mib'))} with the workspace opened once more"
    ratio = _ratio(found, "ingest", "peak_mib")
    return _Finding(_said(case, 6119, text), _met(case, 6119, peak < 600), ratio)
