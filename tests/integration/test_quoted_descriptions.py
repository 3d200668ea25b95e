"""Whose quotations are embedded: those of people and of LLMs, not those of the built-in extractor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stateless_rag import Document, Engine
from stateless_rag.protocols import Embeddings
from stateless_rag.testing import DeterministicEmbedder

SAID = "“A lady of numbers, engines and verse.”"
TEXT = Document("Ada Lovelace met Charles Babbage in London.", id="ada")


class Noting:
    """Notes what it is asked to embed."""

    def __init__(self, name: str = "noting") -> None:
        self._embedder = DeterministicEmbedder(8)
        self.model = name
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    async def embed(self, texts: Sequence[str], **named: Any) -> Embeddings:
        self.asked += texts
        return await self._embedder.embed(texts, **named)


async def quoting(*_: Any, **__: Any) -> str:
    """An LLM whose descriptions are quotations."""
    records = (
        f"entity<|#|>Ada Lovelace<|#|>person<|#|>{SAID}",
        "entity<|#|>Charles Babbage<|#|>person<|#|>An engineer.",
        f"relation<|#|>Ada Lovelace<|#|>Charles Babbage<|#|>meeting<|#|>{SAID}",
        "<|COMPLETE|>",
    )
    return "\n".join(records)


async def test_what_a_person_quotes_is_embedded_and_stays_so(tmp_path: Path) -> None:
    embedder, other = Noting(), Noting("other")
    async with Engine.open(tmp_path, embedder=embedder) as engine:
        await engine.insert(TEXT)
        (related,) = [text for text in embedder.asked if "\tAda Lovelace\nCharles Babbage" in text]
        assert "Ada Lovelace" in embedder.asked  # by the built-in extractor: the name is all
        assert related.endswith("\nCharles Babbage")
        await engine.edit_entity("Ada Lovelace", description=SAID)
        await engine.edit_relation("Ada Lovelace", "Charles Babbage", description=SAID)
        assert f"Ada Lovelace\n{SAID}" in embedder.asked
        assert f"{related}\n{SAID}" in embedder.asked
        await engine.reembed(other)
    assert f"Ada Lovelace\n{SAID}" in other.asked
    assert f"{related}\n{SAID}" in other.asked
    assert "Charles Babbage" in other.asked  # whom the built-in extractor has quoted


async def test_what_an_llm_quotes_is_embedded(tmp_path: Path) -> None:
    embedder = Noting()
    async with Engine.open(tmp_path, llm=quoting, embedder=embedder) as engine:
        await engine.insert(TEXT)
        shown = await engine.entity("Ada Lovelace")
        assert shown is not None and shown.description == SAID
    assert f"Ada Lovelace\n{SAID}" in embedder.asked
    assert any(text.endswith(f"Charles Babbage\n{SAID}") for text in embedder.asked)
