"""Several at once on one workspace: the same as one after the other, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import StoreLocked
from stateless_rag.limits import Limits
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.providers import O200kTokenizer
from stateless_rag.settings import ChunkSettings, ExtractSettings, IngestSettings, MergeSettings, Settings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document, Status

SETTINGS = Settings(
    extraction=ExtractSettings(gleaning=0),
    merging=MergeSettings(summarize_from=3, description_texts=4),
    ingest=IngestSettings(commit_chunks=4),
)
DOCUMENTS = [
    Document(f"Ada{n % 5} met Babbage{n % 3} in London{n % 7}. Babbage{n % 3} wrote to Hub.", id=f"d{n}")
    for n in range(24)
]


class CountingLLM(DeterministicLLM):
    """Takes a moment, and counts what it is asked."""

    def __init__(self, delay: float = 0.003) -> None:
        super().__init__()
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self.started = asyncio.Event()

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked[f"{request.system}|{request.prompt}"] += 1
        self.started.set()
        await asyncio.sleep(self.delay)
        return await super().complete(request)


@pytest.fixture(scope="module")
def tokenizer() -> O200kTokenizer:
    return O200kTokenizer()


@pytest.fixture
def options(tokenizer: O200kTokenizer) -> dict[str, Any]:
    return options_of(tokenizer)


def options_of(tokenizer: O200kTokenizer) -> dict[str, Any]:
    return {
        "settings": SETTINGS,
        "embedder": DeterministicEmbedder(),
        "limits": Limits(llm=4),
        "tokenizer": tokenizer,
    }


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory, tokenizer: O200kTokenizer) -> dict[str, Any]:
    """What the documents come to, one after the other."""

    async def made() -> dict[str, Any]:
        root = tmp_path_factory.mktemp("sequential")
        async with Engine.open(root, llm=DeterministicLLM(), **options_of(tokenizer)) as engine:
            for document in DOCUMENTS:
                await engine.insert(document)
            return await dump(engine)

    return asyncio.run(made())


async def test_two_engines_insert_what_overlaps(
    tmp_path: Path, options: dict[str, Any], sequential: dict[str, Any]
) -> None:
    llm = CountingLLM()
    async with Store.open(tmp_path / "root") as store:
        one = await Engine.open(store, llm=llm, **options)
        other = await Engine.open(store, llm=llm, **options)
        reports = await asyncio.gather(
            one.insert(DOCUMENTS[:16]), other.insert(DOCUMENTS[8:]), other.insert(reversed(DOCUMENTS))
        )
        assert not any(report.failed for report in reports)
        assert await dump(one) == sequential
        assert max(llm.asked.values()) == 1


async def test_equal_texts_asked_at_once_pay_once(tmp_path: Path, options: dict[str, Any]) -> None:
    llm = CountingLLM()
    text = "Ada Lovelace met Charles Babbage in London."
    async with Engine.open(tmp_path, llm=llm, **options) as engine:
        report = await engine.insert(Document(text, id=f"d{n}") for n in range(20))
        assert report.counts == {Status.PROCESSED: 20}
        assert sum(llm.asked.values()) == 1
        assert report.usage["extract"].calls == 1 and report.usage["extract"].cached == 19
        entity = await engine.entity("Ada Lovelace")
        assert entity is not None and entity.weight == 20


async def test_several_callers_of_work_never_pay_twice(
    tmp_path: Path, options: dict[str, Any], sequential: dict[str, Any]
) -> None:
    llm = CountingLLM()
    async with Store.open(tmp_path / "root") as store:
        engines = [await Engine.open(store, llm=llm, **options) for _ in range(3)]
        await engines[0].submit(DOCUMENTS)
        reports = await asyncio.gather(*(engine.work(until_empty=True) for engine in engines))
        done = [document.id for report in reports for document in report.documents]
        assert sorted(done) == sorted(document.id for document in DOCUMENTS if document.id)
        assert max(llm.asked.values()) == 1
        assert await dump(engines[0]) == sequential


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.04, 0.1])
async def test_what_is_deleted_while_it_is_ingested_ends_deleted(
    tmp_path: Path, options: dict[str, Any], moment: float
) -> None:
    llm = CountingLLM(delay=0.02)
    async with Engine.open(tmp_path, llm=llm, **options) as engine:
        insert = asyncio.create_task(
            engine.insert([Document("Old Oscar met Hub.", id="gone"), *DOCUMENTS[:4]])
        )
        await llm.started.wait()
        await asyncio.sleep(moment)
        report = await engine.delete("gone")
        assert report.deleted == ("gone",)
        await insert
        assert await engine.document("gone") is None
        assert await engine.entity("Old Oscar") is None
        assert [row.id for row in await engine.documents()] == ["d0", "d1", "d2", "d3"]
        assert (await engine.resume()).documents == ()
        assert await engine.document("gone") is None


async def test_deletes_and_inserts_at_once_leave_no_orphan(tmp_path: Path, options: dict[str, Any]) -> None:
    async with Store.open(tmp_path / "root") as store:
        engine = await Engine.open(store, llm=CountingLLM(), **options)
        await engine.insert(DOCUMENTS[:12])
        await asyncio.gather(
            engine.insert(DOCUMENTS[12:]),
            *(engine.delete(f"d{n}") for n in range(12)),
            engine.alias("Ada0", "Ada1"),
        )
        held = await dump(engine)
    async with Engine.open(tmp_path / "fresh", llm=DeterministicLLM(), **options) as engine:
        await engine.alias("Ada0", "Ada1")
        await engine.insert(DOCUMENTS[12:])
        assert await dump(engine) == held


@pytest.mark.parametrize("seed", range(6))
async def test_an_insert_that_is_cancelled_anywhere_can_be_resumed(
    tmp_path: Path, options: dict[str, Any], sequential: dict[str, Any], seed: int
) -> None:
    llm = CountingLLM(delay=0.001)
    choose = random.Random(seed)
    async with Store.open(tmp_path / "root") as store:
        engine = await Engine.open(store, llm=llm, **options)
        for _ in range(8):
            insert = asyncio.create_task(engine.insert(DOCUMENTS))
            for _ in range(int(2 ** choose.uniform(0, 9))):
                await asyncio.sleep(0)
            if choose.random() < 0.5:
                await asyncio.sleep(choose.uniform(0, 0.2))
            insert.cancel()
            await asyncio.gather(insert, return_exceptions=True)
            workspace = await store.workspace("default")
            assert workspace.claimed == 0
        async with asyncio.timeout(240):
            await engine.resume()
            await engine.insert(DOCUMENTS)
        assert (await engine.resume()).documents == ()
        assert await dump(engine) == sequential
    async with Engine.open(tmp_path / "root", llm=llm, **options) as engine:
        assert (await engine.resume()).documents == ()
        assert await dump(engine) == sequential


async def test_opening_may_be_cancelled(tmp_path: Path) -> None:
    for turns in (0, 1, 2, 5):
        opening = asyncio.ensure_future(_opened(tmp_path))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        assert opening.cancelled()
        store = await _opened_when_free(tmp_path)
        assert await store.names() == []
        await store.close()


async def _opened(root: Path) -> Store:
    return await Store.open(root)


async def _opened_when_free(root: Path) -> Store:
    async with asyncio.timeout(240):
        while True:
            try:
                return await Store.open(root)
            except StoreLocked:
                await asyncio.sleep(0.05)  # it is being closed


async def test_a_document_that_cannot_be_cut_does_not_stop_the_others(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    chunking = ChunkSettings(strategy="separator", separator_only=True, max_tokens=20)
    options["settings"] = replace(SETTINGS, chunking=chunking)
    async with Engine.open(tmp_path, llm=DeterministicLLM(), **options) as engine:
        report = await engine.insert([Document("word " * 100, id="long"), *DOCUMENTS[:2]])
        assert {row.id: row.status for row in report.documents} == {
            "long": Status.FAILED,
            "d0": Status.PROCESSED,
            "d1": Status.PROCESSED,
        }
        assert "max_tokens" in str(report.failed[0].error)
        assert [row.id for row in (await engine.resume()).failed] == ["long"]
        await engine.insert(Document("word", id="long"))
        assert {row.status for row in await engine.documents()} == {Status.PROCESSED}
