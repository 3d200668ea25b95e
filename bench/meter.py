"""What is counted and timed inside the process that runs an arm."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

__all__ = [
    "Lag",
    "Section",
    "Tally",
    "disk_mib",
    "memory_mib",
    "peak_mib",
    "percentile",
    "section",
    "status_mib",
    "watch_lag",
]

_MIB = 1 << 20
_TICK = 0.005


@dataclass(slots=True)
class Tally:
    """Calls of providers, as the engine makes them. `waited` is the time in which any call was out."""

    llm_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    embed_calls: int = 0
    embed_texts: int = 0
    waited: float = 0.0
    _out: int = 0
    _since: float = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of a provider, while it is out."""
        if not self._out:
            self._since = time.perf_counter()
        self._out += 1
        try:
            yield
        finally:
            self._out -= 1
            if not self._out:
                self.waited += time.perf_counter() - self._since

    def counts(self) -> dict[str, float]:
        """The counts by name."""
        return {
            "llm_calls": self.llm_calls,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "embed_calls": self.embed_calls,
            "embed_texts": self.embed_texts,
        }


@dataclass(slots=True)
class Section:
    """What a part of a run took: filled when it ends."""

    values: dict[str, float] = field(default_factory=dict)


@contextmanager
def section(tally: Tally) -> Iterator[Section]:
    """Measure the block: `wall` and `cpu` seconds, what it called, and the process's peak of memory by its end."""
    taken = Section()
    before, cpu, wall = tally.counts(), time.process_time(), time.perf_counter()
    yield taken
    taken.values["wall"] = time.perf_counter() - wall
    taken.values["cpu"] = time.process_time() - cpu
    taken.values["work_peak_mib"] = peak_mib()
    taken.values.update((name, count - before[name]) for name, count in tally.counts().items())


@dataclass(slots=True)
class Lag:
    """How late the event loop was, at worst, in milliseconds."""

    longest_ms: float = 0.0


@asynccontextmanager
async def watch_lag() -> AsyncIterator[Lag]:
    """Watch how late the event loop wakes a task that sleeps."""
    lag = Lag()

    async def tick() -> None:
        while True:
            asleep = time.perf_counter()
            await asyncio.sleep(_TICK)
            lag.longest_ms = max(lag.longest_ms, (time.perf_counter() - asleep - _TICK) * 1000)

    ticking = asyncio.create_task(tick())
    try:
        yield lag
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


def percentile(times: Sequence[float], share: float) -> float:
    """The smallest of the times that at least this share of them does not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile([4.0, 1.0, 3.0, 2.0], 0.95)
    (2.0, 4.0)
    """
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]


def disk_mib(folder: Path) -> float:
    """What the files under a folder take, in MiB."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / _MIB


def peak_mib() -> float:
    """The most memory this process has had resident, in MiB."""
    return status_mib("VmHWM")


def memory_mib() -> float:
    """The memory this process has resident now, in MiB."""
    return status_mib("VmRSS")


def status_mib(name: str, process: int | Literal["self"] = "self") -> float:
    """A line of a process's status, like VmRSS, in MiB."""
    path = Path(f"/proc/{process}/status")
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"{path} has no line {name}: the harness needs Linux, and the process to be there")
