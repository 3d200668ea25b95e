"""Budgets: nothing is paid for beyond one but what was under way, nothing that was paid is lost, and more goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import CountingEmbedder, StatementLLM, corpora
from laws.profiles import examples
from laws.workspaces import contents, new_root, new_store, opened
from stateless_rag import Budget, Document, InsertReport, Limits, Price, Status
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest


@dataclass
class Till:
    """What was paid for calls that have come back, and what that was when each call began."""

    paid: int = 0
    calls: int = 0
    begun: list[int] = field(default_factory=list)

    def begin(self) -> None:
        self.begun.append(self.paid)

    def end(self, cost: int) -> None:
        self.paid += cost
        self.calls += 1


@dataclass
class PaidLLM(StatementLLM):
    """Its calls take a while, and cost so much."""

    till: Till = field(default_factory=Till)

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.till.begin()
        cost = 3 + len(request.prompt) % 20
        for _ in range(cost % 5):
            await asyncio.sleep(0)
        reply = await super().complete(request)
        self.till.end(cost)
        return LLMReply(text=reply.text, prompt_tokens=cost - 1, completion_tokens=1)


@dataclass
class PaidEmbedder(CountingEmbedder):
    """As PaidLLM."""

    till: Till = field(default_factory=Till)

    @property
    def max_batch(self) -> int:
        """Small, so that there are several batches."""
        return 2

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.till.begin()
        for _ in range(len(texts[0]) % 4):
            await asyncio.sleep(0)
        made = await super().embed(texts, role=role)
        self.till.end(7)
        return Embeddings(vectors=made.vectors, tokens=7)


def worth(tokens: int, *, money: bool, period: Any = "total") -> Budget:
    if money:
        return Budget(money=tokens / 1_000_000, prices={"*": Price(input=1.0, output=1.0)}, period=period)
    return Budget(tokens=tokens, period=period)


def check_report(report: InsertReport, documents: Sequence[Document]) -> None:
    assert {each.status for each in report.documents} <= {Status.PROCESSED, Status.PENDING}
    waiting = [each for each in report.documents if each.status is Status.PENDING]
    assert bool(report.paused) >= bool(waiting)
    assert all("BudgetExhausted" in (each.error or "") for each in waiting)
    assert {each.id for each in report.documents} <= {document.id for document in documents}


@given(corpora(min_size=2), st.data())
@examples(16)
def test_it_stops_in_time_and_goes_on_to_the_same_end(documents: list[Document], data: st.DataObject) -> None:
    slots, money = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    shared, reopen = data.draw(st.booleans()), data.draw(st.booleans())
    period = data.draw(st.sampled_from(["total", "day"])) if shared else "total"
    steps = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=6))
    till = Till()
    llm, embedder = PaidLLM(till=till), PaidEmbedder(till=till)

    async def check() -> None:
        with new_root() as root:
            async with AsyncExitStack() as stack:

                async def open_one() -> Any:
                    limits = Limits(llm=slots, embedder=2)
                    return await stack.enter_async_context(
                        opened(root, llm=llm, embedder=embedder, limits=limits)
                    )

                engine = await open_one()
                limit = 0
                for number, more in enumerate(steps):
                    before = len(till.begun)
                    limit = limit + more if shared else till.paid + more
                    own = None if shared else worth(more, money=money)
                    if shared:
                        status = await engine.set_budget(worth(limit, money=money, period=period))
                        assert status.tokens == till.paid
                    report = await (
                        engine.resume(budget=own) if number else engine.insert(documents, budget=own)
                    )
                    check_report(report, documents)
                    assert all(paid < limit for paid in till.begun[before:])
                    assert till.calls == len(till.begun)  # none was given up that had begun
                    if reopen:
                        await stack.aclose()
                        engine = await open_one()
                await engine.set_budget(None)
                last = await engine.resume()
                assert last.paused is None
                assert len(llm.asked) == len(set(llm.asked))  # no chunk was paid for twice
                assert all(row.status is Status.PROCESSED for row in await engine.documents())
                found = await contents(engine)
        async with new_store() as store, opened(store) as plain:
            await plain.insert(documents)
            expected = await contents(plain)
        assert found == expected

    asyncio.run(check())
