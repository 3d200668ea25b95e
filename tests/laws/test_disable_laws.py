"""A disabled document is as if it were deleted; enabled again, as if it had always been there."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import IDS, StatementLLM, aliases, corpora, versions
from laws.profiles import examples
from laws.workspaces import contents, new_root, new_store, opened
from stateless_rag.types import Document

ids = st.lists(st.sampled_from(IDS), unique=True, max_size=3)


@given(corpora(min_size=2), ids, aliases())
@examples(6)
def test_disabled_is_deleted_and_enabled_is_as_before(
    documents: list[Document], chosen: list[str], pairs: list[tuple[str, str]]
) -> None:
    present = {str(document.id) for document in documents}

    async def check() -> None:
        llm = StatementLLM()
        async with (
            new_store() as store,
            opened(store, "disabled", llm=llm) as engine,
            opened(store, "deleted") as deleted,
            opened(store, "never") as never,
        ):
            await deleted.insert(documents)
            await never.insert([document for document in documents if document.id not in chosen])
            await engine.insert(documents)
            for pair in pairs:
                for each in (engine, deleted, never):
                    await each.alias(*pair)
            before, extracted = await contents(engine), llm.calls["extract"]
            await deleted.delete(chosen)
            report = await engine.disable(chosen)
            assert set(report.changed) == present.intersection(chosen)
            assert set(report.missing) == set(chosen) - present
            assert await contents(engine) == await contents(deleted) == await contents(never)
            shown = {status.id: status.enabled for status in await engine.documents()}
            assert shown == {id_: id_ not in chosen for id_ in present}
            assert (await engine.describe()).disabled == len(report.changed)
            assert (await engine.disable(chosen)).unchanged == report.changed
            assert (await engine.enable(chosen)).changed == report.changed
            assert await contents(engine) == before
            assert (await engine.enable(chosen)).changed == ()
            assert llm.calls["extract"] == extracted

    asyncio.run(check())


@given(corpora(min_size=2), st.data(), aliases())
@examples(6)
def test_whatever_happens_while_it_is_disabled(
    documents: list[Document], data: st.DataObject, pairs: list[tuple[str, str]]
) -> None:
    """Updates of disabled documents, changes by hand and another opening: as if it had all come while enabled."""
    chosen = data.draw(st.lists(st.sampled_from([str(d.id) for d in documents]), unique=True, min_size=1))
    updated = [
        Document(data.draw(versions(document.text)), id=document.id, metadata={"version": 2})
        for document in documents
        if data.draw(st.booleans())
    ]
    final = {document.id: document for document in [*documents, *updated]}

    async def check() -> None:
        llm = StatementLLM()
        with new_root() as root:
            async with opened(root, llm=llm) as engine:
                await engine.insert(documents)
                await engine.disable(chosen)
                await engine.insert(updated)
                for pair in pairs:
                    await engine.alias(*pair)
                assert len(set(llm.asked)) == len(
                    llm.asked
                )  # an update pays for what is new, disabled or not
            async with opened(root, llm=llm) as engine:
                shown = {status.id: status.enabled for status in await engine.documents()}
                assert shown == {id_: id_ not in chosen for id_ in final}
                assert await contents(engine) == await made(
                    [document for document in final.values() if document.id not in chosen], pairs
                )
                extracted = llm.calls["extract"]
                await engine.enable(chosen)
                assert await contents(engine) == await made(list(final.values()), pairs)
                assert llm.calls["extract"] == extracted

    asyncio.run(check())


async def made(documents: list[Document], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    async with new_store() as store, opened(store) as engine:
        await engine.insert(documents)
        for pair in pairs:
            await engine.alias(*pair)
        return await contents(engine)
