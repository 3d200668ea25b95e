"""What embedders have in common, for those who write one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from stateless_rag.checks import identifier, optional, text, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.protocols import Embeddings, Vectors

__all__ = ["TextEmbedder"]


class TextEmbedder(ABC):
    """An `Embedder` but for its `embed`: derive from it, tell `super().__init__` the facts, write `embed`.

    `model` names all that changes the vectors. `dimension` is None if it is known only after the first call;
    `_learn` notes it then. `_prefixed` puts the prefix of their role before texts, for models that were trained
    with them. `None` means not bounded. Raises `InvalidInput` for a bound below 1.
    """

    def __init__(
        self,
        model: str,
        *,
        dimension: int | None = None,
        max_tokens: int | None = None,
        max_batch: int = 32,
        max_batch_tokens: int | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
    ) -> None:
        identifier("model", model)
        bounds = {"dimension": dimension, "max_tokens": max_tokens, "max_batch_tokens": max_batch_tokens}
        for name, bound in bounds.items():
            optional(name, bound, whole, least=1)
        whole("max_batch", max_batch, least=1)
        text("query_prefix", query_prefix)
        text("document_prefix", document_prefix)
        self._model = model
        self._dimension = dimension
        self._max_tokens, self._max_batch, self._max_batch_tokens = max_tokens, max_batch, max_batch_tokens
        self._query_prefix, self._document_prefix = query_prefix, document_prefix

    @property
    def model(self) -> str:
        """Names the model and whatever else changes its vectors."""
        return self._model

    @property
    def dimension(self) -> int | None:
        """The length of its vectors; None before the first call if it was not given."""
        return self._dimension

    @property
    def max_tokens(self) -> int | None:
        """The longest text it takes, in tokens."""
        return self._max_tokens

    @property
    def max_batch(self) -> int:
        """How many texts one call may carry."""
        return self._max_batch

    @property
    def max_batch_tokens(self) -> int | None:
        """How many tokens one call may carry."""
        return self._max_batch_tokens

    @abstractmethod
    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order."""

    def _prefixed(self, texts: Sequence[str], role: Literal["document", "query"]) -> list[str]:
        prefix = self._query_prefix if role == "query" else self._document_prefix
        return [prefix + text for text in texts]

    def _learn(self, vectors: Vectors) -> None:
        if self._dimension is None and len(vectors):
            self._dimension = vectors.shape[1]
