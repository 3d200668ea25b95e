"""Requests that a provider takes in files and answers when it finds the time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

from stateless_rag.protocols.providers import LLM

if TYPE_CHECKING:
    from stateless_rag.protocols.providers import LLMReply, LLMRequest
    from stateless_rag.types import BatchStatus

__all__ = ["BatchLLM", "BatchReply", "BatchState", "Batches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """How far a batch is. `done` counts requests that have a reply. `error` says why it failed as a whole."""

    status: BatchStatus
    done: int = 0
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether no reply will come any more but those that are there."""
        return self.status in ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReply:
    """What became of the request under a key: the reply, or None and the error.

    A line that cannot be read has no key.
    """

    key: str
    reply: LLMReply | None = None
    error: str | None = None


class Batches(Protocol):
    """Files of requests at a provider. Methods raise `ProviderError` when it fails; they need not retry.

    A batch has a `name`, given by who submits it, and an `id`, given by the provider. `since` is when the name was
    made, in seconds since 1970: nothing under that name is older.
    """

    @property
    def max_requests(self) -> int:
        """How many requests one file may hold."""

    @property
    def max_bytes(self) -> int:
        """How large one file may be."""

    def line(self, key: str, request: LLMRequest) -> bytes:
        """One request as a line of the file, line feed included. `key` has 32 hex digits."""

    async def submit(self, name: str, lines: IO[bytes]) -> str:
        """Hand a file over; the id of the batch. `find` knows the batch by the name, also if the answer was lost."""

    async def find(self, name: str, since: float) -> str | None:
        """The id of the batch that was submitted under the name; None if there is none."""

    async def poll(self, id_: str) -> BatchState:
        """How far the batch is."""

    def replies(self, id_: str) -> AsyncIterator[BatchReply]:
        """The replies of a batch that has ended, in any order; requests without any are left out."""

    async def cancel(self, id_: str) -> None:
        """Stop the batch; what was answered can be collected once it has ended."""

    async def remove(self, name: str, id_: str | None, since: float) -> None:
        """Delete the files of the batch, with requests and replies, at the provider; those that are gone are fine."""


@runtime_checkable
class BatchLLM(LLM, Protocol):
    """An LLM that also takes requests in files, under the same model."""

    @property
    def batches(self) -> Batches:
        """Where files are handed over."""
