"""A document under way, and how many may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stateless_rag.types import ChunkError, Document, Extraction

if TYPE_CHECKING:
    from stateless_rag.errors import BudgetExhausted
    from stateless_rag.protocols import Claim
    from stateless_rag.settings import IngestSettings
    from stateless_rag.types import Chunk

__all__ = ["Room", "Work"]


@dataclass(eq=False)
class Work:
    """A claimed document between chunking and commit. `updates` tells that an older version is there, `characters`
    how long the text is that was submitted, `paused` why it cannot be paid for now.
    """

    claim: Claim
    updates: bool = False
    chunks: tuple[Chunk, ...] = ()
    extractions: dict[str, Extraction] = field(default_factory=dict)
    errors: list[ChunkError] = field(default_factory=list)
    open_chunks: int = 0
    cancelled: bool = False
    paused: BudgetExhausted | None = None
    characters: int = 0

    def __post_init__(self) -> None:
        self.characters = len(self.claim.text)
        self._attempts = {known.get("chunk_id"): known.get("attempts", 0) for known in self.claim.errors}

    @property
    def document(self) -> Document:
        """The document as it was submitted."""
        claim = self.claim
        return Document(claim.text, id=claim.document_id, source=claim.source, metadata=claim.metadata)

    def note_error(self, piece: Chunk, text: str, generation: str) -> None:
        """Record that a chunk could not be extracted, and how often that has been so."""
        attempts = self._attempts.get(piece.id, 0) + 1
        self.errors.append(
            ChunkError(chunk_id=piece.id, ordinal=piece.ordinal, error=text, attempts=attempts)
        )
        self.extractions[piece.id] = Extraction(chunk_id=piece.id, generation=generation, error=text)


class Room:
    """How many documents and characters are under way, within the bounds of the settings.

    A document that is larger than the bound is let in alone.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._changed = asyncio.Condition()
        self._documents = 0
        self._characters = 0

    @property
    def documents(self) -> int:
        """How many documents are under way."""
        return self._documents

    async def enter(self, claims: Sequence[Claim]) -> int:
        """Wait until there is room for the first of the claims; returns how many were let in."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(claims[0]))
            entered = 0
            while entered < len(claims) and self._fits(claims[entered]):
                self._documents += 1
                self._characters += len(claims[entered].text)
                entered += 1
            return entered

    def _fits(self, claim: Claim) -> bool:
        return not self._documents or (
            self._documents < self._settings.documents_in_flight
            and self._characters + len(claim.text) <= self._settings.characters_in_flight
        )

    async def leave(self, works: Iterable[Work]) -> None:
        """Make room: the documents are committed or have failed."""
        async with self._changed:
            for work in works:
                self._documents -= 1
                self._characters -= work.characters
            self._changed.notify_all()

    async def empty(self) -> None:
        """Wait until nothing is under way."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._documents)
