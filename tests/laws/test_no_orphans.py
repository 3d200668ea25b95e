"""Law 6, and that the check of it would notice: every derived row rests on one that is there."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laws.generators import KEYS, StatementLLM, corpora, documents, settings
from laws.profiles import examples
from laws.workspaces import check_no_orphans, check_views, contents, new_store, opened
from stateless_rag.curating import set_alias
from stateless_rag.errors import InvalidInput
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document
from unit.scripted import Late

TEXT = "entity | Ada | Person | counts\nrelation | Ada | Zuse | work | never met"


@given(corpora(min_size=2), st.lists(documents(), max_size=3), st.data())
@examples(15)
def test_nothing_is_left_over_when_writers_race(first: Any, second: Any, data: Any) -> None:
    """Inserts, updates, deletes and aliases at once, on two engines: no telling who wins, but all is whole."""
    gone = data.draw(st.lists(st.sampled_from([str(d.id) for d in first]), max_size=2, unique=True))
    name, target = data.draw(st.permutations(KEYS))[:2]

    async def check() -> None:
        llm = StatementLLM()
        async with new_store() as store:
            async with (
                opened(store, llm=llm, chosen=settings(commit_chunks=1)) as one,
                opened(store, llm=llm) as other,
            ):
                await one.insert(first[:1])
                await asyncio.gather(
                    one.insert(first), other.insert(second), other.delete(gone), one.alias(name, target)
                )
                await one.resume()
                found = await contents(one)
                assert not found["pending"]
            rest = [Document(row["text"], id=row["id"]) for row in found["documents"]]
            async with opened(store, "anew") as anew:
                await anew.alias(name, target)
                await anew.insert(rest)
                expected = await contents(anew)
            for table in ("chunks", "mentions", "entities", "relations", "aliases", "vectors"):
                assert found[table] == expected[table]

    asyncio.run(check())


@given(st.permutations(KEYS[:3]))
@examples(5)
def test_aliases_given_at_once_never_make_a_circle(keys: Any) -> None:
    """Two who do not see each other's alias: one of them is told, and nothing hangs."""

    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await engine.insert([TEXT, f"entity | {keys[0]} | Place | counts"])
            pairs = list(zip(keys, [*keys[1:], keys[0]], strict=True))
            async with asyncio.timeout(240):
                told = await asyncio.gather(*(engine.alias(*pair) for pair in pairs), return_exceptions=True)
            refused = [answer for answer in told if isinstance(answer, BaseException)]
            assert [type(answer) for answer in refused] == [InvalidInput]
            assert len((await contents(engine))["aliases"]) == len(keys) - 1

    asyncio.run(check())


@pytest.mark.parametrize("table", ["documents", "chunks", "mentions", "entities", "relations", "vectors"])
async def test_the_check_notices_a_missing_row(table: Any) -> None:
    async with new_store() as store, opened(store) as engine:
        await engine.insert([TEXT])
        found = await dump(engine)
        check_no_orphans(found)
        damaged = copy.deepcopy(found)
        if table == "vectors":
            damaged[table].popitem()
        else:
            damaged[table].pop()
        with pytest.raises(AssertionError):
            check_no_orphans(damaged)
            check_views(engine, damaged)


@pytest.mark.parametrize("known", [(), ("entity | Zuse | Person | counts",)])
async def test_an_alias_holds_for_what_is_committed_while_it_is_computed(known: Any) -> None:
    async with new_store() as store, opened(store) as engine:
        await engine.insert(known)
        context = engine.context.derive(journal=engine._workspace.journal)
        late: Any = Late(engine._workspace, engine.insert([TEXT]))
        await set_alias(context, late, "Ada", "Zuse")
        found = await contents(engine)
        assert [row["key"] for row in found["entities"]] == ["zuse"]
        assert not found["relations"]
