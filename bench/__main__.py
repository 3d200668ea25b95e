"""`python -m bench run quick|full` and `python -m bench report FOLDER`: see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from bench.machine import machine
from bench.report import report
from bench.runner import run_all
from bench.runs import Machine, Outcome
from bench.workloads import plan, workloads

_DOCS = Path(__file__).parents[1] / "docs"
_QUICK_SECONDS = 570.0  # with what stands around it, ten minutes


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run workloads and write results, tables and plots")
    run.add_argument("scale", choices=["quick", "full"])
    run.add_argument("--only", nargs="+", default=(), choices=[each.name for each in workloads()])
    run.add_argument("--arms", nargs="+", default=())
    run.add_argument("--out", type=Path, help="a folder; by default docs/benchmarks/quick or full")
    run.add_argument(
        "--resume", action="store_true", help="keep what its results.json has, run what it lacks"
    )
    run.add_argument(
        "--scratch", type=Path, help="a folder that keeps what runs start from for the next time"
    )
    run.add_argument("--minutes", type=float, help="begin no run after so many; --resume goes on from there")
    write = commands.add_parser("report", help="write tables and plots anew from a folder's results.json")
    write.add_argument("out", type=Path)
    for command in (run, write):
        command.add_argument("--page", type=Path, help="a page whose marked part the tables replace")
    given = parser.parse_args()

    out = given.out or _DOCS / "benchmarks" / given.scale
    results = out / "results.json"
    if given.command == "run":
        here = machine()
        runs = plan(given.scale, given.only, given.arms)
        known = _known(results) if given.resume else []
        done = {(each.run.case, each.run.repetition) for each in known}
        runs = [each for each in runs if (each.case, each.repetition) not in done]
        print(
            f"{len(runs)} runs on {here.processor}, {here.cores} cores, {here.memory_gib} GiB; {here.commit}"
        )
        seconds = _QUICK_SECONDS if given.scale == "quick" else math.inf
        run_all(
            runs,
            here,
            results,
            lambda line: print(line, flush=True),
            known=known,
            scratch=given.scratch,
            seconds=min(seconds, (given.minutes or math.inf) * 60),
        )
    read = json.loads(results.read_text(encoding="utf-8"))
    outcomes = [Outcome.from_json(each) for each in read["outcomes"]]
    print(report(Machine(**read["machine"]), outcomes, out, given.page))


def _known(results: Path) -> list[Outcome]:
    """What an earlier sitting brought; what failed is tried again."""
    if not results.exists():
        return []
    read = json.loads(results.read_text(encoding="utf-8"))
    outcomes = (Outcome.from_json(each) for each in read["outcomes"])
    return [each for each in outcomes if each.status == "ok"]


if __name__ == "__main__":
    main()
