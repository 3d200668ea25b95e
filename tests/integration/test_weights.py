"""Weights that a custom graph gives to its relations."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, ProviderRejected
from stateless_rag.opening import Opening
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document

TENTHS = [0.1, 0.2, 0.3, 0.7, 1.1, 2.3, 1e9, 0.000001]


def graph(*weights: Any, names: tuple[str, str] = ("Ada", "Babbage"), said: str = "knew") -> dict[str, Any]:
    """One chunk that states a relation, once for each weight."""
    relations = [
        {"src_id": names[0], "tgt_id": names[1], "description": f"{said} {place}", "source_id": "c"}
        | ({} if weight is None else {"weight": weight})
        for place, weight in enumerate(weights)
    ]
    return {"chunks": [{"content": f"{said} {weights}", "source_id": "c"}], "relationships": relations}


def opened(root: Path | Store, name: str = "default") -> Opening[Engine]:
    return Engine.open(root, name, embedder=DeterministicEmbedder(8))


async def weight_of(engine: Engine) -> Any:
    found = await engine.relation("Ada", "Babbage")
    return None if found is None else found.weight


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([None], 1),
        ([2.5], 2.5),
        ([3.0], 3),
        ([0.1, 0.2], 0.3),
        ([2, None], 2),
        ([0.0000014], 0.000001),
        ([10**9], 10**9),
    ],
)
async def test_what_is_stated_counts_in_place_of_one(tmp_path: Path, weights: Any, expected: float) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(graph(*weights), document_id="d")
        found = await weight_of(engine)
        assert found == expected and type(found) is type(expected)
    async with opened(tmp_path) as engine:
        assert type(await weight_of(engine)) is type(expected), "also when it is read again"
        assert await weight_of(engine) == expected


@pytest.mark.parametrize("described", [True, False])
async def test_they_add_up_whatever_the_order_and_go_with_their_document(
    tmp_path: Path, described: bool
) -> None:
    found = []
    async with Store.open(tmp_path, StoreSettings()) as store:
        for turn in range(2):
            engine = await opened(store, f"w{turn}")
            pushed = list(enumerate(TENTHS))
            random.Random(turn).shuffle(pushed)
            for number, weight in pushed:
                pushed_graph = graph(weight)
                if not described:  # then nothing is folded again when a document goes
                    del pushed_graph["relationships"][0]["description"]
                await engine.insert_graph(pushed_graph, document_id=f"d{number}")
            await engine.insert_graph(graph(None), document_id="counted")
            found.append(await dump(engine))
            weights = [await weight_of(engine)]
            for number, _ in sorted(pushed):
                await engine.delete(f"d{number}")
                weights.append(await weight_of(engine))
            assert weights == [
                1_000_000_005.700001,
                1_000_000_005.600001,
                1_000_000_005.400001,
                1_000_000_005.100001,
                1_000_000_004.400001,
                1_000_000_003.300001,
                1_000_000_001.000001,
                1.000001,
                1,
            ]
        assert found[0] == found[1], "to the last bit"


async def test_another_weight_replaces_and_the_same_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        text = graph(1.5, said="x")
        await engine.insert_graph(text, document_id="d")
        before, revision = await dump(engine), engine.revision
        await engine.insert_graph(text, document_id="d")
        assert engine.revision == revision
        heavier = {**text, "relationships": [{**text["relationships"][0], "weight": 4.25}]}
        await engine.insert_graph(heavier, document_id="d")
        assert await weight_of(engine) == 4.25
        without = {
            **text,
            "relationships": [{k: v for k, v in text["relationships"][0].items() if k != "weight"}],
        }
        await engine.insert_graph(without, document_id="d")
        assert await weight_of(engine) == 1
        await engine.insert_graph(text, document_id="d")
        assert await dump(engine) == before


async def test_under_aliases_and_changes_by_hand(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(graph(0.5), document_id="a")
        await engine.insert_graph(graph(0.25, names=("Countess", "Babbage")), document_id="b")
        await engine.insert_graph(graph(None, names=("Babbage", "Ada")), document_id="c")
        before = await dump(engine)
        merged = await engine.merge_entities("Countess", "Ada")
        assert await weight_of(engine) == 1.75
        edited = await engine.edit_relation("Ada", "Babbage", weight=9.5)
        assert await weight_of(engine) == 9.5
        await engine.undo(edited.number)
        await engine.undo(merged.number)
        assert await weight_of(engine) == 1.5
        assert await dump(engine) == before


async def test_disabled_documents_weigh_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(graph(0.5, None), document_id="a")
        await engine.insert_graph(graph(None), document_id="b")
        before = await dump(engine)
        await engine.disable("a")
        assert await weight_of(engine) == 1
        await engine.enable("a")
        assert await weight_of(engine) == 1.5
        assert await dump(engine) == before


async def test_under_a_filter_only_allowed_documents_weigh(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        for number, weight in enumerate([0.5, None, 2.25, 7]):
            await engine.insert_graph(graph(weight), document_id=f"d{number}")
        await engine.insert(Document("Ada knew Babbage.", id="text"))

        async def shown(*ids: str) -> float:
            found = await engine.retrieve(
                "Ada Babbage",
                mode="local",
                min_similarity=-1.0,
                low_level_keywords=("Ada",),
                metadata_filter={"$id": {"in": list(ids)}},
            )
            (relation,) = (r for r in found.relations if {r.source, r.target} == {"Ada", "Babbage"})
            return relation.weight

        assert await shown("d0", "d1") == 1.5
        assert await shown("d1") == 1
        assert await shown("d0", "d2", "d3") == 9.75
        assert await shown("d2", "d1") == 3.25


async def test_exports_bring_them_along(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "root") as store:
        one, other = await opened(store, "one"), await opened(store, "other")
        await one.insert_graph(graph(0.5, 0.25), document_id="a")
        await one.insert_graph(graph(None), document_id="b")
        await one.create_entity("Byron")
        await one.create_relation("Ada", "Byron", weight=0.75)
        await one.export(tmp_path / "all.jsonl")
        await other.import_jsonl(tmp_path / "all.jsonl")
        assert await dump(other) == await dump(one)
        assert await weight_of(other) == 1.75
        byron = await other.relation("Ada", "Byron")
        assert byron is not None and byron.weight == 0.75
        rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text("utf-8").splitlines()]
        weights = [m.get("weight") for row in rows if row["kind"] == "chunk" for m in row["relations"]]
        assert sorted(weights, key=str) == [0.25, 0.5, None]
        await one.export(tmp_path / "graph.csv", include="relations")
        assert "1.75" in (tmp_path / "graph.csv").read_text("utf-8")
        await one.export(tmp_path / "graph.parquet", include=["entities", "relations"])


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1e10, "heavy", True, 1e-9])
async def test_what_is_no_weight_changes_nothing(tmp_path: Path, weight: Any) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(graph(2), document_id="d")
        with pytest.raises(InvalidInput, match=r"relationships\[1\].weight"):
            await engine.insert_graph(graph(1, weight), document_id="d")
        assert (await weight_of(engine), engine.revision) == (2, 1)


async def test_what_waits_keeps_them(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        engine = await opened(store)
        await engine.insert_graph(graph(2.5), document_id="d")
        before = await dump(engine)
        await engine.delete("d")

    class Broken(DeterministicEmbedder):
        async def embed(self, *_: Any, **__: Any) -> Any:
            raise ProviderRejected("no such model")

    async with Engine.open(tmp_path, embedder=Broken(8)) as engine:
        assert (await engine.insert_graph(graph(2.5, said="other"), document_id="d")).failed
    async with opened(tmp_path) as engine:
        await engine.resume()
        assert await weight_of(engine) == 2.5
        await engine.delete("d")
        await engine.insert_graph(graph(2.5), document_id="d")
        assert await dump(engine) == before
