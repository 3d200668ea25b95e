"""What reviews found, once each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

from stateless_rag import Document, Engine, Limits, Message, Settings
from stateless_rag.errors import ProviderRejected, ProviderUnavailable
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest
from stateless_rag.settings import CallSettings, ExtractSettings, IngestSettings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Status

SETTINGS = Settings(
    extraction=ExtractSettings(gleaning=0),
    calls=CallSettings(attempts=2, backoff=0.001, max_backoff=0.001),
    ingest=IngestSettings(commit_chunks=64),
)


class Picky(DeterministicLLM):
    """Refuses texts that name Mallory."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        if "Mallory" in request.prompt:
            raise ProviderRejected("refused")
        return await super().complete(request)


class Embedder(DeterministicEmbedder):
    """Fails when told to, and counts its calls."""

    def __init__(self) -> None:
        super().__init__(16)
        self.calls = 0
        self.error: Exception | None = None
        self.poison = ""

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.calls += 1
        if self.error is not None and (not self.poison or any(self.poison in text for text in texts)):
            raise self.error
        return await super().embed(texts, role=role)


def documents(count: int, *, mallory: int = 0) -> list[Document]:
    return [
        Document(f"{'Mallory' if n < mallory else 'Alice'} met Bob{n} in Town{n}.", id=f"d{n:04}")
        for n in range(count)
    ]


async def test_resume_tries_every_document_however_many_fail(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=Picky(), embedder=Embedder(), settings=SETTINGS) as engine:
        await engine.submit(documents(200, mallory=80))
        report = await engine.resume()
        assert report.counts == {Status.FAILED: 80, Status.PROCESSED: 120}
        report = await engine.resume()
        assert report.counts == {Status.FAILED: 80}


async def test_an_embedder_that_is_away_is_not_asked_for_each_document(tmp_path: Path) -> None:
    embedder = Embedder()
    embedder.error = ProviderUnavailable("connection refused")
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=embedder, settings=SETTINGS) as engine:
        report = await engine.insert(documents(60))
        assert report.counts == {Status.FAILED: 60}
        assert embedder.calls < 60
        embedder.error = None
        assert (await engine.resume()).counts == {Status.PROCESSED: 60}


async def test_one_text_that_cannot_be_embedded_stops_one_document(tmp_path: Path) -> None:
    embedder = Embedder()
    embedder.error, embedder.poison = ProviderRejected("refused"), "Bob7 "
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=embedder, settings=SETTINGS) as engine:
        report = await engine.insert(documents(40))
        assert [document.id for document in report.failed] == ["d0007"]
        embedder.error = None
        assert (await engine.resume()).counts == {Status.PROCESSED: 1}


async def test_the_report_tells_of_every_document_given(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=Embedder()) as engine:
        given = [Document(f"Alice met Bob{n}.", id="same") for n in range(5)]
        report = await engine.insert([*given, Document("Carol met Dave.", id="other")])
        assert [document.id for document in report.documents] == ["same"] * 5 + ["other"]
        stored = await engine.document("same")
        assert stored is not None and stored.text == "Alice met Bob4."
        one, other = await asyncio.gather(engine.insert(documents(40)), engine.insert(documents(40)))
        assert len(one.documents) == len(other.documents) == 40
        assert not one.failed and not other.failed


async def test_documents_of_a_slow_source_are_not_held_back(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=Embedder()) as engine:
        more = asyncio.Event()

        async def source() -> AsyncIterator[Document]:
            yield Document("Alice met Bob.", id="first")
            await more.wait()
            yield Document("Carol met Dave.", id="second")

        insert = asyncio.create_task(engine.insert(source()))
        async with asyncio.timeout(240):
            while await engine.document("first") is None:  # noqa: ASYNC110 -- nothing tells of a commit from outside
                await asyncio.sleep(0.01)
        more.set()
        assert (await insert).counts == {Status.PROCESSED: 2}


async def test_ingestion_waits_where_the_queue_for_a_provider_is_full(tmp_path: Path) -> None:
    limits = Limits(llm=2, embedder=1, queue=3)
    async with Engine.open(
        tmp_path, llm=DeterministicLLM(), embedder=Embedder(), settings=SETTINGS, limits=limits
    ) as engine:
        assert (await engine.insert(documents(50))).counts == {Status.PROCESSED: 50}


async def test_a_history_in_the_usual_forms(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=DeterministicLLM(), embedder=Embedder()) as engine:
        await engine.insert(documents(3))
        forms: tuple[Any, ...] = (
            {"role": "user", "content": "Hello"},
            Message("user", "Hello"),
            ("user", "Hello"),
        )
        answers = {(await engine.query("Who met Bob1?", history=(form,))).text for form in forms}
        assert len(answers) == 1


async def test_words_are_found_in_chinese_when_the_embedder_is_away(tmp_path: Path) -> None:
    embedder = Embedder()
    async with Engine.open(tmp_path, embedder=embedder) as engine:
        await engine.insert(
            [Document("图灵在剑桥大学学习数学。", id="turing"), Document("冯·诺依曼", id="other")]
        )
        embedder.error = ProviderUnavailable("away")
        answer = await engine.query("图灵在哪所大学学习？", on_provider_error="degrade")
        assert not answer.no_context
        assert answer.references[0].document_id == "turing"
        assert answer.degraded


async def test_work_does_not_remember_every_document(tmp_path: Path) -> None:
    async with Engine.open(
        tmp_path, llm=DeterministicLLM(), embedder=Embedder(), settings=SETTINGS
    ) as engine:
        await engine.submit(documents(1100))
        report = await engine.work(until_empty=True)
        assert len(report.documents) == 1000
        assert (await engine.describe()).documents[Status.PROCESSED] == 1100
