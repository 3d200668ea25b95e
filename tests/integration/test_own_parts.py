"""Parts of the caller's own: an extractor, a chunk function, and prompts, each engine its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from stateless_rag.context import Context
from stateless_rag.engine import Engine
from stateless_rag.prompts import Prompts
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import ChunkSettings, Settings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.text import entity_key
from stateless_rag.types import Chunk, Document, EntityMention, Extraction, RelationMention, Status


class Hashtags:
    """Finds what begins with #, and relates neighbours."""

    def generation(self, context: Context) -> str:
        return f"hashtags-1-{context.settings.extraction.language}"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        generation = self.generation(context)
        names = sorted({word[1:] for word in chunk.text.split() if word.startswith("#")})
        entities = tuple(
            EntityMention(chunk.id, generation, entity_key(name), name, "tag", "") for name in names
        )
        relations = tuple(
            RelationMention(chunk.id, generation, entity_key(a), entity_key(b), a, b, (), "")
            for a, b in pairwise(names)
        )
        return Extraction(chunk_id=chunk.id, generation=generation, entities=entities, relations=relations)


def by_line(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


async def test_an_extractor_and_a_chunk_function(tmp_path: Path) -> None:
    settings = Settings(chunking=ChunkSettings(function=by_line))
    async with Engine.open(
        tmp_path, extractor=Hashtags(), embedder=DeterministicEmbedder(8), settings=settings
    ) as engine:
        report = await engine.insert("#ada met #babbage\n#babbage met #byron")
        assert report.documents[0].chunks == 2
        assert await engine.labels() == ["ada", "babbage", "byron"]
        babbage = await engine.entity("babbage")
        assert babbage is not None and (babbage.type, babbage.weight) == ("tag", 2)
        assert dict((await engine.describe()).generations) == {"hashtags-1-English": 2}
        again = await engine.insert("#ada met #babbage\n#babbage met #byron")
        assert again.documents[0].unchanged


class Faulty(Hashtags):
    """As Hashtags, but for chunks that are #odd."""

    def __init__(self, change: Callable[[Extraction], Any]) -> None:
        self._change = change

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        found = await super().extract(context, chunk)
        return cast("Extraction", self._change(found)) if "#odd" in chunk.text else found


FAULTS: Mapping[str, tuple[Callable[[Extraction], Any], str]] = {
    "raises": (lambda _: next(iter(())), "the extractor raised"),
    "returns nothing": (lambda _: None, "must return the Extraction of chunk"),
    "another chunk": (lambda found: replace(found, chunk_id="c"), "must return the Extraction of chunk"),
    "another generation": (lambda found: replace(found, generation="g"), "another chunk or generation"),
    "another key": (
        lambda found: replace(found, entities=tuple(replace(e, key=e.key.upper()) for e in found.entities)),
        "must have the key of its name",
    ),
    "an orphan": (lambda found: replace(found, entities=()), "must relate two entities that it mentions"),
}


@pytest.mark.parametrize(("change", "told"), FAULTS.values(), ids=FAULTS.keys())
async def test_what_an_extractor_gets_wrong_fails_its_chunk_alone(
    tmp_path: Path, change: Callable[[Extraction], Any], told: str
) -> None:
    extractor = Faulty(change)
    async with Engine.open(tmp_path, extractor=extractor, embedder=DeterministicEmbedder(8)) as engine:
        report = await engine.insert(
            [Document("#ada met #babbage", id="good"), Document("#odd #ends", id="odd")]
        )
        (failed,) = report.failed
        assert failed.id == "odd" and told in failed.errors[0].error
        assert await engine.labels() == ["ada", "babbage"]
        await engine.resume()  # neither does it hold up others
        assert not (await engine.insert("#byron came later")).failed


async def test_a_chunk_function_that_raises_fails_its_document_alone(tmp_path: Path) -> None:
    def cut(text: str) -> list[str]:
        return [text] if "odd" not in text else [text[len(text)]]

    settings = Settings(chunking=ChunkSettings(function=cut))
    async with Engine.open(tmp_path, embedder=DeterministicEmbedder(8), settings=settings) as engine:
        report = await engine.insert([Document("Ada wrote.", id="good"), Document("odd", id="odd")])
        assert {each.id: each.status for each in report.documents} == {
            "good": Status.PROCESSED,
            "odd": Status.FAILED,
        }
        assert "the chunk function raised IndexError" in str(report.failed[0].error)
        await engine.submit("Byron came later.")
        assert not (await engine.work(until_empty=True)).failed


class Noting(DeterministicLLM):
    def __init__(self) -> None:
        super().__init__()
        self.systems: list[str] = []

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose == "extract":
            self.systems.append(request.system or "")
        await asyncio.sleep(0)
        return await super().complete(request)


async def test_engines_side_by_side_have_prompts_of_their_own(tmp_path: Path) -> None:
    llms = [Noting(), Noting()]
    system = Prompts().extract_system
    async with Store.open(tmp_path) as store:
        engines = [
            await Engine.open(
                store,
                f"w{n}",
                llm=llm,
                embedder=DeterministicEmbedder(8),
                prompts=Prompts(extract_system=f"Reader {n}. {system}"),
            )
            for n, llm in enumerate(llms)
        ]
        reports = await asyncio.gather(
            *(engine.insert([f"Ada met Babbage {n}." for n in range(5)]) for engine in engines)
        )
        assert [report.counts for report in reports] == [{Status.PROCESSED: 5}] * 2
    for n, llm in enumerate(llms):
        assert len(llm.systems) == 5 and all(told.startswith(f"Reader {n}. ") for told in llm.systems)
