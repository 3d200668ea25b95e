"""Runs each run in a process of its own, with a time limit, and writes what came of it at once."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import stateless_rag
from bench.encoding import encoding_folder
from bench.runs import BASELINE, OURS, Machine, Outcome, Run
from bench.server import serving
from bench.workloads import workload

__all__ = ["BASELINE_PYTHON", "Runner", "run_all"]

_ROOT = Path(__file__).parents[1]
BASELINE_PYTHON = _ROOT / ".venv-baseline" / "bin" / "python"
_PREPARE_LIMIT = 4.0  # preparing may take so many times as long as what is measured
_ERROR_LINES = 3


def run_all(
    runs: Sequence[Run],
    machine: Machine,
    results: Path,
    tell: Callable[[str], None],
    *,
    known: Sequence[Outcome] = (),
    scratch: Path | None = None,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run them in order; `results` holds the machine and every outcome so far at any time.

    What is `known` of other runs stays, in front. `scratch` keeps what runs start from for the next time. After
    so many `seconds` in all, what runs is ended and what is left is not begun.
    """
    outcomes = list(known)
    end = clock() + seconds
    with Runner.in_folder(scratch) as runner:
        for run in runs:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            left = end - clock()
            if left > 0:
                outcome = replace(runner.run(replace(run, limit=min(run.limit, left))), run=run)
            else:
                outcome = Outcome(run=run, status="time limit", error=f"{seconds:g} s for all runs were over")
            outcome = replace(outcome, commit=machine.commit, started=started)
            outcomes.append(outcome)
            tell(_line(outcome))
            _write(results, {"machine": asdict(machine), "outcomes": [asdict(each) for each in outcomes]})
    return outcomes


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs in folders below `scratch`. What several runs start from is prepared once and copied."""

    scratch: Path
    encodings: Path

    @classmethod
    @contextmanager
    def in_folder(cls, folder: Path | None) -> Iterator[Runner]:
        """A runner in that folder, which keeps what the baseline wrote, or in one that is deleted at the end."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for stale in set(folder.glob("*")) - set(folder.glob(f"prepared-{BASELINE}-*")):
                # What this engine wrote may be another commit's, what failed may go well this time.
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        with (
            tempfile.TemporaryDirectory(prefix="stateless-rag-bench-")
            if folder is None
            else nullcontext(folder)
        ) as given:
            scratch = Path(given).resolve()
            yield cls(scratch, encoding_folder(scratch / "encodings"))

    def run(self, run: Run) -> Outcome:
        """Prepare if the workload wants it, measure, and clean up."""
        chosen = workload(run.workload)
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            if chosen.prepare is not None:
                prepared = self._prepared(run, chosen.prepared_by(run))
                if isinstance(prepared, Outcome):
                    return prepared
                shutil.copytree(prepared, folder, dirs_exist_ok=True)
            outcome = self._phase(run, "measure", folder, run.limit)
            left = self.scratch / f"prepared-{chosen.prepared_by(run)}"
            if outcome.status == "ok" and chosen.leaves(run) and not left.exists():
                folder.rename(left)
            return outcome
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _prepared(self, run: Run, key: str) -> Path | Outcome:
        folder = self.scratch / f"prepared-{key}"
        failed = self.scratch / f"failed-{key}.json"  # so that hours are not spent on trying again
        if failed.exists():
            return replace(Outcome.from_json(json.loads(failed.read_text(encoding="utf-8"))), run=run)
        if not folder.exists():
            folder.mkdir()
            outcome = self._phase(run, "prepare", folder, run.limit * _PREPARE_LIMIT)
            if outcome.status != "ok":
                shutil.rmtree(folder)
                failed.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
                return outcome
        return folder

    def _phase(self, run: Run, phase: Literal["prepare", "measure"], folder: Path, limit: float) -> Outcome:
        environment = self._environment(run)
        served = run.transport == "http" and phase == "measure"
        with (
            tempfile.TemporaryDirectory(dir=self.scratch) as place,
            serving(run.latency, self._environment()) if served else nullcontext() as base_url,
        ):
            job, values = Path(place) / "job.json", Path(place) / "values.json"
            given = {"run": asdict(run), "phase": phase, "folder": str(folder), "base_url": base_url}
            job.write_text(json.dumps({**given, "values": str(values)}), encoding="utf-8")
            python = sys.executable if run.arm == OURS else str(BASELINE_PYTHON)
            try:
                done = subprocess.run(
                    [python, "-m", "bench.child", str(job)],
                    cwd=place,  # empty: the baseline reads a `.env` where it is started
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=limit,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return Outcome(run=run, status="time limit", error=f"{phase}: more than {limit:g} s")
            except OSError as error:
                return Outcome(run=run, status="failed", error=f"{phase}: {error}; `make bench-env` makes it")
            if done.returncode or not values.exists():
                said = " | ".join(done.stderr.strip().splitlines()[-_ERROR_LINES:])
                return Outcome(run=run, status="failed", error=f"{phase}: exit {done.returncode}: {said}")
            return Outcome(run=run, status="ok", values=json.loads(values.read_text(encoding="utf-8")))

    def _environment(self, run: Run | None = None) -> dict[str, str]:
        """What a child needs; nothing of the caller's that the engines might read as settings."""
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "STATELESS_RAG_SHARED")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        sources = (str(_ROOT), str(Path(stateless_rag.__file__).parents[1]))
        environment["PYTHONPATH"] = os.pathsep.join(sources)
        if run is not None and run.arm != OURS:
            environment["TIKTOKEN_CACHE_DIR"] = str(self.encodings)
        return environment


def _line(outcome: Outcome) -> str:
    if outcome.status != "ok":
        return f"{outcome.run.label}: {outcome.status} ({outcome.error})"
    shown = ", ".join(f"{name} {value:.4g}" for name, value in outcome.values.items())
    return f"{outcome.run.label}: {shown}"


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    written.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    written.replace(path)
