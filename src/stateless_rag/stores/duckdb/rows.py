"""Between our values and rows: encoding, decoding, and bulk transfer through Arrow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stateless_rag.protocols import Change, ChunkRow, DocumentRow, EntityRow, RelationRow
from stateless_rag.text import chunk_id_of, chunk_row_id
from stateless_rag.types import Chunk, Entity, EntityMention, Passage, Relation, RelationMention

if TYPE_CHECKING:
    from stateless_rag.protocols import Vectors
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = [
    "append",
    "chunk_row",
    "document_row",
    "entity",
    "entity_row",
    "mentions",
    "passage",
    "relation",
    "relation_row",
    "vectors_table",
    "write_change",
]

SEPARATOR = "\x1f"


# ---- reading -------------------------------------------------------------------------------------------


def document_row(row: Sequence[Any]) -> DocumentRow:
    """A row of `documents`."""
    return DocumentRow(
        id=row[0],
        source=row[1],
        metadata=json.loads(row[2]),
        text=row[3],
        digest=row[4],
        chunks=row[5],
        tracking_id=row[6],
        updated_at=row[7],
    )


def chunk_row(row: Sequence[Any]) -> ChunkRow:
    """A row of `chunks`."""
    chunk = Chunk(
        id=chunk_id_of(row[0]),
        document_id=row[1],
        ordinal=row[2],
        start=row[3],
        stop=row[4],
        text=row[5],
        tokens=row[6],
        digest=row[7],
    )
    return ChunkRow(id=row[0], chunk=chunk, generation=row[8], vector=row[9], error=row[10])


def entity(row: Sequence[Any]) -> Entity:
    """The first columns of a row of `entities`, from `key` on."""
    return Entity(key=row[1], name=row[2], type=row[3], description=row[4], weight=row[5])


def entity_row(row: Sequence[Any]) -> EntityRow:
    """A row of `entities`."""
    return EntityRow(id=row[0], entity=entity(row), state=row[6], vector=row[7])


def relation(row: Sequence[Any]) -> Relation:
    """The first columns of a row of `relations`, from `source_key` on."""
    return Relation(
        source_key=row[1],
        target_key=row[2],
        source=row[3],
        target=row[4],
        keywords=_split(row[5]),
        description=row[6],
        weight=row[7],
    )


def relation_row(row: Sequence[Any]) -> RelationRow:
    """A row of `relations`."""
    return RelationRow(
        id=row[0], relation=relation(row), left=row[8], right=row[9], state=row[10], vector=row[11]
    )


def passage(row: Sequence[Any]) -> Passage:
    """A chunk with its document's source and metadata."""
    return Passage(
        chunk_id=chunk_id_of(row[0]),
        document_id=row[1],
        source=row[2],
        ordinal=row[3],
        start=row[4],
        stop=row[5],
        text=row[6],
        tokens=row[7],
        score=0.0,
        metadata=json.loads(row[8]),
    )


def mentions(rows: Iterable[Sequence[Any]]) -> tuple[list[EntityMention], list[RelationMention]]:
    """Rows of `mentions`: those without a target are of entities, with the type as label; the others of
    relations, with the keywords as label.
    """
    entities: list[EntityMention] = []
    relations: list[RelationMention] = []
    for chunk, generation, source_key, target_key, source, target, label, description in rows:
        chunk_id = chunk_id_of(chunk)
        if target_key is None:
            entities.append(EntityMention(chunk_id, generation, source_key, source, label, description))
        else:
            relations.append(
                RelationMention(
                    chunk_id, generation, source_key, target_key, source, target, _split(label), description
                )
            )
    return entities, relations


def _split(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(SEPARATOR)) if joined else ()


# ---- writing -------------------------------------------------------------------------------------------


def append(cursor: Cursor, table: str, columns: Mapping[str, Any]) -> None:
    """Insert columns of equal length into a table, in bulk."""
    incoming = pa.table(dict(columns))
    if incoming.num_rows:
        cursor.register("incoming", incoming)
        cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming").fetchall()  # noqa: S608 -- our table
        cursor.unregister("incoming")


def vectors_table(digests: Sequence[str], vectors: Sequence[Vectors]) -> dict[str, Any]:
    """Columns of `vectors`."""
    matrix = np.ascontiguousarray(np.stack(vectors), dtype=np.float32)
    return {
        "digest": pa.array(digests, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1]),
    }


def write_change(
    cursor: Cursor,
    sql: Mapping[str, str],
    schema: str,
    change: Change,
    embedded: Mapping[int, int],
    revision: int,
) -> None:
    """All rows of a change but the vectors. `embedded` holds, for rows whose vector stays, its revision."""

    def remove(table: str, ids: Sequence[int]) -> None:
        if ids:
            cursor.execute(sql["remove_by_id"].format(table=table), [list(ids)]).fetchall()

    documents = [*change.removed_documents, *(row.id for row in change.documents)]
    if documents:
        cursor.execute(sql["remove_documents"], [documents]).fetchall()
    if change.removed_chunks:
        cursor.execute(sql["remove_mentions"], [list(change.removed_chunks)]).fetchall()
    if change.remention:
        keys = sorted(change.remention)
        cursor.execute(sql["remove_mentions_under"], [keys, keys]).fetchall()
    remove("chunks", [*change.removed_chunks, *(row.id for row in change.moved)])
    remove("entities", [*change.removed_entities, *(row.id for row in change.entities)])
    remove("relations", [*change.removed_relations, *(row.id for row in change.relations)])
    append(cursor, f"{schema}.documents", _documents(change.documents))
    append(cursor, f"{schema}.chunks", _chunks([*change.chunks, *change.moved], embedded, revision))
    append(cursor, f"{schema}.mentions", _mentions(change))
    append(cursor, f"{schema}.entities", _entities(change.entities, embedded, revision))
    append(cursor, f"{schema}.relations", _relations(change.relations, embedded, revision))
    if change.done:
        cursor.execute(sql["remove_pending"], [list(change.done)]).fetchall()
    if change.aliases:
        cursor.execute(sql["remove_aliases"], [list(change.aliases)]).fetchall()
        kept = {key: target for key, target in change.aliases.items() if target is not None}
        append(cursor, f"{schema}.aliases", {"key": _text(kept), "target": _text(kept.values())})


def _text(values: Iterable[str | None]) -> Any:
    return pa.array(list(values), pa.string())


def _integers(values: Iterable[int | None]) -> Any:
    return pa.array(list(values), pa.int64())


def _documents(rows: Sequence[DocumentRow]) -> dict[str, Any]:
    return {
        "id": _text(row.id for row in rows),
        "source": _text(row.source for row in rows),
        "metadata": _text(json.dumps(dict(row.metadata), ensure_ascii=False, sort_keys=True) for row in rows),
        "text": _text(row.text for row in rows),
        "digest": _text(row.digest for row in rows),
        "chunks": _integers(row.chunks for row in rows),
        "tracking_id": _text(row.tracking_id for row in rows),
        "updated_at": [row.updated_at for row in rows],
    }


def _chunks(rows: Sequence[ChunkRow], embedded: Mapping[int, int], revision: int) -> dict[str, Any]:
    return {
        "id": _integers(row.id for row in rows),
        "document_id": _text(row.chunk.document_id for row in rows),
        "ordinal": _integers(row.chunk.ordinal for row in rows),
        "start": _integers(row.chunk.start for row in rows),
        "stop": _integers(row.chunk.stop for row in rows),
        "text": _text(row.chunk.text for row in rows),
        "tokens": _integers(row.chunk.tokens for row in rows),
        "digest": _text(row.chunk.digest for row in rows),
        "generation": _text(row.generation for row in rows),
        "error": _text(row.error for row in rows),
        "vector": _text(row.vector for row in rows),
        "embedded": _integers(embedded.get(row.id, revision) for row in rows),
    }


def _mentions(change: Change) -> dict[str, Any]:
    entities = [(id_, mention) for id_, mention in change.entity_mentions]
    relations = [(id_, mention) for id_, mention in change.relation_mentions]
    everything: list[EntityMention | RelationMention] = [
        *(mention for _, mention in entities),
        *(mention for _, mention in relations),
    ]
    blank = [None] * len(entities)
    return {
        "id": _integers([*(id_ for id_, _ in entities), *(id_ for id_, _ in relations)]),
        "chunk": _integers(chunk_row_id(mention.chunk_id) for mention in everything),
        "generation": _text(mention.generation for mention in everything),
        "source_key": _text([*(m.key for _, m in entities), *(m.source_key for _, m in relations)]),
        "target_key": _text([*blank, *(m.target_key for _, m in relations)]),
        "source": _text([*(m.name for _, m in entities), *(m.source for _, m in relations)]),
        "target": _text([*blank, *(m.target for _, m in relations)]),
        "label": _text([*(m.type for _, m in entities), *(SEPARATOR.join(m.keywords) for _, m in relations)]),
        "description": _text(mention.description for mention in everything),
    }


def _entities(rows: Sequence[EntityRow], embedded: Mapping[int, int], revision: int) -> dict[str, Any]:
    return {
        "id": _integers(row.id for row in rows),
        "key": _text(row.entity.key for row in rows),
        "name": _text(row.entity.name for row in rows),
        "type": _text(row.entity.type for row in rows),
        "description": _text(row.entity.description for row in rows),
        "weight": _integers(row.entity.weight for row in rows),
        "state": _text(row.state for row in rows),
        "vector": _text(row.vector for row in rows),
        "embedded": _integers(embedded.get(row.id, revision) for row in rows),
    }


def _relations(rows: Sequence[RelationRow], embedded: Mapping[int, int], revision: int) -> dict[str, Any]:
    return {
        "id": _integers(row.id for row in rows),
        "left_id": _integers(row.left for row in rows),
        "right_id": _integers(row.right for row in rows),
        "source_key": _text(row.relation.source_key for row in rows),
        "target_key": _text(row.relation.target_key for row in rows),
        "source": _text(row.relation.source for row in rows),
        "target": _text(row.relation.target for row in rows),
        "keywords": _text(SEPARATOR.join(row.relation.keywords) for row in rows),
        "description": _text(row.relation.description for row in rows),
        "weight": _integers(row.relation.weight for row in rows),
        "state": _text(row.state for row in rows),
        "vector": _text(row.vector for row in rows),
        "embedded": _integers(embedded.get(row.id, revision) for row in rows),
    }
