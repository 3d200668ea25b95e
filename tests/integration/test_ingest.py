"""The write path over many documents: how they are read, grouped, committed and reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from stateless_rag import (
    ChunkSettings,
    Document,
    Engine,
    ExtractSettings,
    IngestSettings,
    Limits,
    Settings,
    Status,
)
from stateless_rag.context import Clock
from stateless_rag.errors import CommitConflict, ProviderRejected, ProviderUnavailable
from stateless_rag.ingest import commits
from stateless_rag.ingest.source import groups_of
from stateless_rag.protocols import Change, Embeddings, LLMReply, LLMRequest
from stateless_rag.settings import CallSettings
from stateless_rag.stages.embed import embed_named
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Event


def engine(root: Path, **given: Any) -> Any:
    ingest = given.pop("ingest", IngestSettings())
    settings = Settings(
        calls=CallSettings(attempts=1),
        chunking=ChunkSettings(strategy="separator"),
        extraction=ExtractSettings(gleaning=0),
        ingest=ingest,
    )
    parts = {"llm": DeterministicLLM(), "embedder": DeterministicEmbedder(), **given}
    return Engine.open(root, settings=settings, **parts)


def documents(count: int) -> list[Document]:
    return [Document(f"Alice met Bob{n} in Town{n}.", id=f"d{n:04}") for n in range(count)]


# ---- reading the input ---------------------------------------------------------------------------------

PLACE: ContextVar[str] = ContextVar("PLACE", default="outside")


class Source:
    """An async generator that holds a task group, a time limit and a context variable across its steps."""

    def __init__(self, *, error: BaseException | None = None) -> None:
        self.error = error
        self.tasks: list[Any] = []
        self.places: list[str] = []
        self.closed = False

    async def read(self, count: int) -> AsyncGenerator[Document]:
        try:
            async with asyncio.timeout(240), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
                token = PLACE.set("inside")
                for document in documents(count):
                    await asyncio.sleep(0)
                    self.tasks.append(asyncio.current_task())
                    self.places.append(PLACE.get())
                    yield document
                PLACE.reset(token)
        finally:
            self.tasks.append(asyncio.current_task())
            self.closed = True
        if self.error is not None:
            raise self.error


async def test_an_async_generator_is_read_and_closed_in_one_task(tmp_path: Path) -> None:
    source = Source()
    async with engine(tmp_path) as opened:
        report = await opened.insert(source.read(200))
    assert report.counts == {Status.PROCESSED: 200}
    assert len(set(source.tasks)) == 1 and set(source.places) == {"inside"}
    assert PLACE.get() == "outside"


async def test_a_generator_that_is_not_read_to_its_end_is_closed_in_the_task_that_read_it() -> None:
    source = Source()
    groups = groups_of(source.read(1000))
    assert await anext(groups)
    for _ in range(50):  # until it is as far ahead as it may be
        await asyncio.sleep(0)
    await groups.aclose()
    assert source.closed and len(set(source.tasks)) == 1
    assert len(source.tasks) < 300  # it is read a little ahead, not to its end


@pytest.mark.parametrize(
    "error", [RuntimeError("the source broke"), ExceptionGroup("two", [OSError(), KeyError()])]
)
@pytest.mark.parametrize("sort", ["async", "sync"])
async def test_what_a_source_gave_before_it_broke_is_pending(
    tmp_path: Path, sort: str, error: Exception
) -> None:
    def sync() -> Iterator[Document]:
        yield from documents(150)
        raise error

    async with engine(tmp_path) as opened:
        with pytest.raises(type(error)) as raised:
            await opened.insert(Source(error=error).read(150) if sort == "async" else sync())
        assert raised.value is error
        assert len(await opened.documents()) == 150
        await opened.resume()
        assert {status.status for status in await opened.documents()} == {Status.PROCESSED}


async def test_a_source_that_is_cancelled_from_within_does_not_hang(tmp_path: Path) -> None:
    async with engine(tmp_path) as opened:
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(240):
                await opened.insert(Source(error=asyncio.CancelledError()).read(3))


async def test_a_group_is_not_held_back_for_a_slow_source() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        yield "one"
        yield "two"
        await go_on.wait()
        yield "three"

    groups = groups_of(slow())
    assert [document.text for document in await anext(groups)] == ["one", "two"]
    go_on.set()
    assert [document.text for document in await anext(groups)] == ["three"]
    await groups.aclose()


# ---- how many at once ----------------------------------------------------------------------------------


class InFlight:
    """Counts documents that are cut and not settled, and those that were accepted and not cut."""

    def __init__(self) -> None:
        self.accepted, self.now, self.most, self.most_accepted = 0, 0, 0, 0

    def __call__(self, event: Event) -> None:
        self.accepted += {"accepted": 1, "chunked": -1}.get(event.kind, 0)
        self.now += {"chunked": 1, "committed": -1, "failed": -1}.get(event.kind, 0)
        self.most = max(self.most, self.now)
        self.most_accepted = max(self.most_accepted, self.accepted)


async def test_no_more_documents_are_in_flight_than_allowed(tmp_path: Path) -> None:
    observer = InFlight()
    async with engine(tmp_path, observer=observer, ingest=IngestSettings(documents_in_flight=8)) as opened:
        report = await opened.insert(documents(60))
    assert report.counts == {Status.PROCESSED: 60}
    assert 1 < observer.most <= 8 and observer.most_accepted <= 8


async def test_characters_in_flight_let_one_large_document_in_alone(tmp_path: Path) -> None:
    observer = InFlight()
    async with engine(tmp_path, observer=observer, ingest=IngestSettings(characters_in_flight=10)) as opened:
        report = await opened.insert(documents(5))
    assert report.counts == {Status.PROCESSED: 5} and observer.most == 1


async def test_documents_share_a_commit_up_to_so_many_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "_CHARACTERS", 60)  # two of the documents
    async with engine(tmp_path) as opened:
        report = await opened.insert(documents(20))
    assert report.counts == {Status.PROCESSED: 20}
    assert report.revision >= 10


# ---- committing ----------------------------------------------------------------------------------------


class OneAtATime(DeterministicEmbedder):
    """Cannot be reached when the texts of several documents come at once."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        if sum(text.startswith("Alice met Bob") for text in texts) > 1:
            self.refused += 1
            raise ProviderUnavailable("too much at once")
        return await super().embed(texts, role=role)


class Picky(DeterministicLLM):
    """Refuses texts that name Mallory."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        if "Mallory" in request.prompt:
            raise ProviderRejected("refused")
        return await super().complete(request)


async def test_documents_that_are_partial_do_not_look_like_a_provider_that_is_away(tmp_path: Path) -> None:
    given = [
        Document(f"Alice met Bob{n} in Town{n}." + "\n\nMallory hid." * (n % 4 != 3), id=f"d{n:04}")
        for n in range(40)
    ]
    embedder = OneAtATime()
    async with engine(
        tmp_path, llm=Picky(), embedder=embedder, ingest=IngestSettings(accept_partial=True)
    ) as opened:
        report = await opened.insert(given)
        assert embedder.refused
        assert report.counts == {Status.FAILED: 30, Status.PROCESSED: 10}
        found = await opened.retrieve("Alice", mode="naive", min_similarity=-1.0, chunk_top_k=100)
        assert {passage.document_id for passage in found.passages} == {document.id for document in given}


async def test_a_commit_that_conflicts_waits_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    conflicts = 12

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with engine(tmp_path, clock=Clock(sleep=sleep)) as opened:
        workspace = opened._workspace
        real = workspace.commit

        async def commit(change: Change) -> int:
            nonlocal conflicts
            conflicts -= 1
            if conflicts >= 0:
                raise CommitConflict("somebody else was faster")
            return await real(change)  # type: ignore[no-any-return]

        monkeypatch.setattr(workspace, "commit", commit)
        report = await opened.insert("Alice met Bob.")
        assert report.counts == {Status.PROCESSED: 1}
    assert len(pauses) == 12
    assert all(0 <= pause <= min(1.0, 0.02 * 2**n) for n, pause in enumerate(pauses))
    assert len(set(pauses)) > 6 and max(pauses) > 0.02


async def test_vectors_that_a_commit_leaves_in_the_journal_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[Mapping[str, Any]] = []

    async def held(root: str, at_most: int) -> tuple[Any, Any]:
        monkeypatch.setitem(embed_named.__globals__, "_HELD_BYTES", at_most * 4 * 384)
        async with engine(tmp_path / root) as opened:
            workspace = opened._workspace
            real = workspace.commit

            async def commit(change: Change) -> int:
                carried.append(change.vectors)
                return await real(change)  # type: ignore[no-any-return]

            monkeypatch.setattr(workspace, "commit", commit)
            await opened.insert(Document("\n\n".join(d.text for d in documents(30)), id="d"))
            await opened.insert(Document("\n\n".join(d.text for d in documents(31)), id="d"))
            found = await opened.retrieve("Bob7 in Town7", mode="mix", min_similarity=-1.0)
            return await dump(opened), found.passages

    assert await held("one", 2048) == await held("other", 0)
    assert [bool(vectors) for vectors in carried] == [True, True, False, False]


async def test_more_summaries_than_the_queue_takes_are_asked_for_a_few_at_a_time(tmp_path: Path) -> None:
    text = "\n\n".join(
        f"Alice{n} saw Bob{n}.\n\nAlice{n} left Bob{n} in Town{turn}." for turn in (1, 2) for n in range(60)
    )
    settings = Settings(chunking=ChunkSettings(strategy="separator"), extraction=ExtractSettings(gleaning=0))
    waiting: list[int] = []
    limits = Limits(llm=2)

    class Watched(DeterministicLLM):
        async def complete(self, request: LLMRequest) -> LLMReply:
            if request.purpose == "summarize":
                waiting.append(limits.waiting("llm"))
                await asyncio.sleep(0.001)
            return await super().complete(request)

    settings = replace(settings, merging=replace(settings.merging, summarize_from=2))
    async with Engine.open(
        tmp_path, llm=Watched(), embedder=DeterministicEmbedder(), settings=settings, limits=limits
    ) as opened:
        assert (await opened.insert(text)).counts == {Status.PROCESSED: 1}
    assert len(waiting) > 60 and max(waiting) <= 4


async def test_documents_that_are_there_are_settled_in_one_write_and_counted_once(tmp_path: Path) -> None:
    async with engine(tmp_path) as opened:
        await opened.insert(documents(50))
        workspace: Any = opened._workspace
        written = 0
        write = workspace.write

        def counting(*given: Any, **options: Any) -> Any:
            nonlocal written
            written += 1
            return write(*given, **options)

        workspace.write = counting
        report = await opened.insert(documents(50))
        assert all(document.unchanged for document in report.documents)
        assert written <= 4, "as many writes as documents"
        workspace.write = write
        await opened.submit(documents(1))
        await opened.submit([*documents(1), Document("Eve waits.", id="new")])
        assert (await opened.describe()).documents == {
            **dict.fromkeys(Status, 0),
            Status.PROCESSED: 49,
            Status.PENDING: 2,
        }
        assert len(await opened.documents()) == 51
