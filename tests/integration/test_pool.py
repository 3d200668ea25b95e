"""The pool of workspaces: leases, room, and fair work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import (
    InvalidInput,
    InvalidWorkspaceName,
    Overloaded,
    StoreClosed,
    WorkFailed,
    WorkspaceMismatch,
    WorkspaceNotFound,
)
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
    async with Workspaces.open(tmp_path, engine_options=opened, max_open=2, max_wait=0.5) as pool:
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


async def test_who_asks_for_more_than_may_be_open_waits_in_the_order_of_asking(tmp_path: Path) -> None:
    order: list[str] = []
    async with Workspaces.open(tmp_path, engine_options=Opened(), max_open=1) as pool:

        async def use(name: str) -> None:
            async with pool.lease(name) as engine:
                order.append(name)
                assert await engine.documents() == []
                assert pool.opened == (name,)

        async with pool.lease("a"):
            waiting = []
            for name in "bcdcb":  # who waits for the same enters together
                waiting.append(asyncio.create_task(use(name)))
                await asyncio.sleep(0)
            assert order == [] and pool.opened == ("a",)
        await asyncio.gather(*waiting)
        assert order == ["b", "b", "c", "c", "d"]


async def test_who_gives_up_waiting_takes_no_room(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened, max_open=1) as pool:

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        async with pool.lease("a"):
            given_up, waits = asyncio.create_task(use("b")), asyncio.create_task(use("c"))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert await pool.close_one("b") and not await pool.close_one("c")
        await waits
        assert opened.names == ["a", "c"]


async def test_closing_the_pool_tells_who_waits_for_room(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened(), max_open=1) as pool:

        async def use(name: str) -> None:
            async with pool.lease(name):
                pass

        async with pool.lease("a"):
            waits = asyncio.create_task(use("b"))
            await asyncio.sleep(0)
            await pool.close()
            with pytest.raises(StoreClosed):
                await waits


async def test_many_on_few_places_all_have_their_turn(tmp_path: Path) -> None:
    opened = Opened()
    names = [f"w{number}" for number in range(12)]
    async with Workspaces.open(tmp_path, engine_options=opened, max_open=3) as pool:

        async def use(name: str) -> None:
            async with pool.lease(name) as engine:
                await engine.documents()
                assert len(pool.opened) <= 3

        await asyncio.gather(*(use(name) for _ in range(20) for name in names))
        assert sorted(opened.names) == sorted(names)  # twenty who ask for the same need it opened once


async def test_close_one(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        async with pool.lease("a") as engine:
            assert not await pool.close_one("a")
            assert await engine.documents() == []
        assert await pool.close_one("a") and await pool.close_one("never-opened")
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
        async with asyncio.timeout(240):
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
                async with asyncio.timeout(240):
                    while (await engine.describe()).documents[Status.PROCESSED] < 2:  # noqa: ASYNC110 -- what is polled is the store
                        await asyncio.sleep(0.01)
        stop.set()
        async with asyncio.timeout(240):
            assert set(await working) == {"a", "b"}


# ---- memory and time -----------------------------------------------------------------------------------


async def filled(pool: Workspaces, names: str) -> int:
    """Make workspaces that take the same memory when they are opened, which is returned."""
    sizes = set()
    for name in names:
        async with pool.lease(name) as engine:
            await engine.insert(texts("same", 5))
        await pool.close_one(name)
        async with pool.lease(name):
            sizes.add(pool.store.memory(name))
        await pool.close_one(name)
    (size,) = sizes
    return size


async def test_the_least_recently_used_goes_when_memory_is_short(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        size = await filled(pool, "abc")
        assert size > 1000
        small = Workspaces(pool.store, engine_options=Opened(), max_bytes=2 * size, max_wait=0.5)
        for name in "abac":
            async with small.lease(name):
                pass
        assert small.opened == ("a", "c")
        assert [pool.store.memory(name) > 0 for name in "abc"] == [True, False, True]
        async with small.lease("a"), small.lease("c"):
            with pytest.raises(Overloaded, match="max_bytes"):
                async with small.lease("b"):
                    pass
        async with small.lease("b") as engine:
            assert len(await engine.documents()) == 5
        await small.close()
        tight = Workspaces(pool.store, engine_options=Opened(), max_bytes=1)
        async with tight.lease("a") as engine:  # one is always served, and not kept
            assert len(await engine.documents()) == 5
        assert tight.opened == ()
        await tight.close()
        assert [pool.store.memory(name) for name in "abc"] == [0, 0, 0]


async def test_what_nobody_leases_is_closed_after_a_while(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened(), max_idle=0.01) as pool:
        async with pool.lease("held"):
            pass
        async with pool.lease("held") as held:  # again, before its time is up
            async with pool.lease("a") as idle:
                pass
            await gone("a", pool)
            assert list(pool.opened) == ["held"]
            assert await held.documents() == []
            with pytest.raises(StoreClosed):
                await idle.documents()
        await gone("held", pool)
        with pytest.raises(StoreClosed):
            await held.documents()


async def gone(name: str, pool: Workspaces) -> None:
    async with asyncio.timeout(240):
        while name in pool.opened:  # noqa: ASYNC110 -- what is polled is a timer
            await asyncio.sleep(0.005)
    assert await pool.close_one(name)  # waits until its engine is closed


async def test_usage_tells_what_is_open(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        assert pool.usage() == ()
        async with pool.lease("a") as engine, pool.lease("a"):
            await engine.insert(texts("a", 3))
            (used,) = pool.usage()
            assert (used.name, used.leases, used.idle) == ("a", 2, 0.0)
            assert used.memory == pool.store.memory("a") > 0
        (used,) = pool.usage()
        assert used.leases == 0 and used.idle > 0


@pytest.mark.parametrize(
    "wrong", [{"max_open": 0}, {"max_bytes": 0}, {"max_idle": 0}, {"max_idle": float("nan")}]
)
async def test_caps_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        await Workspaces.open(tmp_path, **wrong)
    async with Workspaces.open(tmp_path):  # and leave the root free
        pass


async def test_a_second_close_of_the_pool_waits(tmp_path: Path) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        async with pool.lease("a") as engine:
            await engine.insert(texts("a", 1))
        first = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        assert pool.opened == () and not first.done()
        assert pool.store.memory("a") > 0
        await pool.close()
        assert pool.store.memory("a") == 0
        await first
        with pytest.raises(StoreClosed):
            await engine.documents()


# ---- work that meets trouble ---------------------------------------------------------------------------


class Mixed(Opened):
    """The embedder of some workspaces is not the one they were made with."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.wrong = wrong

    def __call__(self, name: str) -> Mapping[str, Any]:
        options = super().__call__(name)
        return {**options, "embedder": DeterministicEmbedder(dimension=7)} if name in self.wrong else options


async def pending(tmp_path: Path, names: str) -> None:
    async with Workspaces.open(tmp_path, engine_options=Opened()) as pool:
        for name in names:
            async with pool.lease(name) as engine:
                await engine.submit(texts(name, 2))


async def test_a_workspace_that_cannot_be_opened_does_not_hide_the_others(tmp_path: Path) -> None:
    await pending(tmp_path, "abc")
    async with Workspaces.open(tmp_path, engine_options=Mixed("b")) as pool:
        async with asyncio.timeout(240):
            with pytest.raises(WorkFailed, match=r"'b'.*made with embedder") as failure:
                await pool.work(until_empty=True, poll=0.01)
        assert set(failure.value.reports) == {"a", "c"}
        assert [type(error) for error in failure.value.errors.values()] == [WorkspaceMismatch]
        told: list[tuple[str, Exception]] = []
        reports = await pool.work(until_empty=True, poll=0.01, on_error=lambda *error: told.append(error))
        assert reports == {} and [name for name, _ in told] == ["b"]


async def test_work_without_end_tries_again_with_pauses(tmp_path: Path) -> None:
    await pending(tmp_path, "ab")
    options = Mixed("b")
    stop, polls, told = asyncio.Event(), 0, []
    async with Workspaces.open(tmp_path, engine_options=options) as pool:
        names = pool.store.names

        async def counted() -> Any:
            nonlocal polls
            polls += 1
            if polls == 60:
                options.wrong = ""  # from here on it could be opened
            return await names()

        pool.store.names = counted  # type: ignore[method-assign]
        working = asyncio.create_task(
            pool.work(stop=stop, poll=0.001, on_error=lambda name, _: told.append(name))
        )
        async with asyncio.timeout(240):
            while (await pool.store.describe("b")).documents[Status.PROCESSED] < 2:  # noqa: ASYNC110 -- what is polled is the store
                await asyncio.sleep(0.02)
        stop.set()
        assert set(await working) == {"a", "b"}
        assert polls > 60 and set(told) == {"b"}
        assert options.names.count("b") == len(told) + 1 < 10


async def test_an_error_of_the_application_stops_the_work(tmp_path: Path) -> None:
    await pending(tmp_path, "a")

    def refuse(name: str, _: Exception) -> None:
        raise LookupError(name)

    async with Workspaces.open(tmp_path, engine_options=Mixed("a")) as pool:
        with pytest.raises(LookupError, match="a"):
            await pool.work(poll=0.01, on_error=refuse)


async def test_looking_for_work_opens_nothing_that_has_none(tmp_path: Path) -> None:
    opened = Opened()
    async with Workspaces.open(tmp_path, engine_options=opened) as pool:
        for name in "abcd":
            async with pool.lease(name) as engine:
                await (engine.submit if name == "c" else engine.insert)(texts(name, 1))
            await pool.close_one(name)
        opened.names.clear()
        reports = await pool.work(until_empty=True, poll=0.01)
        assert set(reports) == {"c"} and opened.names == ["c"]
        assert [name for name in "abcd" if pool.store.memory(name)] == ["c"]
