"""Looking up outcomes: repetitions of one run together, as median and spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.runs import Outcome, Run

__all__ = ["Case", "Measured", "cases", "find"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A value over the repetitions."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        shown = number(self.median)
        if number(self.lowest) == number(self.highest):
            return shown
        return f"{shown} ({number(self.lowest)}–{number(self.highest)})"


@dataclass(frozen=True, slots=True)
class Case:
    """The outcomes of the repetitions of a run."""

    run: Run
    outcomes: tuple[Outcome, ...]

    def measured(self, name: str) -> Measured | None:
        """A value by its name; None if no repetition has it."""
        values = [each.values[name] for each in self.outcomes if name in each.values]
        return Measured(median(values), min(values), max(values)) if values else None

    @property
    def trouble(self) -> str:
        """What went wrong in any of them, first of all."""
        return next((f"{each.status}: {each.error}" for each in self.outcomes if each.status != "ok"), "")


def cases(outcomes: Sequence[Outcome]) -> list[Case]:
    """Outcomes by case, in the order in which each was first run."""
    grouped: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.run.case, []).append(outcome)
    return [Case(group[0].run, tuple(group)) for group in grouped.values()]


def find(found: Sequence[Case], workload: str, arm: str, **wanted: object) -> list[Case]:
    """Cases of a workload and an arm, by size; the fields of Run that are not named are at their defaults,
    but for size, latency and limit, which may be any.
    """
    usual = {"corpus": "2wiki", "transport": "in-process", "defaults": False, "variant": ""}
    matching = [
        case
        for case in found
        if (case.run.workload, case.run.arm) == (workload, arm)
        and all(getattr(case.run, name) == value for name, value in (usual | wanted).items())
    ]
    return sorted(matching, key=lambda case: (case.run.size, case.run.count))


def number(value: float) -> str:
    """Three digits that count, and no exponent.

    >>> number(0.01234), number(12.345), number(12345.6)
    ('0.0123', '12.3', '12,346')
    """
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"
