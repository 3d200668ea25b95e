"""The shapes of LightRAG's data API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stateless_rag.interop.shapes import to_lightrag_data
from stateless_rag.retrieval.answer import answer
from stateless_rag.retrieval.retrieve import retrieve
from stateless_rag.types import Keywords
from unit.test_retrieval_answer import OPTIONS, QUESTION, FakeLLM, context_with, reader, snapshot_of

MODES = ("naive", "local", "global", "hybrid", "walk", "mix")


async def data_of(question: str = QUESTION, empty: bool = False, **changes: Any) -> dict[str, Any]:
    options = replace(OPTIONS, **changes)
    found = await retrieve(context_with(), reader(snapshot_of(empty=empty)), question, options)
    return to_lightrag_data(found)


async def test_a_local_question_as_lightrag_tells_it() -> None:
    assert await data_of(mode="local") == {
        "status": "success",
        "message": "Query processed successfully",
        "data": {
            "entities": [
                {
                    "entity_name": "Ada Lovelace",
                    "entity_type": "person",
                    "description": "Ada wrote the notes.",
                    "source_id": "c1<SEP>c2",
                    "file_path": "ada.md",
                    "created_at": None,
                }
            ],
            "relationships": [
                {
                    "src_id": "Ada Lovelace",
                    "tgt_id": "Charles Babbage",
                    "description": "Ada and Babbage: a friendship in London.",
                    "keywords": "",
                    "weight": 1.0,
                    "source_id": "c2",
                    "file_path": "ada.md",
                    "created_at": None,
                }
            ],
            "chunks": [
                {
                    "reference_id": "1",
                    "content": "Ada wrote notes on the engine.",
                    "file_path": "ada.md",
                    "chunk_id": "c1",
                },
                {
                    "reference_id": "1",
                    "content": "Ada met Babbage in London; a long friendship followed.",
                    "file_path": "ada.md",
                    "chunk_id": "c2",
                },
            ],
            "references": [{"reference_id": "1", "file_path": "ada.md"}],
        },
        "metadata": {
            "query_mode": "local",
            "keywords": {"high_level": ["friendship"], "low_level": ["Ada"]},
            "processing_info": {
                "total_entities_found": 1,
                "total_relations_found": 1,
                "entities_after_truncation": 1,
                "relations_after_truncation": 1,
                "merged_chunks_count": 2,
                "final_chunks_count": 2,
            },
        },
    }


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_has_the_same_shape(mode: Any) -> None:
    told = await data_of("Babbage, Ada Lovelace and the punched cards", mode=mode)
    assert json.loads(json.dumps(told)) == told
    assert list(told) == ["status", "message", "data", "metadata"]
    data, info = told["data"], told["metadata"]["processing_info"]
    assert list(data) == ["entities", "relationships", "chunks", "references"]
    assert info["final_chunks_count"] == len(data["chunks"]) > 0
    if mode == "naive":
        assert (data["entities"], data["relationships"]) == ([], [])
        assert list(info) == ["total_chunks_found", "final_chunks_count"]
    else:
        assert info["total_entities_found"] >= info["entities_after_truncation"] == len(data["entities"])
        assert info["total_relations_found"] >= info["relations_after_truncation"]
    listed = {row["reference_id"]: row["file_path"] for row in data["references"]}
    assert "" not in listed
    for chunk in data["chunks"]:
        known = (chunk["reference_id"], chunk["file_path"])
        assert known == ("", "unknown_source") or listed[known[0]] == known[1]
    files = {chunk["chunk_id"]: chunk["file_path"] for chunk in data["chunks"]}
    for row in (*data["entities"], *data["relationships"]):
        told_in = {files[chunk] for chunk in row["source_id"].split("<SEP>") if chunk in files}
        assert told_in <= set(row["file_path"].split("<SEP>"))


async def test_counts_before_and_after_the_budgets() -> None:
    changes: dict[str, Any] = {
        "mode": "local",
        "low_level_keywords": ("Ada Babbage",),
        "max_entity_tokens": 50,
    }
    info = (await data_of(**changes))["metadata"]["processing_info"]
    assert (info["total_entities_found"], info["entities_after_truncation"]) == (2, 1)


@pytest.mark.parametrize(
    ("mode", "message"),
    [("naive", "No relevant document chunks found."), ("local", "Query returned no results")],
)
async def test_nothing_found_is_a_failure(mode: Any, message: str) -> None:
    assert await data_of(empty=True, mode=mode) == {
        "status": "failure",
        "message": message,
        "data": {},
        "metadata": {"failure_reason": "no_results", "mode": mode},
    }


async def test_bypass_has_empty_lists() -> None:
    options = replace(OPTIONS, mode="bypass")
    said = await answer(context_with(llm=FakeLLM()), reader(snapshot_of()), QUESTION, options)
    told = to_lightrag_data(said.retrieval)
    assert (told["status"], "processing_info" in told["metadata"]) == ("success", False)
    assert told["data"] == {"entities": [], "relationships": [], "chunks": [], "references": []}


async def test_a_retrieval_without_a_trace_names_no_evidence() -> None:
    found = await retrieve(context_with(), reader(snapshot_of()), QUESTION, replace(OPTIONS, mode="local"))
    told = to_lightrag_data(replace(found, trace=None, keywords=Keywords()))
    (entity,) = told["data"]["entities"]
    assert (entity["source_id"], entity["file_path"]) == ("", "unknown_source")
