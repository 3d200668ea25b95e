"""Stopping what is under way, and trying again what has failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import ChunkSettings, Document, Engine, ExtractSettings, Limits, Settings, Status
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import CallSettings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump

SETTINGS = Settings(
    calls=CallSettings(attempts=1),
    chunking=ChunkSettings(strategy="separator"),
    extraction=ExtractSettings(gleaning=0),
)
LONG = "\n\n".join(f"Ann{n} met Bob{n}." for n in range(20))


class Gated(DeterministicLLM):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked: list[str] = []

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request.prompt)
        await self.gate.wait()
        return await super().complete(request)


def opened(root: Path, llm: Any, **options: Any) -> Any:
    return Engine.open(
        root, llm=llm, embedder=DeterministicEmbedder(), settings=SETTINGS, limits=Limits(llm=2), **options
    )


async def until_asked(llm: Gated, count: int) -> None:
    async with asyncio.timeout(240):
        while len(llm.asked) < count:  # noqa: ASYNC110 -- what is waited for happens in the engine
            await asyncio.sleep(0.005)


async def test_one_of_two_documents_is_stopped_and_nothing_paid_is_lost(tmp_path: Path) -> None:
    llm = Gated()
    documents = [Document(LONG, id="long"), Document("Cid met Dan.", id="short")]
    async with opened(tmp_path / "one", llm) as engine:
        run = asyncio.create_task(engine.insert(documents))
        await until_asked(llm, 2)
        assert await engine.cancel("long") == ("long",)
        llm.gate.set()
        report = await run
        told = {document.id: (document.status, document.error) for document in report.documents}
        assert told["short"] == (Status.PROCESSED, None)
        assert told["long"][0] is Status.FAILED
        assert "cancelled" in str(told["long"][1])
        # The two that were out when it was stopped, of which one may be the other document's.
        assert len(llm.asked) in (2, 3)
        status = await engine.document_status("long")
        assert status.status is Status.FAILED
        assert "cancelled" in status.error
        assert await engine.entity("Ann0") is None
        report = await engine.retry()
        assert [(d.id, d.status) for d in report.documents] == [("long", Status.PROCESSED)]
        assert len(llm.asked) == 21
        after = await dump(engine)
    async with opened(tmp_path / "other", DeterministicLLM()) as engine:
        await engine.insert(documents)
        assert await dump(engine) == after


async def test_what_waits_is_stopped_at_once_and_left_alone_until_it_is_resumed(tmp_path: Path) -> None:
    async with opened(tmp_path, DeterministicLLM()) as engine:
        await engine.submit(Document("Ann met Bob.", id="a"), tracking_id="first")
        await engine.submit(Document("Cid met Dan.", id="b"), tracking_id="second")
        assert await engine.cancel(tracking_id="first") == ("a",)
        assert await engine.cancel(tracking_id="first") == ()
        await engine.work(until_empty=True)
        assert {d.id: d.status for d in await engine.documents()} == {
            "a": Status.FAILED,
            "b": Status.PROCESSED,
        }
        assert await engine.cancel(["b", "unknown"]) == ()
    async with opened(tmp_path, DeterministicLLM()) as engine:
        report = await engine.resume()
        assert [(d.id, d.status) for d in report.documents] == [("a", Status.PROCESSED)]


async def test_everything_is_stopped_whoever_works_on_it(tmp_path: Path) -> None:
    llm = Gated()
    async with opened(tmp_path, llm) as engine:
        runs = [
            asyncio.create_task(
                engine.insert([Document(f"Ann{n} met Bob{m}.", id=f"{m}-{n}") for n in range(30)])
            )
            for m in range(2)
        ]
        await until_asked(llm, 2)
        stopped = await engine.cancel()
        llm.gate.set()
        reports = await asyncio.gather(*runs)
        left = [d.id for report in reports for d in report.documents if d.status is Status.FAILED]
        assert set(left) == set(stopped)
        assert len(left) == 60
        assert len(llm.asked) <= 4
        report = await engine.retry()
        assert report.counts == {Status.PROCESSED: 60}


async def test_retry_leaves_alone_what_has_not_failed(tmp_path: Path) -> None:
    async with opened(tmp_path, DeterministicLLM()) as engine:
        await engine.submit(Document("Ann met Bob.", id="waits"))
        await engine.submit(Document("Cid met Dan.", id="stopped"))
        await engine.cancel("stopped")
        report = await engine.retry(["waits", "stopped", "unknown"])
        assert [document.id for document in report.documents] == ["stopped"]
        assert (await engine.document_status("waits")).status is Status.PENDING
        assert (await engine.retry()).documents == ()


@pytest.mark.parametrize("by", ["id", "first", "second"])
async def test_a_newer_version_that_waits_is_stopped_too_or_alone(tmp_path: Path, by: str) -> None:
    llm = Gated()
    async with opened(tmp_path, llm) as engine:
        run = asyncio.create_task(engine.insert(Document(LONG, id="a"), tracking_id="first"))
        await until_asked(llm, 2)
        await engine.submit(Document("Cid met Dan.", id="a"), tracking_id="second")
        stopped = await engine.cancel("a") if by == "id" else await engine.cancel(tracking_id=by)
        assert stopped == ("a",)
        llm.gate.set()
        report = await run
        if by == "first":  # the newer version goes on
            assert report.documents[0].status is Status.FAILED
            await engine.work(until_empty=True)
            assert (await engine.document("a")).text == "Cid met Dan."
            return
        asked = len(llm.asked)
        await engine.work(until_empty=True)
        assert len(llm.asked) == asked, "what was stopped was worked on"
        assert (await engine.document_status("a")).status is Status.FAILED
        old = await engine.document("a")
        assert (old is None) if by == "id" else (old.text == LONG)
        assert (await engine.retry()).counts == {Status.PROCESSED: 1}
        assert (await engine.document("a")).text == "Cid met Dan."
