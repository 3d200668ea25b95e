"""Budgets: what pauses, what is refused, what goes on, and what says so."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from stateless_rag import (
    Budget,
    BudgetExhausted,
    Clock,
    Document,
    Engine,
    InvalidInput,
    Limits,
    Price,
    Settings,
    Status,
    Workspaces,
)
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest
from stateless_rag.settings import CallSettings, ExtractSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM

DOCUMENTS = [Document(f"Ada Lovelace met Charles Babbage in Room {n}.", id=f"d{n}") for n in range(4)]
SETTINGS = Settings(extraction=ExtractSettings(gleaning=0), calls=CallSettings(attempts=2, backoff=0.0))
PRICES = {"*": Price(input=1.0, output=1.0)}
DAY = 86_400.0


class CountingLLM(DeterministicLLM):
    """Counts what it is asked, takes some seconds, and may give nothing."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.empty = False
        self.seconds = seconds

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request.purpose)
        await asyncio.sleep(self.seconds)
        if self.empty:
            return LLMReply(text=" ", prompt_tokens=100, completion_tokens=1)
        return await super().complete(request)


class Wall:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 23, 59, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def opened(store: Store | Path, llm: DeterministicLLM | None = None, **options: Any) -> Any:
    options = {"embedder": DeterministicEmbedder(), "settings": SETTINGS, **options}
    return Engine.open(store, llm=llm or CountingLLM(), **options)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "bounds nothing"),
        ({"tokens": -1}, "tokens is -1"),
        ({"tokens": 1.5}, "tokens is 1.5"),
        ({"money": float("nan"), "prices": PRICES}, "money is nan"),
        ({"money": 1.0}, "money without prices"),
        ({"tokens": 1, "prices": PRICES}, "prices without money"),
        ({"money": 1.0, "prices": {"*": 2}}, "prices maps"),
        ({"tokens": 1, "period": "week"}, "period is 'week'"),
    ],
)
def test_what_is_no_budget(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Budget(**given)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (5000, "budget is 5000"),
        (Budget(tokens=5, period="day"), "set_budget"),
        (Budget(money=1.0, prices={"other": Price(input=1.0)}), "the budget is in money.*deterministic"),
    ],
)
async def test_a_budget_that_cannot_be_used_changes_nothing(tmp_path: Path, budget: Any, told: str) -> None:
    async with opened(tmp_path) as engine:
        with pytest.raises(InvalidInput, match=told):
            await engine.insert(DOCUMENTS, budget=budget)
        assert await engine.documents() == []
        if not (isinstance(budget, Budget) and budget.period == "day"):
            with pytest.raises(InvalidInput):
                await engine.set_budget(budget)
        assert await engine.budget() is None


@pytest.mark.parametrize("shared", [False, True], ids=["of the call", "of the workspace"])
async def test_what_is_not_paid_for_waits(tmp_path: Path, shared: bool) -> None:
    llm, budget = CountingLLM(seconds=0.05), Budget(tokens=1)
    async with opened(tmp_path, llm, limits=Limits(llm=1)) as engine:
        if shared:
            await engine.set_budget(budget)
        kinds = []
        async for event in engine.insert_events(DOCUMENTS, budget=None if shared else budget):
            kinds.append(event.kind)
            report = event.report
        assert report.paused is not None and "used up" in report.paused and not report.failed
        assert report.counts == {Status.PENDING: 4} and kinds.count("paused") == 4
        assert all("BudgetExhausted" in document.error for document in report.documents)
        assert len(llm.asked) == 1  # who waits for a slot is told when its turn comes
        rows = await engine.documents()
        assert {(row.status, row.attempts, row.error) for row in rows} == {(Status.PENDING, 0, None)}
        if shared:
            status = await engine.budget()
            assert status.exhausted and status.tokens >= 1 and status.renewed_at is None
            assert (await engine.resume()).paused is not None
            assert (await engine.set_budget(None)) is None
        assert (await engine.resume()).counts == {Status.PROCESSED: 4}
        assert llm.asked.count("extract") == 4  # none was paid for twice


async def test_what_costs_nothing_is_done(tmp_path: Path) -> None:
    none = Budget(tokens=0)
    async with Engine.open(tmp_path / "built-in") as engine:
        await engine.set_budget(none)
        assert (await engine.insert(DOCUMENTS, budget=none)).counts == {Status.PROCESSED: 4}
        assert (await engine.query("Who met Ada?")).references
        status = await engine.budget()
        assert status is not None and status.tokens == 0 and status.exhausted
    llm = CountingLLM()
    async with opened(tmp_path / "llm", llm) as engine:
        await engine.insert(DOCUMENTS)
        await engine.query("Who met Ada Lovelace?")
        asked = len(llm.asked)
        await engine.set_budget(none)
        again = await engine.insert(DOCUMENTS)
        assert again.paused is None and all(each.unchanged for each in again.documents)
        deleted = await engine.delete("d0")  # whatever takes away is not refused
        assert deleted.deleted == ("d0",)
        assert len(llm.asked) >= asked


async def test_a_question_is_refused_before_it_costs(tmp_path: Path) -> None:
    llm = CountingLLM()
    async with opened(tmp_path, llm) as engine:
        await engine.insert(DOCUMENTS)
        asked = len(llm.asked)
        status = await engine.set_budget(Budget(tokens=1))
        with pytest.raises(BudgetExhausted, match=rf"{status.tokens:,} of 1 tokens; raise it"):
            await engine.query("Who met Ada?")
        with pytest.raises(BudgetExhausted):
            async for _ in engine.stream("Who met Ada?"):
                pass
        assert len(llm.asked) == asked
        # One that has begun is answered; the next is not.
        await engine.set_budget(Budget(tokens=status.tokens + 1))
        assert (await engine.query("Who met Ada?")).text
        with pytest.raises(BudgetExhausted):
            await engine.query("Who was in Room 1?")
        await engine.set_budget(None)
        with pytest.raises(BudgetExhausted, match="of this call"):
            await engine.query("Who met whom in Room 2?", budget=Budget(tokens=1))


async def test_it_lasts_and_counts_what_was_paid_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(DOCUMENTS[:2])
        await engine.query("Who met Ada?")
    async with opened(tmp_path) as engine:
        paid = sum(used.tokens for used in (await engine.costs()).values())
        assert (await engine.set_budget(Budget(tokens=paid))).tokens == paid
    async with Store.open(tmp_path) as store, opened(store) as one, opened(store) as other:
        assert (await one.insert(DOCUMENTS[2:])).paused is not None
        status = await other.set_budget(Budget(money=1.0, prices=PRICES))
        assert status.money == pytest.approx(paid / 1_000_000) and not status.exhausted
        assert (await one.resume()).paused is None
        status = await one.budget()
        assert status.tokens == sum(used.tokens for used in (await one.costs()).values()) > paid
        with pytest.raises(InvalidInput, match="has nothing for the model"):
            await one.set_budget(Budget(money=1.0, prices={"deterministic-32": Price(input=1.0)}))
        assert await one.budget() == status


@pytest.mark.parametrize("begun", [1, 9, 17])
async def test_one_that_is_set_during_an_ingest_counts_each_call_once(tmp_path: Path, begun: int) -> None:
    llm = CountingLLM(seconds=0.001)
    documents = [Document(f"Ada Lovelace met Person{n} Name{n} in Room {n}.", id=f"d{n}") for n in range(24)]
    async with opened(tmp_path, llm, limits=Limits(llm=4)) as engine:
        await engine.query("Who met Ada?")  # in the ledger a little later
        ingest = asyncio.create_task(engine.insert(documents))
        while len(llm.asked) < begun and not ingest.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await engine.set_budget(Budget(tokens=10**9))
        await ingest
        await engine.query("Who met Person3 Name3?")
        status = await engine.budget()
        assert status.tokens == sum(used.tokens for used in (await engine.costs()).values()) > 0


async def test_a_day_begins_anew(tmp_path: Path) -> None:
    wall = Wall()
    async with Store.open(tmp_path, clock=Clock(wall=wall)) as store, opened(store) as engine:
        await engine.insert(DOCUMENTS[0])
        status = await engine.set_budget(Budget(tokens=1, period="day"))
        assert status.exhausted and status.renewed_at == wall.now + 60
        assert (await engine.insert(DOCUMENTS[1])).paused is not None
        with pytest.raises(BudgetExhausted, match=r"for this day.*2026-03-02 00:00 UTC") as refused:
            await engine.query("Who met Ada?")
        assert refused.value.retry_after == pytest.approx(60)
        wall.now += 60
        assert (await engine.budget()).tokens == 0
        assert (await engine.query("Who met Ada?")).text
        wall.now += DAY
        report = await engine.resume()
        status = await engine.budget()
        assert report.paused is not None and status.tokens > 0


async def test_who_works_waits_for_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.set_budget(Budget(tokens=0))
        await engine.submit(DOCUMENTS)
        assert (await engine.work(until_empty=True)).counts == {Status.PENDING: 4}
        stop = asyncio.Event()
        working = asyncio.create_task(engine.work(stop=stop, poll=0.01))
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not working.done()
        await engine.set_budget(None)
        while any(row.status is not Status.PROCESSED for row in await engine.documents()):
            assert not working.done()
            await asyncio.sleep(0.02)
        stop.set()
        report = await working
        assert report.paused is None and report.counts == {Status.PROCESSED: 4}
        await engine.submit(Document("Grace Hopper met Alan Turing.", id="more"))
        own = await engine.work(budget=Budget(tokens=0))  # its own is not renewed: it returns
        assert own.counts == {Status.PENDING: 1} and "of this call" in (own.paused or "")


@pytest.mark.parametrize("wait", [False, True], ids=["until empty", "until stopped"])
async def test_the_pool_goes_on_with_the_others(tmp_path: Path, wait: bool) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    options = {
        "llm": CountingLLM(),
        "embedder": DeterministicEmbedder(),
        "settings": SETTINGS,
        "observer": lambda event: seen.update([(event.workspace, event.kind)]),
    }
    async with Workspaces.open(tmp_path, engine_options=lambda _: options) as pool:
        for name in ("poor", "rich"):
            async with pool.lease(name) as engine:
                await engine.submit(DOCUMENTS)
                if name == "poor":
                    await engine.set_budget(Budget(tokens=0))
        stop = asyncio.Event()
        working = asyncio.create_task(pool.work(stop=stop, until_empty=not wait, poll=0.01))
        while wait and (seen["poor", "paused"] < 4 or seen["rich", "committed"] < 4):
            assert not working.done()
            await asyncio.sleep(0.02)
        stop.set() if wait else None
        reports = await working
        assert reports["poor"].paused is not None and reports["rich"].paused is None
        assert await pool.store.waiting("poor") == 4


class DearEmbedder(DeterministicEmbedder):
    """Each call uses up any budget, and comes back when it is told to."""

    max_batch = 1

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.begun.set()
        await self.go_on.wait()
        return replace(await super().embed(texts, role=role), tokens=10**9)


@pytest.mark.parametrize("cancelled", [["d0", "d2"], None], ids=["some", "all"])
async def test_what_is_cancelled_before_a_pause_stays_cancelled(tmp_path: Path, cancelled: Any) -> None:
    embedder = DearEmbedder()
    async with opened(tmp_path, embedder=embedder, limits=Limits(embedder=1)) as engine:
        ingest = asyncio.create_task(engine.insert(DOCUMENTS, budget=Budget(tokens=10**8)))
        await embedder.begun.wait()
        stopped = set(await engine.cancel(cancelled))
        embedder.go_on.set()
        report = await ingest
        assert stopped == set(cancelled or ["d0", "d1", "d2", "d3"]) and report.paused is not None
        for rows in (report.documents, await engine.documents()):
            assert {row.id for row in rows if row.status is Status.FAILED} == stopped
            assert {row.id for row in rows if row.status is Status.PENDING} == {
                f"d{n}" for n in range(4)
            } - stopped
        assert all("cancelled" in (row.error or "") for row in report.failed)
        assert (await engine.resume()).counts == {Status.PROCESSED: 4}


async def test_an_update_that_waits_leaves_the_old_version(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(DOCUMENTS[0])
        report = await engine.insert(
            Document("Grace Hopper met Alan Turing.", id="d0"), budget=Budget(tokens=0)
        )
        assert report.documents[0].status is Status.PENDING and report.documents[0].stale
        assert await engine.entity("Ada Lovelace") is not None
        upgraded = await engine.resume()
        assert upgraded.counts == {Status.PROCESSED: 1} and await engine.entity("Ada Lovelace") is None


async def test_an_upgrade_and_another_embedder_go_on_later(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, embedder=DeterministicEmbedder()) as engine:
        await engine.insert(DOCUMENTS)
    async with opened(tmp_path) as engine:
        report = await engine.upgrade(where={}, budget=Budget(tokens=1))
        assert report.paused is not None and report.counts == {Status.PENDING: 4}
        assert (await engine.resume()).counts == {Status.PROCESSED: 4}
        other = DeterministicEmbedder(8)
        with pytest.raises(BudgetExhausted):
            await engine.reembed(other, budget=Budget(tokens=0))
        assert (await engine.describe()).dimension == 32
        for name in ("John Smith", "Jon Smith"):
            await engine.create_entity(name, type="person")
        await engine.set_budget(Budget(tokens=0))
        with pytest.raises(BudgetExhausted):
            await engine.reembed(other)
        with pytest.raises(BudgetExhausted):
            await engine.propose_duplicates(least=0.0, ask_llm=True)
        await engine.set_budget(None)
        await engine.propose_duplicates(least=0.0, ask_llm=True)
        assert (await engine.costs())["resolve"].calls == 1
        assert (await engine.reembed(other)).dimension == 8


async def test_replies_that_are_of_no_use_count(tmp_path: Path) -> None:
    llm = CountingLLM()
    llm.empty = True
    async with opened(tmp_path, llm) as engine:
        report = await engine.insert(DOCUMENTS[0], budget=Budget(tokens=100))
        assert report.paused is not None and llm.asked == ["extract"]  # not asked again
        llm.asked.clear()
        assert (await engine.resume()).failed and llm.asked == ["extract", "extract"]
        assert (await engine.costs())["extract"].tokens == 303
        (row,) = await engine.costs("document")
        assert row.document == "d0"
        assert (await engine.set_budget(Budget(tokens=303))).exhausted


async def test_what_was_paid_for_a_damaged_part_is_kept(tmp_path: Path) -> None:
    """A document whose chunks are not all paid for is never committed, also where parts of one are accepted."""
    texts = "\n\n".join(f"Ada Lovelace met Charles Babbage in Room {n}." for n in range(6))
    async with opened(tmp_path) as engine:
        await engine.configure(chunking={"strategy": "separator"})
        report = await engine.insert(Document(texts, id="d"), budget=Budget(tokens=1))
        assert report.documents[0].status is Status.PENDING and (await engine.describe()).chunks == 0


def test_the_mirror(tmp_path: Path) -> None:
    with SyncEngine.open(
        tmp_path, llm=CountingLLM(), embedder=DeterministicEmbedder(), settings=SETTINGS
    ) as engine:
        assert engine.insert(DOCUMENTS[0], budget=Budget(tokens=0)).paused
        assert engine.resume(budget=Budget(tokens=0)).paused
        status = engine.set_budget(Budget(tokens=10_000))
        assert status is not None and engine.budget() == status
        assert engine.work().counts == {Status.PROCESSED: 1}
        with pytest.raises(BudgetExhausted):
            engine.query("Who met Ada?", budget=Budget(tokens=0))


def test_the_record_is_json(tmp_path: Path) -> None:
    async def recorded() -> Any:
        async with opened(tmp_path) as engine:
            budget = Budget(tokens=5, money=0.5, prices={"*": Price(input=1.0, batch=0.25)}, period="day")
            status = await engine.set_budget(budget)
            assert status.budget == budget
            return engine.workspace.record.info["budget"]

    told = asyncio.run(recorded())
    assert json.loads(json.dumps(told)) == told and told["prices"]["*"]["batch"] == 0.25
