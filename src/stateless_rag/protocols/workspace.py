"""One workspace of a store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from stateless_rag.protocols.journal import Journal
    from stateless_rag.protocols.reading import Snapshot
    from stateless_rag.protocols.reembedding import Reembedding
    from stateless_rag.protocols.writing import Basis, Change, Claim
    from stateless_rag.types import DocumentStatus, Status

__all__ = ["Workspace"]

Result = TypeVar("Result")


class Workspace(Protocol):
    """One workspace of a store, shared by all engines on it, from any thread and event loop."""

    @property
    def name(self) -> str:
        """The name it was created with."""

    @property
    def revision(self) -> int:
        """The last committed revision."""

    @property
    def journal(self) -> Journal:
        """Its journal."""

    @property
    def reembedding(self) -> Reembedding:
        """Its change to another embedder."""

    async def forget_replies(self, purposes: Collection[str] | None) -> int:
        """Drop the replies that the journal keeps for calls of some purposes, or all; their number."""

    async def read(self, query: Callable[[Snapshot], Result]) -> Result:
        """Run a function on a snapshot, in a thread of the store."""

    async def read_basis(self, query: Callable[[Basis], Result]) -> Result:
        """Run a function on the basis of a commit, in a thread of the store."""

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Run longer work that reads nothing, in a thread of the store apart from those that read."""

    async def commit(self, change: Change) -> int:
        """Carry out a change, all or nothing; returns the new revision. Raises CommitConflict."""

    async def submit(
        self, claims: Sequence[Claim], *, claimed: bool
    ) -> tuple[Sequence[Claim], Sequence[Claim]]:
        """Make documents durable as pending. Gives all of them, numbered, and with `claimed` those that the
        caller works on from now on: all but those that somebody works on already.
        """

    async def claim(
        self,
        limit: int,
        *,
        ids: Collection[str] | None = None,
        tracking_id: str | None = None,
        failed: bool,
        tried: Collection[int] = (),
    ) -> Sequence[Claim]:
        """Take documents that nobody works on, oldest first; with `failed` also those that failed, but not
        the submissions in `tried`.
        """

    async def release(self, sequences: Collection[int]) -> None:
        """Let go of claims without having finished; another may take them."""

    async def file_content(self, sequence: int) -> bytes | None:
        """The file that was submitted in place of a text; None if that is pending no more."""

    async def fail(self, claim: Claim, errors: Sequence[Mapping[str, Any]]) -> None:
        """Record that a claimed document failed, and let go of it."""

    async def cancel(self, ids: Collection[str] | None, tracking_id: str | None, error: str) -> Sequence[str]:
        """Let documents fail (all that are pending, or those of the ids and of the tracking id); their ids.

        Those that nobody works on fail at once, the others when who works on them sees `is_cancelled`.
        """

    def is_cancelled(self, sequence: int) -> bool:
        """Whether who works on a submission should let it fail."""

    async def withdraw(self, sequences: Collection[int]) -> None:
        """Forget pending documents: they turned out to be there already, or were deleted."""

    def superseded(self, claim: Claim) -> Sequence[int]:
        """The claim and older submissions of the same document: all done once it commits."""

    def advance(self, sequences: Collection[int], stage: Status) -> None:
        """Note, for listings, whether claimed submissions are being extracted or merged."""

    def is_pending(self, sequence: int) -> bool:
        """Whether a submission is still waiting to be committed."""

    def unfinished(self, tracking_id: str) -> Collection[int]:
        """The submissions of one tracking id that neither were committed nor have failed."""

    async def documents(self) -> Sequence[DocumentStatus]:
        """The status of every document, by id."""

    async def tracked(self, tracking_id: str) -> Sequence[DocumentStatus]:
        """The status of each document that was submitted last under a tracking id, by id."""

    async def statuses(self, ids: Collection[str]) -> Mapping[str, DocumentStatus]:
        """The status of documents, by id."""

    def waiting(self, ids: Collection[str] | None = None) -> Mapping[str, Sequence[int]]:
        """Submissions that are not committed, by document."""
