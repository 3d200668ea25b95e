"""Races that once stopped a whole insert."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stateless_rag import CallSettings, ChunkSettings, Document, Engine, MergeSettings, Settings, Status
from stateless_rag.errors import ProviderUnavailable
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM

PARTS = (
    "First part on Alice and Bob in Paris.",
    "Second part on Carol and Bob.",
    "Third part on Dora and Bob.",
)


class HeldLLM(DeterministicLLM):
    """Holds the first summary back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()

    async def complete(self, request: LLMRequest) -> LLMReply:
        if self.hold and request.purpose == "summarize":
            self.hold = False
            self.reached.set()
            await self.let_go.wait()
        return await super().complete(request)


class LostEmbedder(DeterministicEmbedder):
    """Is gone for one call, which it answers only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        if not self.reached.is_set() and any("Gina" in text for text in texts):
            self.reached.set()
            await self.let_go.wait()
            raise ProviderUnavailable("gone for a moment")
        return await super().embed(texts, role=role)


async def test_a_document_deleted_while_the_embedder_is_away_is_prepared_again(tmp_path: Path) -> None:
    llm, embedder = HeldLLM(), LostEmbedder()
    settings = Settings(
        calls=CallSettings(attempts=1),
        chunking=ChunkSettings(strategy="separator"),
        merging=MergeSettings(summarize_from=2),
    )
    async with Engine.open(tmp_path, llm=llm, embedder=embedder, settings=settings) as engine:
        await engine.insert([Document("\n\n".join(PARTS), id="d"), "Bob met Zed in Bonn.", "Bob saw Quin."])
        llm.hold = True
        delete = asyncio.create_task(engine.delete("d"))
        await llm.reached.wait()
        # What is kept of the old version is gone by the time that the second commit is tried.
        update = Document(f"{PARTS[0]}\n\nNew part on Fritz.", id="d")
        insert = asyncio.create_task(engine.insert([update, "Gina in Graz.", "Hugo in Hof."]))
        await embedder.reached.wait()
        llm.let_go.set()
        await delete
        embedder.let_go.set()
        report = await insert
        assert report.counts == {Status.PROCESSED: 3}
        assert (await engine.document("d")) == update
