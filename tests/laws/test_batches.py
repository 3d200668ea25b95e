"""Law 2: any split of the documents into batches, in any order, with any concurrency, gives the same graph."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import StatementLLM, aliases, corpora, settings
from laws.profiles import examples
from laws.workspaces import contents, new_model, new_store, opened
from stateless_rag.engine import Engine
from stateless_rag.limits import Limits
from stateless_rag.types import Document

Step = list[Document] | tuple[str, str]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Document], list[tuple[str, str]], list[Step]]:
    """Documents, aliases, and a way to bring them in: batches in some order, aliases anywhere between."""
    documents, pairs = draw(corpora(min_size=2)), draw(aliases())
    order = draw(st.permutations(documents))
    cuts = sorted(draw(st.sets(st.integers(1, len(order) - 1)))) if len(order) > 1 else []
    steps: list[Step] = [
        order[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(order)], strict=True)
    ]
    for pair in pairs:
        steps.insert(draw(st.integers(0, len(steps))), pair)
    return documents, pairs, steps


async def take(engine: Engine, step: Step) -> Any:
    if isinstance(step, tuple):
        return await engine.alias(*step)
    return await engine.insert(step)


async def told_at_once(documents: list[Document], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """What the plain model holds."""
    async with new_store() as store, opened(store) as engine:
        model = new_model(engine)
    model.insert(documents)
    for pair in pairs:
        model.alias(*pair)
    return model.dump()


@given(histories())
@examples(15)
def test_batches_and_order_do_not_matter(history: Any) -> None:
    documents, pairs, steps = history

    async def check() -> None:
        async with new_store() as store:
            async with opened(store, "batches") as engine:
                for step in steps:
                    await take(engine, step)
                found = await contents(engine)
            async with opened(store, "at-once") as engine:
                for pair in pairs:
                    await engine.alias(*pair)
                await engine.insert(documents)
                assert await contents(engine) == found
        assert found == await told_at_once(documents, pairs)

    asyncio.run(check())


@given(histories(), st.integers(1, 4), st.sampled_from((1, 3, 512)))
@examples(15)
def test_concurrency_does_not_matter(history: Any, slots: Any, commit_chunks: Any) -> None:
    documents, pairs, steps = history

    async def check() -> None:
        async with new_store() as store:
            llm, chosen = StatementLLM(), settings(commit_chunks=commit_chunks)
            limits = Limits(llm=slots)
            async with (
                opened(store, llm=llm, chosen=chosen, limits=limits) as one,
                opened(store, llm=llm, chosen=chosen, limits=limits) as other,
            ):
                both = (one, other)
                await asyncio.gather(*(take(both[n % 2], step) for n, step in enumerate(steps)))
                found = await contents(one)
            paid = [text for text in llm.asked if text]
        assert found == await told_at_once(documents, pairs)
        assert len(paid) == len(set(paid)), "the same chunk text was paid for twice"

    asyncio.run(check())


@given(corpora(min_size=2))
@examples(10)
def test_one_by_one_with_submit_and_work_is_the_same(documents: Any) -> None:
    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await engine.submit(documents)
            await asyncio.gather(engine.work(until_empty=True), engine.work(until_empty=True))
            assert await contents(engine) == await told_at_once(documents, [])

    asyncio.run(check())
