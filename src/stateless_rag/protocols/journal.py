"""Where paid calls are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from stateless_rag.flights import Flights
    from stateless_rag.protocols.providers import LLMReply, Vectors
    from stateless_rag.types import Usage

__all__ = ["Charge", "Journal", "JournalEntry", "Spending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A paid LLM call: `digest` of all that determines the reply, the reply, and what it cost.

    `document` is that for whose chunk it was made first, `batch` the file of requests that it was paid for in.
    """

    digest: str
    purpose: str
    model: str
    reply: LLMReply
    usage: Usage
    document: str | None = None
    batch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Calls that were paid for a question, or for a reply that was of no use: for the ledger alone, nothing is kept.

    `texts` is how many were embedded. `document` is that for whose chunk it was.
    """

    purpose: str
    model: str
    usage: Usage
    query: str | None = None
    texts: int = 0
    document: str | None = None


class Journal(Protocol):
    """Keeps what was paid for. `put` returns when the entry will survive a crash."""

    @property
    def flights(self) -> Flights:
        """What is being paid for now; one object for all who share the journal, so that none pays twice."""

    async def get(self, digest: str) -> LLMReply | None:
        """The reply stored under the digest."""

    async def put(self, entry: JournalEntry) -> None:
        """Store one paid call."""

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """Those of the vectors that are stored."""

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        """Store paid vectors."""


class Spending(Protocol):
    """What was ever paid for in a workspace, by whomever, and the budget that is kept with it."""

    @property
    def recorded(self) -> Mapping[str, Any] | None:
        """The budget, as it is recorded; None if there is none."""

    def spent(self, *, today: bool) -> Mapping[tuple[str, bool], Usage]:
        """What was paid by model and by whether it was in batch files, ever or on this day of UTC, calls included
        that are not written yet.
        """

    def tomorrow(self) -> float:
        """When the day ends, in seconds since 1970."""

    def now(self) -> float:
        """The time, likewise."""
