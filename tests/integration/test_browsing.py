"""Looking at documents and at the graph, on a graph that is given."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, Settings, Status
from stateless_rag.errors import InvalidInput
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM

EDGES = ["Hub-Ann", "Hub-Bob", "Hub-Cid", "Ann-Bob", "Cid-Dan", "Dan-Eve", "New York-York"]


def graph(edges: list[str]) -> dict[str, Any]:
    pairs = [edge.split("-") for edge in edges]
    names = sorted({name for pair in pairs for name in pair})
    return {
        "chunks": [{"content": f"part {n}", "source_id": f"c{n}"} for n in range(len(pairs))],
        "entities": [
            {"entity_name": name, "entity_type": "city" if "York" in name else "person", "source_id": "c0"}
            for name in [*names, "Alone"]
        ],
        "relationships": [
            {"src_id": one, "tgt_id": other, "description": f"{one} knows {other}", "source_id": f"c{n}"}
            for n, (one, other) in enumerate(pairs)
        ],
    }


def options() -> dict[str, Any]:
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    return {"llm": DeterministicLLM(), "embedder": DeterministicEmbedder(), "settings": settings}


@pytest.fixture(scope="module")
def inserted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds the graph."""
    root = tmp_path_factory.mktemp("inserted") / "root"
    with SyncEngine.open(root, **options()) as opened:
        opened.insert_graph(graph(EDGES), document_id="graph")
    return root


@pytest.fixture
async def engine(inserted: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine.open(Path(shutil.copytree(inserted, tmp_path / "root")), **options()) as opened:
        yield opened


def names(subgraph: Any) -> list[str]:
    return [entity.name for entity in subgraph.entities]


async def test_a_part_of_the_graph_is_given_breadth_first_by_degree(engine: Engine) -> None:
    whole = await engine.subgraph("hub")
    assert names(whole) == ["Hub", "Ann", "Bob", "Cid", "Dan", "Eve"]
    assert not whole.truncated
    assert (len(whole.relations), whole.degrees["hub"]) == (6, 3)
    near = await engine.subgraph("Hub", depth=1)
    assert names(near) == ["Hub", "Ann", "Bob", "Cid"]
    assert {(r.source, r.target) for r in near.relations} == {
        ("Hub", "Ann"), ("Hub", "Bob"), ("Hub", "Cid"), ("Ann", "Bob")
    }  # fmt: skip
    assert not near.truncated
    few = await engine.subgraph("Hub", limit=2)
    assert (names(few), few.truncated) == (["Hub", "Ann"], True)
    exactly = await engine.subgraph("Hub", depth=1, limit=4)
    assert (len(exactly.entities), exactly.truncated) == (4, False)
    assert names(await engine.subgraph("Hub", depth=0)) == ["Hub"]
    assert names(await engine.subgraph("Alone")) == ["Alone"]
    assert await engine.subgraph("Nobody") == await engine.subgraph("Nothing")


async def test_a_star_stands_for_the_entities_with_the_most_relations(engine: Engine) -> None:
    best = await engine.subgraph("*", limit=3)
    assert (names(best), best.truncated) == (["Hub", "Ann", "Bob"], True)
    everything = await engine.subgraph("*")
    assert (len(everything.entities), len(everything.relations), everything.truncated) == (9, 7, False)


async def test_names_are_listed_ranked_and_found(engine: Engine) -> None:
    listed = ["Alone", "Ann", "Bob", "Cid", "Dan", "Eve", "Hub", "New York", "York"]
    assert await engine.labels() == listed
    assert (await engine.popular_labels())[:4] == ["Hub", "Ann", "Bob", "Cid"]
    assert await engine.popular_labels(limit=1) == ["Hub"]
    assert await engine.search_labels("york") == ["York", "New York"]
    assert await engine.search_labels("A") == ["Ann", "Alone", "Dan"]
    assert await engine.search_labels("a", limit=1) == ["Ann"]
    assert await engine.search_labels("Yorc") == ["York", "New York"]
    assert await engine.search_labels("New Yrok") == ["New York"]
    assert await engine.search_labels("  ") == []
    assert await engine.type_counts() == {"person": 7, "city": 2}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("babage", ["Charles Babbage"]),
        ("analitical", ["Analytical Engine"]),
        ("analitycal", ["Analytical Engine"]),
        ("difference enigne", ["Second Difference-Engine"]),
        ("charles babage", ["Charles Babbage"]),
        ("engien", ["Analytical Engine", "Babbage's Engine", "Second Difference-Engine"]),
        ("chrls", []),
        ("enx", []),
    ],
)
async def test_a_typo_in_some_words_of_a_name_is_forgiven(
    engine: Engine, query: str, found: list[str]
) -> None:
    for name in ("Charles Babbage", "Analytical Engine", "Second Difference-Engine", "Babbage's Engine"):
        await engine.create_entity(name)
    assert await engine.search_labels(query) == found


async def test_neighbours_and_relations_are_found_both_ways(engine: Engine) -> None:
    found = await engine.neighbours("Cid")
    assert [(n.entity.name, n.relation.description) for n in found] == [
        ("Dan", "Cid knows Dan"),
        ("Hub", "Hub knows Cid"),
    ]
    assert await engine.neighbours("Cid", limit=1) == found[:1]
    assert await engine.relation("Dan", "Cid") == await engine.relation("cid", "dan") == found[0].relation
    assert await engine.relation("Dan", "Hub") is None
    assert await engine.neighbours("Nobody") == []


async def test_what_was_made_of_a_document(engine: Engine) -> None:
    await engine.insert(Document("Zoe met Ann.", id="text"))
    made = await engine.contents("text")
    assert made is not None
    assert [chunk.text for chunk in made.chunks] == ["Zoe met Ann."]
    assert [entity.name for entity in made.entities] == ["Ann", "Zoe"]
    assert [(r.source, r.target) for r in made.relations] == [("Zoe", "Ann")]
    await engine.alias("Zoe", "Eve")
    made = await engine.contents("text")
    assert made is not None
    assert [entity.name for entity in made.entities] == ["Ann", "Eve"]
    assert await engine.contents("nothing") is None


async def test_documents_are_listed_by_page(engine: Engine) -> None:
    await engine.insert(
        [
            Document(f"Text {n}.", id=f"d{n}", source=f"{n % 2}.txt", metadata={"year": 2000 + n})
            for n in range(6)
        ],
        tracking_id="six",
    )
    await engine.submit(Document("Waits.", id="waits"))
    page = await engine.list_documents(limit=2)
    assert ([d.id for d in page.documents], page.total) == (["d0", "d1"], 8)
    assert page.counts == {Status.PROCESSED: 7, Status.PENDING: 1}

    async def ids(**options: Any) -> list[str]:
        return [document.id for document in (await engine.list_documents(**options)).documents]

    assert await ids(offset=6) == ["graph", "waits"]
    assert await ids(status="pending") == ["waits"]
    assert await ids(status=[Status.PENDING, "failed"]) == ["waits"]
    assert await ids(tracking_id="six", descending=True) == ["d5", "d4", "d3", "d2", "d1", "d0"]
    assert await ids(source="1.txt") == ["d1", "d3", "d5"]
    assert await ids(where={"year": {"gte": 2004}}) == ["d4", "d5"]
    assert await ids(order="source", tracking_id="six") == ["d0", "d2", "d4", "d1", "d3", "d5"]
    assert (await ids(order="characters", descending=True))[0] == "graph"
    assert await ids(offset=100) == []
    status = await engine.document_status("d3")
    assert status is not None
    assert status.metadata == {"year": 2003}
    assert await engine.document_status("nothing") is None


@pytest.mark.parametrize(
    "options",
    [
        {"status": "done"},
        {"status": 1},
        {"order": "size"},
        {"limit": 0},
        {"offset": -1},
        {"descending": 1},
        {"where": []},
    ],
)
async def test_a_listing_of_nonsense_is_refused(engine: Engine, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await engine.list_documents(**options)
