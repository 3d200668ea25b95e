"""How a workspace changes to another embedder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from stateless_rag.protocols.journal import Journal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from stateless_rag.protocols.providers import Embedder
    from stateless_rag.protocols.reading import Ids, VectorKind

__all__ = ["Coming", "Named", "Reembedding"]

Named = Mapping["VectorKind", tuple[Sequence[int], Sequence[str]]]
"""For rows of each kind, by id, the digest of the vector that they are to have."""


class Coming(Journal, Protocol):
    """Vectors of another embedder, gathered beside those that are searched; they outlive a crash."""

    @property
    def dimension(self) -> int | None:
        """Their length; None before the first."""

    async def missing(self, digests: Collection[str]) -> set[str]:
        """Those of the digests whose vector is not there yet."""


class Reembedding(Protocol):
    """The change of one workspace to another embedder, in steps."""

    def following(self, embedder: Embedder) -> Embedder:
        """The embedder to go on with: the one given, or that to which the workspace was changed meanwhile."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep others from re-embedding the same workspace. Raises StoreError if somebody does already."""

    async def begin(self, embedder: Embedder) -> Coming:
        """Gather vectors of an embedder; those that were gathered of it before are there still."""

    async def give_up(self) -> bool:
        """Forget the vectors that were gathered; whether there were any."""

    async def hold_commits(self) -> None:
        """From now on commits are refused (CommitConflict), until `alone` ends; those that have begun are through."""

    def ids(self) -> tuple[int, Mapping[VectorKind, Ids]]:
        """The last revision, and the ids of all rows that have vectors in it."""

    async def switch(self, embedder: Embedder, base: int, named: Named) -> int:
        """Let all rows name the vectors that were gathered, in one commit; returns its revision.

        Raises CommitConflict if `base` is not the last revision any more; then nothing was changed.
        """
