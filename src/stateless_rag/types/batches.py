"""What became of requests that were handed to a provider in files, to be answered within a day at half the price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from stateless_rag.types.reports import Usage, UsageByPurpose

__all__ = ["BatchInfo", "BatchReport", "BatchStatus"]

BatchStatus = Literal[
    "prepared",
    "validating",
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInfo:
    """One file of requests at a provider.

    `id` is the name that it has here, `provider_id` the one that the provider gave it. `status` is the provider's;
    "prepared" is a batch of which it is not known yet whether it reached the provider. `requests` is how many it
    holds, `done` how many of them the provider says are answered. Once it is `collected`, `replies` tells how many
    replies were kept; the rest of the requests is to be asked again. `documents` counts those that wait for it.
    `submitted_at` is in seconds since 1970.
    """

    id: str
    provider_id: str | None
    model: str
    status: BatchStatus
    requests: int
    done: int = 0
    replies: int = 0
    collected: bool = False
    documents: int = 0
    purposes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    error: str | None = None
    submitted_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What `Engine.collect_batches` found.

    `batches` are those that were looked at, as they are now. `replies` were kept, `failed` are requests that got none
    or one of no use, and are asked again by the next batch or by the ingest. `usage` is what the replies cost, by
    purpose, in tokens.
    """

    batches: tuple[BatchInfo, ...] = ()
    replies: int = 0
    failed: int = 0
    usage: UsageByPurpose = field(default_factory=lambda: MappingProxyType({}))

    @property
    def waiting(self) -> int:
        """How many batches are still to be collected."""
        return sum(not batch.collected for batch in self.batches)

    @property
    def total(self) -> Usage:
        """All purposes together."""
        return sum(self.usage.values(), Usage())
