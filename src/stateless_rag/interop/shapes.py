"""Results in the shapes that LightRAG's data API gives them, for programs that read those.

What is different: `source_id` and `file_path` name the chunks that were found for the question, not all that a
workspace has; `created_at` is None, since values here follow from the evidence and have no time of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stateless_rag.types import Passage, Reference, Retrieval

__all__ = ["SEPARATOR", "UNKNOWN_SOURCE", "to_lightrag_data"]

SEPARATOR = "<SEP>"
"""Stands between the parts of `source_id`, `file_path` and the like."""

UNKNOWN_SOURCE = "unknown_source"
"""The `file_path` of what has none."""


def to_lightrag_data(retrieval: Retrieval) -> dict[str, Any]:
    """The result of a data query: `status`, `message`, `data` (entities, relationships, chunks, references) and
    `metadata` (mode, keywords, counts). JSON can say all of it.

    If nothing was found, `status` is "failure" and `data` is empty.
    """
    naive = retrieval.mode == "naive"
    if retrieval.empty and retrieval.mode != "bypass":
        message = "No relevant document chunks found." if naive else "Query returned no results"
        metadata = {"failure_reason": "no_results", "mode": retrieval.mode}
        return {"status": "failure", "message": message, "data": {}, "metadata": metadata}
    return {
        "status": "success",
        "message": "Query processed successfully",
        "data": {
            "entities": _entities(retrieval),
            "relationships": _relationships(retrieval),
            "chunks": _chunks(retrieval.passages, retrieval.references),
            "references": _references(retrieval.references),
        },
        "metadata": _metadata(retrieval),
    }


def _entities(retrieval: Retrieval) -> list[dict[str, Any]]:
    told = retrieval.trace.entity_chunks if retrieval.trace else {}
    sources = _sources(retrieval)
    return [
        {
            "entity_name": entity.name,
            "entity_type": entity.type,
            "description": entity.description,
            **_evidence(told.get(entity.key, ()), sources),
        }
        for entity in retrieval.entities
    ]


def _relationships(retrieval: Retrieval) -> list[dict[str, Any]]:
    stated = retrieval.trace.relation_chunks if retrieval.trace else {}
    sources = _sources(retrieval)
    return [
        {
            "src_id": relation.source,
            "tgt_id": relation.target,
            "description": relation.description,
            "keywords": ",".join(relation.keywords),
            "weight": float(relation.weight),
            **_evidence(stated.get((relation.source_key, relation.target_key), ()), sources),
        }
        for relation in retrieval.relations
    ]


def _sources(retrieval: Retrieval) -> dict[str, str]:
    """The source of each chunk that was found."""
    found: Iterable[Passage] = retrieval.trace.candidates if retrieval.trace else retrieval.passages
    return {passage.chunk_id: passage.source or UNKNOWN_SOURCE for passage in found}


def _evidence(chunks: Sequence[str], sources: Mapping[str, str]) -> dict[str, Any]:
    files = dict.fromkeys(sources[chunk] for chunk in chunks if chunk in sources)
    return {
        "source_id": SEPARATOR.join(chunks),
        "file_path": SEPARATOR.join(files) or UNKNOWN_SOURCE,
        "created_at": None,
    }


def _chunks(passages: Sequence[Passage], references: Sequence[Reference]) -> list[dict[str, Any]]:
    """Passages; those without a source are listed under no reference."""
    return [
        {
            "reference_id": str(reference.number) if passage.source else "",
            "content": passage.text,
            "file_path": passage.source or UNKNOWN_SOURCE,
            "chunk_id": passage.chunk_id,
        }
        for passage, reference in zip(passages, references, strict=True)
    ]


def _references(references: Iterable[Reference]) -> list[dict[str, str]]:
    """One for each document that has a source."""
    listed = {reference.number: reference.source for reference in references if reference.source}
    return [{"reference_id": str(number), "file_path": source} for number, source in listed.items()]


def _metadata(retrieval: Retrieval) -> dict[str, Any]:
    keywords = retrieval.keywords
    metadata: dict[str, Any] = {
        "query_mode": retrieval.mode,
        "keywords": {"high_level": list(keywords.high_level), "low_level": list(keywords.low_level)},
    }
    found, kept = retrieval.found, len(retrieval.passages)
    if retrieval.mode == "naive":
        metadata["processing_info"] = {
            "total_chunks_found": found.get("passages", kept),
            "final_chunks_count": kept,
        }
    elif retrieval.mode != "bypass":
        metadata["processing_info"] = {
            "total_entities_found": found.get("entities", len(retrieval.entities)),
            "total_relations_found": found.get("relations", len(retrieval.relations)),
            "entities_after_truncation": len(retrieval.entities),
            "relations_after_truncation": len(retrieval.relations),
            "merged_chunks_count": found.get("passages", kept),
            "final_chunks_count": kept,
        }
    return metadata
