"""The pool of workspaces: leases, room, and fair work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidWorkspaceName, Overloaded, StoreClosed, WorkspaceNotFound
from stateless_rag.limits import Limits
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.providers import O200kTokenizer
from stateless_rag.settings import ExtractSettings, Settings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document, Status
from stateless_rag.workspaces import Workspaces


class PacedLLM(DeterministicLLM):
    """Takes its time, and keeps the order in which it was asked for chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose == "extract":
            self.asked.append(request.prompt)
        await asyncio.sleep(0.005)
        return await super().complete(request)


class Opened:
    """Gives the options of an engine, and counts for whom."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.llm = PacedLLM()
        self.tokenizer = O200kTokenizer()

    def __call__(self, name: str) -> Mapping[str, Any]:
        self.names.append(name)
        settings = Settings(extraction=ExtractSettings(gleaning=0))
        return {
            "llm": self.llm,
            "embedder": DeterministicEmbedder(),
            "tokenizer": self.tokenizer,
            "settings": settings,
        }


async def test_ten_leases_at_once_open_one_engine(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened) as pool:

        async def use() -> Engine:
            async with pool.lease("a") as engine:
                await asyncio.sleep(0)
                return engine

        engines = await asyncio.gather(*(use() for _ in range(10)))
        assert len(set(map(id, engines))) == 1
        assert opened.names == ["a"] and pool.opened == ("a",)
        assert engines[0].context.limits is pool.limits


async def test_the_least_recently_used_goes_and_what_is_leased_stays(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened, max_open=2) as pool:
        async with pool.lease("a") as first:
            pass
        async with pool.lease("b"):
            pass
        async with pool.lease("a"):
            pass
        async with pool.lease("c"):  # b was used least recently
            assert pool.opened == ("a", "c")
            async with pool.lease("d"):
                assert pool.opened == ("c", "d")
                with pytest.raises(StoreClosed):
                    await first.documents()
                with pytest.raises(Overloaded, match="max_open") as refusal:
                    async with pool.lease("e"):
                        pass
                assert refusal.value.retry_after > 0
                async with pool.lease("c") as again:  # what is open needs no room
                    assert await again.documents() == []
        async with pool.lease("e"):
            assert pool.opened == ("c", "e")
        assert opened.names == ["a", "b", "c", "d", "e"]


async def test_close_one(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        async with pool.lease("a") as engine:
            assert not await pool.close_one("a")
            assert await engine.documents() == []
        assert await pool.close_one("a") and await pool.close_one("never opened")
        assert pool.opened == ()
        with pytest.raises(StoreClosed):
            await engine.documents()


async def test_what_cannot_be_opened_takes_no_room(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened(), max_open=1, create=False) as pool:
        for name, error in (("../x", InvalidWorkspaceName), ("none", WorkspaceNotFound)):
            for _ in range(2):
                with pytest.raises(error):
                    async with pool.lease(name):
                        pass
        assert pool.opened == ()
        await pool.store.create("a")
        async with pool.lease("a"):
            pass


async def test_a_lease_that_is_cancelled_leaves_the_engine_to_others(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened) as pool:

        async def use() -> None:
            async with pool.lease("a") as engine:
                await engine.documents()

        hasty, patient = asyncio.create_task(use()), asyncio.create_task(use())
        await asyncio.sleep(0)
        hasty.cancel()
        await patient
        assert hasty.cancelled() and opened.names == ["a"]
        assert await pool.close_one("a")


async def test_closing_the_pool_closes_all_engines(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        engines = []
        for name in "abc":
            async with pool.lease(name) as engine:
                engines.append(engine)
        async with pool.lease("a") as held:
            await pool.close()
            with pytest.raises(StoreClosed):
                await held.documents()
        for engine in engines:
            with pytest.raises(StoreClosed):
                await engine.documents()
        with pytest.raises(StoreClosed):
            async with pool.lease("a"):
                pass
        assert list(await pool.store.names()) == ["a", "b", "c"]


def texts(name: str, count: int) -> list[Document]:
    return [Document(f"{name.title()} met Person{n} of {name}{n}.", id=f"{name}{n}") for n in range(count)]


async def test_work_goes_round_the_workspaces(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened, limits=Limits(llm=2)) as pool:
        for name, count in (("large", 120), ("small", 6)):
            async with pool.lease(name) as engine:
                await engine.submit(texts(name, count))
        reports = await pool.work(until_empty=True, poll=0.01)
        assert {name: len(report.documents) for name, report in reports.items()} == {"large": 120, "small": 6}
        last_small = max(n for n, prompt in enumerate(opened.llm.asked) if "Small met" in prompt)
        assert len(opened.llm.asked) == 126
        assert last_small < 60


async def test_work_with_less_room_than_workspaces(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened, max_open=2) as pool:
        for name in "abcde":
            async with pool.lease(name) as engine:
                await engine.submit(texts(name, 3))
        async with asyncio.timeout(30):
            reports = await pool.work(until_empty=True, poll=0.01)
        assert sorted(reports) == list("abcde")
        for name in "abcde":
            info = await pool.store.describe(name)
            assert info.documents[Status.PROCESSED] == 3


async def test_work_finds_what_comes_until_it_is_told_to_stop(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        working = asyncio.create_task(pool.work(stop=stop, poll=0.01))
        for name in ("a", "b"):
            async with pool.lease(name) as engine:
                await engine.submit(texts(name, 2))
                async with asyncio.timeout(20):
                    while (await engine.describe()).documents[Status.PROCESSED] < 2:  # noqa: ASYNC110 -- what is polled is the store
                        await asyncio.sleep(0.01)
        stop.set()
        async with asyncio.timeout(20):
            assert set(await working) == {"a", "b"}
