"""Deleting many documents of more, and dropping what the LLM replied."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli
from stateless_rag import sync
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, StoreClosed
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import ExtractSettings, MergeSettings, Settings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document

DOCUMENTS, DELETED = 500, 85
SUMMARIZE_FROM = 4
SETTINGS = Settings(
    extraction=ExtractSettings(gleaning=0),
    merging=MergeSettings(summarize_from=SUMMARIZE_FROM, description_texts=8),
)
HUBS = ("Ada Lovelace", "Charles Babbage", "Alan Turing", "Grace Hopper", "London")


class Counting(DeterministicLLM):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.calls[request.purpose] += 1
        return await super().complete(request)


def corpus() -> list[Document]:
    """Each tells of two hubs, of a place that some 25 share, and of somebody that no other knows."""
    return [
        Document(
            f"{HUBS[n % 5]} wrote letter {n} to {HUBS[n * 7 % 4]}. Person{n} carried it to Town{n % 20}.",
            id=f"d{n:03}",
        )
        for n in range(DOCUMENTS)
    ]


def open_engine(root: Path, llm: DeterministicLLM) -> Any:
    return Engine.open(root, llm=llm, embedder=DeterministicEmbedder(8), settings=SETTINGS)


def texts_of(found: dict[str, Any]) -> dict[tuple[str, int], list[str]]:
    """What the description of each entity and relation is made of."""
    places = (("entities", 3), ("relations", 6))
    return {
        (table, row["id"]): json.loads(row["state"])[place] for table, place in places for row in found[table]
    }


@pytest.mark.parametrize("cleared", [False, True], ids=["", "after clear_cache"])
async def test_85_of_500(tmp_path: Path, cleared: bool) -> None:
    documents, llm = corpus(), Counting()
    gone = [document.id for document in documents[3::5][:DELETED] if document.id is not None]
    assert len(gone) == DELETED
    async with open_engine(tmp_path / "one", llm) as engine:
        await engine.insert(documents)
        before, paid, revision = await dump(engine), await engine.costs(), engine.revision
        assert llm.calls["summarize"] > 50, "otherwise there is nothing to be shown"
        if cleared:
            assert await engine.clear_cache() == sum(llm.calls.values())
            assert await engine.costs() == paid
        llm.calls.clear()
        report = await engine.delete(gone)
        after = await dump(engine)
        assert engine.revision == revision + 1, "one commit"
        assert sorted(report.deleted) == sorted(gone)

        was, now = texts_of(before), texts_of(after)
        changed = [key for key, texts in now.items() if texts != was[key]]
        need = [key for key in changed if len(now[key]) >= SUMMARIZE_FROM]
        assert 0 < llm.calls["summarize"] <= len(need) < len(now) / 2
        assert set(llm.calls) == {"summarize"}, "nothing is extracted again"
        assert report.usage["summarize"].calls == llm.calls["summarize"]
        # What the deleted documents did not tell of was not looked at.
        keys = {
            mention[end]
            for mention in before["mentions"]
            if mention["chunk"] not in {chunk["id"] for chunk in after["chunks"]}
            for end in ("source_key", "target_key")
        }
        touched = report.entities_changed + report.entities_removed
        assert touched <= len(keys - {None}) < len(before["entities"])

    left = [document for document in documents if document.id not in set(gone)]
    async with open_engine(tmp_path / "other", Counting()) as engine:
        await engine.insert(left)
        assert await dump(engine) == after, "as if they had never been there"


async def test_what_is_dropped_is_paid_again_only_if_it_is_asked_again(tmp_path: Path) -> None:
    llm = Counting()
    async with open_engine(tmp_path, llm) as engine:
        await engine.insert(corpus()[:20])
        await engine.query("Who wrote to Ada Lovelace?", mode="naive", cache=True)
        before, paid = await dump(engine), await engine.costs()
        llm.calls.clear()
        assert await engine.clear_cache("answer") == 1
        await engine.insert(corpus()[:20])
        assert not llm.calls, "what is there is not asked for"
        await engine.query("Who wrote to Ada Lovelace?", mode="naive", cache=True)
        assert llm.calls == {"answer": 1}
        await engine.insert(Document(corpus()[3].text, id="twin"))
        assert "extract" not in llm.calls, "a text that was read is not read again"
        await engine.delete("twin")
        assert await engine.clear_cache(["extract", "summarize"]) > 20
        assert await engine.clear_cache() == 1
        assert await engine.clear_cache() == 0
        assert (await engine.costs())["extract"] == paid["extract"]
        await engine.insert(Document(corpus()[3].text, id="twin"))
        assert llm.calls["extract"] == 1
        await engine.insert(Document(corpus()[3].text, id="triplet"))
        assert llm.calls["extract"] == 1, "what was paid after it is kept"
        await engine.delete(["twin", "triplet"])
        assert await dump(engine) == before
    async with open_engine(tmp_path, llm) as engine:
        assert (await engine.costs())["extract"].calls == paid["extract"].calls + 1


@pytest.mark.parametrize("purposes", ["answers", ["extract", "embed"], 3])
async def test_wrong_purposes_drop_nothing(tmp_path: Path, purposes: Any) -> None:
    async with open_engine(tmp_path, Counting()) as engine:
        await engine.insert(corpus()[0])
        with pytest.raises(InvalidInput, match="purposes"):
            await engine.clear_cache(purposes)
        assert await engine.clear_cache() == 1
    with pytest.raises(StoreClosed):
        await engine.clear_cache()


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    with sync.Engine.open(
        tmp_path / "root", llm=Counting(), embedder=DeterministicEmbedder(8), settings=SETTINGS
    ) as engine:
        engine.insert(corpus()[:3])
    assert cli("clear-cache", "--root", "root", "--purpose", "answer", "--json")[1] == '{"dropped": 0}\n'
    assert cli("clear-cache", "--root", "root")[1] == "3 replies dropped.\n"
    assert cli("clear-cache", "--root", "root", "--purpose", "embed")[0] == 2
    assert cli("clear-cache", "--root", "nowhere")[0] != 0


def test_of_an_empty_workspace_without_async(tmp_path: Path) -> None:
    with sync.Engine.open(tmp_path, embedder=DeterministicEmbedder(8)) as engine:
        assert engine.clear_cache() == 0
