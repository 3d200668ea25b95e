"""Folders of LightRAG and nano-graphrag in a workspace: as they were, and as exact as if extracted here."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.folders import (
    GRAPH,
    Doc,
    Graph,
    Piece,
    SeededEmbedder,
    damage,
    lightrag_folder,
    nano_folder,
    write_json,
)
from laws.workspaces import check_no_orphans
from stateless_rag import Document, Engine, MergeSettings, Settings, Status
from stateless_rag.errors import InvalidInput, ProviderRejected
from stateless_rag.interop import ImportReport, import_lightrag
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

SHARED = Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[3] / "shared"))
FOLDERS = SHARED / "data" / "lightrag_dirs"

ADA = Piece(
    "Ada Lovelace wrote notes on the Analytical Engine.",
    (("Ada Lovelace", "Person", "Ada wrote notes."), ("Analytical Engine", "Artifact", "A machine.")),
    (("Ada Lovelace", "Analytical Engine", "notes", "Ada wrote about the engine."),),
    gleaned=(("Notes", "Content", "Notes on a machine."),),
)
BABBAGE = Piece(
    "Charles Babbage designed the Analytical Engine.",
    (("Charles Babbage", "Person", "Babbage designed it."), ("Analytical Engine", "Artifact", "A design.")),
    (("Charles Babbage", "Analytical Engine", "design", "Babbage designed the engine."),),
)
TURING = Piece(
    "Alan Turing read the notes of Ada Lovelace.",
    (("Alan Turing", "Person", "Turing read."), ("Ada Lovelace", "Person", "Turing read what she wrote.")),
    (("Alan Turing", "Ada Lovelace", "reading", "Turing read the notes of Ada."),),
)
DOCUMENTS = (
    Doc("doc-1", (ADA, BABBAGE), path="engines.txt"),
    Doc("doc-2", (TURING,), path="turing.txt"),
    Doc("doc-3", (Piece("Grace Hopper wrote a compiler."),), path="hopper.txt"),
)
UNFINISHED = (
    Doc("doc-4", (Piece("Not done yet.", (("Nobody", "Person", "Not here."),)),), "processing"),
    Doc("doc-5", (), "failed", text="This failed."),
)
EXACT = Settings(merging=MergeSettings(key_policy="exact"))


async def no_llm(prompt: str, **_: Any) -> str:
    raise AssertionError("no LLM is called by an import")


@asynccontextmanager
async def opened(root: Path, embedder: Any = None, **options: Any) -> AsyncIterator[Engine]:
    chosen: dict[str, Any] = {"llm": no_llm, "tokenizer": WordTokenizer()} | options
    async with Engine.open(root, embedder=embedder or SeededEmbedder(), **chosen) as engine:
        yield engine


async def imported(root: Path, folder: Path, **options: Any) -> tuple[ImportReport, dict[str, Any]]:
    """What an import into a new root reports, and all that the workspace then holds."""
    async with opened(root, **options) as engine:
        report = await import_lightrag(engine, folder)
        return report, await dump(engine)


def values(found: dict[str, Any], table: str, *columns: str) -> list[Any]:
    return sorted(tuple(row[column] for column in columns) for row in found[table])


@pytest.mark.parametrize("store", ["json", "faiss"])
@pytest.mark.parametrize("chosen", [Settings(), EXACT], ids=["casefold", "exact"])
async def test_everything_is_there(tmp_path: Path, store: Any, chosen: Settings) -> None:
    folder = lightrag_folder(tmp_path / "folder", [*DOCUMENTS, *UNFINISHED], store=store)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    embedder = SeededEmbedder()
    async with opened(tmp_path / "root", embedder, settings=chosen) as engine:
        report = await import_lightrag(engine, folder)
        assert report.problems == ()
        assert report.documents == {Status.PROCESSED: 3, Status.PENDING: 1, Status.FAILED: 1}
        assert (report.chunks_from_replies, report.chunks_from_graph, report.chunks_silent) == (3, 0, 1)
        assert (report.supplemented, report.left_out, report.by_hand) == (0, (), 0)
        statuses = {row.id: row for row in await engine.documents()}
        assert statuses["doc-1"].source == "engines.txt"
        assert statuses["doc-1"].metadata["track_id"] == "insert_1"
        assert statuses["doc-4"].status is Status.PENDING
        assert (statuses["doc-5"].status, statuses["doc-5"].error) == (Status.FAILED, "the LLM was down")
        found = await dump(engine)
        assert values(found, "chunks", "document_id", "ordinal", "start", "stop") == [
            ("doc-1", 0, 0, len(ADA.text)),
            ("doc-1", 1, len(ADA.text) + 1, len(ADA.text) + 1 + len(BABBAGE.text)),
            ("doc-2", 0, 0, len(TURING.text)),
            ("doc-3", 0, 0, 30),
        ]
        engine_row = await engine.entity("Analytical Engine")
        assert engine_row is not None
        assert (engine_row.type, engine_row.weight, engine_row.description) == (
            "artifact",
            2,
            "A machine.\nA design.",
        )
        (relation,) = await engine.relations_of("Alan Turing")
        assert (relation.source, relation.keywords, relation.weight) == ("Alan Turing", ("reading",), 1)
        assert await engine.entity("Nobody") is None
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


async def test_it_is_what_the_engine_would_have_extracted_from_the_same_replies(tmp_path: Path) -> None:
    """Mentions, entities and relations are those of a fresh ingest whose LLM says what the cache says."""
    documents = DOCUMENTS[1:]
    _, found = await imported(tmp_path / "one", lightrag_folder(tmp_path / "folder", documents))

    async def llm(prompt: str, system_prompt: str | None = None, **rest: Any) -> str:
        from integration.folders import reply

        if rest.get("history_messages"):
            return "<|COMPLETE|>"
        return next(reply(doc.pieces[0]) for doc in documents if doc.content in prompt)

    async with opened(tmp_path / "two", llm=llm) as engine:
        await engine.insert([Document(doc.content, id=doc.id, source=doc.path) for doc in documents])
        extracted = await dump(engine)
    for table in ("chunks", "entities", "relations", "mentions"):
        columns = set(found[table][0]) - {"generation"}
        assert values(found, table, *sorted(columns)) == values(extracted, table, *sorted(columns))


# ---- deleting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deleted", ["doc-1", "doc-2", "doc-3"])
@pytest.mark.parametrize("replies", [True, False], ids=["replies", "graph only"])
async def test_deleting_is_exact(tmp_path: Path, deleted: str, replies: bool) -> None:
    rest = [document for document in DOCUMENTS if document.id != deleted]
    async with opened(tmp_path / "one") as engine:
        folder = lightrag_folder(tmp_path / "all", DOCUMENTS, replies=replies)
        await import_lightrag(engine, folder)
        await engine.delete(deleted)
        after = await dump(engine)
    _, never = await imported(tmp_path / "two", lightrag_folder(tmp_path / "rest", rest, replies=replies))
    # A vector that was taken may differ in its last bit from one that was made.
    after["vectors"], never["vectors"] = sorted(after["vectors"]), sorted(never["vectors"])
    if replies:
        assert after == never
    else:  # what the graph's descriptions owe to a document cannot be told, but who is there can
        assert values(after, "entities", "key") == values(never, "entities", "key")
        assert values(after, "relations", "id") == values(never, "relations", "id")


async def test_inserting_the_same_text_later_pays_nothing(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS)
    async with opened(tmp_path / "root") as engine:
        await import_lightrag(engine, folder)
        before = await dump(engine)
        document = DOCUMENTS[0]
        report = await engine.insert(
            Document(
                document.content,
                id=document.id,
                source=document.path,
                metadata={"created_at": "2026-01-01T00:00:00+00:00", "track_id": "insert_1"},
            )
        )
        assert report.documents[0].unchanged
        assert await dump(engine) == before


async def test_unfinished_documents_are_extracted_here(tmp_path: Path) -> None:
    async def llm(prompt: str, **_: Any) -> str:
        return "entity<|#|>Nobody<|#|>Person<|#|>Said here.\n<|COMPLETE|>"

    folder = lightrag_folder(tmp_path / "folder", [*DOCUMENTS, *UNFINISHED])
    async with opened(tmp_path / "root", llm=llm) as engine:
        await import_lightrag(engine, folder)
        report = await engine.resume()
        assert {document.id: document.status for document in report.documents} == {
            "doc-4": Status.PROCESSED,
            "doc-5": Status.PROCESSED,
        }
        nobody = await engine.entity("Nobody")
        assert nobody is not None
        assert nobody.description == "Said here."


# ---- again, and into what is there ---------------------------------------------------------------------


async def test_importing_again_changes_nothing(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", [*DOCUMENTS, *UNFINISHED], edit=add_by_hand)
    embedder = SeededEmbedder()
    async with opened(tmp_path / "root", embedder) as engine:
        await import_lightrag(engine, folder)
        before, embedded = await dump(engine), len(embedder.embedded)
        again = await import_lightrag(engine, folder)
        assert again.present == 4
        assert not again.documents
        assert not again.vectors_embedded
        replaced = await import_lightrag(engine, folder, replace=True)
        assert replaced.documents == {Status.PROCESSED: 4}
        assert await dump(engine) == before
        assert len(embedder.embedded) == embedded


async def test_a_document_that_is_there_is_left_alone_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS)
    async with opened(tmp_path / "root", llm=None) as engine:
        await engine.insert(Document("A newer text about Konrad Zuse.", id="doc-2"))
        report = await import_lightrag(engine, folder)
        assert (report.present, report.documents) == (1, {Status.PROCESSED: 2})
        kept = await engine.document("doc-2")
        assert kept is not None
        assert kept.text.startswith("A newer text")
        await import_lightrag(engine, folder, replace=True)
        replaced = await engine.document("doc-2")
        assert replaced is not None
        assert replaced.text == TURING.text


async def test_an_import_that_was_interrupted_is_completed_by_the_next(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS)
    _, whole = await imported(tmp_path / "whole", folder)
    waiting = asyncio.Event()

    class Stuck(SeededEmbedder):
        async def embed(self, texts: Sequence[str], **rest: Any) -> Any:
            if self.embedded:
                waiting.set()
                await asyncio.Event().wait()
            return await super().embed(texts, **rest)

    async with opened(tmp_path / "root", Stuck()) as engine:
        task = asyncio.create_task(import_lightrag(engine, folder))
        async with asyncio.timeout(240):
            await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    report, found = await imported(tmp_path / "root", folder)
    assert report.problems == ()
    found["pending"] = []
    assert found == whole


# ---- vectors -------------------------------------------------------------------------------------------


async def test_vectors_are_taken_where_the_text_is_the_same(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS)
    embedder = SeededEmbedder()
    report, found = await imported(tmp_path / "root", folder, embedder=embedder)
    chunks = {piece.text for document in DOCUMENTS for piece in document.pieces}
    probes = [text for text in embedder.embedded if text in chunks]
    anew = [text for text in embedder.embedded if text not in chunks]
    assert len(probes) == 3
    assert report.vectors_embedded == len(anew)
    assert report.vectors_refused is None
    assert report.vectors_taken + len(anew) + len(probes) == len(found["vectors"])
    # Made anew are those of several descriptions, and of relations whose ends the graph has the other way round.
    assert sorted(text.partition("\n")[0] for text in anew) == [
        "Ada Lovelace",
        "Analytical Engine",
        "design\tCharles Babbage",
        "reading\tAlan Turing",
    ]


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (SeededEmbedder(seed="other"), "not as seeded-one-8 makes them"),
        (SeededEmbedder(16), "have 16 dimensions, not 8"),
    ],
    ids=["another model", "another dimension"],
)
async def test_vectors_of_another_model_are_not_taken(
    tmp_path: Path, theirs: SeededEmbedder, told: str
) -> None:
    report, found = await imported(
        tmp_path / "one", lightrag_folder(tmp_path / "folder", DOCUMENTS, embedder=theirs)
    )
    assert report.vectors_taken == 0
    assert told in str(report.vectors_refused)
    assert report.problems == ()
    _, fresh = await imported(
        tmp_path / "two", without_vectors(lightrag_folder(tmp_path / "none", DOCUMENTS))
    )
    assert found["vectors"] == fresh["vectors"]


def without_vectors(folder: Path) -> Path:
    for path in folder.glob("vdb_*"):
        path.unlink()
    return folder


async def test_the_same_questions_find_the_same_passages(tmp_path: Path) -> None:
    embedder = SeededEmbedder()
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, embedder=embedder)
    texts = [piece.text for document in DOCUMENTS for piece in document.pieces]
    async with opened(tmp_path / "root", llm=None) as engine:
        await import_lightrag(engine, folder)
        for question in ("Who wrote notes?", "Who designed it?", "compiler"):
            found = await engine.retrieve(question, mode="naive", min_similarity=-1.0)
            vectors = embedder.vectors(texts)
            cosines = vectors @ embedder.vectors([question])[0] / np.linalg.norm(vectors, axis=1)
            ranked = [texts[place] for place in np.argsort(-cosines)]
            assert [passage.text for passage in found.passages] == ranked


# ---- what was changed by hand --------------------------------------------------------------------------


def add_by_hand(graph: Graph) -> None:
    graph.nodes["Konrad Zuse"] = {"type": "person", "texts": {"Zuse built the Z3.": None}, "chunks": {}}
    graph.edges["Ada Lovelace", "Konrad Zuse"] = {
        "words": {"peers": None},
        "texts": {"Both are pioneers.": None},
        "chunks": {},
    }


def describe_by_hand(graph: Graph) -> None:
    graph.nodes["Ada Lovelace"]["texts"] = {"Countess of Lovelace.": None}
    graph.nodes["Charles Babbage"]["type"] = "inventor"
    graph.edges["Ada Lovelace", "Alan Turing"]["words"] = {"influence": None}


def delete_by_hand(graph: Graph) -> None:
    del graph.nodes["Notes"]
    del graph.edges["Analytical Engine", "Charles Babbage"]


def rename_by_hand(graph: Graph) -> None:
    graph.nodes["Alan M. Turing"] = graph.nodes.pop("Alan Turing")
    graph.edges["Ada Lovelace", "Alan M. Turing"] = graph.edges.pop(("Ada Lovelace", "Alan Turing"))


async def has_entity(engine: Engine, name: str, *texts: str) -> None:
    entity = await engine.entity(name)
    assert entity is not None
    for text in texts:
        assert text in entity.description


@pytest.mark.parametrize(
    ("edit", "there", "gone"),
    [
        (add_by_hand, {"Konrad Zuse": "Zuse built the Z3."}, ()),
        (describe_by_hand, {"Ada Lovelace": "Countess of Lovelace."}, ()),
        (delete_by_hand, {"Analytical Engine": "A design."}, ("Notes",)),
        (rename_by_hand, {"Alan M. Turing": "Turing read."}, ("Alan Turing",)),
    ],
    ids=["added", "described", "deleted", "renamed"],
)
async def test_what_was_changed_by_hand_is_not_lost(
    tmp_path: Path, edit: Callable[[Graph], None], there: dict[str, str], gone: tuple[str, ...]
) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, edit=edit)
    async with opened(tmp_path / "root") as engine:
        report = await import_lightrag(engine, folder)
        assert report.problems == ()
        for name, text in there.items():
            await has_entity(engine, name, text)
        for name in gone:
            assert await engine.entity(name) is None
            assert any(name in told for told in report.left_out)
        sources = {row.source for row in await engine.documents()}
        assert (f"{folder}/{GRAPH}" in sources) == bool(report.by_hand)
        assert report.by_hand == (2 if edit is add_by_hand else 0)
        assert report.edited == len(await engine.history()) == (3 if edit is describe_by_hand else 0)


async def test_edits_replace_what_the_replies_say_and_are_made_once(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, edit=describe_by_hand)
    async with opened(tmp_path / "root") as engine:
        await import_lightrag(engine, folder)
        ada, babbage = await engine.entity("Ada Lovelace"), await engine.entity("Charles Babbage")
        assert ada is not None
        assert babbage is not None
        assert (ada.description, ada.type, ada.weight) == ("Countess of Lovelace.", "person", 2)
        assert (babbage.description, babbage.type) == ("Babbage designed it.", "inventor")
        (relation,) = await engine.relations_of("Alan Turing")
        assert relation.keywords == ("influence",)
        await engine.edit_entity("Ada Lovelace", description="Edited here.")
        again = await import_lightrag(engine, folder, replace=True)
        assert again.edited == 0
        await has_entity(engine, "Ada Lovelace", "Edited here.")


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
async def test_a_summary_is_no_edit(tmp_path: Path, kept: bool) -> None:
    """Of many texts: a description that no reply explains may be a summary whose record was lost."""

    def summarise(graph: Graph) -> None:
        graph.nodes["Ada Lovelace"]["texts"] = {"All about Ada.": None}

    pieces = [Piece(f"Text {n}.", (("Ada Lovelace", "Person", f"Ada did thing {n}."),)) for n in range(12)]
    folder = lightrag_folder(tmp_path / "folder", [Doc("doc-1", tuple(pieces))], edit=summarise)
    if kept:
        cache = json.loads((folder / "kv_store_llm_response_cache.json").read_text())
        cache["default:summary:1"] = {"return": "All about Ada.", "cache_type": "summary"}
        write_json(folder / "kv_store_llm_response_cache.json", cache)
    async with opened(tmp_path / "root") as engine:  # whose LLM would be asked for a summary of twelve texts
        report = await import_lightrag(engine, folder)
        assert (report.edited, report.by_hand, report.problems) == (0, 0 if kept else 1, ())
        await has_entity(engine, "Ada Lovelace", "Ada did thing 3.", *(() if kept else ("All about Ada.",)))


async def test_what_was_renamed_by_hand_goes_with_its_document(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, edit=rename_by_hand)
    async with opened(tmp_path / "root") as engine:
        report = await import_lightrag(engine, folder)
        assert report.supplemented == 1
        await engine.delete("doc-2")
        assert await engine.entity("Alan M. Turing") is None
        await has_entity(engine, "Ada Lovelace", "Ada wrote notes.")


# ---- texts and damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A preface. Ada  Lovelace wrote\nnotes on the Analytical Engine. The end.", ()),
        ("Quite another text.", ("was put at the end of it",)),
    ],
    ids=["other white space", "not there"],
)
async def test_chunks_that_are_not_in_their_document_to_the_letter(
    tmp_path: Path, text: str, told: tuple[str, ...]
) -> None:
    document = replace(DOCUMENTS[0], text=text, pieces=(ADA,))
    async with opened(tmp_path / "root") as engine:
        report = await import_lightrag(engine, lightrag_folder(tmp_path / "folder", [document]))
        problems = "\n".join(map(str, report.problems))
        assert all(words in problems for words in told)
        assert bool(problems) == bool(told)
        stored = await engine.document("doc-1")
        assert stored is not None
        assert stored.text.startswith(text)
        (chunk,) = (await dump(engine))["chunks"]
        piece = stored.text[chunk["start"] : chunk["stop"]]
        assert piece.split() == ADA.text.split()
        await has_entity(engine, "Notes", "Notes on a machine.")
        await engine.delete("doc-1")
        assert (await engine.describe()).entities == 0


async def test_without_replies_the_graph_speaks_for_the_chunks(tmp_path: Path) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, replies=False)
    report, found = await imported(tmp_path / "one", folder)
    assert (report.chunks_from_replies, report.chunks_from_graph, report.chunks_silent) == (0, 3, 1)
    _, by_replies = await imported(tmp_path / "two", lightrag_folder(tmp_path / "all", DOCUMENTS))
    for table in ("entities", "relations"):
        assert values(found, table, "id") == values(by_replies, table, "id")


async def test_where_some_replies_are_lost_each_chunk_says_its_own(tmp_path: Path) -> None:
    """What the replies of other chunks explain of a description is not said of a chunk without a reply."""
    documents = [Doc("ada", (ADA,)), Doc("babbage", (BABBAGE,))]
    folder = lightrag_folder(tmp_path / "folder", documents)
    cache = json.loads((folder / "kv_store_llm_response_cache.json").read_text())
    kept = {key: row for key, row in cache.items() if row["chunk_id"].startswith("ada")}
    write_json(folder / "kv_store_llm_response_cache.json", kept)
    async with opened(tmp_path / "root") as engine:
        report = await import_lightrag(engine, folder)
        assert (report.chunks_from_replies, report.chunks_from_graph, report.by_hand) == (1, 1, 0)
        await engine.delete("ada")
        entity = await engine.entity("Analytical Engine")
        assert entity is not None
        assert (entity.description, entity.weight) == ("A design.", 1)


async def test_values_whose_chunks_are_gone_are_left_out_and_told_of(tmp_path: Path) -> None:
    def dangle(graph: Graph) -> None:
        graph.nodes["Ghost"] = {"type": "", "texts": {"Boo.": None}, "chunks": {"doc-9-chunk-000": None}}

    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, edit=dangle)
    async with opened(tmp_path / "root") as engine:
        report = await import_lightrag(engine, folder)
        assert [str(problem) for problem in report.problems] == [
            "the graph: a value whose chunks are not there is left out: Ghost"
        ]
        assert await engine.entity("Ghost") is None


async def test_a_document_without_its_chunks_waits(tmp_path: Path) -> None:
    folder = without_vectors(lightrag_folder(tmp_path / "folder", DOCUMENTS))
    (folder / "kv_store_text_chunks.json").unlink()
    report, _ = await imported(tmp_path / "root", folder)
    assert report.documents == {Status.PENDING: 3}
    assert any("without its chunks waits (3 times)" in str(problem) for problem in report.problems)


async def test_a_document_that_the_embedder_refuses_fails_alone(tmp_path: Path) -> None:
    class Picky(SeededEmbedder):
        async def embed(self, texts: Sequence[str], **rest: Any) -> Any:
            if any("Turing" in text for text in texts):
                raise ProviderRejected("no Turing")
            return await super().embed(texts, **rest)

    folder = without_vectors(lightrag_folder(tmp_path / "folder", DOCUMENTS))
    report, _ = await imported(tmp_path / "root", folder, embedder=Picky())
    assert report.documents == {Status.PROCESSED: 2, Status.FAILED: 1}
    assert ["no Turing" in str(problem) for problem in report.problems] == [True]


@pytest.mark.parametrize(
    ("folder", "workspace", "told"),
    [
        ("gone", None, "no folder"),
        (".", None, "holds no files"),
        (".", "a/b", "below"),
        (7, None, "folder is 7"),
    ],
)
async def test_bad_input_changes_nothing(tmp_path: Path, folder: Any, workspace: Any, told: str) -> None:
    (tmp_path / "empty").mkdir()
    place: Any = folder if isinstance(folder, int) else tmp_path / "empty" / folder
    async with opened(tmp_path / "root") as engine:
        with pytest.raises(InvalidInput, match=told):
            await import_lightrag(engine, place, workspace=workspace)
        assert engine.revision == 0


@given(data=st.data(), store=st.sampled_from(["json", "faiss", "nano"]))
@settings(max_examples=15)
def test_whatever_is_damaged_the_rest_is_there_and_whole(data: st.DataObject, store: Any) -> None:
    with tempfile.TemporaryDirectory() as root:
        place = Path(root) / "folder"
        folder = (
            nano_folder(place, DOCUMENTS)
            if store == "nano"
            else lightrag_folder(place, DOCUMENTS, store=store)
        )
        names = sorted(path.name for path in folder.iterdir())
        harmed = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        for name in harmed:
            damage(data, folder / name)

        async def run() -> tuple[ImportReport, list[str], dict[str, Any]]:
            async with opened(Path(root) / "store") as engine:
                report = await import_lightrag(engine, folder)
                return report, [row.id for row in await engine.documents()], await dump(engine)

        report, documents, found = asyncio.run(run())
        check_no_orphans(found)
        if not {"kv_store_full_docs.json", "kv_store_text_chunks.json", "kv_store_doc_status.json"} & set(
            harmed
        ):
            assert {"doc-1", "doc-2", "doc-3"} <= set(documents), report.problems
            # A byte may garble one of these in the kept replies, and not all of them.
            told = ("Ada wrote notes.", "Babbage designed it.", "A machine.", "Turing read.")
            texts = [row["description"] for row in chain(found["mentions"], found["entities"])]
            assert any(one in text for one in told for text in texts) or GRAPH in harmed


# ---- the predecessor, and folders of the real ones -----------------------------------------------------


async def test_a_folder_of_the_predecessor(tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as engine:
        folder = nano_folder(tmp_path / "nano", [Doc("doc-1", (ADA, BABBAGE)), Doc("doc-2", (TURING,))])
        report = await import_lightrag(engine, folder)
        assert (report.kind, report.problems, report.by_hand) == ("nano-graphrag", (), 0)
        assert (report.chunks_from_replies, report.left_out) == (3, ())
        entity = await engine.entity("Analytical Engine")
        assert entity is not None
        assert (entity.name, entity.type, entity.weight) == ("Analytical Engine", "artifact", 2)
        await engine.delete("doc-2")
        assert await engine.entity("Alan Turing") is None


@pytest.mark.shared
@pytest.mark.skipif(not FOLDERS.is_dir(), reason=f"{FOLDERS} is not there (set STATELESS_RAG_SHARED)")
@pytest.mark.parametrize(
    ("name", "workspace", "chunks", "entities", "relations"),
    [
        ("lightrag_1.5.7_json", "demo", 120, 1357, 1030),
        ("lightrag_1.5.7_faiss", None, 60, 707, 544),
        ("nano_graphrag_christmas_carol", None, 42, 374, 185),
    ],
)
async def test_real_folders(
    tmp_path: Path, name: str, workspace: str | None, chunks: int, entities: int, relations: int
) -> None:
    async with opened(tmp_path / "root", SeededEmbedder(), settings=EXACT) as engine:
        report = await import_lightrag(engine, FOLDERS / name, workspace=workspace)
        info = await engine.describe()
        assert report.chunks_from_replies + report.chunks_from_graph == chunks
        assert report.by_hand == 0
        assert (info.chunks, info.entities, info.relations) == (chunks, entities, relations)
        assert len(report.problems) <= 2, report.problems
        if report.kind == "lightrag":
            assert report.left_out == ()
            assert report.chunks_from_replies == chunks


@pytest.mark.shared
@pytest.mark.skipif(not FOLDERS.is_dir(), reason=f"{FOLDERS} is not there (set STATELESS_RAG_SHARED)")
async def test_a_real_folder_finds_what_its_own_vectors_find(tmp_path: Path) -> None:
    """The vectors of its chunks are those of a model that is not here: one that knows them stands in for it."""
    from stateless_rag.interop.folders import read_folder

    folder = FOLDERS / "lightrag_1.5.7_faiss"
    read = read_folder(folder)

    class Recorded(SeededEmbedder):
        def vectors(self, texts: Sequence[str]) -> Any:
            unknown = super().vectors(texts)
            return np.stack([read.vectors.get(text, row) for text, row in zip(texts, unknown, strict=True)])

    async with opened(tmp_path / "root", Recorded(384), llm=None) as engine:
        report = await import_lightrag(engine, folder)
        assert report.vectors_taken > 1000
        texts = [chunk.text for chunk in read.chunks]
        matrix = np.stack([read.vectors[text] for text in texts])
        for question in list(read.vectors)[60:90]:
            nearest = {texts[place] for place in np.argsort(-(matrix @ read.vectors[question]))[:5]}
            found = await engine.retrieve(question, mode="naive", min_similarity=-1.0)
            assert {passage.text for passage in found.passages[:5]} == nearest
