"""Reading folders of LightRAG and nano-graphrag: to the letter where they are whole, else as far as it goes."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.folders import (
    GRAPH,
    Doc,
    Piece,
    SeededEmbedder,
    damage,
    lightrag_folder,
    nano_folder,
    reply,
    write_json,
)
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.documents import plan_import
from stateless_rag.interop.folder import Folder
from stateless_rag.interop.folders import find_workspaces, folder_of, read_folder
from stateless_rag.interop.problems import Problems
from stateless_rag.interop.replies import matched, parsed_reply
from stateless_rag.types import Status

ADA = Piece(
    "Ada Lovelace wrote notes on the Analytical Engine.",
    (("Ada Lovelace", "Person", "Ada wrote notes."), ("Analytical Engine", "Artifact", "A machine.")),
    (("Ada Lovelace", "Analytical Engine", "notes,writing", "Ada wrote about the engine."),),
    gleaned=(("Notes", "Content", "Notes on a machine."),),
)
BABBAGE = Piece(
    "Charles Babbage designed the Analytical Engine & drew <plans>.",
    (("Charles Babbage", "Person", "Babbage <designed> it."), ("Analytical Engine", "Artifact", "A design.")),
    (("Charles Babbage", "Analytical Engine", "design", "Babbage designed the engine."),),
)
TURING = Piece("Alan Turing worked at Bletchley.", (("Alan Turing", "Person", "Turing worked."),))
DOCUMENTS = (
    Doc("doc-1", (ADA, BABBAGE), path="engines.txt"),
    Doc("doc-2", (TURING,), path="unknown_source"),
    Doc("doc-3", (Piece("Not done yet."),), "processing"),
    Doc("doc-4", (), "failed", text="This failed."),
)
STATUSES = [Status.PROCESSED, Status.PROCESSED, Status.PENDING, Status.FAILED]


def texts(folder: Folder) -> dict[str, str]:
    return {chunk.id: chunk.text for chunk in folder.chunks}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lightrag_folder(tmp_path / "folder", DOCUMENTS)


@pytest.mark.parametrize("store", ["json", "faiss"])
def test_a_whole_folder_is_read_to_the_letter(tmp_path: Path, store: Any) -> None:
    embedder = SeededEmbedder()
    read = read_folder(lightrag_folder(tmp_path / "whole", DOCUMENTS, embedder=embedder, store=store))
    assert (read.kind, read.problems, read.graph_is_whole) == ("lightrag", (), True)
    assert [document.status for document in read.documents] == STATUSES
    assert [document.source for document in read.documents] == ["engines.txt", None, None, None]
    assert read.documents[3].error == "the LLM was down"
    assert read.documents[0].metadata == {
        "created_at": "2026-01-01T00:00:00+00:00",
        "track_id": "insert_1",
    }
    assert texts(read)["doc-1-chunk-001"] == BABBAGE.text
    assert read.chunks[0].replies == (reply(ADA), reply(Piece("", ADA.gleaned)))
    engine = next(entity for entity in read.entities if entity.name == "Analytical Engine")
    assert (engine.type, engine.texts) == ("artifact", ("A machine.", "A design."))
    assert engine.chunk_ids == ("doc-1-chunk-000", "doc-1-chunk-001")
    written = next(row for row in read.relations if "Ada Lovelace" in (row.source, row.target))
    assert (written.keywords, written.texts) == (("notes", "writing"), ("Ada wrote about the engine.",))
    for text in (ADA.text, "Charles Babbage\nBabbage <designed> it."):
        (raw,) = embedder.vectors([text])
        assert np.allclose(read.vectors[text], raw / np.linalg.norm(raw), atol=1e-6)


def test_a_folder_of_the_predecessor(tmp_path: Path) -> None:
    documents = [Doc("doc-1", (ADA, BABBAGE)), Doc("doc-2", (TURING,))]
    read = read_folder(nano_folder(tmp_path / "nano", documents))
    assert (read.kind, read.problems, read.graph_is_whole) == ("nano-graphrag", (), True)
    assert [document.status for document in read.documents] == [Status.PROCESSED, Status.PROCESSED]
    names = {entity.name: entity for entity in read.entities}
    assert names["ADA LOVELACE"].type == "person"
    assert names["ADA LOVELACE"].texts == ("Ada wrote notes.",)
    # Each reply is about the one chunk that all of its names are known from.
    assert ["Ada wrote notes." in "".join(chunk.replies) for chunk in read.chunks] == [True, False, False]
    assert all(len(chunk.replies) == 1 for chunk in read.chunks)


@pytest.mark.parametrize(
    ("old", "entities", "relations"),
    [
        ('("entity"<|>"Ada"<|>"person"<|>"Wrote.")##', [("Ada", "person", "Wrote.")], []),
        ("(\"entity\"<|>ADA<|>'person'<|>Wrote.<|>)", [], []),
        (
            '("relationship"<|>"Ada"<|>"Bob"<|>"They met."<|>9)##\n<|COMPLETE|>',
            [],
            [("Ada", "Bob", (), "They met.")],
        ),
        (
            '("relationship"<|>"Ada"<|>"Bob"<|>"They met."<|>"meeting, friends"<|>9.5)',
            [],
            [("Ada", "Bob", ("friends", "meeting"), "They met.")],
        ),
        ('("relationship"<|>"Ada"<|>"Bob"<|>"They met."|>9)', [], [("Ada", "Bob", (), "They met.")]),
        ('("content_keywords"<|>"war, peace")##("entity"<|>"A")', [], []),
        ("yes", [], []),
    ],
)
def test_replies_of_the_older_form(old: str, entities: list[Any], relations: list[Any]) -> None:
    parsed = parsed_reply(old)
    assert (list(parsed.entities), list(parsed.relations)) == (entities, relations)


def test_a_reply_that_fits_several_chunks_or_none_is_matched_to_none() -> None:
    evidence = {"ada": frozenset({"one", "two"}), "bob": frozenset({"two"})}

    def about(*names: str) -> str:
        return reply(Piece("", tuple((name, "Person", "Said.") for name in names)))

    both, several, unknown = about("Ada", "Bob"), about("Ada"), about("Bob", "Eve")
    assert matched([both, several, unknown, "no"], evidence) == {"two": [both]}


# ---- damage --------------------------------------------------------------------------------------------


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return apply


def edit_json(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def apply(text: str) -> str:
        value = json.loads(text)
        change(value)
        return json.dumps(value)

    return edit(name, apply)


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def nan_row(value: Any) -> None:
    matrix = np.frombuffer(base64.b64decode(value["matrix"]), dtype="<f4").copy()
    matrix[:8] = np.nan
    value["matrix"] = base64.b64encode(matrix.tobytes()).decode()
    del value["data"][0]["vector"]


def interrupted(folder: Path) -> None:
    shutil.copy(folder / GRAPH, folder / f"{GRAPH}.tmp.1.2.3")
    (folder / GRAPH).write_bytes(b"\xef\xbb\xbf" + (folder / GRAPH).read_bytes())


DAMAGE: list[tuple[str, Callable[[Path], None], str, Callable[[Folder], object]]] = [
    (
        "texts gone",
        gone("kv_store_full_docs.json"),
        "kv_store_full_docs.json: a document's text is put together from its chunks (3 times)",
        lambda read: [document.text for document in read.documents] == [None] * 3,
    ),
    (
        "chunks gone",
        gone("kv_store_text_chunks.json"),
        "a chunk is known from its vector's row only",
        lambda read: len(read.chunks) == 4 and read.chunks[0].replies,
    ),
    (
        "statuses gone: what was cut is done",
        gone("kv_store_doc_status.json"),
        "",
        lambda read: [d.status for d in read.documents] == [*STATUSES[:2], Status.PROCESSED, Status.PENDING],
    ),
    (
        "graph gone",
        gone(GRAPH),
        "an entity is known from its vector's row only",
        lambda read: (
            not read.graph_is_whole
            and {e.name for e in read.entities} >= {"Ada Lovelace", "Notes"}
            and any(r.keywords == ("notes", "writing") and r.texts for r in read.relations)
        ),
    ),
    (
        "graph cut off",
        edit(GRAPH, lambda text: text[: text.index("<edge") + 30]),
        "is cut off or damaged",
        lambda read: not read.graph_is_whole and len(read.entities) == 5 and len(read.relations) == 2,
    ),
    (
        "a node garbled",
        edit(GRAPH, lambda text: text.replace('<node id="Notes">', '<node id="No<&tes>')),
        "is cut off or damaged",
        lambda read: next(e for e in read.entities if e.name == "Ada Lovelace").type == "person",
    ),
    (
        "an edge to nowhere",
        edit(GRAPH, lambda text: text.replace('source="Ada Lovelace"', 'source="Nobody"').replace(
            'target="Ada Lovelace"', 'target="Nobody"')),
        "a relation with an end that is not there",
        lambda read: len(read.relations) == 1,
    ),
    (
        "evidence lists gone: the graph's own are used",
        gone("kv_store_entity_chunks.json"),
        "",
        lambda read: read.entities[0].chunk_ids == ("doc-1-chunk-000",),
    ),
    (
        "an empty evidence list counts",
        edit_json("kv_store_entity_chunks.json", lambda v: v["Alan Turing"].update(chunk_ids=[])),
        "",
        lambda read: next(e for e in read.entities if e.name == "Alan Turing").chunk_ids == (),
    ),
    (
        "a list cut off",
        edit("kv_store_text_chunks.json", lambda text: text[: text.index("doc-2-chunk-000") + 40]),
        "is cut off or damaged; 2 rows could be read",
        lambda read: texts(read)["doc-1-chunk-000"] == ADA.text,
    ),
    (
        "a row garbled in the middle",
        edit("kv_store_full_docs.json", lambda text: text.replace('"content": "Alan', '"content": Alan')),
        "3 rows could be read",
        lambda read: read.documents[3].text == "This failed." or read.documents[2].text is not None,
    ),
    (
        "rows of wrong types",
        edit_json("kv_store_text_chunks.json", lambda v: v.update({"doc-1-chunk-000": 7, "x": {"content": 1}})),
        "a row is no JSON object: doc-1-chunk-000",
        lambda read: len(read.chunks) == 4,
    ),
    (
        "not JSON at all",
        edit("kv_store_llm_response_cache.json", lambda text: "[1, 2]"),
        "holds no JSON object",
        lambda read: read.replies == () and len(read.chunks) == 4,
    ),
    (
        "blank",
        edit("kv_store_llm_response_cache.json", lambda text: " \n"),
        "",
        lambda read: read.replies == (),
    ),
    (
        "vectors that are no numbers",
        edit_json("vdb_chunks.json", nan_row),
        "vdb_chunks.json: a row without a usable vector: doc-1-chunk-000",
        lambda read: ADA.text not in read.vectors and BABBAGE.text in read.vectors,
    ),
    (
        "a matrix of another size: the rows' own are used",
        edit_json("vdb_chunks.json", lambda v: v.update(matrix=v["matrix"][:-16])),
        "its matrix does not fit its rows",
        lambda read: ADA.text in read.vectors,
    ),
    (
        "a matrix whose rows have moved",
        edit_json("vdb_chunks.json", lambda v: v["data"].reverse()),
        "a row without a usable vector (4 times)",
        lambda read: ADA.text not in read.vectors,
    ),
    (
        "vectors cut off",
        edit("vdb_entities.json", lambda text: text[: text.index('"matrix"') + 40]),
        "is cut off or damaged; 5 rows could be read",
        lambda read: "Ada Lovelace\nAda wrote notes." in read.vectors,
    ),
    (
        "a BOM and a left-over of an interrupted write",
        interrupted,
        "",
        lambda read: read.graph_is_whole,
    ),
    (
        "the older shape of the cache",
        edit_json(
            "kv_store_llm_response_cache.json",
            lambda v: (old := dict(v), v.clear(), v.update(default={k.rpartition(":")[2]: r for k, r in old.items()})),
        ),
        "",
        lambda read: len(read.replies) == 5 and len(read.chunks[0].replies) == 2,
    ),
    (
        "entities declared",
        edit(GRAPH, lambda text: text.replace("<graphml", '<!DOCTYPE x [<!ENTITY a "b">]><graphml')),
        "declares entities",
        lambda read: not read.graph_is_whole,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "told", "holds"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE]
)
def test_what_is_sound_is_read_and_the_rest_is_told(
    folder: Path, damage: Callable[[Path], None], told: str, holds: Callable[[Folder], object]
) -> None:
    damage(folder)
    read = read_folder(folder)
    problems = "\n".join(map(str, read.problems))
    assert told in problems if told else not problems
    assert holds(read)


@pytest.mark.parametrize("cut", [20, 45, 45 + 4 * 8 + 3, -1])
def test_a_faiss_file_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, store="faiss")
    path = folder / "faiss_index_chunks.index"
    path.write_bytes(path.read_bytes()[:cut])
    read = read_folder(folder)
    assert any(problem.where == path.name for problem in read.problems)
    assert (ADA.text in read.vectors) == (cut in (-1, 45 + 4 * 8 + 3))
    assert TURING.text not in read.vectors or cut == -1


@pytest.mark.parametrize("at", [4, 8, 37, 41])
def test_a_faiss_file_whose_sizes_lie(tmp_path: Path, at: int) -> None:
    folder = lightrag_folder(tmp_path / "folder", DOCUMENTS, store="faiss")
    path = folder / "faiss_index_chunks.index"
    content = bytearray(path.read_bytes())
    content[at + 3] = 0x7F
    path.write_bytes(bytes(content))
    read = read_folder(folder)
    assert len(read.chunks) == 4


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(data=st.data(), store=st.sampled_from(["json", "faiss", "nano"]))
@settings(max_examples=60)
def test_no_damage_raises_or_is_written_over(
    data: st.DataObject, store: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "folder"
    if store == "nano":
        nano_folder(folder, DOCUMENTS[:2])
    else:
        lightrag_folder(folder, DOCUMENTS, store=store)
    names = sorted(path.name for path in folder.iterdir())
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        damage(data, folder / name)
    before = snapshot(folder)
    read = read_folder(folder)
    plan = plan_import(read, "casefold", Problems())
    for document in plan.done:
        assert document.given is not None
        assert all(document.text[start:stop].strip() for start, stop in document.given.spans)
        assert len(document.given.spans) == len(document.given.records)
    assert snapshot(folder) == before


def test_depths_and_numbers_beyond_measure(folder: Path) -> None:
    (folder / "kv_store_doc_status.json").write_text('{"a": ' + "[" * 100_000)
    (folder / "kv_store_text_chunks.json").write_text(
        '{"a": {"content": "Text", "chunk_order_index": 1' + "0" * 5000
    )
    write_json(folder / "kv_store_full_docs.json", {"a": {"content": "Text"}})
    (folder / "vdb_chunks.json").write_text('{"embedding_dim": 8, "data": [{"__id__": "a", "content": "Text", '
                                            '"__write_seq__": 1' + "0" * 400 + '}], "matrix": ""}')  # fmt: skip
    read = read_folder(folder)
    assert texts(read) == {"a": "Text"}


# ---- finding folders -----------------------------------------------------------------------------------


def test_workspaces_are_found_at_the_root_and_right_below(tmp_path: Path) -> None:
    lightrag_folder(tmp_path, DOCUMENTS[:1])
    lightrag_folder(tmp_path / "my space", DOCUMENTS[:1])
    nano_folder(tmp_path / "nano", DOCUMENTS[:1])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.json").write_text("{}")
    assert list(find_workspaces(tmp_path)) == ["", "my space", "nano"]
    assert folder_of(tmp_path, "nano") == tmp_path / "nano"


@pytest.mark.parametrize("name", ["", "..", "a/b", "gone", "/"])
def test_a_workspace_that_is_not_there_is_refused_with_the_names_that_are(tmp_path: Path, name: str) -> None:
    lightrag_folder(tmp_path / "demo", DOCUMENTS[:1])
    with pytest.raises(InvalidInput, match=r"demo|below"):
        folder_of(tmp_path, name)
    with pytest.raises(InvalidInput, match="demo"):
        folder_of(tmp_path, None)
    with pytest.raises(InvalidInput, match="no folder"):
        folder_of(tmp_path / "gone", None)


def test_an_unreadable_file_is_told_of(folder: Path) -> None:
    path = folder / "kv_store_full_docs.json"
    path.unlink()
    path.mkdir()
    assert any("cannot be read" in str(problem) for problem in read_folder(folder).problems)
    assert list(path.iterdir()) == []
