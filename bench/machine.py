"""The machine and the versions that a report names."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.runner import BASELINE_PYTHON
from bench.runs import Machine

__all__ = ["machine"]

_OURS = ("duckdb", "faiss-cpu", "numpy", "openai", "rustworkx", "tiktoken")
_THEIRS = ("lightrag-hku", "nano-vectordb", "faiss-cpu", "networkx", "numpy", "openai")


def machine() -> Machine:
    """What this machine is, and what is installed."""
    versions = {"stateless-rag": version("stateless-rag")} | {name: version(name) for name in _OURS}
    versions |= {f"baseline: {name}": found for name, found in _baseline_versions().items()}
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        system=platform.platform(),
        python=platform.python_version(),
        versions=versions,
        commit=_said(["git", "describe", "--always", "--dirty"]),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _baseline_versions() -> dict[str, str]:
    code = f"from importlib.metadata import version\nfor name in {_THEIRS}: print(name, version(name))"
    lines = _said([str(BASELINE_PYTHON), "-c", code]).splitlines()
    return dict(line.split() for line in lines)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _said(command: list[str]) -> str:
    """What a command prints; nothing if there is no such command or it fails."""
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return ""
    return done.stdout.strip() if not done.returncode else ""
