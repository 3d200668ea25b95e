"""Races that once stopped a whole insert."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stateless_rag import (
    CallSettings,
    ChunkSettings,
    Document,
    Engine,
    ExtractSettings,
    MergeSettings,
    Settings,
    Status,
)
from stateless_rag.errors import ProviderUnavailable
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Event

PARTS = (
    "First part on Alice and Bob in Paris.",
    "Second part on Carol and Bob.",
    "Third part on Dora and Bob.",
)


class Scene:
    """Brings it about that one group of documents is committed while a delete is under way."""

    def __init__(self) -> None:
        self.first_commits, self.others_are_ready = asyncio.Event(), asyncio.Event()
        self.delete_waits, self.delete_goes_on = asyncio.Event(), asyncio.Event()
        self.group_commits, self.embedder_fails = asyncio.Event(), asyncio.Event()
        self.hold_summary = False

    def __call__(self, event: Event) -> None:
        if event.kind == "extracted" and event.document_id == "last" and event.done == event.total:
            self.others_are_ready.set()


class HeldLLM(DeterministicLLM):
    """Summarises for the delete when told to; extracts other documents once the first is being committed."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    async def complete(self, request: LLMRequest) -> LLMReply:
        scene = self._scene
        if scene.hold_summary and request.purpose == "summarize":
            scene.hold_summary = False
            scene.delete_waits.set()
            await scene.delete_goes_on.wait()
        if scene.delete_waits.is_set() and request.purpose == "extract" and "Zora" not in request.prompt:
            await scene.first_commits.wait()
            await asyncio.sleep(0.2 if "Hugo" in request.prompt else 0)
        return await super().complete(request)


class LostEmbedder(DeterministicEmbedder):
    """Is gone for one call, in the middle of the group's commit."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        scene = self._scene
        if any("Zora" in text for text in texts):
            scene.first_commits.set()
            await scene.others_are_ready.wait()
        elif not scene.group_commits.is_set() and any("Gina" in text for text in texts):
            scene.group_commits.set()
            await scene.embedder_fails.wait()
            raise ProviderUnavailable("gone for a moment")
        return await super().embed(texts, role=role)


async def test_a_document_deleted_while_the_embedder_is_away_is_prepared_again(tmp_path: Path) -> None:
    scene = Scene()
    settings = Settings(
        calls=CallSettings(attempts=1),
        chunking=ChunkSettings(strategy="separator"),
        extraction=ExtractSettings(gleaning=0),
        merging=MergeSettings(summarize_from=2),
    )
    async with Engine.open(
        tmp_path, llm=HeldLLM(scene), embedder=LostEmbedder(scene), settings=settings, observer=scene
    ) as engine:
        await engine.insert([Document("\n\n".join(PARTS), id="d"), "Bob met Zed in Bonn.", "Bob saw Quin."])
        scene.hold_summary = True
        delete = asyncio.create_task(engine.delete("d"))
        await scene.delete_waits.wait()
        # The first part is kept from the old version, which is gone when the group is tried again.
        update = Document(f"{PARTS[0]}\n\nNew part on Fritz.", id="d")
        last = Document("Hugo in Hof.", id="last")
        insert = asyncio.create_task(engine.insert(["Zora in Zug.", update, "Gina in Graz.", last]))
        await scene.group_commits.wait()
        scene.delete_goes_on.set()
        await delete
        scene.embedder_fails.set()
        report = await insert
        assert report.counts == {Status.PROCESSED: 4}
        assert await engine.document("d") == update
