"""What is run, and what came of it: the values that flow through the harness and into its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["BASELINE", "BASELINE_FAISS", "OURS", "Machine", "Outcome", "Run", "Scale"]

OURS = "stateless-rag"
BASELINE = "lightrag"
BASELINE_FAISS = "lightrag-faiss"

Scale = Literal["quick", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One arm at one workload and size, once. `latency` (of an LLM call) and `limit` are seconds.

    `defaults` leaves every setting of the engine as it comes; otherwise gleaning is off and `slots` LLM calls
    may run at once. `count` and `variant` mean what the workload says.
    """

    workload: str
    arm: str
    size: int
    corpus: str = "2wiki"
    transport: Literal["in-process", "http"] = "in-process"
    latency: float = 0.0
    slots: int = 16
    defaults: bool = False
    placement: Literal["root", "own"] = "root"
    count: int = 1
    variant: str = ""
    repetition: int = 1
    limit: float = 300.0

    @property
    def case(self) -> tuple[Any, ...]:
        """What repetitions of one run have in common."""
        given = asdict(self)
        del given["repetition"], given["limit"]
        return tuple(given.values())

    @property
    def label(self) -> str:
        """The run in a line, for people who wait for it."""
        extras = [
            self.variant,
            self.transport if self.transport == "http" else "",
            f"{self.latency:g} s" if self.latency else "",
            "defaults" if self.defaults else "",
            self.placement if self.placement == "own" else "",
            f"×{self.count}" if self.count > 1 else "",
        ]
        return " ".join([self.workload, self.arm, f"{self.size:,}", *filter(None, extras)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run. `values` are numbers by name (empty unless `status` is "ok").

    `commit` and `started` say which code was run and when: results may be gathered in several sittings.
    """

    run: Run
    status: Literal["ok", "failed", "time limit"]
    values: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    commit: str = ""
    started: str = ""

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Outcome:
        """The outcome that `asdict` turned into plain values."""
        return cls(**{**given, "run": Run(**given["run"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and with what the runs were made."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    versions: Mapping[str, str]
    commit: str
    started: str
