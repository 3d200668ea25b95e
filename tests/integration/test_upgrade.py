"""Upgrading documents: what is extracted again, what answers meanwhile, and what it costs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, Settings, Status, Store
from stateless_rag.errors import InvalidInput, ProviderRejected
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

TEXTS = {
    "one": "Ada Lovelace met Charles Babbage in London.",
    "two": "Konrad Zuse built the Z3 in Berlin.",
    "three": "Ada Lovelace met Charles Babbage in London.",
}


class Counting(DeterministicLLM):
    """Counts extractions, and calls `before` each."""

    def __init__(self, before: Callable[[int], Any] | None = None) -> None:
        super().__init__()
        self.extracted = 0
        self.before = before

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose == "extract":
            self.extracted += 1
            if self.before is not None:
                told = self.before(self.extracted)
                if asyncio.iscoroutine(told):
                    await told
        return await super().complete(request)


def opened(store: Store | Path, llm: Any = None, workspace: str = "one", **options: Any) -> Any:
    return Engine.open(
        store,
        workspace,
        llm=llm,
        embedder=DeterministicEmbedder(8),
        tokenizer=WordTokenizer(),
        settings=Settings(extraction=ExtractSettings(gleaning=0)),
        **options,
    )


def documents() -> list[Document]:
    return [Document(text, id=id_, metadata={"year": len(id_)}) for id_, text in TEXTS.items()]


async def fresh(root: Path) -> dict[str, Any]:
    async with opened(root, Counting()) as engine:
        await engine.insert(documents())
        return await dump(engine)


def generations(found: dict[str, Any]) -> dict[str, str]:
    return {row["document_id"]: row["generation"].partition("-")[0] for row in found["chunks"]}


async def test_from_the_built_in_extractor_to_an_llm_one_by_one(tmp_path: Path) -> None:
    llm = Counting()
    async with opened(tmp_path / "root") as engine:
        await engine.insert(documents())
    async with opened(tmp_path / "root", llm) as engine:
        before = await engine.insert(documents())
        assert all(report.unchanged for report in before.documents)  # never by itself
        report = await engine.upgrade("one")
        assert [(d.id, d.status) for d in report.documents] == [("one", Status.PROCESSED)]
        assert set(generations(await dump(engine)).values()) == {"llm", "builtin"}
        counts = (await engine.describe()).generations
        assert sorted((name.partition("-")[0], count) for name, count in counts.items()) == [
            ("builtin", 2),
            ("llm", 1),
        ]
        await engine.upgrade(where={"year": {"gt": 3}})
        assert generations(await dump(engine)) == {"one": "llm", "two": "builtin", "three": "llm"}
        assert llm.extracted == 1  # the same text twice is paid for once
        report = await engine.upgrade(where={})
        assert [d.id for d in report.documents] == ["two"]
        assert await dump(engine) == await fresh(tmp_path / "fresh")
        report = await engine.upgrade(where={})
        assert (report.documents, report.usage) == ((), {})


async def test_with_another_prompt(tmp_path: Path) -> None:
    async with opened(tmp_path, Counting()) as engine:
        await engine.insert(documents())
        before = await dump(engine)
        await engine.configure(extraction={"language": "German"})
        assert (await engine.insert(documents())).usage == {}
        report = await engine.upgrade(["one", "two"])
        assert report.usage["extract"].calls == 2
        after = {row["document_id"]: row["generation"] for row in (await dump(engine))["chunks"]}
        old = {row["document_id"]: row["generation"] for row in before["chunks"]}
        assert after["one"] == after["two"] != old["one"] == after["three"]


async def test_the_old_one_answers_until_the_new_one_is_there(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    async def before(number: int) -> None:
        seen.append(generations(await dump(engine)))
        if number == 2:
            raise ProviderRejected("no")

    async with Store.open(tmp_path) as store, opened(store) as engine:
        await engine.insert(documents())
        kept = await dump(engine)
        async with opened(store, Counting(before)) as other:
            report = await other.upgrade(["one", "two"])
        assert sorted(d.status for d in report.documents) == [Status.FAILED, Status.PROCESSED]
        assert all(found == generations(kept) for found in seen)
        (failed,) = [d for d in await engine.documents() if d.status is Status.FAILED]
        assert failed.stale
        assert generations(await dump(engine))[failed.id] == "builtin"
        llm = Counting()
        async with opened(store, llm) as other:
            await other.resume()  # it stays an upgrade
            assert llm.extracted == 1
            assert set(generations(await dump(engine)).values()) == {"llm", "builtin"}
            await other.upgrade("three")
            assert await dump(other) == await fresh(tmp_path / "fresh")


async def test_what_a_kill_leaves_is_resumed(tmp_path: Path) -> None:
    def before(number: int) -> None:
        if number == 2:
            shutil.copytree(tmp_path / "root", tmp_path / "killed")

    async with opened(tmp_path / "root") as engine:
        await engine.insert(documents())
    async with opened(tmp_path / "root", Counting(before)) as engine:
        await engine.upgrade(where={})
    async with opened(tmp_path / "killed", Counting()) as engine:
        assert set(generations(await dump(engine)).values()) == {"builtin"}
        await engine.resume()
        assert await dump(engine) == await fresh(tmp_path / "fresh")


async def test_a_cancel_is_resumed(tmp_path: Path) -> None:
    running: list[asyncio.Task[Any]] = []
    async with opened(tmp_path / "root") as engine:
        await engine.insert(documents())
    async with opened(tmp_path / "root", Counting(lambda _: running[0].cancel())) as engine:
        running.append(asyncio.ensure_future(engine.upgrade(where={})))
        with pytest.raises(asyncio.CancelledError):
            await running[0]
        engine.context.llm.before = None
        await engine.resume()
        assert await dump(engine) == await fresh(tmp_path / "fresh")


async def test_what_a_caller_has_said_stays(tmp_path: Path) -> None:
    graph = {
        "chunks": [
            {"content": "def main(): run()", "source_id": "c"},
            {"content": "def run(): pass", "source_id": "d"},
        ],
        "entities": [{"entity_name": "main", "entity_type": "function", "source_id": "c"}],
        "relationships": [{"src_id": "main", "tgt_id": "run", "keywords": "calls", "source_id": "c"}],
    }
    async with opened(tmp_path) as engine:
        await engine.insert_graph(graph, document_id="code")
        await engine.insert_chunks(["Ada Lovelace wrote.", "Konrad Zuse built."], document_id="cut")
        before = await dump(engine)
    llm = Counting()
    async with opened(tmp_path, llm) as engine:
        report = await engine.upgrade(where={})
        assert [d.id for d in report.documents] == ["cut"]
        after = await dump(engine)
        assert llm.extracted == 2
        assert [row for row in after["chunks"] if row["document_id"] == "code"] == [
            row for row in before["chunks"] if row["document_id"] == "code"
        ]
        spans = [(row["start"], row["stop"]) for row in after["chunks"] if row["document_id"] == "cut"]
        assert spans == [(r["start"], r["stop"]) for r in before["chunks"] if r["document_id"] == "cut"]
        assert after["documents"] == before["documents"]
        # Inserted once more as it was cut, it is the same.
        report = await engine.insert_chunks(["Ada Lovelace wrote.", "Konrad Zuse built."], document_id="cut")
        assert report.documents[0].unchanged


@pytest.mark.parametrize("late", ["before", "during"])
async def test_an_update_that_comes_meanwhile_wins(late: str, tmp_path: Path) -> None:
    update = Document("Grace Hopper wrote COBOL in Arlington.", id="two")

    async def before(_: int) -> None:
        if late == "during" and not told:
            told.append(await beside.submit(update))

    told: list[str] = []
    async with Store.open(tmp_path) as store, opened(store) as beside:
        await beside.insert(documents())
        if late == "before":
            told.append(await beside.submit(update))
        async with opened(store, Counting(before)) as engine:
            await engine.upgrade(where={})
            await engine.work(until_empty=True)
            assert (await engine.document("two")).text == update.text
            assert all(d.status is Status.PROCESSED for d in await engine.documents())


async def test_one_that_is_deleted_meanwhile_is_not_there_again(tmp_path: Path) -> None:
    async def before(_: int) -> None:
        await beside.delete("two")

    async with Store.open(tmp_path) as store, opened(store) as beside:
        await beside.insert(documents())
        async with opened(store, Counting(before)) as engine:
            await engine.upgrade("two")
            assert [d.id for d in await engine.documents()] == ["one", "three"]


async def test_a_disabled_one_stays_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as engine:
        await engine.insert(documents())
        await engine.disable("two")
    llm = Counting()
    async with opened(tmp_path / "root", llm) as engine:
        await engine.upgrade(where={})
        assert {d.id: d.enabled for d in await engine.documents()} == {
            "one": True,
            "two": False,
            "three": True,
        }
        await engine.enable("two")
        assert llm.extracted == 2
        assert await dump(engine) == await fresh(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "nothing is chosen"),
        ({"ids": ["one", "nobody"]}, r"\['nobody'\] are not there"),
        ({"ids": 3}, "ids"),
        ({"where": {"$maybe": 1}}, "where"),
        ({"ids": "one", "tracking_id": ""}, "tracking_id"),
    ],
)
async def test_a_wrong_choice_changes_nothing(arguments: Any, told: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(documents())
    async with opened(tmp_path, Counting()) as engine:
        with pytest.raises(InvalidInput, match=told):
            await engine.upgrade(**arguments)
        assert {d.status for d in await engine.documents()} == {Status.PROCESSED}
