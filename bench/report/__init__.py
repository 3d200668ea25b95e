"""Reports: tables in Markdown, the goals, and plots, from the outcomes of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report.goals import goals_table
from bench.report.page import fill
from bench.report.plots import draw
from bench.report.tables import machine_lines, tables
from bench.runs import Machine, Outcome

__all__ = ["report"]


def report(machine: Machine, outcomes: Sequence[Outcome], out: Path, page: Path | None) -> str:
    """Write `tables.md` and the plots into `out`, and both between the page's marks; gives the tables."""
    written = "\n\n".join((machine_lines(machine), goals_table(outcomes), tables(outcomes)))
    (out / "tables.md").write_text(written + "\n", encoding="utf-8")
    plots = draw(outcomes, out)
    if page is not None:
        fill(page, written, plots)
    return written
