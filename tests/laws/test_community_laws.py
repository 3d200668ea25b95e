"""Communities follow from the graph alone: they partition its entities at each level, whatever way the documents came,
whatever came and went between, and under a filter as if there were no other documents.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from laws.generators import corpora, settings
from laws.profiles import examples
from laws.workspaces import new_store, opened
from stateless_rag.engine import Engine
from stateless_rag.filters import checked_filter
from stateless_rag.protocols import Snapshot
from stateless_rag.protocols.partition import Partition
from stateless_rag.retrieval.allowed import Folds, allowed_part
from stateless_rag.settings import CommunitySettings
from stateless_rag.types import Document

SMALL = CommunitySettings(max_size=2, resolution=1.5)
FEW = [
    Document("entity | Ada | Person | counts\nrelation | Ada | Zuse | work | met", id="one"),
    Document("relation | Zuse | Babbage | work | met", id="two"),
    Document("relation | Ada | Babbage | work | met", id="three"),
]


async def partition(engine: Engine, condition: Any = None) -> Partition:
    def read(snapshot: Snapshot) -> Partition:
        return allowed_part(snapshot, condition, Folds()).communities(SMALL)

    return await engine.workspace.read(read)


def told(found: Partition) -> dict[str, Any]:
    """All of it as plain values."""
    return {
        "names": found.names,
        "levels": found.levels.tolist(),
        "parents": found.parents.tolist(),
        "members": [sorted(found.members(number).tolist()) for number in range(len(found))],
        "weights": dict(zip(found.entities.tolist(), found.weights.tolist(), strict=True)),
        "homes": dict(zip(found.chunks.tolist(), found.homes.tolist(), strict=True)),
        "told": found.told.tolist(),
    }


@given(corpora(min_size=1))
@examples(8)
def test_at_each_level_every_entity_is_in_one_community(documents: list[Document]) -> None:
    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await engine.insert(documents)
            found = await partition(engine)
            every = sorted(await engine.workspace.read(lambda snapshot: snapshot.entity_ids()))
            for level in range(found.depth + 1):
                numbers = found.at_level(level)
                members = [member for number in numbers for member in found.members(number).tolist()]
                assert sorted(members) == every
            for number in range(len(found)):
                parts = [set(found.members(part).tolist()) for part in found.parts(number)]
                assert not parts or set().union(*parts) == set(found.members(number).tolist())
            graph = await engine.graph()
            together = {
                frozenset((one, other))
                for number in found.at_level(found.depth)
                for one in found.members(number).tolist()
                for other in found.members(number).tolist()
            }
            assert len(together) >= len(every) and graph.num_nodes() == len(every)
            shown = await engine.communities(level=None, limit=None)
            assert sorted(name for one in shown if one.level == 0 for name in one.members) == sorted(
                entity.name for entity in graph.nodes()
            )

    asyncio.run(check())


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Document], list[Document], int]:
    """Documents, the same in another order, and where their second batch begins."""
    documents = draw(corpora(min_size=2))
    return documents, draw(st.permutations(documents)), draw(st.integers(1, len(documents)))


@given(histories())
@example((FEW, FEW[::-1], 2))
@examples(8)
def test_order_batches_and_what_came_and_went_do_not_matter(
    history: tuple[list[Document], list[Document], int],
) -> None:
    documents, order, cut = history
    gone = Document("entity | Ada | Person | went\nrelation | Ada | Zuse | work | met\n", id="gone")

    async def check() -> None:
        async with (
            new_store() as store,
            opened(store, "whole") as one,
            opened(store, "parts") as other,
        ):
            await one.insert(documents)
            await other.insert([*order[:cut], gone])
            assert len(await partition(other))  # what is kept of it must not be taken for what comes after
            await other.insert(order[cut:])
            await other.delete("gone")
            assert told(await partition(one)) == told(await partition(other))

    asyncio.run(check())


@given(corpora(min_size=2), st.sets(st.integers(0, 2)))
@example(FEW, {0})
@example(FEW, {1, 2})
@examples(8)
def test_under_a_filter_they_are_those_of_the_allowed_documents_alone(
    documents: list[Document], groups: set[int]
) -> None:
    marked = [replace(document, metadata={"group": place % 3}) for place, document in enumerate(documents)]
    condition = {"group": {"in": sorted(groups)}}
    holds = checked_filter("condition", condition)
    assert holds is not None
    chosen = replace(settings(), merging=replace(settings().merging, description_texts=500))

    async def check() -> None:
        async with (
            new_store() as store,
            opened(store, "all", chosen=chosen) as every,
            opened(store, "allowed", chosen=chosen) as alone,
        ):
            await every.insert(marked)
            await partition(every)
            await alone.insert([document for document in marked if holds.holds(document.metadata)])
            assert told(await partition(every, condition)) == told(await partition(alone))

    asyncio.run(check())
