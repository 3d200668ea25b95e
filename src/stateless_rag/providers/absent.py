"""An embedder that is not at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from stateless_rag.errors import ProviderRejected
from stateless_rag.providers.embedder import TextEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.protocols import Embeddings

__all__ = ["AbsentEmbedder"]


class AbsentEmbedder(TextEmbedder):
    """Stands in for the embedder that a workspace was made with, where that cannot be had any more.

    With it the workspace can be opened, looked at, exported, and changed to another embedder
    (`Engine.reembed`); what needs a vector raises ProviderRejected.
    """

    def __init__(self, model: str, *, dimension: int | None = None) -> None:
        super().__init__(model, dimension=dimension)

    async def embed(
        self,
        texts: Sequence[str],  # noqa: ARG002
        *,
        role: Literal["document", "query"],  # noqa: ARG002
    ) -> Embeddings:
        """Raise ProviderRejected."""
        raise ProviderRejected(
            f"embedder {self.model!r} is not at hand; change the workspace to another one (Engine.reembed)"
        )
