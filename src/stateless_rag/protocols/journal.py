"""Where paid calls are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stateless_rag.flights import Flights
    from stateless_rag.protocols.providers import LLMReply, Vectors
    from stateless_rag.types import Usage

__all__ = ["Charge", "Journal", "JournalEntry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A paid LLM call: `digest` of all that determines the reply, the reply, and what it cost.

    `document` is that for whose chunk it was made first.
    """

    digest: str
    purpose: str
    model: str
    reply: LLMReply
    usage: Usage
    document: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Calls that were paid for a question: for the ledger alone, no reply is kept.

    `texts` is how many were embedded.
    """

    purpose: str
    model: str
    usage: Usage
    query: str
    texts: int = 0


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
