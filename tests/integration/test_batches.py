"""Extraction in batch files: the real client, real HTTP, a server that does everything wrong in turn."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import (
    BudgetExhausted,
    CallSettings,
    Document,
    Engine,
    ExtractSettings,
    InvalidInput,
    OpenAILLM,
    Price,
    ProviderError,
    ProviderRejected,
    Settings,
    Status,
    Store,
    StoreError,
)
from stateless_rag.limits import Limits
from stateless_rag.testing import (
    BatchBehaviour,
    DeterministicEmbedder,
    DeterministicLLM,
    Disconnect,
    FakeOpenAIServer,
    Fault,
    Faults,
    Malformed,
    RateLimited,
    ServedRequest,
    ServerError,
)
from stateless_rag.testing.dump import dump
from stateless_rag.types import Budget, Usage

TEXTS = {
    "ada": "Ada Lovelace wrote notes on the Analytical Engine in London.",
    "hopper": "Grace Hopper wrote the first compiler in Philadelphia.",
    "turing": "Alan Turing read what Ada Lovelace wrote about the Analytical Engine.",
    "zuse": "Konrad Zuse built the Z3 in Berlin.",
}
DOCUMENTS = [Document(text, id=id_) for id_, text in TEXTS.items()]


class Bench:
    """A server, and engines whose LLM is behind it."""

    def __init__(self, server: FakeOpenAIServer) -> None:
        self.server = server

    @asynccontextmanager
    async def engine(
        self, root: Path | Store, *, gleaning: int = 0, attempts: int = 3, **bounds: Any
    ) -> AsyncIterator[Engine]:
        llm = OpenAILLM("gpt-x", api_key="key", base_url=self.server.base_url, **bounds)
        settings = Settings(
            extraction=ExtractSettings(gleaning=gleaning),
            calls=CallSettings(attempts=attempts, backoff=0.0, max_backoff=0.0),
        )
        opening = Engine.open(root, llm=llm, embedder=DeterministicEmbedder(), settings=settings)
        try:
            async with opening as engine:
                yield engine
        finally:
            await llm.close()

    @property
    def paid(self) -> Counter[str]:
        """Requests to the chat model that were answered, however they came."""
        return Counter(
            r.digest for r in self.server.log if r.path.endswith("/completions") and r.status == 200
        )

    def asked(self, *, batched: bool) -> int:
        """How many requests to the chat model there were, in batches or one by one."""
        chats = [r for r in self.server.log if r.path.endswith("/completions")]
        return sum((r.batch is not None) == batched for r in chats)


@asynccontextmanager
async def bench(
    behaviour: BatchBehaviour | None = None, faults: Faults | None = None
) -> AsyncIterator[Bench]:
    async with FakeOpenAIServer(batches=behaviour, faults=faults) as server:
        yield Bench(server)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """What an ordinary ingest makes of the documents, by rounds of gleaning."""

    async def made(gleaning: int) -> Any:
        settings = Settings(extraction=ExtractSettings(gleaning=gleaning))
        root = tmp_path_factory.mktemp("whole")
        async with Engine.open(
            root, llm=DeterministicLLM(), embedder=DeterministicEmbedder(), settings=settings
        ) as engine:
            await engine.insert(DOCUMENTS)
            return content(await dump(engine))

    return {gleaning: asyncio.run(made(gleaning)) for gleaning in (0, 1)}


def content(dumped: dict[str, Any]) -> dict[str, Any]:
    """A dump but for what names the model."""
    told = json.dumps(dumped, sort_keys=True, default=str)
    found: dict[str, Any] = json.loads(re.sub(r"llm-[0-9a-f]{12}", "llm", told))
    return found


async def test_a_batch_is_submitted_collected_and_ingested(whole: dict[int, Any], tmp_path: Path) -> None:
    async with bench(BatchBehaviour(polls=2, shuffled=True)) as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        (made,) = await engine.submit_batch()
        assert (made.requests, made.documents, dict(made.purposes)) == (4, 4, {"extract": 4})
        assert made.provider_id == "batch_1" and not made.collected and made.status == "validating"
        assert await engine.submit_batch() == ()  # what is handed over is not handed over again
        report = await engine.collect_batches()
        assert (report.waiting, report.replies, report.batches[0].status) == (1, 0, "in_progress")
        assert [batch.status for batch in await engine.batches()] == ["in_progress"]
        seen: list[str] = []
        report = await engine.collect_batches(
            wait=True, poll=0.001, progress=lambda batches: seen.append(batches[0].status)
        )
        assert seen == ["in_progress", "finalizing", "completed"]
        assert (report.waiting, report.replies, report.failed) == (0, 4, 0)
        assert report.usage["extract"].calls == 4 and report.total.prompt_tokens > 0
        assert on.server.batches.files == {}
        assert (await engine.collect_batches()).batches == ()
        ingested = await engine.resume()
        assert {each.status for each in ingested.documents} == {Status.PROCESSED}
        assert ingested.usage["extract"] == Usage(cached=4)
        assert on.asked(batched=True) == 4 and set(on.paid.values()) == {1}
        assert content(await dump(engine)) == whole[0]
        assert (await engine.check(deep=True)).ok


async def test_a_second_batch_looks_for_what_was_missed(whole: dict[int, Any], tmp_path: Path) -> None:
    async with bench() as on, on.engine(tmp_path, gleaning=1) as engine:
        await engine.submit(DOCUMENTS)
        purposes = []
        while made := await engine.submit_batch():
            purposes += [dict(batch.purposes) for batch in made]
            await engine.collect_batches(wait=True, poll=0.001)
        assert purposes == [{"extract": 4}, {"glean": 4}]
        before = on.asked(batched=False)
        await engine.resume()
        asked = [r for r in on.server.log if r.path.endswith("/completions") and r.batch is None]
        assert len(asked) - before == (await engine.costs()).get("summarize", Usage()).calls
        assert content(await dump(engine)) == whole[1]


async def test_equal_texts_are_asked_once_and_files_keep_their_bounds(tmp_path: Path) -> None:
    async with bench() as on, on.engine(tmp_path, batch_requests=2) as engine:
        await engine.submit([*DOCUMENTS, Document(TEXTS["ada"], id="twin")])
        made = await engine.submit_batch()
        assert [batch.requests for batch in made] == [2, 2]
        assert sum(batch.documents for batch in await engine.batches()) == 5
        await engine.submit(Document(TEXTS["ada"], id="later"))
        assert await engine.submit_batch() == ()  # the reply is on its way
        assert (await engine.work(until_empty=True)).documents == ()
    async with bench() as on, on.engine(tmp_path / "bytes", batch_bytes=4000) as engine:
        await engine.submit([*DOCUMENTS, Document("Constantinople " * 200, id="long")])
        made = await engine.submit_batch()
        assert sum(batch.requests for batch in made) == 4  # the long one goes by itself, later
        assert all(len(content) <= 4000 for content in on.server.batches.files.values())
        assert len(on.server.batches.files) == len(made) > 1
        await engine.collect_batches()
        report = await engine.resume()
        assert report.usage["extract"].calls == 1 and report.usage["extract"].cached == 4


async def test_documents_that_wait_are_left_alone(tmp_path: Path) -> None:
    async with bench(BatchBehaviour(polls=50)) as on, Store.open(tmp_path) as store:
        async with on.engine(store) as engine:
            await engine.submit(DOCUMENTS[:3])
            await engine.submit_batch(["ada", "hopper"])
            assert await store.waiting("default") == 1
        async with on.engine(store) as engine:  # nothing of it is in memory only
            assert [r.id for r in (await engine.work(until_empty=True)).documents] == ["turing"]
            assert (await engine.resume()).documents == () and await store.waiting("default") == 0
            assert [r.id for r in (await engine.resume("ada")).documents] == ["ada"]
            (batch,) = await engine.batches()
            assert (await engine.cancel_batch(batch.id)).status == "cancelling"
            report = await engine.collect_batches(wait=True, poll=0.001)
            assert (report.replies, report.failed, report.batches[0].status) == (0, 2, "cancelled")
            assert [r.id for r in (await engine.resume()).documents] == ["hopper"]
            assert on.paid and set(on.paid.values()) == {1}


@pytest.mark.parametrize(
    ("behaviour", "replies", "status", "says"),
    [
        (BatchBehaviour(failing="Hopper"), 3, "completed", "answered 500 (server_error)"),
        (BatchBehaviour(silent="Hopper"), 3, "completed", None),
        (BatchBehaviour(expires_after=1), 1, "expired", "not answered (batch_expired)"),
        (BatchBehaviour(expires_after=0), 0, "expired", "not answered (batch_expired)"),
        (BatchBehaviour(rejects="token_limit_exceeded"), 0, "failed", "(token_limit_exceeded)"),
        (BatchBehaviour(truncated=2), 4, "completed", None),
        (BatchBehaviour(truncated=9), 3, "completed", "1 lines that cannot be read"),
        (BatchBehaviour(usage=False), 4, "completed", None),
    ],
    ids=str,
)
async def test_what_is_not_answered_is_asked_again(
    whole: dict[int, Any],
    tmp_path: Path,
    behaviour: BatchBehaviour,
    replies: int,
    status: str,
    says: str | None,
) -> None:
    async with bench(behaviour) as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        await engine.submit_batch()
        report = await engine.collect_batches()
        (batch,) = report.batches
        assert (report.replies, report.failed, batch.status) == (replies, 4 - replies, status)
        assert batch.collected and (batch.error is None if says is None else says in (batch.error or ""))
        assert on.server.batches.files == {}
        assert all(row.usage.prompt_tokens > 100 for row in await engine.costs(["purpose"]))
        again = await engine.submit_batch()  # the next batch asks for these alone
        assert sum(each.requests for each in again) == 4 - replies
        ingested = await engine.resume(list(TEXTS))
        assert {each.status for each in ingested.documents} == {Status.PROCESSED}
        assert ingested.usage["extract"] == Usage(
            4 - replies,
            ingested.usage["extract"].prompt_tokens,
            ingested.usage["extract"].completion_tokens,
            replies,
        )
        assert content(await dump(engine)) == whole[0]


async def test_replies_of_no_use_are_paid_for_and_asked_again(whole: dict[int, Any], tmp_path: Path) -> None:
    spoiled = Faults(lambda r: Malformed("text") if r.batch and "Hopper" in r.text else None)
    async with bench(faults=spoiled) as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        await engine.submit_batch()
        report = await engine.collect_batches()
        assert (report.replies, report.failed, report.usage["extract"].calls) == (3, 1, 4)
        assert "InvalidReply" in (report.batches[0].error or "")
        assert (await engine.costs())["extract"].calls == 4
        assert (await engine.resume()).usage["extract"].calls == 1
        assert (await engine.costs())["extract"].calls == 5
        assert content(await dump(engine)) == whole[0]


def once(path: str, method: str, fault: Fault, times: int = 1) -> Faults:
    """The first calls of a route go wrong."""
    seen = 0

    def choose(request: ServedRequest) -> Fault | None:
        nonlocal seen
        if request.method != method or not request.path.startswith(path) or request.batch is not None:
            return None
        seen += 1
        return fault if seen <= times else None

    return Faults(choose)


@pytest.mark.parametrize(
    "route",
    [
        ("/v1/files", "POST"),
        ("/v1/batches", "POST"),
        ("/v1/batches/", "GET"),
        ("/v1/files/", "GET"),
        ("/v1/files", "GET"),
        ("/v1/files/", "DELETE"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "fault",
    [
        RateLimited(),
        Disconnect("before"),
        Disconnect("body"),
        Malformed("body"),
    ],
    ids=str,
)
async def test_every_call_may_go_wrong_once(tmp_path: Path, route: tuple[str, str], fault: Fault) -> None:
    async with bench(faults=once(*route, fault)) as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS[:2])
        assert len(await engine.submit_batch()) == 1
        assert len(on.server.batches.statuses) == 1  # never begun twice
        report = await engine.collect_batches()
        if fault == Malformed("body") and route == ("/v1/files/", "GET"):
            assert report.failed <= 2
        else:
            assert (report.replies, report.failed) == (2, 0)
        await engine.collect_batches()
        assert on.server.batches.files == {}
        await engine.resume()
        assert set(on.paid.values()) == {1}


async def test_what_keeps_failing_is_raised_and_goes_on_later(tmp_path: Path) -> None:
    faults = once("/v1/batches", "POST", Disconnect("body"), times=1)
    async with bench(faults=faults) as on, on.engine(tmp_path, attempts=1) as engine:
        await engine.submit(DOCUMENTS)
        with pytest.raises(ProviderError):
            await engine.submit_batch()
        (batch,) = await engine.batches()
        assert batch.status == "prepared" and batch.provider_id is None
        assert (await engine.work(until_empty=True)).documents == ()
        report = await engine.collect_batches()  # it was there
        assert report.replies == 4 and list(on.server.batches.statuses) == ["batch_1"]
    faults = once("/v1/files", "POST", ServerError(500), times=1)
    async with bench(faults=faults) as on, on.engine(tmp_path / "two", attempts=1) as engine:
        await engine.submit(DOCUMENTS)
        with pytest.raises(ProviderError):
            await engine.submit_batch()
        assert (await engine.collect_batches()).batches == () == tuple(await engine.batches())
        assert len(await engine.submit_batch()) == 1


async def test_a_batch_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    faults = once("/v1/batches", "POST", ServerError(400))
    async with bench(faults=faults) as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        with pytest.raises(ProviderRejected):
            await engine.submit_batch()
        assert await engine.batches() == [] and on.server.batches.files == {}
        assert len((await engine.resume()).documents) == 4


async def test_other_batches_are_collected_when_one_cannot_be(tmp_path: Path) -> None:
    gone = Faults(lambda r: ServerError(404) if r.method == "GET" and r.path.endswith("/batch_1") else None)
    async with bench(faults=gone) as on, on.engine(tmp_path, batch_requests=2) as engine:
        await engine.submit(DOCUMENTS)
        await engine.submit_batch()
        with pytest.raises(ProviderRejected, match=r"404.*`batch cancel --forget`") as raised:
            await engine.collect_batches(wait=True, poll=0.001)
        assert (await engine.batches())[0].id in str(raised.value) and raised.value.status == 404
        first, second = await engine.batches()
        assert (first.collected, second.collected, second.replies) == (False, True, 2)
        assert (await engine.cancel_batch(first.id, forget=True)).collected
        assert (await engine.collect_batches()).batches == ()
        assert len((await engine.resume()).documents) == 4


async def test_the_ledger_knows_what_was_paid_in_batches(tmp_path: Path) -> None:
    prices = {"*": Price(input=2.0, output=8.0), "deterministic-32": Price(input=0.0)}
    async with bench() as on, on.engine(tmp_path) as engine:
        told = await engine.estimate(DOCUMENTS, prices=prices)
        half = await engine.estimate(DOCUMENTS, prices=prices, batch=True)
        assert told.money and half.money and half.usage == told.usage
        rest = sum(prices["*"].of(used) for p, used in told.usage.items() if p not in ("extract", "embed"))
        assert half.money - rest == pytest.approx((told.money - rest) / 2)
        await engine.submit(DOCUMENTS)
        (batch,) = await engine.submit_batch()
        await engine.collect_batches()
        await engine.resume()
        await engine.insert(Document("Lise Meitner lived in Vienna.", id="meitner"))
        rows = {
            row.batch: row for row in await engine.costs(["purpose", "batch"]) if row.purpose == "extract"
        }
        assert {name: row.usage.calls for name, row in rows.items()} == {batch.id: 4, None: 1}
        (one,) = [row for row in await engine.costs("purpose", prices=prices) if row.purpose == "extract"]
        paid = {name: prices["*"].of(row.usage) for name, row in rows.items()}
        assert one.money == pytest.approx(paid[batch.id] / 2 + paid[None])
        dear = {**prices, "*": Price(input=2.0, output=8.0, batch=1.0)}
        (one,) = [row for row in await engine.costs("purpose", prices=dear) if row.purpose == "extract"]
        assert one.money == pytest.approx(sum(paid.values()))
        await engine.clear_cache()
        after = {row.batch: row.usage for row in await engine.costs(["batch"])}
        assert after[batch.id] == rows[batch.id].usage
        assert {row.document for row in await engine.costs("document")} >= set(TEXTS)


async def test_a_budget_that_is_used_up_submits_nothing(tmp_path: Path) -> None:
    async with bench() as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        await engine.set_budget(Budget(tokens=0))
        with pytest.raises(BudgetExhausted):
            await engine.submit_batch()
        assert on.server.log == () and await engine.batches() == []


@pytest.mark.parametrize("of_use", [True, False])
async def test_a_budget_counts_a_batch_as_the_ledger_does(tmp_path: Path, of_use: bool) -> None:
    prices = {"*": Price(input=1.0, output=1.0, batch=0.25)}
    spoiled = Faults(lambda r: Malformed("text") if r.batch and not of_use else None)
    async with bench(faults=spoiled) as on:
        async with on.engine(tmp_path) as engine:
            await engine.set_budget(Budget(money=1.0, prices=prices))
            await engine.submit(DOCUMENTS)
            await engine.submit_batch()
            await engine.collect_batches()
            status = await engine.budget()
            assert status is not None and status.money == pytest.approx(status.tokens / 4_000_000)
            await engine.clear_cache()
        async with on.engine(tmp_path) as engine:  # read from the ledger now
            again = await engine.budget()
            assert again is not None and again.money == pytest.approx(status.money)
            assert again.tokens == status.tokens > 0


async def test_a_reply_that_came_otherwise_meanwhile_stays(tmp_path: Path) -> None:
    async with bench() as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        await engine.submit_batch()
        await engine.resume("ada")  # whoever names a document pays for it at once
        report = await engine.collect_batches()
        assert (report.replies, (await engine.costs())["extract"].calls) == (4, 5)
        workspace: Any = engine.workspace
        kept = workspace.select("journaled")
        assert len(kept) == len(set(kept))  # one reply for each request, however often it was paid
        assert (await engine.check(deep=True)).ok
        assert len(on.paid) == 4


async def test_two_submit_and_collect_at_once(tmp_path: Path) -> None:
    async with bench() as on, Store.open(tmp_path) as store, on.engine(store) as one, on.engine(store) as two:
        await one.submit(DOCUMENTS)
        made = await asyncio.gather(one.submit_batch(), two.submit_batch(), one.submit_batch())
        assert sum(batch.requests for each in made for batch in each) == 4
        reports = await asyncio.gather(one.collect_batches(), two.collect_batches(), one.collect_batches())
        assert sorted(report.replies for report in reports) == [0, 0, 4]
        assert set(on.paid.values()) == {1}


async def test_who_works_leaves_what_is_given_to_a_batch(tmp_path: Path) -> None:
    async def slowly() -> AsyncIterator[Document]:
        for document in DOCUMENTS:
            yield document
            for _ in range(40):  # in which the other one looks for work many times
                await asyncio.sleep(0.005)

    async with bench() as on, Store.open(tmp_path) as store, on.engine(store) as one, on.engine(store) as two:
        stop = asyncio.Event()
        working = asyncio.create_task(two.work(stop=stop, poll=0.005))
        (made,) = await one.submit_batch(documents=slowly())
        assert (made.requests, made.documents) == (4, 4)
        assert on.asked(batched=False) == 0
        stop.set()
        await working
        with pytest.raises(InvalidInput, match="not both"):
            await one.submit_batch(["ada"], documents=DOCUMENTS)
        assert (await one.collect_batches()).replies == 4
        assert (await one.resume()).counts == {"processed": 4}


async def test_what_an_iterable_gave_before_it_failed_is_pending(tmp_path: Path) -> None:
    def failing() -> Iterator[Document]:
        yield DOCUMENTS[0]
        raise LookupError("no more")

    async with bench() as on, on.engine(tmp_path) as engine:
        with pytest.raises(LookupError):
            await engine.submit_batch(documents=failing())
        assert [row.status for row in await engine.documents()] == [Status.PENDING]
        (made,) = await engine.submit_batch()
        assert made.requests == 1


@pytest.mark.parametrize("step", ["POST /v1/files", "POST /v1/batches", "GET /v1/batches/batch_1"])
async def test_cancelling_is_safe(tmp_path: Path, step: str) -> None:
    method, path = step.split()
    slow = Faults(lambda r: Disconnect("before") if (r.method, r.path) == (method, path) else None)
    async with bench(faults=slow) as on, on.engine(tmp_path, attempts=10_000) as engine:
        await engine.submit(DOCUMENTS)

        async def both() -> None:
            await engine.submit_batch()
            await engine.collect_batches()

        task = asyncio.create_task(both())
        while not any((r.method, r.path) == (method, path) for r in on.server.log):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        on.server._faults = Faults()
        await engine.submit_batch()
        assert (await engine.collect_batches(wait=True, poll=0.001)).replies == 4
        assert len(on.server.batches.statuses) == 1 and on.server.batches.files == {}
        await engine.resume()
        assert set(on.paid.values()) == {1}


def holds(root: Path, word: bytes) -> bool:
    """Whether any file below a folder has a word in it."""
    return any(word in path.read_bytes().lower() for path in root.rglob("*") if path.is_file())


async def test_erased_documents_leave_no_trace_and_their_replies_are_not_kept(tmp_path: Path) -> None:
    async with bench() as on, on.engine(tmp_path) as engine:
        await engine.submit(
            [*DOCUMENTS, Document("Canary Wharf was built by Canary Builder.", id="canary-id")]
        )
        await engine.submit_batch()
        await engine.delete("canary-id", erase=True)
        assert not holds(tmp_path, b"canary")
        report = await engine.collect_batches()
        assert (report.replies, report.failed) == (4, 1)
    assert not holds(tmp_path, b"canary")
    assert on.server.batches.files == {}


async def test_backups_copies_and_checks_know_batches(tmp_path: Path) -> None:
    async with bench() as on, Store.open(tmp_path / "root") as store, on.engine(store) as engine:
        await engine.submit(DOCUMENTS)
        (batch,) = await engine.submit_batch()
        await engine.backup(tmp_path / "backup")
        await store.restore(tmp_path / "backup", "restored")
        await engine.copy("copied")
        assert (await engine.check()).ok
        for name in ("restored", "copied"):
            async with Engine.open(store, name, embedder=DeterministicEmbedder(), create=False) as other:
                assert await other.batches() == [batch]
                assert (await other.work(until_empty=True)).documents == ()
        workspace: Any = engine.workspace
        for statement in ("SET provider = NULL", "SET stage = 'lost'", "SET holds = 'x'"):
            await asyncio.wrap_future(
                workspace.write(_write(f"UPDATE {workspace.schema}.batches {statement}"))
            )
            assert "batches_at_odds" in {fault.kind for fault in (await engine.check()).faults}
            assert (await engine.repair()).ok and (await engine.check()).ok
        report = await engine.resume()  # whatever is not known of a batch is asked for
        assert len(report.documents) == 4 and on.asked(batched=False) >= 4


async def test_a_backup_from_before_the_collection_can_go_on(whole: dict[int, Any], tmp_path: Path) -> None:
    async with bench() as on, Store.open(tmp_path / "root") as store:
        async with on.engine(store) as engine:
            await engine.submit(DOCUMENTS)
            (batch,) = await engine.submit_batch()
            await engine.backup(tmp_path / "backup")
            await engine.collect_batches()
        await store.restore(tmp_path / "backup", "default", overwrite=True)
        async with on.engine(store) as engine:
            with pytest.raises(ProviderRejected, match=rf"batch {batch.id}.*collected elsewhere"):
                await engine.collect_batches()
            assert (await engine.resume()).documents == ()  # they wait for it still
            await engine.cancel_batch(batch.id, forget=True)
            assert {each.status for each in (await engine.resume()).documents} == {Status.PROCESSED}
            assert content(await dump(engine)) == whole[0]


async def test_a_workspace_is_dropped_while_its_batch_is_waited_for(tmp_path: Path) -> None:
    async with bench(BatchBehaviour(polls=10**6)) as on, Store.open(tmp_path) as store:
        async with on.engine(store) as engine:
            await engine.submit(DOCUMENTS)
            await engine.submit_batch()
            looks = asyncio.Queue[None]()
            waiting = asyncio.create_task(
                engine.collect_batches(wait=True, poll=0.001, progress=lambda _: looks.put_nowait(None))
            )
            await looks.get()
            await store.drop("default")
            with pytest.raises(StoreError, match="was dropped"):
                await waiting
        async with on.engine(store) as engine:
            assert await engine.batches() == []
            await engine.submit(DOCUMENTS)
            assert len((await engine.resume()).documents) == 4


def _write(statement: str) -> Any:
    from stateless_rag.stores.duckdb.database import Write

    return Write(lambda cursor: cursor.execute(statement).fetchall())


@pytest.mark.parametrize(
    ("llm", "says"),
    [(None, "no.*LLM|not extracted by an LLM"), (DeterministicLLM(), "takes no batches")],
    ids=["no LLM", "an LLM without batches"],
)
async def test_who_takes_no_batches_says_so(tmp_path: Path, llm: Any, says: str) -> None:
    async with Engine.open(tmp_path, llm=llm, limits=Limits()) as engine:
        await engine.submit(DOCUMENTS)
        for call in (engine.submit_batch, engine.collect_batches):
            with pytest.raises(InvalidInput, match=says):
                await call()
        assert await engine.batches() == []
        assert len((await engine.resume()).documents) == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.submit_batch(3),
        lambda engine: engine.collect_batches(wait="yes"),
        lambda engine: engine.collect_batches(poll=0),
        lambda engine: engine.collect_batches(progress=3),
        lambda engine: engine.cancel_batch(""),
        lambda engine: engine.cancel_batch("unknown"),
        lambda engine: engine.cancel_batch("unknown", forget=True),
        lambda engine: engine.cancel_batch("unknown", forget="no"),
    ],
)
async def test_bad_input_changes_nothing(tmp_path: Path, call: Any) -> None:
    async with bench() as on, on.engine(tmp_path) as engine:
        await engine.submit(DOCUMENTS)
        with pytest.raises(InvalidInput):
            await call(engine)
        assert await engine.batches() == [] and len(await engine.submit_batch()) == 1
