"""What was paid, by document, query, purpose, model and day."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, InvalidInput, Price
from stateless_rag.context import Clock
from stateless_rag.errors import ProviderError
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Answer, Usage

ADA = Document("Ada Lovelace wrote notes on the Analytical Engine.", id="ada")
HOPPER = Document("Grace Hopper wrote the first compiler in Philadelphia.", id="hopper")
PRICES = {"*": Price(input=2.0, output=8.0), "deterministic-32": Price(input=0.5)}
DAY = 86_400.0


class Wall:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def opened(store: Store | Path, **options: Any) -> Any:
    return Engine.open(store, llm=DeterministicLLM(), embedder=DeterministicEmbedder(), **options)


def total(rows: Any) -> Usage:
    return sum((row.usage for row in rows), Usage())


async def test_extraction_stands_under_its_document(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        report = await engine.insert([ADA, HOPPER, Document(ADA.text, id="twin")])
        rows = {row.document: row for row in await engine.costs("document")}
        assert rows.keys() == {"hopper", None} | (rows.keys() & {"ada", "twin"})
        assert ("ada" in rows) != ("twin" in rows)  # who asked first: the other found the reply
        assert rows["hopper"].usage.calls == 2
        assert rows[None].embeddings > 0 and rows["hopper"].embeddings == 0
        assert total(rows.values()).tokens == sum(used.tokens for used in report.usage.values())
        both = await engine.costs(["document", "purpose"])
        assert ("hopper", "glean") in {(row.document, row.purpose) for row in both}
        assert all(row.model is None and row.day is None and row.money is None for row in both)


@pytest.mark.parametrize("cache", [True, False], ids=["kept", "not kept"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_question_is_paid_for_once_and_stands_under_its_name(
    tmp_path: Path, streamed: bool, cache: bool
) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(ADA)
        before, revision = await engine.costs("purpose"), engine.revision
        if streamed:
            pieces = [piece async for piece in engine.stream("Who wrote notes?", cache=cache)]
            answer = pieces[-1]
        else:
            answer = await engine.query("Who wrote notes?", cache=cache)
        assert isinstance(answer, Answer) and answer.trace is not None
        rows = await engine.costs(["query", "purpose"])
        mine = {row.purpose: row.usage for row in rows if row.query == answer.trace.id}
        assert mine == {purpose: used for purpose, used in answer.usage.items() if used.calls}
        assert {"answer", "embed_query"} <= mine.keys()
        assert total(rows).calls == total(before).calls + sum(used.calls for used in mine.values())
        assert engine.revision == revision
        again = await engine.query("Who wrote notes?", cache=cache)
        assert again.trace is not None
        paid = {r.purpose for r in await engine.costs(["query", "purpose"]) if r.query == again.trace.id}
        assert ("answer" in paid) != cache


async def test_what_a_question_cost_outlasts_closing_and_comes_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as engine:
        await engine.insert(ADA)
        await engine.retrieve("Who wrote notes?")
    async with opened(tmp_path / "root") as engine:
        assert (await engine.costs())["embed_query"].calls == 1
        await engine.retrieve("Who wrote a compiler?")
        workspace: Any = engine.workspace
        paid: dict[str, int] = {}
        while paid.get("embed_query") != 2:  # written without being asked for
            await asyncio.sleep(0.02)
            paid = {row[0]: row[2] for row in workspace.select("paid_by_model", ["deterministic-32"])}


async def test_a_question_that_fails_is_paid_for_as_far_as_it_came(tmp_path: Path) -> None:
    class Mute(DeterministicLLM):
        async def complete(self, request: Any) -> Any:
            if request.purpose == "answer":
                raise ProviderError("no")
            return await super().complete(request)

    async with Engine.open(tmp_path, llm=Mute(), embedder=DeterministicEmbedder()) as engine:
        await engine.insert(ADA)
        with pytest.raises(ProviderError):
            await engine.query("Who wrote notes?")
        (row,) = [r for r in await engine.costs(["purpose", "query"]) if r.purpose == "embed_query"]
        assert row.usage.calls == 1 and row.query


async def test_the_built_in_embedder_is_paid_nothing_for_questions(tmp_path: Path) -> None:
    async with Engine.open(tmp_path) as engine:
        await engine.insert(ADA)
        await engine.query("Who wrote notes?")
        assert {row.query for row in await engine.costs("query")} == {None}


async def test_days_and_money(tmp_path: Path) -> None:
    wall = Wall()
    async with Store.open(tmp_path, clock=Clock(wall=wall)) as store, opened(store) as engine:
        await engine.insert(ADA)
        wall.now += DAY
        await engine.insert(HOPPER)
        await engine.query("Who wrote notes?")
        days = await engine.costs("day", prices=PRICES)
        assert [row.day for row in days] == ["2026-03-01", "2026-03-02"]
        for row in await engine.costs("model", prices=PRICES):
            price = PRICES.get(row.model or "", PRICES["*"])
            asked, said = row.usage.prompt_tokens, row.usage.completion_tokens
            assert row.money == pytest.approx((asked * price.input + said * price.output) / 1e6)
        whole = sum(row.money or 0.0 for row in await engine.costs("purpose", prices=PRICES))
        assert whole == pytest.approx(sum(row.money or 0.0 for row in days)) and whole > 0
        second: Any
        for second in ("2026-03-02", date(2026, 3, 2), datetime(2026, 3, 2, tzinfo=UTC)):
            assert await engine.costs("day", since=second, prices=PRICES) == days[1:]
            assert await engine.costs("day", until=second, prices=PRICES) == days[:1]
        dropped = await engine.clear_cache()
        assert dropped and await engine.costs("day", prices=PRICES) == days
        assert {row.document for row in await engine.costs("document")} == {"ada", "hopper", None}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"by": "year"}, "year"),
        ({"by": ["day", 3]}, "by"),
        ({"by": "day", "since": "soon"}, "since"),
        ({"by": "day", "until": 3}, "until"),
        ({"since": "2026-01-01"}, "by is missing"),
        ({"by": "day", "prices": {"other": Price(input=1.0)}}, "prices"),
    ],
)
async def test_what_cannot_be_summed_up_is_refused(tmp_path: Path, given: Any, says: str) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(ADA)
        with pytest.raises(InvalidInput, match=says):
            await engine.costs(**given)


async def test_an_erased_document_is_not_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert([ADA, HOPPER])
        before = await engine.costs()
        await engine.delete("hopper", erase=True)
        assert {row.document for row in await engine.costs("document")} == {"ada", None}
        assert (await engine.costs())["extract"] == before["extract"]
