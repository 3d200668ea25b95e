"""An embedder as an evaluation uses it: questions are embedded before they are asked, and waiting is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from stateless_rag.protocols import Embeddings
from stateless_rag.providers import FastEmbedder
from stateless_rag.providers.within import EmbedderAround

if TYPE_CHECKING:
    from stateless_rag.protocols import Embedder, Vectors

__all__ = ["MeasuredEmbedder"]


class MeasuredEmbedder(EmbedderAround):
    """Remembers the vectors of questions, and the `waited` seconds for those that it did not know.

    A model of fastembed cuts long texts itself, so it is not asked how long they may be: each passage stays one
    chunk, as it does for whoever embeds with it directly.
    """

    def __init__(self, embedder: Embedder, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(embedder)
        self._clock = clock
        self._known: dict[str, Vectors] = {}
        self.waited = 0.0

    @property
    def max_tokens(self) -> int | None:
        """Of the embedder within; None for one that cuts texts itself."""
        return None if isinstance(self._embedder, FastEmbedder) else super().max_tokens

    @property
    def reads(self) -> int | None:
        """How many tokens of a text the embedder within makes a vector of."""
        return super().max_tokens

    async def prepare(self, questions: Sequence[str]) -> None:
        """Embed questions: in full batches, but each alone for a model in this process."""
        new = [text for text in dict.fromkeys(questions) if text not in self._known]
        # The vectors of quantised models vary a little with what else is in the batch.
        size = 1 if isinstance(self._embedder, FastEmbedder) else self.max_batch
        for start in range(0, len(new), size):
            batch = new[start : start + size]
            embedded = await self._embedder.embed(batch, role="query")
            self._known.update(zip(batch, embedded.vectors, strict=True))

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order."""
        import numpy as np

        if role == "document":
            return await self._embedder.embed(texts, role=role)
        started = self._clock()
        if any(text not in self._known for text in texts):
            await self.prepare(texts)
        vectors = np.stack([self._known[text] for text in texts])
        self.waited += self._clock() - started
        return Embeddings(vectors=vectors, tokens=0)
