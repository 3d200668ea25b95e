"""A script that was written for LightRAG: reading the graph, changing it by hand, writing it down."""

from __future__ import annotations

import ast
import asyncio
import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.lightrag_functions import DIMENSION, OTHER, TEXT, Functions, open_rag
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag import KnowledgeGraph, LightRAG, NotSupported
from stateless_rag.interop.lightrag.documents import document_id_of


@pytest.fixture(scope="module")
def inserted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds both texts."""
    storage = tmp_path_factory.mktemp("inserted") / "storage"
    made = open_rag(storage)
    made.insert([TEXT, OTHER], ids=["a", "b"], file_paths=["ada.txt", "turing.txt"])
    asyncio.run(made.finalize_storages())
    return storage


@pytest.fixture
def rag(inserted: Path, tmp_path: Path) -> Iterator[LightRAG]:
    made = open_rag(Path(shutil.copytree(inserted, tmp_path / "storage")))
    yield made
    asyncio.run(made.finalize_storages())


# ---- reading -------------------------------------------------------------------------------------------


def test_labels(rag: LightRAG) -> None:
    labels = asyncio.run(rag.get_graph_labels())
    assert labels == ["Ada Lovelace", "Alan Turing", "Bletchley Park", "Charles Babbage", "London"]
    assert asyncio.run(rag.get_popular_labels(1)) == ["Charles Babbage"]
    assert asyncio.run(rag.search_labels("lon")) == ["London"]
    assert asyncio.run(rag.search_labels("  ")) == []


def test_knowledge_graphs(rag: LightRAG) -> None:
    whole = asyncio.run(rag.get_knowledge_graph("*"))
    assert len(whole.nodes) == 5 and not whole.is_truncated
    assert {(edge.source, edge.target, edge.type) for edge in whole.edges} == {
        ("Ada Lovelace", "Charles Babbage", "DIRECTED"),
        ("Charles Babbage", "London", "DIRECTED"),
        ("Alan Turing", "Bletchley Park", "DIRECTED"),
    }
    part = asyncio.run(rag.get_knowledge_graph("Ada Lovelace", max_depth=1))
    assert [node.id for node in part.nodes] == ["Ada Lovelace", "Charles Babbage"]
    node, edge = part.nodes[0], part.edges[0]
    assert node.labels == ["Ada Lovelace"] and edge.id == "Ada Lovelace-Charles Babbage"
    fields = {"entity_id", "entity_type", "description", "source_id", "file_path", "created_at", "truncate"}
    assert set(node.properties) == fields and node.properties["file_path"] == "ada.txt"
    fields = {"weight", "description", "keywords", "source_id", "file_path", "created_at", "truncate"}
    assert set(edge.properties) == fields and edge.properties["weight"] == 1.0
    assert part.model_dump()["nodes"][0]["id"] == "Ada Lovelace"
    assert asyncio.run(rag.get_knowledge_graph("Nobody")) == KnowledgeGraph()
    assert asyncio.run(rag.get_knowledge_graph("*", max_nodes=2)).is_truncated


async def test_bounds_of_the_graph(tmp_path: Path) -> None:
    rag = open_rag(tmp_path, max_graph_nodes=2, max_file_paths=1, max_source_ids_per_entity=3)
    await rag.ainsert([f"{TEXT} Day {n}." for n in range(4)], file_paths=[f"{n}.txt" for n in range(4)])
    graph = await rag.get_knowledge_graph("*", max_nodes=100)
    assert len(graph.nodes) == 2 and graph.is_truncated
    told = graph.nodes[0].properties
    assert told["source_id"].count("chunk-") == 3
    assert told["file_path"].endswith("<SEP>...truncated...")
    await rag.finalize_storages()


def test_infos(rag: LightRAG) -> None:
    info = asyncio.run(rag.get_entity_info("ada lovelace", include_vector_data=True))
    assert info["entity_name"] == "Ada Lovelace" and info["source_id"] == info["graph_data"]["source_id"]
    assert len(info["vector_data"]["vector"]) == DIMENSION
    assert "vector_data" not in asyncio.run(rag.get_entity_info("Ada Lovelace"))
    missing = asyncio.run(rag.get_entity_info("Nobody", include_vector_data=True))
    assert missing == {
        "entity_name": "Nobody",
        "source_id": None,
        "graph_data": None,
        "vector_data": None,
    }
    relation = asyncio.run(rag.get_relation_info("Charles Babbage", "Ada Lovelace", include_vector_data=True))
    assert relation["graph_data"]["keywords"] == "occurs with"
    assert relation["vector_data"]["id"].startswith("rel-")
    assert asyncio.run(rag.get_relation_info("London", "Alan Turing"))["graph_data"] is None


# ---- changing ------------------------------------------------------------------------------------------


def test_entities_are_made_edited_and_deleted(rag: LightRAG) -> None:
    made = rag.create_entity("Konrad Zuse", {"description": "built the Z3", "entity_type": "person"})
    assert made["graph_data"]["entity_type"] == "person" and made["source_id"] == "manual_creation"
    edited = rag.edit_entity("Konrad Zuse", {"description": "built the Z4"})
    assert edited["graph_data"]["description"] == "built the Z4"
    assert edited["operation_summary"]["renamed"] is False
    renamed = rag.edit_entity("Konrad Zuse", {"entity_name": "K. Zuse", "entity_type": "engineer"})
    assert (renamed["entity_name"], renamed["graph_data"]["entity_type"]) == ("K. Zuse", "engineer")
    assert renamed["operation_summary"] == {
        "merged": False,
        "merge_status": "not_attempted",
        "merge_error": None,
        "operation_status": "success",
        "target_entity": None,
        "final_entity": "K. Zuse",
        "renamed": True,
    }
    merged = rag.edit_entity("K. Zuse", {"entity_name": "Alan Turing"}, allow_merge=True)
    assert merged["operation_summary"]["merged"] and merged["entity_name"] == "Alan Turing"
    assert "K. Zuse" not in asyncio.run(rag.get_graph_labels())
    deleted = rag.delete_by_entity("Alan Turing")
    assert (deleted.status, deleted.status_code, deleted.doc_id) == ("success", 200, "Alan Turing")
    assert rag.delete_by_entity("Alan Turing").status_code == 404
    rag.insert(f"{OTHER} Again.")  # it stays away
    assert "Alan Turing" not in asyncio.run(rag.get_graph_labels())


def test_relations_are_made_edited_and_deleted(rag: LightRAG) -> None:
    made = rag.create_relation("London", "Alan Turing", {"description": "lived in", "keywords": "home"})
    assert (made["graph_data"]["weight"], made["graph_data"]["keywords"]) == (1.0, "home")
    edited = rag.edit_relation("Alan Turing", "London", {"weight": 3.5, "keywords": "home,work"})
    assert (edited["graph_data"]["weight"], edited["graph_data"]["keywords"]) == (3.5, "home,work")
    assert edited["graph_data"]["description"] == "lived in"
    deleted = rag.delete_by_relation("London", "Alan Turing")
    assert (deleted.status, deleted.doc_id) == ("success", "London -> Alan Turing")
    assert rag.delete_by_relation("London", "Alan Turing").status == "not_found"


def test_entities_are_merged(rag: LightRAG) -> None:
    with pytest.warns(DeprecationWarning, match="merge_strategy"):
        info = rag.merge_entities(
            ["Ada Lovelace", "Charles Babbage"],
            "The Two",
            merge_strategy={"description": "concatenate"},
            target_entity_data={"entity_type": "pair"},
        )
    assert (info["entity_name"], info["graph_data"]["entity_type"]) == ("The Two", "pair")
    assert asyncio.run(rag.get_relation_info("The Two", "London"))["graph_data"] is not None
    assert asyncio.run(rag.get_entity_info("ada lovelace"))["entity_name"] == "The Two"

    async def newest() -> Any:
        return (await (await rag.engine()).history(limit=1))[0]

    assert "description" not in asyncio.run(newest()).payload  # what documents say stays what they say


@pytest.mark.parametrize("by_edit", [False, True])
def test_a_description_by_hand_joins_the_others_when_entities_are_merged(
    rag: LightRAG, by_edit: bool
) -> None:
    by_documents = asyncio.run(rag.get_entity_info("Ada Lovelace"))["graph_data"]["description"]
    rag.create_entity("Miss Byron", {"description": "a governess' pupil"})
    if by_edit:
        info = rag.edit_entity("Miss Byron", {"entity_name": "Ada Lovelace"}, allow_merge=True)
    else:
        info = rag.merge_entities(["Miss Byron"], "Ada Lovelace")
    assert by_documents
    assert info["graph_data"]["description"].split("\n") == ["a governess' pupil", *by_documents.split("\n")]
    told = rag.merge_entities(["Ada Lovelace"], "London", target_entity_data={"description": "all"})
    assert told["graph_data"]["description"] == "all"


@pytest.mark.parametrize("name", ["london", "Elsewhere  "])
def test_what_is_merged_may_be_given_any_name_that_is_free(rag: LightRAG, name: str) -> None:
    info = rag.merge_entities(["Ada Lovelace"], "London", target_entity_data={"entity_name": name})
    assert info["entity_name"] == name.strip()
    assert not {"London", "Ada Lovelace"} - {name} & set(asyncio.run(rag.get_graph_labels()))


def test_a_name_that_differs_by_white_space_is_the_same(rag: LightRAG) -> None:
    edited = rag.edit_entity("London", {"entity_name": " London ", "description": "a city"})
    assert (edited["entity_name"], edited["operation_summary"]["renamed"]) == ("London", False)


def test_the_type_of_an_entity_made_without_one_is_what_documents_say(rag: LightRAG) -> None:
    type_ = asyncio.run(rag.get_entity_info("London"))["graph_data"]["entity_type"]
    made = rag.create_entity("Londinium", {"description": "as the Romans called it"})
    assert made["graph_data"]["entity_type"] == "unknown" != type_
    merged = rag.merge_entities(["Londinium"], "London")
    assert merged["graph_data"]["entity_type"] == type_


BAD: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("create_entity", ("Konrad Zuse", {})),
    ("create_entity", ("Ada Lovelace", {"description": "there already"})),
    ("create_entity", ("", {"description": "x"})),
    ("create_entity", ("Zuse", "no mapping")),
    ("edit_entity", ("Nobody", {"description": "x"})),
    ("edit_entity", ("Ada Lovelace", {"colour": "red"})),
    ("edit_entity", ("Ada Lovelace", {"entity_name": "London"})),
    ("edit_entity", ("Ada Lovelace", {"entity_name": "Ada King"}, False)),
    ("edit_entity", ("Ada Lovelace", {"entity_name": "x" * 300, "description": "new"})),
    ("edit_entity", ("Ada Lovelace", {"entity_name": " ", "description": "new"})),
    ("edit_entity", ("Ada Lovelace", {"entity_name": "Ada King", "description": 5})),
    ("create_relation", ("London", "Nobody", {"description": "x"})),
    ("create_relation", ("London", "London", {"description": "x"})),
    ("create_relation", ("Ada Lovelace", "Charles Babbage", {"description": "x"})),
    ("edit_relation", ("London", "Alan Turing", {"description": "x"})),
    ("edit_relation", ("Ada Lovelace", "Charles Babbage", {"colour": "red"})),
    ("edit_relation", ("Ada Lovelace", "Charles Babbage", {"weight": float("nan")})),
    ("edit_relation", ("Ada Lovelace", "Charles Babbage", {"weight": "1.5"})),
    ("merge_entities", (["Nobody"], "London")),
    ("merge_entities", ("London", "London")),
    ("merge_entities", (["Ada Lovelace"], "London", None, {"entity_name": "Charles Babbage"})),
    ("merge_entities", (["Ada Lovelace"], "London", None, {"entity_name": "x" * 300})),
    ("export_data", ("out.xyz", "xyz")),
)


@pytest.mark.parametrize(("method", "arguments"), BAD)
def test_bad_changes_change_nothing(rag: LightRAG, method: str, arguments: tuple[Any, ...]) -> None:
    before = asyncio.run(rag.get_knowledge_graph("*"))
    with pytest.raises(ValueError):
        getattr(rag, method)(*arguments)
    assert asyncio.run(rag.get_knowledge_graph("*")) == before


def test_evidence_cannot_be_written(rag: LightRAG) -> None:
    with pytest.warns(UserWarning, match="source_id"):
        rag.edit_entity("Ada Lovelace", {"description": "x", "source_id": "chunk-1"})


# ---- writing it down -----------------------------------------------------------------------------------


def test_csv(rag: LightRAG, tmp_path: Path) -> None:
    rag.create_entity('A "quoted"\nname, with | marks', {"description": "x\ny"})
    rag.export_data(tmp_path / "deep" / "out.csv", include_vector_data=True)
    text = (tmp_path / "deep" / "out.csv").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in text.split("# ")[1:]}
    assert list(sections) == ["ENTITIES", "RELATIONS", "RELATIONSHIPS"]
    rows = {name: list(csv.DictReader(io.StringIO(part.strip()))) for name, part in sections.items()}
    assert [len(rows[name]) for name in sections] == [6, 6, 3]
    ada = next(row for row in rows["ENTITIES"] if row["entity_name"] == "Ada Lovelace")
    assert ast.literal_eval(ada["graph_data"])["entity_id"] == "Ada Lovelace"
    assert len(ast.literal_eval(ada["vector_data"])["vector"]) == DIMENSION
    pairs = {(row["src_entity"], row["tgt_entity"]) for row in rows["RELATIONS"]}
    assert pairs == {(other, one) for one, other in pairs}
    assert rows["RELATIONSHIPS"][0]["relationship_id"].startswith("rel-")


@pytest.mark.parametrize(("form", "heading"), [("md", "# Entities"), ("txt", "ENTITIES")])
def test_tables(rag: LightRAG, tmp_path: Path, form: str, heading: str) -> None:
    rag.create_entity("A | b", {"description": "x\ny"})
    rag.export_data(tmp_path / "out", form)
    lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert lines[0] == heading
    assert sum("Ada Lovelace" in line for line in lines) >= 4
    if form == "md":
        tables = [line for line in lines if line.startswith("| ")]
        assert {line.replace("\\|", "").count("|") for line in tables} == {3, 4, 5}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out"]


def test_excel_says_what_it_needs(rag: LightRAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(InvalidInput, match="pandas and xlsxwriter"):
        rag.export_data(tmp_path / "out.xlsx", "excel")
    assert not (tmp_path / "out.xlsx").exists()


def test_an_empty_graph_is_an_empty_file(tmp_path: Path) -> None:
    rag = open_rag(tmp_path / "storage")
    rag.export_data(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == b""
    asyncio.run(rag.finalize_storages())


# ---- what there is nothing for -------------------------------------------------------------------------


async def test_what_is_not_supported_says_so(tmp_path: Path) -> None:
    functions = Functions()
    rag = open_rag(tmp_path, functions)
    with pytest.raises(NotSupported, match="role_llm_configs"):
        rag.register_role_llm_builder("extract", lambda: functions.llm)
    with pytest.raises(NotSupported):
        await rag.apipeline_enqueue_error_documents([])
    await rag.arollback_failed_custom_chunk_patches()
    assert rag.embedding_token_limit == 8192
    await rag.ainsert(TEXT)
    paid = len(functions.calls)
    rag.clear_cache()
    await rag.ainsert(TEXT)
    assert len(functions.calls) == paid, "what is there is not asked for"
    await rag.adelete_by_doc_id(next(iter(await rag.aget_docs_by_ids(document_id_of(TEXT)))))
    await rag.ainsert(TEXT)
    assert len(functions.calls) == 2 * paid, "what was dropped is asked again"
    await rag.aclear_cache()
    await rag.check_and_migrate_data()
    await rag.wait_for_retired_llm_queues()
    for status in (rag.get_llm_queue_status, rag.get_embedding_queue_status, rag.get_rerank_queue_status):
        assert (await status())["running"] == 0
    assert rag.get_llm_role_config("extract")["timeout"] == 240
    await rag.finalize_storages()
