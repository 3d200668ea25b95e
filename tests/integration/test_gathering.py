"""What finishes close together shares a commit, and what was paid for at about the same time shares a flush."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, Settings, Status
from stateless_rag.context import Clock, Context
from stateless_rag.protocols import Embeddings, LLMRequest
from stateless_rag.settings import MergeSettings
from stateless_rag.stores.duckdb import journal as journaling
from stateless_rag.stores.duckdb.database import Database, Write
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Chunk, Event, Extraction

_LONG = 60.0  # seconds that no test takes: who waits as long has missed something


class Held:
    """An extractor that finds nothing, and keeps each document whose text has a name until it is let go."""

    def __init__(self, *names: str) -> None:
        self.kept = {name: asyncio.Event() for name in names}
        self.done: list[str] = []
        self.changed = asyncio.Event()

    def generation(self, _: Context) -> str:
        return "held-1"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        if chunk.text in self.kept:
            await asyncio.wait_for(self.kept[chunk.text].wait(), _LONG)
        return Extraction(chunk_id=chunk.id, generation=self.generation(context))

    def observe(self, event: Event) -> None:
        """Note which documents are done."""
        if event.kind == "extracted":
            self.done.append(str(event.document_id))
            self.changed.set()

    async def let_go(self, name: str) -> None:
        """Return when the document is done."""
        self.kept[name].set()
        while name not in self.done:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), _LONG)


async def inserted(root: Path, held: Held, sleep: Any, *names: str) -> int:
    """How many revisions it took to insert documents of these names."""
    async with Engine.open(
        root,
        extractor=held,
        embedder=DeterministicEmbedder(8),
        observer=held.observe,
        clock=Clock(sleep=sleep),
    ) as engine:
        report = await engine.insert([Document(name, id=name) for name in names])
        assert report.counts == {Status.PROCESSED: len(names)}
        return engine.revision


async def test_documents_that_finish_close_together_share_a_commit(tmp_path: Path) -> None:
    held, pauses = Held("second", "third"), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        for name in ("second", "third"):
            if name not in held.done:
                await held.let_go(name)
                return

    assert await inserted(tmp_path, held, sleep, "first", "second", "third") == 1
    assert len(pauses) == 2 and max(pauses) <= 0.005  # and none once nothing else is under way


async def test_one_document_waits_for_nobody(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    assert await inserted(tmp_path, Held(), sleep, "first") == 1
    assert pauses == []


async def test_a_document_that_takes_longer_is_not_waited_for(tmp_path: Path) -> None:
    held, pauses = Held("second"), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def observe(event: Event) -> None:
        held.observe(event)
        if event.kind == "committed" and event.document_id == "first":
            held.kept["second"].set()

    async with Engine.open(
        tmp_path,
        extractor=held,
        embedder=DeterministicEmbedder(8),
        observer=observe,
        clock=Clock(sleep=sleep),
    ) as engine:
        report = await engine.insert([Document("first", id="first"), Document("second", id="second")])
        assert report.counts == {Status.PROCESSED: 2}
        assert engine.revision == 2
    assert 0 < sum(pauses) <= 0.02


async def test_commits_lie_apart_while_others_are_on_the_way(tmp_path: Path) -> None:
    held, pauses, seconds = Held("second", "third"), list[float](), [0.0]

    def monotonic() -> float:
        seconds[0] += 0.01  # so a commit takes a hundredth of a second or more
        return seconds[0]

    async def sleep(pause: float) -> None:
        pauses.append(pause)
        if held.kept["second"].is_set() and "second" in held.done and len(pauses) > 30:
            await held.let_go("third")

    def observe(event: Event) -> None:
        held.observe(event)
        if event.kind == "committed" and event.document_id == "first":
            held.kept["second"].set()

    async with Engine.open(
        tmp_path,
        extractor=held,
        embedder=DeterministicEmbedder(8),
        observer=observe,
        clock=Clock(monotonic=monotonic, sleep=sleep),
    ) as engine:
        report = await engine.insert([Document(name, id=name) for name in ("first", "second", "third")])
        assert report.counts == {Status.PROCESSED: 3}
        assert engine.revision == 2, "the third shares the second's commit"


async def test_what_needs_no_summary_is_embedded_while_summaries_are_written(tmp_path: Path) -> None:
    told: asyncio.Event = asyncio.Event()

    class Waiting(DeterministicLLM):
        async def complete(self, request: LLMRequest) -> Any:
            if request.purpose == "summarize":
                await asyncio.wait_for(told.wait(), _LONG)
            return await super().complete(request)

    class Telling(DeterministicEmbedder):
        async def embed(self, texts: Sequence[str], **rest: Any) -> Embeddings:
            if any(text.startswith("Lonely") for text in texts):
                told.set()
            return await super().embed(texts, **rest)

    settings = Settings(merging=MergeSettings(summarize_from=2), extraction=ExtractSettings(gleaning=0))
    async with Engine.open(tmp_path, llm=Waiting(), embedder=Telling(8), settings=settings) as engine:
        texts = ["Ada met Lonely here.", "There was Ada once more."]
        report = await engine.insert([Document(text, id=text) for text in texts])
        assert report.counts == {Status.PROCESSED: 2}
        ada, lonely = await engine.entity("Ada"), await engine.entity("Lonely")
        assert ada is not None and ada.description.startswith("Summary")
        assert lonely is not None and "met Lonely" in lonely.description
        assert {hit.key for hit in (await engine.retrieve("Ada", mode="local")).entities} >= {"ada"}


# ---- flushes -------------------------------------------------------------------------------------------


class Transactions:
    """A connection that counts its transactions."""

    def __init__(self) -> None:
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def commit(self) -> None:
        return

    def rollback(self) -> None:
        return


@pytest.mark.parametrize("ending", ["hurry", "another write"])
def test_patient_writes_share_a_transaction(ending: str) -> None:
    counted: Any = Transactions()
    with ThreadPoolExecutor(1) as executor:
        database = Database(lambda: counted, lambda _: None, executor, "root")
        numbers = iter(range(4))
        futures = [database.submit(Write(lambda _: next(numbers), patience=_LONG)) for _ in range(3)]
        assert not any(future.done() for future in futures)
        if ending == "hurry":
            database.hurry()
        else:
            futures.append(database.submit(Write(lambda _: next(numbers))))
        assert [future.result(_LONG / 2) for future in futures] == list(range(len(futures)))
        assert counted.begun == 1
        last = database.submit(Write(lambda _: "again", patience=0.001))
        assert last.result(_LONG / 2) == "again"  # nobody else comes, and it does not wait for ever
        assert counted.begun == 2


async def test_what_is_alone_under_way_is_flushed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_REPLIES_WAIT", "_VECTORS_WAIT"):
        monkeypatch.setattr(journaling, name, _LONG)
    async with (
        asyncio.timeout(_LONG / 2),
        Engine.open(tmp_path, llm=DeterministicLLM(), embedder=DeterministicEmbedder(8)) as engine,
    ):
        documents = [Document(f"Alice met Bob{n} in Paris.") for n in range(4)]
        report = await engine.insert(documents)
        assert report.counts == {Status.PROCESSED: 4}


class Asked:
    """An LLM function that answers about Bob when it is let go, about Ann at once, or once it was asked about Bob."""

    def __init__(self, *, together: bool = False) -> None:
        self._together = together
        self.about_bob, self.answered, self.go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, prompt: str, **named: Any) -> str:
        request = LLMRequest(
            prompt=prompt, system=named.get("system_prompt"), purpose=named.get("purpose", "")
        )
        if "Bob met" in prompt:
            self.about_bob.set()
            await asyncio.wait_for(self.go.wait(), _LONG)
        elif "Ann met" in prompt:
            if self._together:
                await asyncio.wait_for(self.about_bob.wait(), _LONG)
            self.answered.set()
        return DeterministicLLM().text(request)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many replies each flush holds; calls under way are waited for as long as it takes."""
    counts: list[int] = []
    write = journaling.DuckJournal._write

    def counted(journal: Any, cursor: Any, batch: Any) -> None:
        write(journal, cursor, batch)
        if batch.entries:
            counts.append(len(batch.entries))

    monkeypatch.setattr(journaling.DuckJournal, "_write", counted)
    monkeypatch.setattr(journaling, "_REPLIES_WAIT", _LONG)
    return counts


_ONE_PASS = Settings(extraction=ExtractSettings(gleaning=0))


async def test_replies_to_calls_under_way_share_a_flush(tmp_path: Path, flushed: list[int]) -> None:
    asked = Asked(together=True)
    async with (
        asyncio.timeout(_LONG / 2),
        Engine.open(tmp_path, llm=asked, embedder=DeterministicEmbedder(8), settings=_ONE_PASS) as engine,
    ):
        inserting = asyncio.create_task(engine.insert(["Ann met Carl in Rome.", "Bob met Dora in Oslo."]))
        await asked.about_bob.wait()
        await asked.answered.wait()
        await asyncio.sleep(0.05)
        assert flushed == []
        asked.go.set()
        assert (await inserting).counts == {Status.PROCESSED: 2}
    assert flushed == [2]


async def test_a_question_does_not_wait_for_calls_of_an_ingest(tmp_path: Path, flushed: list[int]) -> None:
    asked = Asked()
    async with (
        asyncio.timeout(_LONG / 2),
        Engine.open(tmp_path, llm=asked, embedder=DeterministicEmbedder(8), settings=_ONE_PASS) as engine,
    ):
        await engine.insert("Ann met Carl in Rome.")
        inserting = asyncio.create_task(engine.insert("Bob met Dora in Oslo."))
        await asked.about_bob.wait()
        before = len(flushed)
        answer = await engine.query("Who was in Rome?", mode="naive", cache=True, min_similarity=-1.0)
        assert answer.text and len(flushed) == before + 1
        asked.go.set()
        await inserting


class Embedding:
    """An embedder of single texts, which takes its time for Bob's."""

    max_batch = 1

    def __init__(self) -> None:
        self._embedder = DeterministicEmbedder(8)
        self.about_bob, self.go = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    async def embed(self, texts: Sequence[str], **named: Any) -> Embeddings:
        if "Bob" in texts[0]:
            self.about_bob.set()
            await asyncio.wait_for(self.go.wait(), _LONG)
        return await self._embedder.embed(texts, **named)


async def test_vectors_of_calls_under_way_share_a_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder: Any = Embedding()
    counts: list[int] = []
    write = journaling.DuckJournal._write

    def counted(journal: Any, cursor: Any, batch: Any) -> None:
        write(journal, cursor, batch)
        if batch.vectors:
            counts.append(len(batch.vectors))

    monkeypatch.setattr(journaling.DuckJournal, "_write", counted)
    monkeypatch.setattr(journaling, "_VECTORS_WAIT", _LONG)
    async with (
        asyncio.timeout(_LONG / 2),
        Engine.open(tmp_path, extractor=Held(), embedder=embedder) as engine,
    ):
        inserting = asyncio.create_task(
            engine.insert([Document(f"{name} met Carl.") for name in ("Bob", "Ann", "Zoe")])
        )
        await embedder.about_bob.wait()
        await asyncio.sleep(0.05)
        assert counts == []
        embedder.go.set()
        assert (await inserting).counts == {Status.PROCESSED: 3}
    assert counts == [3]
