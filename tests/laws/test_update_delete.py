"""Laws 3, 4, 5 and 7: deleting, inserting again, updating, and opening again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from laws.generators import (
    FAILING,
    CountingEmbedder,
    StatementLLM,
    aliases,
    chunks,
    corpora,
    metadata,
    settings,
    versions,
)
from laws.model import cut
from laws.profiles import examples
from laws.workspaces import contents, copied, new_model, new_root, new_store, opened
from stateless_rag.types import Document, Status


@st.composite
def parts(draw: st.DrawFn) -> tuple[list[Document], list[Document]]:
    """Some documents, and some others."""
    documents = draw(corpora(min_size=2))
    at = draw(st.integers(0, len(documents) - 1))
    return documents[:at], documents[at:]


@given(parts(), aliases())
@examples(15)
def test_insert_then_delete_leaves_no_trace(some_and_others: Any, pairs: Any) -> None:
    some, others = some_and_others

    async def check() -> None:
        async with new_store() as store:
            async with opened(store, "never") as engine:
                await engine.insert(some)
                for pair in pairs:
                    await engine.alias(*pair)
                never = await contents(engine)
            async with opened(store, "deleted") as engine:
                await engine.insert([*others, *some])
                for pair in pairs:
                    await engine.alias(*pair)
                report = await engine.delete([str(document.id) for document in others])
                assert set(report.deleted) == {document.id for document in others}
                assert await contents(engine) == never

    asyncio.run(check())


@given(corpora(), st.data())
@examples(15)
def test_deleting_one_by_one_empties_the_workspace(documents: Any, data: Any) -> None:
    order = data.draw(st.permutations([str(document.id) for document in documents]))

    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            empty = await contents(engine)
            await engine.insert(documents)
            for id_ in order:
                await engine.delete(id_)
            assert await contents(engine) == empty
            info = await engine.describe()
            assert (info.chunks, info.entities, info.relations) == (0, 0, 0)

    asyncio.run(check())


@given(corpora(), aliases(), metadata())
@examples(15)
def test_the_same_again_changes_nothing_and_asks_nobody(documents: Any, pairs: Any, other: Any) -> None:
    async def check() -> None:
        llm, embedder = StatementLLM(), CountingEmbedder()
        async with new_store() as store, opened(store, llm=llm, embedder=embedder) as engine:
            model = new_model(engine)
            await engine.insert(documents)
            for pair in pairs:
                await engine.alias(*pair)
                model.alias(*pair)
            before, revision = await contents(engine), engine.revision
            calls, embedded = llm.calls.copy(), embedder.embedded

            report = await engine.insert(documents)
            assert all(found.unchanged for found in report.documents)
            assert engine.revision == report.revision == revision
            assert await contents(engine) == before

            changed = [replace(document, metadata=other) for document in documents]
            report = await engine.insert(changed)
            assert {found.status for found in report.documents} == {Status.PROCESSED}
            model.insert(changed)
            assert await contents(engine) == model.dump()
            assert (llm.calls, embedder.embedded) == (calls, embedded)
            assert not report.usage

    asyncio.run(check())


@given(corpora(), aliases(), st.data())
@examples(15)
def test_an_update_is_a_delete_and_an_insert_that_pays_for_changes_only(
    documents: Any, pairs: Any, data: Any
) -> None:
    old = documents[0]
    new = replace(old, text=data.draw(versions(old.text)))
    known = {piece.id for piece in cut(old)}
    added = [piece.text for piece in cut(new) if piece.id not in known]

    async def check() -> None:
        llm = StatementLLM()
        async with new_store() as store:
            async with opened(store, "update", llm=llm) as engine:
                await engine.insert(documents)
                for pair in pairs:
                    await engine.alias(*pair)
                paid = set(llm.asked)
                report = await engine.insert([new])
                asked = llm.asked[len(paid) :]
                updated = await contents(engine)
            async with opened(store, "anew") as engine:
                for pair in pairs:
                    await engine.alias(*pair)
                await engine.insert(documents)
                await engine.delete(str(old.id))
                await engine.insert([new])
                assert await contents(engine) == updated
        assert sorted(asked) == sorted(set(added) - paid)
        extracted = report.usage.get("extract")
        looked_up = (extracted.calls + extracted.cached) if extracted else 0
        assert looked_up == (len(added) if new.text != old.text else 0)

    asyncio.run(check())


@given(corpora(), aliases())
@examples(15)
def test_opening_again_and_a_kill_lose_nothing(documents: Any, pairs: Any) -> None:
    async def check() -> None:
        with new_root() as root:
            async with opened(root) as engine:
                await engine.insert(documents[:1])
                for pair in pairs:
                    await engine.alias(*pair)
                await engine.insert(documents[1:])
                before, revision = await contents(engine), engine.revision
                killed = copied(root, root.with_name("killed"))
            for place in (killed, root):
                llm = StatementLLM()
                async with opened(place, llm=llm) as engine:
                    assert engine.revision == revision
                    assert await contents(engine) == before
                    report = await engine.resume()
                    assert not report.documents
                    await engine.insert(documents)
                    assert not llm.calls

    asyncio.run(check())


@given(corpora(), chunks(), st.booleans())
@examples(12)
def test_what_failed_is_resumed_as_if_it_had_not(documents: Any, last: Any, accept_partial: Any) -> None:
    broken = f"{documents[0].text}\n\nentity | Zuse | Person | {FAILING} once\n\n{last}"
    documents = [replace(documents[0], text=broken.strip()), *documents[1:]]

    async def check() -> None:
        llm = StatementLLM(broken=True)
        async with new_store() as store:
            async with opened(store, llm=llm, chosen=settings(accept_partial=accept_partial)) as engine:
                model = new_model(engine, accept_partial=accept_partial, broken=True)
                report = await engine.insert(documents)
                model.insert(documents)
                assert documents[0].id in {failed.id for failed in report.failed}
                assert await contents(engine) == model.dump()

                llm.broken = model.broken = False
                failed = [text for text in llm.asked if FAILING in text]
                asked = len(llm.asked)
                await engine.resume()
                model.work(failed=True)
                assert await contents(engine) == model.dump()
                assert sorted(llm.asked[asked:]) == sorted(set(failed))
            async with opened(store, "undisturbed") as engine:
                await engine.insert(documents)
                assert await contents(engine) == model.dump()

    asyncio.run(check())


@given(corpora(min_size=2), aliases())
@examples(10)
def test_an_alias_taken_back_was_never_there(documents: Any, pairs: Any) -> None:
    assume(pairs)

    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await engine.insert(documents[:1])
            for pair in pairs:
                await engine.alias(*pair)
            await engine.insert(documents[1:])
            for name, _ in reversed(pairs):
                await engine.alias(name, None)
            found = await contents(engine)
            async with opened(store, "without") as other:
                await other.insert(documents)
                assert await contents(other) == found

    asyncio.run(check())
