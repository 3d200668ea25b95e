"""What listings, events and the graph show of documents and entities, whatever state they are in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from stateless_rag import Document, Engine, Status
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM

TEXT = "Ada Lovelace met Charles Babbage in London."


class Gated(DeterministicLLM):
    """Answers when its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.set()
        await self.gate.wait()
        return await super().complete(request)


class GatedEmbedder(DeterministicEmbedder):
    """Embeds when its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Any, *, role: Any) -> Any:
        self.asked.set()
        await self.gate.wait()
        return await super().embed(texts, role=role)


async def seen(engine: Engine, id_: str) -> Status:
    (status,) = [row.status for row in await engine.documents() if row.id == id_]
    counts = (await engine.describe()).documents
    assert counts[status] == 1
    assert sum(counts.values()) == 1
    return status


async def test_a_document_is_seen_to_go_from_state_to_state(tmp_path: Path) -> None:
    llm, embedder = Gated(), GatedEmbedder()
    async with Engine.open(tmp_path, llm=llm, embedder=embedder) as engine:
        await engine.submit(Document(TEXT, id="d"))
        assert await seen(engine, "d") is Status.PENDING
        work = asyncio.create_task(engine.work(until_empty=True))
        await llm.asked.wait()
        assert await seen(engine, "d") is Status.EXTRACTING
        llm.gate.set()
        await embedder.asked.wait()
        assert await seen(engine, "d") is Status.MERGING
        embedder.gate.set()
        await work
        assert await seen(engine, "d") is Status.PROCESSED


async def test_what_is_cancelled_while_it_merges_is_pending_again(tmp_path: Path) -> None:
    embedder = GatedEmbedder()
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=embedder) as engine:
        for _ in range(2):
            embedder.asked.clear()
            insert = asyncio.create_task(engine.insert(Document(TEXT, id="d")))
            await embedder.asked.wait()
            assert Status.MERGING in {row.status for row in await engine.documents()}
            insert.cancel()
            await asyncio.gather(insert, return_exceptions=True)
            assert {row.status for row in await engine.documents()} == {Status.PENDING}
        embedder.gate.set()
        await engine.resume()
        assert {row.status for row in await engine.documents()} == {Status.PROCESSED}


async def test_events_tell_of_each_step(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=DeterministicEmbedder()) as engine:
        kinds = [event.kind async for event in engine.insert_events(Document(TEXT, id="d"))]
    assert kinds == ["accepted", "chunked", "extracted", "merging", "committed", "finished"]


async def test_the_graph_has_entities_without_relations(tmp_path: Path) -> None:
    async with Engine.open(tmp_path) as engine:
        await engine.insert([TEXT, "Plankalkül was early."])
        graph = await engine.graph()
        assert sorted(entity.name for entity in graph.nodes()) == [
            "Ada Lovelace",
            "Charles Babbage",
            "London",
            "Plankalkül",
        ]
        (alone,) = [node for node in graph.node_indices() if not graph.degree(node)]
        assert graph[alone].name == "Plankalkül"
        assert all(graph[one].name != graph[other].name for one, other in graph.edge_list())


async def test_the_score_of_passages_follows_their_rank_and_similarity_does_not(tmp_path: Path) -> None:
    texts = [f"Ada Lovelace met Person{n} in City{n}." for n in range(8)]
    async with Engine.open(tmp_path) as engine:
        await engine.insert([*texts, "Who met Ada Lovelace? Nobody knows."])
        found = await engine.retrieve("Who met Ada Lovelace in City3?")
        scores = [passage.score for passage in found.passages]
        assert scores == [1 / rank for rank in range(1, len(scores) + 1)]
        similarities = [passage.similarity for passage in found.passages]
        assert None not in similarities
        assert all(-1 <= (value or 0) <= 1 for value in similarities)
