"""Exporting a workspace, and bringing it in again."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import pytest_asyncio
import rustworkx

from integration.test_browsing import graph
from laws.generators import CountingEmbedder, StatementLLM
from laws.workspaces import contents, opened
from stateless_rag import Document, Engine, Settings, Status
from stateless_rag.errors import InvalidInput, StatelessRagError, WorkspaceMismatch
from stateless_rag.exporting import pages as reading
from stateless_rag.exporting.files import in_thread
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.testing import DeterministicEmbedder
from unit.scripted import WordTokenizer

GRAPHML = "{http://graphml.graphdrawing.org/xmlns}"
NAMES = [
    '"Ada" | <b>',
    "a\nb\r\nc\rd",
    "=SUM(1,2)",
    "漢字\t計算",
    "comma, semicolon; 'quote'",
    "tail \u2028\x85",
]


def awkward() -> dict[str, Any]:
    """A graph whose names and texts every format has trouble with."""
    return {
        "chunks": [{"content": "one\r\ntwo", "source_id": "c0"}],
        "entities": [
            {"entity_name": name, "entity_type": f"t{n},", "description": f"{name}\x0b&{n};", "source_id": "c0"}
            for n, name in enumerate(NAMES)
        ],
        "relationships": [
            {"src_id": NAMES[n], "tgt_id": NAMES[n + 1], "keywords": "b, a", "description": name, "source_id": "c0"}
            for n, name in enumerate(NAMES[:-1])
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds the graph, and a document."""
    root = tmp_path_factory.mktemp("filled") / "root"
    with SyncEngine.open(root, embedder=DeterministicEmbedder(), tokenizer=WordTokenizer()) as engine:
        engine.insert_graph(awkward(), document_id="awk,ward")
        engine.insert(Document("Ada Lovelace met Charles Babbage.", id="ada", source="ada.txt"))
    return root


@pytest.fixture
async def engine(filled: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    root = Path(shutil.copytree(filled, tmp_path / "root"))
    async with Engine.open(root, embedder=DeterministicEmbedder(), tokenizer=WordTokenizer()) as opened_:
        yield opened_


async def shown(engine: Engine) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """The graph as the engine gives it."""
    found = await engine.subgraph("*", limit=10_000)
    return {e.key: e for e in found.entities}, {(r.source_key, r.target_key): r for r in found.relations}


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- the formats ---------------------------------------------------------------------------------------


async def test_graphml_is_read_by_others(engine: Engine, tmp_path: Path) -> None:
    report = await engine.export(tmp_path / "graph.graphml")
    entities, relations = await shown(engine)
    assert dict(report.counts) == {"entities": len(entities), "relations": len(relations)}
    (read,) = rustworkx.read_graphml(str(report.path))
    assert {node["key"]: (node["name"], node["type"], node["description"]) for node in read.nodes()} == {
        key: (e.name, e.type, e.description) for key, e in entities.items()
    }
    assert {node["weight"] for node in read.nodes()} == {e.weight for e in entities.values()}
    ends = {}
    for source, target, edge in read.weighted_edge_list():
        ends[read[source]["key"], read[target]["key"]] = (
            edge["keywords"],
            edge["description"],
            edge["weight"],
        )
    assert ends == {keys: (", ".join(r.keywords), r.description, r.weight) for keys, r in relations.items()}
    tree = ElementTree.parse(report.path).getroot()
    (told,) = [
        data.text
        for node in tree.iter(f"{GRAPHML}node")
        if any(d.text == "ada lovelace" for d in node)
        for data in node
        if data.get("key") == "n_documents"
    ]
    assert told == '["ada"]'


async def test_csv_comes_back_as_it_was(engine: Engine, tmp_path: Path) -> None:
    report = await engine.export(tmp_path / "graph.csv", include="entities")
    entities, relations = await shown(engine)
    rows = list(csv.DictReader(io.StringIO(report.path.read_bytes().decode(), newline="")))
    assert [row["name"] for row in rows] == sorted(e.name for e in entities.values())
    assert {row["key"]: (row["name"], row["type"], row["description"], row["weight"]) for row in rows} == {
        key: (e.name, e.type, e.description, str(e.weight)) for key, e in entities.items()
    }
    assert {json.dumps(json.loads(row["documents"])) for row in rows} == {'["awk,ward"]', '["ada"]'}
    assert {row["sources"] for row in rows} == {"[]", '["ada.txt"]'}
    both = await engine.export(tmp_path / "both", format="csv")
    rows = list(csv.DictReader(io.StringIO(both.path.read_bytes().decode(), newline="")))
    assert [row["kind"] for row in rows] == ["entity"] * len(entities) + ["relation"] * len(relations)
    assert {
        (row["source_key"], row["target_key"]): (json.loads(row["keywords"]), row["description"])
        for row in rows
        if row["kind"] == "relation"
    } == {keys: (list(r.keywords), r.description) for keys, r in relations.items()}


async def test_parquet_has_types_and_vectors(engine: Engine, tmp_path: Path) -> None:
    from pyarrow import parquet

    report = await engine.export(tmp_path / "graph.parquet", include=["entities", "chunks"], vectors=True)
    rows = parquet.read_table(report.path).to_pylist()
    entities, _ = await shown(engine)
    assert {row["key"]: (row["name"], row["weight"]) for row in rows if row["kind"] == "entity"} == {
        key: (e.name, e.weight) for key, e in entities.items()
    }
    (chunk,) = [row for row in rows if row["document"] == "ada"]
    assert (chunk["text"], chunk["start"], chunk["stop"]) == ("Ada Lovelace met Charles Babbage.", 0, 33)
    found = await DeterministicEmbedder().embed([chunk["text"]], role="document")
    assert chunk["vector"] == found.vectors[0].tolist()
    assert all(len(row["vector"]) == len(chunk["vector"]) for row in rows)


async def test_csv_has_vectors_too(engine: Engine, tmp_path: Path) -> None:
    report = await engine.export(tmp_path / "chunks.csv", include="chunks", vectors=True)
    rows = list(csv.DictReader(io.StringIO(report.path.read_bytes().decode(), newline="")))
    found = await DeterministicEmbedder().embed([row["text"] for row in rows], role="document")
    assert np.array_equal([np.float32(json.loads(row["vector"])) for row in rows], found.vectors)


async def test_markdown_keeps_its_tables(engine: Engine, tmp_path: Path) -> None:
    report = await engine.export(tmp_path / "graph.md")
    entities, relations = await shown(engine)
    lines = report.path.read_text(encoding="utf-8").splitlines()
    bare = [line.replace("\\\\", "").replace("\\|", "") for line in lines]
    assert [line.count("|") for line in bare if line.startswith("|")] == [
        *[6] * (2 + len(entities)), *[7] * (2 + len(relations)),
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("#")] == ["# default", "## Entities", "## Relations"]
    assert r'"Ada" \| \<b\>' in report.path.read_text(encoding="utf-8")
    assert "<b>" not in report.path.read_text(encoding="utf-8")


async def test_an_empty_workspace_makes_valid_files(tmp_path: Path) -> None:
    async with Engine.open(tmp_path / "root") as nothing:
        for name in ("g.graphml", "g.jsonl", "g.csv", "g.parquet", "g.md"):
            report = await nothing.export(tmp_path / name)
            assert set(report.counts.values()) == {0}
            assert report.path.stat().st_size == report.bytes > 0
    assert rustworkx.read_graphml(str(tmp_path / "g.graphml"))[0].num_nodes() == 0
    async with Engine.open(tmp_path / "other") as other:
        assert (await other.import_jsonl(tmp_path / "g.jsonl")).revision == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "graph"}, "whose suffix names no format"),
        ({"path": "graph.xlsx"}, "whose suffix names no format"),
        ({"path": "graph.csv", "format": "excel"}, "format is 'excel'"),
        ({"path": "graph.csv", "include": "everything"}, "csv takes some of entities, relations"),
        ({"path": "graph.csv", "include": ()}, "include is ()"),
        ({"path": "graph.csv", "include": [5]}, r"include[0] is 5"),
        ({"path": "graph.md", "include": "documents"}, "markdown takes some of entities, relations"),
        ({"path": "graph.graphml", "vectors": True}, "no place for them"),
        ({"path": "graph.jsonl", "vectors": 1}, "vectors is 1"),
        ({"path": "graph.jsonl", "include": ["chunks"]}, "include both"),
        ({"path": "no/such/graph.csv"}, "make it first"),
        ({"path": "root", "format": "csv"}, "which is a folder"),
        ({"path": ""}, "path is ''"),
    ],
)
async def test_what_cannot_be_exported_says_why(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as raised:
        await engine.export(**arguments)
    assert message in str(raised.value)
    assert files_in(tmp_path) == ["root"]


# ---- page by page --------------------------------------------------------------------------------------


async def test_rows_are_read_as_they_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 10)
    async with Engine.open(tmp_path, tokenizer=WordTokenizer()) as engine:
        await engine.insert_graph(graph([f"e{n}-f{n}" for n in range(40)]))
        asked: list[int] = []
        read = engine._workspace.read

        async def counted(query: Callable[[Any], Any]) -> Any:
            found = await read(query)
            asked.append(len(found))
            return found

        monkeypatch.setattr(engine._workspace, "read", counted)
        async with aclosing(engine.export_rows(include=["entities", "relations"])) as rows:
            first = await anext(rows)
            assert (first["kind"], first["name"], asked) == ("entity", "Alone", [81, 10])
            assert [row["kind"] async for row in rows] == ["entity"] * 80 + ["relation"] * 40
        assert max(asked[1:]) == 10


async def test_commits_may_come_between_two_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 3)
    async with Engine.open(tmp_path, tokenizer=WordTokenizer()) as engine:
        await engine.insert_graph(graph(["b-c", "c-d", "d-e", "e-f", "f-b"]), document_id="old")
        async with aclosing(engine.export_rows(include=["entities", "relations"])) as rows:
            names = [(await anext(rows))["name"] for _ in range(3)]
            assert names == ["Alone", "b", "c"]
            await engine.insert_graph(graph(["a-b", "c-d", "d-e", "b-z"]), document_id="old")
            rest = [row async for row in rows]
        names += [row["name"] for row in rest if row["kind"] == "entity"]
        assert names == ["Alone", "b", "c", "d", "e"]  # a and z are new, f is gone
        ends = [(row["source"], row["target"]) for row in rest if row["kind"] == "relation"]
        assert ends == [("c", "d"), ("d", "e")]
        report = await engine.export(tmp_path / "graph.csv")
        assert (report.revision, report.moved_on, report.unfinished) == (engine.revision, False, 0)

        async def slowly(function: Callable[[], Any]) -> Any:
            await engine.create_entity(f"made {engine.revision}")
            return await in_thread(function)

        monkeypatch.setattr("stateless_rag.exporting.export.in_thread", slowly)
        assert (await engine.export(tmp_path / "graph.csv")).moved_on


async def test_what_is_written_while_commits_come_can_be_brought_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 2)
    monkeypatch.setattr(reading, "_DOCUMENTS", 1)
    async with opened(tmp_path / "one") as engine, opened(tmp_path / "two") as other:
        await engine.insert([Document(line, id=f"d{n}") for n, line in enumerate(ADA)])
        count = 0

        async def slowly(function: Callable[[], Any]) -> Any:
            nonlocal count
            count += 1
            await engine.insert(
                Document(f"relation | Ada | Zuse | work | counts {count}", id=f"d{count % 7}")
            )
            return await in_thread(function)

        monkeypatch.setattr("stateless_rag.exporting.export.in_thread", slowly)
        report = await engine.export(tmp_path / "w.jsonl", vectors=True)
        assert report.moved_on and report.revision < engine.revision
        brought_in = await other.import_jsonl(tmp_path / "w.jsonl")
        assert brought_in.documents == {Status.PROCESSED: report.counts["documents"]}
        found = await contents(other)  # looks for orphans
        assert {row["id"] for row in found["documents"]} == {f"d{n}" for n in range(5)}


# ---- a file is whole or not there ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["g.graphml", "g.jsonl", "g.csv", "g.parquet", "g.md"])
async def test_what_fails_leaves_the_old_file(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    target = tmp_path / name
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        await engine.export(target)
    assert target.read_text() == "old"
    monkeypatch.undo()

    async def failing(*arguments: Any) -> AsyncIterator[Any]:
        yield [{"kind": "entity", "name": "a", "key": "a", "type": "", "description": "", "weight": 1,
                "documents": [], "sources": []}]  # fmt: skip
        raise RuntimeError("in the middle")

    monkeypatch.setattr("stateless_rag.exporting.export.pages", failing)
    with pytest.raises(RuntimeError, match="in the middle"):
        await engine.export(target)
    assert target.read_text() == "old"
    assert files_in(tmp_path) == [name, "root"]


async def test_a_cancelled_export_leaves_nothing(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def waiting(*arguments: Any) -> AsyncIterator[Any]:
        begun.set()
        await asyncio.sleep(1000)
        yield []

    monkeypatch.setattr("stateless_rag.exporting.export.pages", waiting)
    export = asyncio.create_task(engine.export(tmp_path / "g.csv"))
    await begun.wait()
    assert [name for name in files_in(tmp_path) if name.endswith(".part")]
    export.cancel()
    with pytest.raises(asyncio.CancelledError):
        await export
    assert files_in(tmp_path) == ["root"]


# ---- JSON Lines and back -------------------------------------------------------------------------------


def statements(*lines: str) -> str:
    return "\n".join(f"{line}" for line in lines)


ADA = [f"entity | Ada | Person | text {n}" for n in range(5)]


async def brought(engine: Engine, other: Engine, path: Path, **options: Any) -> Any:
    await engine.export(path, **options)
    return await other.import_jsonl(path)


async def test_a_workspace_comes_back_the_same_without_an_llm(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as engine, Engine.open(tmp_path / "given", "g") as given_there:
        await engine.insert(
            [
                Document(
                    f"{line}\nrelation | Ada | Zuse | letters, {n} | wrote {n}", id=f"d{n}", source=f"{n}.txt",
                    metadata={"n": n, "tags": ["a", None]},
                )
                for n, line in enumerate(ADA)
            ]
        )  # fmt: skip
        await engine.insert(Document("", id="empty"))
        await engine.insert_graph(awkward(), document_id="awkward")
        await engine.rename_entity("Zuse", "Konrad Zuse")
        deleted = await engine.delete_entity("=SUM(1,2)")
        await engine.edit_entity("Ada", type="countess")
        await engine.undo(deleted.number)
        ada = await engine.entity("Ada")
        assert ada is not None and ada.description.startswith("Ada, in short")
        llm, embedder = StatementLLM(), CountingEmbedder()
        async with opened(tmp_path / "two", llm=llm, embedder=embedder) as other:
            report = await brought(engine, other, tmp_path / "w.jsonl", vectors=True)
            assert await contents(other) == await contents(engine)
            assert await other.history() == await engine.history()
            assert (report.documents, report.curations) == ({Status.PROCESSED: 7}, 4)
            assert report.summaries > 0 and report.vectors > 0
            assert not llm.calls
            again = await other.import_jsonl(tmp_path / "w.jsonl")
            assert (again.unchanged, again.curations, again.present, again.summaries) == (7, 0, 4, 0)
            assert await contents(other) == await contents(engine)
            assert again.revision == report.revision
            assert not llm.calls
        with pytest.raises(WorkspaceMismatch, match="key policy"):
            settings = Settings(merging=replace(Settings().merging, key_policy="exact"))
            async with Engine.open(tmp_path / "exact", settings=settings) as exact:
                await exact.import_jsonl(tmp_path / "w.jsonl")
        # Another embedder: vectors are made anew.
        assert (await given_there.import_jsonl(tmp_path / "w.jsonl")).vectors == 0
        assert set(await given_there.labels()) == set(await engine.labels())


async def test_vectors_of_the_file_are_not_paid_for_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as engine:
        await engine.insert([Document(line, id=f"d{n}") for n, line in enumerate(ADA)])
        for vectors, least, most in ((True, 0, 3), (False, 7, 20)):
            embedder = CountingEmbedder()
            async with opened(tmp_path / f"two{vectors}", embedder=embedder) as other:
                await brought(engine, other, tmp_path / "w.jsonl", vectors=vectors)
                assert await contents(other) == await contents(engine)
                # What was joined before the summary was taken over, once in each commit, is not in the file.
                assert least <= embedder.embedded <= most


async def test_what_is_there_already_is_merged_with(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as engine, opened(tmp_path / "two") as other:
        await engine.insert([Document(line, id=f"d{n}") for n, line in enumerate(ADA)])
        await engine.create_entity("Hopper")
        own = "\n".join(f"entity | Ada | Person | other {n}" for n in range(9))
        await other.insert([Document(own, id="own"), Document("Old.", id="d0")])
        await other.create_entity("COBOL")
        report = await brought(engine, other, tmp_path / "w.jsonl")
        assert report.summaries == 0  # the texts are others than those that were summed up
        ada = await other.entity("Ada")
        assert ada is not None and ada.weight == 6
        document = await other.document("d0")
        assert document is not None and document.text == ADA[0]
        assert [entry.names for entry in await other.history()] == [("Hopper",), ("COBOL",)]
        assert [entry.number for entry in await other.history()] == [2, 1]


async def test_a_document_that_is_there_in_part_waits_for_its_rest(tmp_path: Path) -> None:
    from laws.generators import settings

    chosen = settings(accept_partial=True)
    text = "entity | Ada | Person | wrote letters about it\n\nentity | Zuse | Person | counts"
    broken = StatementLLM(broken=True)
    async with opened(tmp_path / "one", llm=broken, chosen=chosen) as engine:
        await engine.insert(Document(text, id="d"))
        llm = StatementLLM()
        async with opened(tmp_path / "two", llm=llm, chosen=chosen) as other:
            report = await brought(engine, other, tmp_path / "w.jsonl")
            assert not llm.calls and report.documents == {Status.PROCESSED: 1}
            status = await other.document_status("d")
            assert status is not None and status.status is Status.FAILED
            assert "broken" in status.errors[0].error
            assert await other.labels() == ["Zuse"]
            await other.retry()
            assert await other.labels() == ["Ada", "Zuse"]
            assert llm.calls == {"extract": 1}


async def test_what_waits_is_not_in_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert(Document("entity | Ada | Person | counts", id="there"))
        await engine.submit(
            [Document("entity | Zuse | Person | counts", id="waits"), Document("New.", id="there")]
        )
        report = await engine.export(tmp_path / "w.jsonl")
        assert (report.counts["documents"], report.unfinished) == (1, 2)
        texts = [row["text"] async for row in engine.export_rows(include="documents")]
        assert texts == ["entity | Ada | Person | counts"]


def test_the_synchronous_mirror_exports_and_imports(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    with SyncEngine.open(tmp_path / "one") as engine, SyncEngine.open(tmp_path / "two") as other:
        engine.insert_graph(graph(["a-b"]))
        report = engine.export(path, "jsonl", include=None, vectors=True)
        assert report.counts["relations"] == 1
        assert other.import_jsonl(path, tracking_id="mine").tracking_id == "mine"
        assert list(other.export_rows()) == list(engine.export_rows())


# ---- damage --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that is not damaged."""
    return asyncio.run(written(tmp_path_factory.mktemp("written")))


async def written(folder: Path) -> bytes:
    async with opened(folder / "root") as engine:
        text = (
            "entity | Ada | Person | counts\nrelation | Ada | Zuse | work | counts\n\nNothing is stated here."
        )
        await engine.insert([Document(text, id="d"), Document("", id="e")])
        await engine.create_entity("Hopper")
        await engine.undo(1)
        await engine.export(folder / "whole.jsonl", vectors=True)
    return (folder / "whole.jsonl").read_bytes()


@pytest.fixture
def lines(whole: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in whole.splitlines()]


class Target(NamedTuple):
    """A workspace that refuses whatever is brought to it, and what it holds therefore all the time."""

    engine: Engine
    contents: dict[str, Any]
    revision: int


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    async with opened(tmp_path_factory.mktemp("target")) as engine:
        await engine.insert(Document("entity | Old | Person | counts", id="d"))
        yield Target(engine, await contents(engine), engine.revision)


def at(lines: list[dict[str, Any]], kind: str) -> int:
    return next(place for place, line in enumerate(lines) if line["kind"] == kind)


DAMAGE: dict[str, tuple[str, dict[str, Any], str]] = {
    "format": ("workspace", {"format": "stateless-rag/9"}, "this version reads stateless-rag/1"),
    "policy": ("workspace", {"key_policy": "loud"}, "key_policy is 'loud'"),
    "parts": ("workspace", {"holds": ["entities"]}, "was written without chunks, curations, documents"),
    "kind": ("entity", {"kind": "thing"}, "kind is 'thing'"),
    "order": ("entity", {"kind": "curation"}, "change is None"),
    "change": ("curation", {"change": "explode"}, "change is 'explode'"),
    "number": ("curation", {"number": 0}, "number is 0"),
    "keys": ("curation", {"keys": []}, "which create_entity cannot have"),
    "names": ("curation", {"names": []}, "there must be one for each of the keys"),
    "payload": ("curation", {"payload": {"type": 5}}, "payload.type is 5"),
    "weight by hand": ("curation", {"payload": {"weight": -1}}, "payload.weight is -1"),
    "weight": ("entity", {"weight": -1}, "weight is -1"),
    "name": ("entity", {"name": None}, "name is None"),
    "base64": ("entity", {"vector": "%%%"}, "no base64 of numbers"),
    "dimension": ("entity", {"vector": "AAAA"}, "no base64 of numbers"),
    "length": ("entity", {"vector": "AAAAAA=="}, "it must have 16"),
    "infinite": ("chunk", {"vector": "AACAfw==" }, "it must have 16"),
    "id": ("document", {"id": " "}, "id is ' '"),
    "metadata": ("document", {"metadata": [1]}, "metadata is [1]"),
    "text": ("document", {"text": "another"}, "in its document's text"),
    "fewer": ("document", {"chunks": 1}, "a chunk more than its document tells of"),
    "more": ("document", {"chunks": 3}, "lacks 1 of its chunks"),
    "many": ("document", {"chunks": -1}, "chunks is -1"),
    "offsets": ("chunk", {"start": 1}, "in its document's text"),
    "negative": ("chunk", {"start": -1}, "start is -1"),
    "stranger": ("chunk", {"document": "x"}, "a chunk of document 'x'"),
    "ordinal": ("chunk", {"ordinal": 1}, "the ordinal 1 in place of 0"),
    "generation": ("chunk", {"generation": ""}, "generation is ''"),
    "mentions": ("chunk", {"entities": "Ada"}, "entities is 'Ada'"),
    "mention": ("chunk", {"entities": [5]}, "entities[0] is 5"),
    "named": ("chunk", {"entities": [{"name": 5}]}, "name is 5"),
    "count": ("end", {"lines": 3}, "the file had 3 lines"),
    "end": ("end", {"kind": "chunk"}, "of no document"),
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", DAMAGE)
async def test_a_damaged_line_is_named_and_nothing_changes(
    lines: list[dict[str, Any]], target: Target, tmp_path: Path, case: str
) -> None:
    kind, change, message = DAMAGE[case]
    lines[at(lines, kind)].update(change)
    await refused(target, tmp_path, "\n".join(map(json.dumps, lines)).encode(), message)


async def refused(target: Target, tmp_path: Path, content: bytes, message: str) -> None:
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        await target.engine.import_jsonl(damaged)
    assert message in str(raised.value)
    assert (await contents(target.engine), target.engine.revision) == (target.contents, target.revision)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends after line 0"),
        (b"\n", "line 1 of 'damaged.jsonl': '\\n' is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1]\n", "is no JSON object"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"kind": "entity"}\n', "the first line must tell of the workspace"),
        (b'{"kind": "workspace"}\n', "format is None"),
        (b"name,key\n", "is no JSON"),
    ],
)
async def test_what_is_no_such_file_is_refused(
    target: Target, tmp_path: Path, content: bytes, message: str
) -> None:
    await refused(target, tmp_path, content, message)


async def test_a_file_that_is_cut_off_anywhere_is_refused(whole: bytes, tmp_path: Path) -> None:
    ends = [n + 1 for n, byte in enumerate(whole) if byte == 10]
    async with opened(tmp_path / "target") as engine:
        for stop in (*ends[:-1], len(whole) // 2, len(whole) - 2):
            damaged = tmp_path / "cut.jsonl"
            damaged.write_bytes(whole[:stop])
            with pytest.raises(InvalidInput, match=r"cut off|is no JSON"):
                await engine.import_jsonl(damaged)
            assert engine.revision == 0
        with pytest.raises(InvalidInput, match="no such file"):
            await engine.import_jsonl(tmp_path / "nowhere.jsonl")
        with pytest.raises(StatelessRagError):
            await engine.import_jsonl("")


async def test_an_alias_that_would_lead_in_a_circle_is_told_before_anything_changes(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as engine, opened(tmp_path / "two") as other:
        await engine.alias("a", "b")
        await other.alias("b", "a")
        with pytest.raises(InvalidInput, match="stand for itself"):
            await brought(engine, other, tmp_path / "w.jsonl")
        assert (await other.aliases(), other.revision) == ({"b": "a"}, 1)
