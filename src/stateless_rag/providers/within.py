"""An embedder around another one: what it says of itself is what the other says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.protocols import Embedder, Embeddings

__all__ = ["EmbedderAround"]


class EmbedderAround:
    """Implements the protocol `Embedder` by another embedder; to be derived from by what changes one thing of it."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model(self) -> str:
        """Of the embedder within."""
        return self._embedder.model

    @property
    def dimension(self) -> int | None:
        """Of the embedder within."""
        return self._embedder.dimension

    @property
    def max_tokens(self) -> int | None:
        """Of the embedder within."""
        return self._embedder.max_tokens

    @property
    def max_batch(self) -> int:
        """Of the embedder within."""
        return self._embedder.max_batch

    @property
    def max_batch_tokens(self) -> int | None:
        """Of the embedder within."""
        return self._embedder.max_batch_tokens

    @property
    def min_similarity(self) -> float | None:
        """Of the embedder within, None where it says nothing."""
        return getattr(self._embedder, "min_similarity", None)

    @property
    def min_share(self) -> float | None:
        """Of the embedder within, None where it says nothing."""
        return getattr(self._embedder, "min_share", None)

    @property
    def sure_similarity(self) -> float | None:
        """Of the embedder within, None where it says nothing."""
        return getattr(self._embedder, "sure_similarity", None)

    @property
    def lexical(self) -> bool:
        """Of the embedder within; False where it says nothing."""
        return getattr(self._embedder, "lexical", False)

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order, with the embedder within."""
        return await self._embedder.embed(texts, role=role)
