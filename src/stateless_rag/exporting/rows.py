"""The rows of an export: what one line of JSON Lines says, as a mapping.

    entity    name key type description weight documents sources, summary_of? vector?
    relation  source target source_key target_key keywords description weight documents sources, summary_of? vector?
    document  id source metadata text chunks
    chunk     id document ordinal start stop tokens text generation error entities relations, vector?
    curation  number at change keys names payload undone_by

`documents` and `sources` are those that tell of an entity or a relation. `summary_of` is a digest of the texts that
an LLM has summed up in the description. The entities and relations of a chunk are its mentions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.text import digest, document_digest

if TYPE_CHECKING:
    from stateless_rag.protocols import ChunkRow, DocumentRow
    from stateless_rag.types import (
        Curation,
        Entity,
        EntityMention,
        ExportKind,
        ExportRow,
        Relation,
        RelationMention,
    )

__all__ = [
    "KIND_OF",
    "Told",
    "chunk_row",
    "curation_row",
    "document_row",
    "entity_row",
    "relation_row",
    "texts_digest",
]

Told = tuple[Sequence[str], Sequence[str]]
"""The documents that tell of something, and their sources; each in code point order."""

KIND_OF: Mapping[ExportKind, str] = MappingProxyType(
    {
        "curations": "curation",
        "entities": "entity",
        "relations": "relation",
        "documents": "document",
        "chunks": "chunk",
    }
)


def entity_row(entity: Entity, told: Told) -> ExportRow:
    """An entity, and what tells of it."""
    return {
        "kind": "entity",
        "name": entity.name,
        "key": entity.key,
        "type": entity.type,
        "description": entity.description,
        "weight": entity.weight,
        "documents": list(told[0]),
        "sources": list(told[1]),
    }


def relation_row(relation: Relation, told: Told) -> ExportRow:
    """A relation, and what tells of it."""
    return {
        "kind": "relation",
        "source": relation.source,
        "target": relation.target,
        "source_key": relation.source_key,
        "target_key": relation.target_key,
        "keywords": list(relation.keywords),
        "description": relation.description,
        "weight": relation.weight,
        "documents": list(told[0]),
        "sources": list(told[1]),
    }


def document_row(row: DocumentRow) -> ExportRow:
    """A committed document. `cut` is there, and true, if its caller cut it in a way of its own."""
    told: ExportRow = {
        "kind": "document",
        "id": row.id,
        "source": row.source,
        "metadata": dict(row.metadata),
        "text": row.text,
        "chunks": row.chunks,
    }
    return told | {"cut": True} if row.digest == document_digest(row.text, cut=True) else told


def chunk_row(
    row: ChunkRow, entities: Sequence[EntityMention], relations: Sequence[RelationMention]
) -> ExportRow:
    """A chunk, and what it says."""
    chunk = row.chunk
    return {
        "kind": "chunk",
        "id": chunk.id,
        "document": chunk.document_id,
        "ordinal": chunk.ordinal,
        "start": chunk.start,
        "stop": chunk.stop,
        "tokens": chunk.tokens,
        "text": chunk.text,
        "generation": row.generation,
        "error": row.error,
        "entities": [
            {"name": m.name, "type": m.type, "description": m.description} for m in sorted(entities)
        ],
        "relations": [
            {
                "source": m.source,
                "target": m.target,
                "keywords": list(m.keywords),
                "description": m.description,
                **({"weight": m.weight} if m.weight else {}),
            }
            for m in sorted(relations)
        ],
    }


def curation_row(entry: Curation) -> ExportRow:
    """A change by hand."""
    return {
        "kind": "curation",
        "number": entry.number,
        "at": entry.at,
        "change": entry.kind,
        "keys": list(entry.keys),
        "names": list(entry.names),
        "payload": dict(entry.payload),
        "undone_by": entry.undone_by,
    }


def texts_digest(texts: Sequence[str]) -> str:
    """What tells whether a summary is of these texts, whatever their order."""
    return digest("texts", *sorted(texts))
