"""The laws of changes by hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from laws.by_hand import ByHand, Entry, Hand, Step, steps
from laws.generators import KEYS, corpora, settings
from laws.profiles import examples
from laws.workspaces import contents, copied, new_model, new_root, new_store, opened
from stateless_rag.curation_log import CurationLog, EntityByHand, RelationByHand
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput
from stateless_rag.testing.dump import dump
from stateless_rag.text import entity_key
from stateless_rag.types import Curation, Document

LETTERS = "abcd"
letters = st.sampled_from(LETTERS)
pairs = st.lists(letters, min_size=2, max_size=2, unique=True)
values = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from("tT"), "description": st.sampled_from(("", "one", "two"))}
)

related = st.fixed_dictionaries({}, optional={"weight": st.just(1), "description": st.just("three")})


@st.composite
def entries(draw: st.DrawFn) -> list[Curation]:
    """Any log whatever, also one that no workspace would have taken."""
    kinds: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
        "create_entity": (st.tuples(letters), values.map(lambda given: {"name": "N", **given})),
        "edit_entity": (st.tuples(letters), values),
        "delete_entity": (st.tuples(letters), st.just({})),
        "create_relation": (pairs, related),
        "edit_relation": (pairs, st.just({"weight": 3})),
        "delete_relation": (pairs, st.just({})),
        "rename_entity": (pairs | letters.map(lambda key: (key, key)), st.just({"name": "R"})),
        "merge_entities": (st.lists(letters, min_size=2, max_size=3, unique=True), st.just({"name": "M"})),
        "alias": (st.lists(letters, min_size=1, max_size=2, unique=True), st.just({})),
    }
    found = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        keys: Sequence[str]
        if number > 1 and draw(st.integers(0, 3)) == 0:
            kind, keys, given = "undo", [], {"number": draw(st.integers(1, number - 1))}
        else:
            kind = draw(st.sampled_from(sorted(kinds)))
            keys, given = draw(kinds[kind][0]), draw(kinds[kind][1])
        found.append(
            Curation(
                number=number,
                at=0.0,
                kind=kind,
                keys=tuple(keys),
                names=tuple(f"{key}{number}" for key in keys),
                payload=MappingProxyType(given),
            )
        )
    return found


def plain(log: Sequence[Curation]) -> ByHand:
    return ByHand([Entry(e.number, e.kind, e.keys, e.names, e.payload) for e in log])


def as_entity(hand: Hand) -> EntityByHand:
    return EntityByHand(
        hidden=hand.hidden,
        made=hand.made,
        called=next(iter(hand.called), None),
        told=hand.told,
        **hand.values,
    )


def as_relation(hand: Hand) -> RelationByHand:
    left, right = hand.names
    called: Any = hand.called or None
    return RelationByHand(
        hidden=hand.hidden, made=hand.made, left=left, right=right, called=called, **hand.values
    )


@given(entries())
def test_a_log_says_what_its_entries_say(log: Any) -> None:
    hand, found = plain(log), CurationLog.of(log)
    assert (found.circle is not None) == hand.in_circle()
    assume(found.circle is None)
    assert dict(found.aliases) == hand.aliases()
    for key in LETTERS:
        assert (found.entity(key) or EntityByHand()) == as_entity(hand.entity(key))
    for pair in itertools.combinations(LETTERS, 2):
        assert (found.relation(pair) or RelationByHand()) == as_relation(hand.relation(pair))
        ends = {key: pair in found.pairs_of(key) for key in pair}
        assert set(ends.values()) <= {pair in hand.pairs()}
    assert all(one != other for key in LETTERS for one, other in found.pairs_of(key))


@given(entries(), st.integers(0, 12))
def test_a_log_that_grows_is_the_same_as_one_read_at_once(log: Any, at: int) -> None:
    grown = CurationLog.of(log[:at])
    for entry in log[at:]:
        grown = grown.following(entry)
    assert grown == CurationLog.of(log)


# ---- with an engine ------------------------------------------------------------------------------------


async def taken(engine: Engine, step: Step | list[Document]) -> bool:
    """Whether the engine could take a step."""
    try:
        await (step.take(engine) if isinstance(step, Step) else engine.insert(step))
    except InvalidInput:
        return False
    return True


async def told(engine: Engine, documents: Sequence[Document], *, without: int | None = None) -> Any:
    """What the plain model holds of the documents under the log of an engine."""
    log = reversed(await engine.history(limit=1000))
    model = new_model(engine, hand=plain([entry for entry in log if entry.number != without]))
    model.insert(documents)
    return model.dump()


# Without it, most changes would be of what is not there.
KNOWN = Document(
    "\n\n".join(f"relation | {one} | {other} | work | counts" for one, other in itertools.pairwise(KEYS)),
    id="known",
)
batches = corpora().flatmap(
    lambda found: st.tuples(
        st.just([KNOWN, *found]), st.lists(steps(), min_size=2, max_size=8), st.integers(1, len(found))
    )
)


@given(batches, st.data())
@examples(20)
def test_the_graph_follows_from_documents_and_log_alone(given_: Any, data: Any) -> None:
    """Laws 2 and 3: whatever came when, and whatever came and went."""
    documents, changes, cut = given_
    order: list[Any] = data.draw(st.permutations([documents[:cut], documents[cut:], *changes]))
    gone = data.draw(st.lists(st.sampled_from([str(d.id) for d in documents]), max_size=2, unique=True))

    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            for step in order:
                await taken(engine, step)
            assert await contents(engine) == await told(engine, documents)
            await engine.delete(gone)
            rest = [document for document in documents if document.id not in gone]
            assert await contents(engine) == await told(engine, rest)
            await engine.insert(documents)
            assert await contents(engine) == await told(engine, documents)

    asyncio.run(check())


@given(batches)
@examples(15)
def test_changes_by_hand_and_documents_at_once(given_: Any) -> None:
    documents, changes, cut = given_

    async def check() -> None:
        chosen = settings(commit_chunks=1)
        async with new_store() as store, opened(store, chosen=chosen) as one, opened(store) as other:
            await one.insert(documents[:cut])
            both = (one, other)
            every: list[Any] = [*changes, documents[cut:]]
            await asyncio.gather(*(taken(both[n % 2], step) for n, step in enumerate(every)))
            assert await contents(one) == await told(one, documents)
            numbers = [entry.number for entry in await other.history(limit=1000)]
            assert numbers == list(range(len(numbers), 0, -1))

    asyncio.run(check())


@given(batches, st.data())
@examples(20)
def test_undoing_is_exact(given_: Any, data: Any) -> None:
    documents, changes, cut = given_

    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await engine.insert(documents[:cut])
            for step in changes:
                before, revision = await contents(engine), engine.revision
                if not await taken(engine, step):
                    assert engine.revision == revision
                elif data.draw(st.booleans()):
                    last = (await engine.history(limit=1))[0]
                    await engine.undo(last.number)
                    assert await contents(engine) == before
            await engine.insert(documents[cut:])
            live = [e for e in await engine.history(limit=1000) if not e.undone_by and e.kind != "undo"]
            assume(live)
            number = data.draw(st.sampled_from([entry.number for entry in live]))
            expected = await told(engine, documents, without=number)
            before = await contents(engine)
            try:
                await engine.undo(number)
            except InvalidInput:
                assert await contents(engine) == before  # aliases that would lead in a circle
                return
            assert await contents(engine) == expected
            await engine.undo((await engine.history(limit=1))[0].number)
            assert await contents(engine) == before

    asyncio.run(check())


@given(corpora(), st.sampled_from(KEYS[:3]))
@examples(10)
def test_an_edit_outlives_the_documents(documents: Any, name: Any) -> None:
    documents = [Document(f"entity | {name} | Place | counts\n\n{d.text}", id=d.id) for d in documents]

    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await engine.insert(documents)
            edited = (await engine.edit_entity(name, description="by hand", type="Person")).entity
            assert edited is not None and (edited.description, edited.type) == ("by hand", "person")
            await engine.delete([str(document.id) for document in documents])
            assert await engine.entity(name) is None
            await engine.insert(documents)
            assert await engine.entity(name) == edited

    asyncio.run(check())


@given(corpora(), st.permutations(KEYS[:5]), st.integers(1, 2))
@examples(15)
def test_merged_entities_are_as_if_extracted_under_one_name(documents: Any, keys: Any, several: Any) -> None:
    """In chunks that use one of the names; a chunk that uses two says as much twice."""
    *sources, target = keys[: several + 1]
    used = itertools.cycle((*sources, target))

    def written(text: str, name: str) -> str:
        """With the name in place of all that are merged."""
        lines = [line.split(" | ") for line in text.splitlines()]
        merged = {entity_key(key) for key in (*sources, target)}
        return "\n".join(
            " | ".join(name if n and entity_key(part) in merged else part for n, part in enumerate(parts))
            for parts in lines
        )

    split, joined = [], []
    for document in documents:
        chunks = [(chunk, next(used)) for chunk in document.text.split("\n\n")]
        split.append(Document("\n\n".join(written(*pair) for pair in chunks), id=document.id))
        joined.append(Document("\n\n".join(written(chunk, target) for chunk, _ in chunks), id=document.id))

    async def check() -> None:
        async with new_store() as store, opened(store, "split") as one, opened(store, "joined") as other:
            await one.insert(split[:1])
            for name in (*sources, target):
                await taken(one, Step("create_entity", (name,)))
            await one.merge_entities(sources, target)
            await one.insert(split[1:])
            await other.insert(joined)
            await taken(other, Step("create_entity", (target,)))
            found, expected = await dump(one), await dump(other)
            for table in ("entities", "relations"):
                for rows in (found[table], expected[table]):
                    for row in rows:
                        del row["state"]
                assert found[table] == expected[table]

    asyncio.run(check())


@given(batches)
@examples(10)
def test_opening_again_and_a_kill_lose_no_change(given_: Any) -> None:
    documents, changes, cut = given_

    async def check() -> None:
        with new_root() as root:
            async with opened(root) as engine:
                await engine.insert(documents[:cut])
                for step in changes:
                    await taken(engine, step)
                before, log = await contents(engine), await engine.history()
                killed = copied(root, root.with_name("killed"))
            for place in (killed, root):
                async with opened(place) as engine:
                    assert await engine.history() == log
                    assert await contents(engine) == before
                    await engine.insert(documents[cut:])
                    assert await contents(engine) == await told(engine, documents)

    asyncio.run(check())
