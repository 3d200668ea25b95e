"""One phase of one run, in a process of its own: `python -m bench.child JOB`, a JSON file.

Writes the values to the file that the job names. Whatever goes wrong ends the process with a traceback, which
the parent reports.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.meter import peak_mib
from bench.providers import providers
from bench.runs import Run
from bench.workloads import Bench, workload


async def _values(given: Mapping[str, Any]) -> dict[str, float]:
    run = Run(**given["run"])
    chosen = workload(run.workload)
    phase = chosen.prepare if given["phase"] == "prepare" else chosen.measure
    assert phase is not None
    async with providers(given["base_url"], run.latency if given["phase"] == "measure" else 0.0) as called:
        values = dict(await phase(Bench(run, Path(given["folder"]), called)))
    values["peak_mib"] = peak_mib()
    return values


def _main(job: Path) -> None:
    given = json.loads(job.read_text(encoding="utf-8"))
    values = asyncio.run(_values(given))
    Path(given["values"]).write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
