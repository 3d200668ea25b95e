"""The harness: tables, goals and plots from outcomes."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.report import report
from bench.report.cases import cases, find, number
from bench.report.goals import goals_table
from bench.report.page import START, STOP, fill
from bench.report.tables import tables
from bench.runs import BASELINE, OURS, Machine, Outcome, Run

MACHINE = Machine(
    processor="A processor",
    cores=2,
    memory_gib=4,
    system="s",
    python="3",
    versions={"duckdb": "2"},
    commit="c",
    started="t",
)
INGEST = Run(workload="ingest", arm=OURS, size=1000)


def ok(run: Run, **values: float) -> Outcome:
    return Outcome(run=run, status="ok", values=values)


def row(table: str, work: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {work}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_repetitions_are_one_case_with_median_and_spread() -> None:
    walls = [(1, 2.0), (2, 8.0), (3, 3.0)]
    (case,) = cases([ok(replace(INGEST, repetition=n), wall=wall) for n, wall in walls])
    assert str(case.measured("wall")) == "3 (2–8)"
    assert case.measured("unknown") is None


def test_cases_are_found_by_what_was_run() -> None:
    found = cases(
        [
            ok(INGEST, wall=1),
            ok(replace(INGEST, transport="http"), wall=2),
            ok(replace(INGEST, size=50), wall=3),
        ]
    )
    assert [case.run.size for case in find(found, "ingest", OURS)] == [50, 1000]
    assert [case.run.transport for case in find(found, "ingest", OURS, transport="http")] == ["http"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.01234, "0.0123"), (0.5, "0.500"), (1.234, "1.23"), (12.34, "12.3"), (12345.6, "12,346"), (0, "0")],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("wall", "reached"), [(2.9, "yes"), (3.1, "no")])
def test_a_goal_is_compared_with_what_was_measured_and_with_the_baseline(wall: float, reached: str) -> None:
    theirs = ok(replace(INGEST, arm=BASELINE, size=250), wall=100.0)
    table = goals_table([ok(INGEST, wall=wall), ok(replace(INGEST, size=250), wall=1.0), theirs])
    _, _, measured, met, asked, ratio = row(table, "ingest 1,000 short passages")
    assert measured.startswith(f"{wall}")
    assert met == reached
    assert (asked, ratio) == ("192", "100 (at 250)")


@pytest.mark.parametrize(("theirs", "reached"), [(960.0, "no"), (970.0, "by ratio")])
def test_a_goal_that_a_slow_machine_misses_is_reached_by_the_ratio_that_it_was_set_for(
    theirs: float, reached: str
) -> None:
    table = goals_table([ok(INGEST, wall=5.0), ok(replace(INGEST, arm=BASELINE), wall=theirs)])
    assert row(table, "ingest 1,000 short passages")[3] == reached


@pytest.mark.parametrize(("own", "reached"), [(200.0, "yes"), (301.0, "no")])
def test_many_workspaces_reach_a_goal_in_the_placement_that_suits_them(own: float, reached: str) -> None:
    root = Run(workload="many_workspaces", arm=OURS, size=1000)
    table = goals_table([ok(root, store=500.0), ok(replace(root, placement="own"), store=own)])
    assert row(table, "1,000 near-empty workspaces")[3] == reached


def test_a_goal_is_not_reached_by_a_smaller_run() -> None:
    _, _, measured, met, *_ = row(goals_table([ok(replace(INGEST, size=50), wall=0.1)]), "ingest 1,000 short")
    assert measured.endswith("(at 50 documents)")
    assert met == "too small to say"


def test_every_goal_has_a_line_when_nothing_was_measured() -> None:
    lines = goals_table([]).splitlines()[2:]
    assert len(lines) >= 12
    assert all("not measured" in line for line in lines)


def test_the_rate_of_what_follows_is_compared_with_the_first() -> None:
    def met(seconds: float) -> str:
        return row(
            goals_table([ok(INGEST, wall=3.0), ok(replace(INGEST, size=6119), wall=seconds)]),
            "ingest the next",
        )[3]

    assert met(3.0 + 5.119 * 3.5) == "yes"
    assert met(3.0 + 5.119 * 3.7) == "no"


def test_what_failed_says_so_in_its_row() -> None:
    failed = Outcome(run=replace(INGEST, arm=BASELINE), status="time limit", error="measure: more than 5 s")
    broken = Outcome(run=replace(INGEST, size=50), status="failed", error="exit 1: a | b\nc")
    shown = tables([failed, broken])
    assert "time limit: measure: more than 5 s" in shown
    assert "failed: exit 1: a / b c" in shown


def test_a_page_is_filled_between_its_marks_any_number_of_times(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{START}\nold\n{STOP}\n\nafter\n")
    plot = tmp_path / "plots" / "one.png"
    fill(page, "written", [(plot, "What it shows")])
    once = page.read_text()
    fill(page, "written", [(plot, "What it shows")])
    assert page.read_text() == once
    assert once.startswith("before\n") and once.endswith("\nafter\n")
    assert "old" not in once
    assert "![What it shows](plots/one.png)" in once


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="once each"):
        fill(page, "written", [])
    assert page.read_text() == "no marks"


def test_a_report_has_the_machine_the_tables_and_the_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only the group `bench` has it")
    retrieval = {
        f"{mode}_{p}": 2.0 for mode in ("naive", "local", "global", "hybrid", "mix") for p in ("p50", "p95")
    }
    outcomes = [
        ok(replace(INGEST, arm=arm, size=size), wall=size / 100, ms_per_passage=10.0, peak_mib=200.0)
        for arm in (OURS, BASELINE)
        for size in (50, 100)
    ]
    outcomes += [
        ok(replace(INGEST, workload="retrieval"), **retrieval),
        ok(replace(INGEST, workload="slots"), busy=0.5),
    ]
    text = report(MACHINE, outcomes, tmp_path, None)
    assert "A processor, 2 cores" in text
    assert (tmp_path / "tables.md").read_text() == text + "\n"
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {"ingest.png", "per_passage.png", "memory.png", "retrieval.png", "slots.png"}
