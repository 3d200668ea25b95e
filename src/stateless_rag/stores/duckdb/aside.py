"""Documents that are disabled, as rows: what their chunks say lies in one column, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stateless_rag.protocols import Change, DisabledRow
from stateless_rag.stores.duckdb.rows import append, document_row, metadata_json
from stateless_rag.types import Chunk, EntityMention, Extraction, RelationMention

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = ["disabled_row", "write_disabled"]


def disabled_row(row: Sequence[Any]) -> DisabledRow:
    """A row of `disabled`."""
    document = document_row(row[:8])
    chunks = (_chunk(document.id, document.text, told) for told in json.loads(row[8]))
    return DisabledRow(document=document, chunks=tuple(chunks))


def write_disabled(cursor: Cursor, sql: Mapping[str, str], schema: str, change: Change) -> None:
    """Lay documents aside, and take back those that are enabled or deleted."""
    rows = change.disabled
    gone = [*change.removed_disabled, *(row.document.id for row in rows)]
    if gone:
        cursor.execute(sql["remove_disabled"], [gone]).fetchall()
    if not rows:
        return
    append(
        cursor,
        f"{schema}.disabled",
        {
            "id": [row.document.id for row in rows],
            "source": [row.document.source for row in rows],
            "metadata": [metadata_json(row.document.metadata) for row in rows],
            "text": [row.document.text for row in rows],
            "digest": [row.document.digest for row in rows],
            "chunks": [row.document.chunks for row in rows],
            "tracking_id": [row.document.tracking_id for row in rows],
            "updated_at": [row.document.updated_at for row in rows],
            "content": [_content(row) for row in rows],
        },
    )


def _content(row: DisabledRow) -> str:
    told = []
    for chunk, extraction in row.chunks:
        told.append(
            {
                "id": chunk.id,
                "span": [chunk.ordinal, chunk.start, chunk.stop, chunk.tokens],
                "digest": chunk.digest,
                "generation": extraction.generation,
                "error": extraction.error,
                "truncated": extraction.truncated,
                "entities": [[m.key, m.name, m.type, m.description] for m in extraction.entities],
                "relations": [
                    [m.source_key, m.target_key, m.source, m.target, m.keywords, m.description, m.weight]
                    for m in extraction.relations
                ],
            }
        )
    return json.dumps(told, ensure_ascii=False)


def _chunk(document_id: str, text: str, told: Mapping[str, Any]) -> tuple[Chunk, Extraction]:
    ordinal, start, stop, tokens = told["span"]
    id_, generation = told["id"], told["generation"]
    chunk = Chunk(
        id=id_,
        document_id=document_id,
        ordinal=ordinal,
        start=start,
        stop=stop,
        text=text[start:stop],
        tokens=tokens,
        digest=told["digest"],
    )
    extraction = Extraction(
        chunk_id=id_,
        generation=generation,
        entities=tuple(EntityMention(id_, generation, *mention) for mention in told["entities"]),
        relations=tuple(
            RelationMention(id_, generation, m[0], m[1], m[2], m[3], tuple(m[4]), *m[5:])
            for m in told["relations"]
        ),
        warnings={"truncated": 1} if told["truncated"] else {},
        error=told["error"],
    )
    return chunk, extraction
