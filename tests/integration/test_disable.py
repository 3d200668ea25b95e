"""Disabling documents: what they are left out of, what is kept, and what it costs to enable them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, Settings, Status, Store
from stateless_rag.errors import InvalidInput, ProviderRejected
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

ADA = Document("Ada Lovelace met Charles Babbage in London.", id="ada", metadata={"year": 1843})
ZUSE = Document("Konrad Zuse met Ada Lovelace in Berlin.", id="zuse", metadata={"year": 1941})


def opened(store: Store | Path, **options: Any) -> Any:
    given: dict[str, Any] = {"llm": DeterministicLLM(), "embedder": DeterministicEmbedder(8)}
    return Engine.open(
        store,
        "one",
        tokenizer=WordTokenizer(),
        settings=Settings(extraction=ExtractSettings(gleaning=0)),
        **(given | options),
    )


async def test_it_is_out_of_everything(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert([ADA, ZUSE])
        report = await engine.disable("zuse")
        assert (report.changed, report.entities_removed, report.enabled) == (("zuse",), 2, False)
        found = await engine.retrieve("Where did Konrad Zuse meet Ada Lovelace?")
        assert {passage.document_id for passage in found.passages} == {"ada"}
        assert await engine.entity("Konrad Zuse") is None
        assert (await engine.entity("Ada Lovelace")).weight == 1
        assert "Berlin" not in await engine.labels()
        filtered = await engine.retrieve("Konrad Zuse", metadata_filter={"year": 1941})
        assert not filtered.passages
        assert await engine.document("zuse") is None
        await engine.export(tmp_path / "all.jsonl")
        assert "Zuse" not in (tmp_path / "all.jsonl").read_text()
        lines = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
        assert "zuse" not in {line.get("id") for line in lines}
        info = await engine.describe()
        assert (info.documents[Status.PROCESSED], info.disabled, info.chunks) == (2, 1, 1)


async def test_it_stays_through_an_opening_and_costs_nothing_to_enable(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert([ADA, ZUSE])
        before, statuses = await dump(engine), await engine.documents()
        await engine.disable(["zuse", "ada"])
        assert (await engine.describe()).entities == 0
    async with opened(tmp_path) as engine:
        assert [(d.id, d.enabled, d.status, d.chunks) for d in await engine.documents()] == [
            ("ada", False, Status.PROCESSED, 1),
            ("zuse", False, Status.PROCESSED, 1),
        ]
        report = await engine.enable(["zuse", "ada"])
        assert set(report.usage) <= {"embed"}
        assert await dump(engine) == before
        assert await engine.documents() == statuses


async def test_an_update_that_fails_leaves_it_disabled_as_it_was(tmp_path: Path) -> None:
    class Broken(DeterministicLLM):
        async def complete(self, request: Any) -> Any:
            if "Grace" in request.prompt:
                raise ProviderRejected("no")
            return await super().complete(request)

    update = Document("Grace Hopper met Konrad Zuse in Berlin.", id="zuse")
    async with opened(tmp_path, llm=Broken()) as engine:
        await engine.insert([ADA, ZUSE])
        before = await dump(engine)
        await engine.disable("zuse")
        report = await engine.insert(update)
        assert (report.documents[0].status, report.documents[0].stale) == (Status.FAILED, True)
        (status,) = [d for d in await engine.documents() if d.id == "zuse"]
        assert (status.enabled, status.stale, status.status) == (False, True, Status.FAILED)
        await engine.enable("zuse")
        assert (await engine.document("zuse")).text == ZUSE.text
        found = await dump(engine)
        assert {**found, "pending": []} == before
    async with opened(tmp_path) as engine:
        await engine.resume()
        assert (await engine.document("zuse")).text == update.text


async def test_the_same_again_and_other_metadata_pay_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert([ADA, ZUSE])
        await engine.disable("zuse")
        assert (await engine.insert(ZUSE)).documents[0].unchanged
        report = await engine.insert(Document(ZUSE.text, id="zuse", metadata={"year": 1942}))
        assert report.usage == {}
        (status,) = [d for d in await engine.documents() if d.id == "zuse"]
        assert (status.enabled, status.metadata) == (False, {"year": 1942})
        await engine.enable("zuse")
        assert (await engine.document("zuse")).metadata == {"year": 1942}


async def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert([ADA, ZUSE])
        await engine.disable("zuse")
        assert (await engine.delete("zuse")).deleted == ("zuse",)
        assert (await engine.enable("zuse")).missing == ("zuse",)
        assert [d.id for d in await engine.documents()] == ["ada"]
        await engine.insert(ZUSE)
        assert await engine.entity("Konrad Zuse") is not None


async def test_a_custom_graph_comes_back_as_it_was_given(tmp_path: Path) -> None:
    graph = {
        "chunks": [{"content": "def main(): run()", "source_id": "c"}],
        "entities": [{"entity_name": "main", "entity_type": "function", "source_id": "c"}],
        "relationships": [{"src_id": "main", "tgt_id": "run", "keywords": "calls, once", "source_id": "c"}],
    }
    async with opened(tmp_path) as engine:
        await engine.insert_graph(graph, document_id="code")
        before = await dump(engine)
        await engine.disable("code")
        assert (await engine.insert_graph(graph, document_id="code")).documents[0].unchanged
        await engine.enable("code")
        assert await dump(engine) == before


@pytest.mark.parametrize("ids", [3, [3], [""], None])
@pytest.mark.parametrize("method", ["enable", "disable"])
async def test_what_is_no_id_changes_nothing(method: str, ids: Any, tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(ADA)
        before = await dump(engine), engine.revision
        with pytest.raises(InvalidInput):
            await getattr(engine, method)(ids)
        assert (await dump(engine), engine.revision) == before


async def test_one_that_waits_for_its_first_commit_is_not_there_yet(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.submit(ADA)
        report = await engine.disable(["ada", "nobody"])
        assert (report.missing, report.revision) == (("ada", "nobody"), 0)
        assert (await engine.enable("ada")).unchanged == ("ada",)


async def test_another_embedder_does_not_forget_it(tmp_path: Path) -> None:
    class Other(DeterministicEmbedder):
        model = "other"

    async with opened(tmp_path / "root") as engine:
        await engine.insert([ADA, ZUSE])
        await engine.disable("zuse")
        await engine.reembed(Other(12))
        await engine.enable("zuse")
        found = await dump(engine)
    async with opened(tmp_path / "fresh", embedder=Other(12)) as engine:
        await engine.insert([ADA, ZUSE])
        assert await dump(engine) == found


async def test_extraction_settings_that_hold_for_good_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(ADA)
        await engine.disable("ada")
        with pytest.raises(InvalidInput, match="key_policy"):
            await engine.configure(merging={"key_policy": "exact"})
