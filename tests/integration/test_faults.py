"""Each fault of a provider, over HTTP: the right status and error class, and `resume` repairs it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import (
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.limits import Limits
from stateless_rag.providers import OpenAIEmbedder, OpenAILLM
from stateless_rag.settings import CallSettings, ChunkSettings, ExtractSettings, Settings
from stateless_rag.testing import (
    Disconnect,
    Empty,
    FakeOpenAIServer,
    Fault,
    Faults,
    Hang,
    Malformed,
    RateLimited,
    ServedRequest,
    ServerError,
    Truncated,
)
from stateless_rag.testing.dump import dump
from stateless_rag.types import Answer, Document, InsertReport, Status

CHAT, EMBEDDINGS = "/chat/completions", "/embeddings"
SETTINGS = Settings(
    chunking=ChunkSettings(strategy="separator", separator="\n\n", separator_only=True),
    extraction=ExtractSettings(gleaning=0),
    calls=CallSettings(attempts=2, backoff=0.01, llm_timeout=1.0, embed_timeout=1.0),
)
DOCUMENTS = (
    Document("Ada Lovelace met Charles Babbage.\n\nAlan Turing met Broken Bob in London.", id="broken"),
    Document("Grace Hopper met Howard Aiken.", id="whole"),
)
# What goes wrong, what an LLM call then raises, what an embedding call then raises (None: it is repaired).
FAULTS: tuple[tuple[Fault, type[ProviderError] | None, type[ProviderError] | None], ...] = (
    (RateLimited(0.01), ProviderRateLimited, ProviderRateLimited),
    (RateLimited(), ProviderRateLimited, ProviderRateLimited),
    (ServerError(500), ProviderUnavailable, ProviderUnavailable),
    (ServerError(503), ProviderUnavailable, ProviderUnavailable),
    (ServerError(401), ProviderRejected, ProviderRejected),
    (Hang(5), ProviderTimeout, ProviderTimeout),
    (Disconnect("before"), ProviderUnavailable, ProviderUnavailable),
    (Disconnect("body"), ProviderUnavailable, ProviderUnavailable),
    (Empty(), InvalidReply, InvalidReply),
    (Malformed("body"), InvalidReply, InvalidReply),
    (Truncated(), None, InvalidReply),
)


class Switch:
    """Faults that can be turned off, for requests of one path whose text holds some words."""

    def __init__(self, fault: Fault, path: str, words: str = "") -> None:
        self.fault, self.path, self.words, self.on = fault, path, words, True

    def __call__(self, request: ServedRequest) -> Fault | None:
        hit = self.on and request.path.endswith(self.path) and self.words in request.text
        return self.fault if hit else None


@asynccontextmanager
async def engine_with(root: Path, choose: Callable[[ServedRequest], Fault | None]) -> AsyncIterator[Any]:
    async with FakeOpenAIServer(faults=Faults(choose)) as server:
        llm = OpenAILLM("fake", base_url=server.base_url)
        embedder = OpenAIEmbedder("fake", base_url=server.base_url, dimension=32, max_batch=4)
        try:
            async with Engine.open(
                root, settings=SETTINGS, llm=llm, embedder=embedder, limits=Limits(llm=4, embedder=2)
            ) as engine:
                yield engine, server
        finally:
            await llm.close()
            await embedder.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the documents come to when nothing goes wrong."""

    async def made() -> dict[str, Any]:
        async with engine_with(tmp_path_factory.mktemp("undisturbed"), lambda _: None) as (engine, _):
            await engine.insert(DOCUMENTS)
            return await dump(engine)

    return asyncio.run(made())


def by_id(report: InsertReport) -> dict[str, Status]:
    return {document.id: document.status for document in report.documents}


@pytest.mark.parametrize(("fault", "raised", "_"), FAULTS, ids=lambda value: repr(value)[:30])
async def test_a_fault_of_the_llm_fails_one_chunk_and_resume_asks_for_it_alone(
    tmp_path: Path, undisturbed: dict[str, Any], fault: Fault, raised: type[ProviderError] | None, _: Any
) -> None:
    switch = Switch(fault, CHAT, "Broken Bob in London")
    async with engine_with(tmp_path / "root", switch) as (engine, server):
        report = await engine.insert(DOCUMENTS)
        if raised is None:  # what a truncated reply did say was used
            assert by_id(report) == {"broken": Status.PROCESSED, "whole": Status.PROCESSED}
            return
        assert by_id(report) == {"broken": Status.FAILED, "whole": Status.PROCESSED}
        (error,) = report.failed[0].errors
        assert error.error.startswith(raised.__name__) and (error.ordinal, error.attempts) == (1, 1)
        rows = {row.id: row for row in await engine.documents()}
        assert rows["broken"].status is Status.FAILED and rows["broken"].errors == (error,)
        attempts = Counter(record.digest for record in server.log if record.path.endswith(CHAT))
        assert sorted(attempts.values()) == ([1, 1, 1] if raised is ProviderRejected else [1, 1, 2])
        assert await engine.entity("Broken Bob") is None
        again = await engine.resume()
        assert again.failed[0].errors[0].attempts == 2

        switch.on = False
        asked = len(server.log)
        report = await engine.resume()
        assert by_id(report) == {"broken": Status.PROCESSED}
        chats = [record for record in server.log[asked:] if record.path.endswith(CHAT)]
        assert len(chats) == 1
        assert await dump(engine) == undisturbed
        asked = len(server.log)
        assert (await engine.resume()).documents == ()
        assert len(server.log) == asked


@pytest.mark.parametrize(("fault", "_", "raised"), FAULTS, ids=lambda value: repr(value)[:30])
async def test_a_fault_of_the_embedder_fails_the_documents_it_stops(
    tmp_path: Path, undisturbed: dict[str, Any], fault: Fault, raised: type[ProviderError], _: Any
) -> None:
    switch = Switch(fault, EMBEDDINGS, "Broken Bob")
    async with engine_with(tmp_path / "root", switch) as (engine, server):
        report = await engine.insert(DOCUMENTS)
        assert by_id(report) == {"broken": Status.FAILED, "whole": Status.PROCESSED}
        assert report.failed[0].error is not None and report.failed[0].error.startswith(raised.__name__)
        switch.on = False
        asked = len(server.log)
        assert by_id(await engine.resume()) == {"broken": Status.PROCESSED}
        assert not [record for record in server.log[asked:] if record.path.endswith(CHAT)]
        assert await dump(engine) == undisturbed


@pytest.mark.parametrize(("fault", "raised", "_"), FAULTS, ids=lambda value: repr(value)[:30])
async def test_a_fault_in_a_query_is_raised_or_degraded(
    tmp_path: Path, fault: Fault, raised: type[ProviderError] | None, _: Any
) -> None:
    switch = Switch(fault, CHAT)
    switch.on = False
    async with engine_with(tmp_path / "root", switch) as (engine, _server):
        await engine.insert(DOCUMENTS)
        switch.on = True
        asked = {"low_level_keywords": ("Ada Lovelace",), "high_level_keywords": ("meetings",)}
        if raised is None:
            answer = await engine.query("Who met Charles Babbage?", **asked)
            assert answer.truncated and answer.text
            return
        with pytest.raises(raised):
            await engine.query("Who met Charles Babbage?", **asked)
        with pytest.raises(raised):  # for keywords
            await engine.query("Who met Charles Babbage?", mode="hybrid", only_context=True)
        with pytest.raises(raised):
            _ = [piece async for piece in engine.stream("Who met Charles Babbage?", **asked)]
        degraded = await engine.query("Who met Charles Babbage?", mode="hybrid", on_provider_error="degrade")
        assert degraded.references and raised.__name__ in " ".join(degraded.degraded)
        assert not degraded.no_context


@pytest.mark.parametrize(("fault", "_", "raised"), FAULTS, ids=lambda value: repr(value)[:30])
async def test_a_fault_of_the_embedder_in_a_query(
    tmp_path: Path, fault: Fault, raised: type[ProviderError], _: Any
) -> None:
    switch = Switch(fault, EMBEDDINGS)
    switch.on = False
    async with engine_with(tmp_path / "root", switch) as (engine, _server):
        await engine.insert(DOCUMENTS)
        switch.on = True
        asked = {"low_level_keywords": ("Ada Lovelace",), "high_level_keywords": ("meetings",)}
        with pytest.raises(raised):
            await engine.retrieve("Who met Charles Babbage?", **asked)
        degraded = await engine.retrieve("Who met Charles Babbage?", **asked, on_provider_error="degrade")
        assert degraded.passages and degraded.degraded


async def test_a_stream_that_breaks_in_the_middle(tmp_path: Path) -> None:
    switch = Switch(Disconnect("stream"), CHAT)
    switch.on = False
    asked = {"low_level_keywords": ("Ada Lovelace",), "high_level_keywords": ("meetings",)}
    async with engine_with(tmp_path / "root", switch) as (engine, _):
        await engine.insert(DOCUMENTS)
        switch.on = True
        pieces: list[str | Answer] = []
        with pytest.raises(ProviderUnavailable):
            async for piece in engine.stream("Who met Charles Babbage?", **asked):
                pieces.append(piece)  # noqa: PERF401 -- those before the error are wanted
        assert pieces and all(isinstance(piece, str) for piece in pieces)
        pieces = [piece async for piece in engine.stream("Who?", **asked, on_provider_error="degrade")]
        answer = pieces[-1]
        assert isinstance(answer, Answer) and answer.truncated and answer.degraded


async def test_a_malformed_text_is_an_error_of_its_chunk_and_not_an_empty_graph(tmp_path: Path) -> None:
    switch = Switch(Malformed("text"), CHAT, "Broken Bob")
    async with engine_with(tmp_path / "root", switch) as (engine, _):
        report = await engine.insert(DOCUMENTS)
        assert by_id(report) == {"broken": Status.FAILED, "whole": Status.PROCESSED}
        (error,) = next(document for document in report.documents if document.id == "broken").errors
        assert "InvalidReply" in error.error
        assert await engine.entity("Broken Bob") is None
        switch.on = False
        assert not (await engine.resume()).failed
        assert await engine.entity("Broken Bob") is not None


async def test_faults_that_pass_are_not_noticed(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    faults: tuple[Fault, ...] = (RateLimited(0.01), ServerError(502), Disconnect("before"), Empty())
    for number, fault in enumerate(faults):
        tried: set[str] = set()

        def first_time(request: ServedRequest, tried: set[str] = tried, fault: Fault = fault) -> Fault | None:
            fresh = request.digest not in tried
            tried.add(request.digest)
            return fault if fresh else None

        async with engine_with(tmp_path / str(number), first_time) as (engine, _):
            report = await engine.insert(DOCUMENTS)
            assert not report.failed
            assert await dump(engine) == undisturbed


async def test_an_update_that_fails_leaves_the_old_version_answering(tmp_path: Path) -> None:
    switch = Switch(ServerError(500), CHAT, "Broken Bob")
    async with engine_with(tmp_path / "root", switch) as (engine, _):
        await engine.insert(Document("Ada Lovelace met Charles Babbage.", id="d"))
        report = await engine.insert(Document("Ada Lovelace met Broken Bob.", id="d"))
        assert report.documents[0].status is Status.FAILED and report.documents[0].stale
        assert (await engine.documents())[0].stale
        assert await engine.entity("Charles Babbage") is not None
        switch.on = False
        await engine.resume()
        assert await engine.entity("Charles Babbage") is None
        assert await engine.entity("Broken Bob") is not None


async def test_two_inserts_of_what_fails_both_end(tmp_path: Path) -> None:
    switch = Switch(ServerError(500), CHAT, "Broken Bob")
    async with engine_with(tmp_path / "root", switch) as (engine, _):
        async with asyncio.timeout(240):
            await asyncio.gather(*(engine.insert(DOCUMENTS) for _ in range(4)))
        assert {row.id: row.status for row in await engine.documents()} == {
            "broken": Status.FAILED,
            "whole": Status.PROCESSED,
        }
        switch.on = False
        await engine.resume()
        assert {row.status for row in await engine.documents()} == {Status.PROCESSED}
