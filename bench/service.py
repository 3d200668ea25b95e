"""The server of this project in a process of its own, as `stateless-rag serve` starts it, and what memory it has."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.meter import status_mib

__all__ = ["Served", "served"]

_SERVE = ("-m", "stateless_rag", "serve", "--port", "0")
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: where it listens, and its process."""

    address: str
    pid: int

    def memory_mib(self) -> float:
        """What its process has resident now, in MiB."""
        return status_mib("VmRSS", self.pid)

    def peak_mib(self) -> float:
        """The most it has had resident, in MiB."""
        return status_mib("VmHWM", self.pid)


@asynccontextmanager
async def served(root: Path, settings: Mapping[str, str]) -> AsyncIterator[Served]:
    """Serve a root until the block ends; `settings` are variables of its environment. Raises RuntimeError."""
    log = root.parent / f"{root.name}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *_SERVE, "--root", str(root), "--log-level", "INFO"),
            stderr=stderr,
            env={**os.environ, **settings},
        )
    try:
        yield Served(await _address(process, log), process.pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    while process.returncode is None:
        if address := _listening(log):
            return address
        await asyncio.sleep(_POLL)
    raise RuntimeError(f"the server ended with {process.returncode}; it said: {_end(log)}")


def _listening(log: Path) -> str:
    """Where the server says that it listens; empty before it does."""
    for line in log.read_bytes().splitlines():
        told = json.loads(line)["message"] if line.endswith(b"}") else ""
        if "running on" in told:
            return str(told.split()[3])
    return ""


def _end(log: Path) -> str:
    return log.read_text(encoding="utf-8")[-500:]
