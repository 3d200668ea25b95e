"""Documents that are disabled: what is kept of them while they are no part of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stateless_rag.protocols import DisabledRow
from stateless_rag.types import Extraction

if TYPE_CHECKING:
    from stateless_rag.protocols import Basis, ChunkRow, DocumentRow
    from stateless_rag.types import Chunk, EntityMention, RelationMention

__all__ = ["laid_aside", "updated_aside"]


def laid_aside(
    basis: Basis, documents: Sequence[DocumentRow], chunks: Mapping[str, Mapping[int, ChunkRow]]
) -> list[DisabledRow]:
    """Committed documents as they are kept when they are disabled; `chunks` has their rows, by document and id."""
    rows = {id_: row for document in documents for id_, row in chunks.get(document.id, {}).items()}
    entities: dict[str, list[EntityMention]] = {}
    relations: dict[str, list[RelationMention]] = {}
    found = basis.mentions_in(list(rows))
    for entity in dict.fromkeys(found[0]):
        entities.setdefault(entity.chunk_id, []).append(entity)
    for relation in dict.fromkeys(found[1]):
        relations.setdefault(relation.chunk_id, []).append(relation)

    def extraction(row: ChunkRow) -> Extraction:
        return Extraction(
            chunk_id=row.chunk.id,
            generation=row.generation,
            entities=tuple(sorted(entities.get(row.chunk.id, ()))),
            relations=tuple(sorted(relations.get(row.chunk.id, ()))),
            warnings={"truncated": 1} if row.truncated else {},
            error=row.error,
        )

    return [
        DisabledRow(
            document=document,
            chunks=tuple((row.chunk, extraction(row)) for row in chunks.get(document.id, {}).values()),
        )
        for document in documents
    ]


def updated_aside(
    row: DisabledRow, document: DocumentRow, chunks: Sequence[Chunk], extractions: Mapping[str, Extraction]
) -> DisabledRow | None:
    """A disabled document with its next version, which is disabled too; chunks without an extraction are kept.

    None if one that should be kept is not there.
    """
    before = {chunk.id: extraction for chunk, extraction in row.chunks}
    known = {**before, **extractions}
    if any(chunk.id not in known for chunk in chunks):
        return None
    return replace(row, document=document, chunks=tuple((chunk, known[chunk.id]) for chunk in chunks))
