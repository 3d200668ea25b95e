"""What a new embedder gets from `TextEmbedder`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from stateless_rag.calls import embed_texts
from stateless_rag.context import Context
from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import Embedder, Embeddings
from stateless_rag.providers import HashingEmbedder, OpenAIEmbedder, TextEmbedder, as_embedder
from stateless_rag.testing import DeterministicEmbedder


class Lengths(TextEmbedder):
    """Embeds a text as (its length with the prefix, 1)."""

    async def embed(self, texts: Any, *, role: Literal["document", "query"]) -> Embeddings:
        vectors = np.array([[len(text), 1] for text in self._prefixed(texts, role)], dtype=np.float32)
        self._learn(vectors.reshape(len(texts), 2))
        return Embeddings(vectors=vectors)


async def test_what_it_was_told_and_what_it_learns() -> None:
    embedder = Lengths("lengths", max_tokens=9, max_batch=2, max_batch_tokens=7, query_prefix="q: ")
    assert isinstance(embedder, Embedder)
    assert as_embedder(embedder) is embedder
    assert (embedder.model, embedder.max_tokens, embedder.max_batch, embedder.max_batch_tokens) == (
        "lengths",
        9,
        2,
        7,
    )
    await embedder.embed([], role="document")
    before = embedder.dimension
    assert before is None
    context = Context.create(embedder=embedder)
    assert (await embed_texts(context, ["a", "bc"], role="document")).tolist() == [[1, 1], [2, 1]]
    assert (await embed_texts(context, ["a", "bc"], role="query")).tolist() == [[4, 1], [5, 1]]
    assert embedder.dimension == 2
    assert Lengths("lengths", dimension=3).dimension == 3


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"model": ""}, "model"),
        ({"dimension": 0}, "dimension"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_batch": 0}, "max_batch"),
        ({"max_batch": None}, "max_batch"),
        ({"max_batch_tokens": -1}, "max_batch_tokens"),
        ({"query_prefix": 5}, "query_prefix"),
    ],
)
def test_facts_that_cannot_be_are_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{name} is "):
        Lengths(**({"model": "lengths"} | fields))


def test_embedders_cannot_be_changed_from_outside() -> None:
    for embedder in (
        HashingEmbedder(),
        DeterministicEmbedder(),
        OpenAIEmbedder("m", base_url="http://localhost/v1"),
    ):
        for name in ("model", "dimension", "max_tokens", "max_batch", "max_batch_tokens"):
            with pytest.raises(AttributeError):
                setattr(embedder, name, 1)


def test_an_embedder_without_embed_is_none() -> None:
    with pytest.raises(TypeError, match="embed"):
        TextEmbedder("m")  # type: ignore[abstract]
