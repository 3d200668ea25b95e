"""Between our values and rows: encoding, decoding, and bulk transfer through Arrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stateless_rag.protocols import Change, ChunkRow, DocumentRow, EntityRow, RelationRow
from stateless_rag.stores.columns import Codec
from stateless_rag.text import chunk_id_of, chunk_row_id, stable_id
from stateless_rag.types import Chunk, Entity, EntityMention, Passage, Relation, RelationMention

if TYPE_CHECKING:
    from stateless_rag.protocols import Vectors
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = [
    "SEPARATOR",
    "Replaced",
    "append",
    "chunk_row",
    "document_row",
    "entity_row",
    "keywords_of",
    "mentions",
    "metadata_json",
    "passage",
    "piece_codec",
    "piece_of",
    "relation_row",
    "remove_pending",
    "source_codec",
    "source_id",
    "source_of",
    "vectors_table",
    "write_change",
]

SEPARATOR = "\x1f"
Source = tuple["str | None", str]
Piece = tuple[str, str, int, int, int, str, int]
_ARROW = MappingProxyType({str: "string", int: "int64", float: "float64", bool: "bool"})
_PIECE = ("chunk_id", "document_id", "ordinal", "start", "stop", "text", "tokens")


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
    return ChunkRow(
        id=row[0], chunk=chunk, generation=row[8], vector=row[9], error=row[10], truncated=bool(row[11])
    )


def entity_row(row: Sequence[Any]) -> EntityRow:
    """A row of `entities`."""
    return EntityRow(id=row[0], entity=entity_of(row[1:7]), state=row[7], vector=row[8])


def entity_of(values: Sequence[Any]) -> Entity:
    """An entity of its key, name, type, description, weight and tokens."""
    key, name, type_, description, weight, tokens = values
    return Entity(key=key, name=name, type=type_, description=description, weight=weight, tokens=tokens)


def relation_row(row: Sequence[Any]) -> RelationRow:
    """A row of `relations`."""
    return RelationRow(
        id=row[0], relation=relation_of(row[1:9]), left=row[9], right=row[10], state=row[11], vector=row[12]
    )


def relation_of(values: Sequence[Any]) -> Relation:
    """A relation of its keys, names, joined keywords, description, weight and tokens."""
    source_key, target_key, source, target, keywords, description, weight, tokens = values
    return Relation(
        source_key=source_key,
        target_key=target_key,
        source=source,
        target=target,
        keywords=keywords_of(keywords),
        description=description,
        weight=int(weight) if weight.is_integer() else weight,
        tokens=tokens,
    )


def mentions(rows: Iterable[Sequence[Any]]) -> tuple[list[EntityMention], list[RelationMention]]:
    """Rows of `mentions`: those without a target are of entities, with the type as label; the others of
    relations, with the keywords as label.
    """
    entities: list[EntityMention] = []
    relations: list[RelationMention] = []
    for chunk, generation, source_key, target_key, source, target, label, description, weight in rows:
        chunk_id = chunk_id_of(chunk)
        if target_key is None:
            entities.append(EntityMention(chunk_id, generation, source_key, source, label, description))
        else:
            relations.append(
                RelationMention(
                    chunk_id,
                    generation,
                    source_key,
                    target_key,
                    source,
                    target,
                    keywords_of(label),
                    description,
                    weight or 0.0,
                )
            )
    return entities, relations


def keywords_of(joined: str) -> tuple[str, ...]:
    """The keywords of a relation, from how a column holds them."""
    return tuple(joined.split(SEPARATOR)) if joined else ()


# ---- writing -------------------------------------------------------------------------------------------


def append(cursor: Cursor, table: str, columns: Mapping[str, Any]) -> None:
    """Insert columns of equal length into a table, in bulk."""
    incoming = pa.table({name: _column(values) for name, values in columns.items()})
    if incoming.num_rows:
        # DuckDB finds the table by the name of the variable, which takes half as long as registering it.
        names = ", ".join(f'"{name}"' for name in columns)
        cursor.execute(f"INSERT INTO {table} ({names}) FROM incoming").fetchall()


def _column(values: Any) -> Any:
    """A list as a column of the type that its values have."""
    if not isinstance(values, list):
        return values
    kinds = {type(value) for value in values} - {type(None)}
    # To guess a type, pyarrow looks each time for a module that need not be installed: 0.05 ms for each column.
    return pa.array(values, _ARROW.get(kinds.pop()) if len(kinds) == 1 else None)


def vectors_table(digests: Sequence[str], vectors: Sequence[Vectors]) -> dict[str, Any]:
    """Columns of `vectors`."""
    matrix = np.ascontiguousarray(np.stack(vectors), dtype=np.float32)
    return {
        "digest": pa.array(digests, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1]),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """The rows that a change removes or puts others in the place of. Most commits replace few: to look for rows
    that are not there costs as much as to write those that are new.
    """

    documents: Sequence[str]
    entities: Sequence[int]
    relations: Sequence[int]

    @classmethod
    def named_by(cls, change: Change) -> Replaced:
        """All that the change names, whether it is there or not."""
        return cls(
            documents=[*change.removed_documents, *(row.id for row in change.documents)],
            entities=[*change.removed_entities, *(row.id for row in change.entities)],
            relations=[*change.removed_relations, *(row.id for row in change.relations)],
        )


def write_change(
    cursor: Cursor,
    sql: Mapping[str, str],
    schema: str,
    change: Change,
    embedded: Mapping[int, int],
    revision: int,
    replaced: Replaced | None = None,
    pause: Callable[[], None] = lambda: None,
) -> None:
    """All rows of a change but the vectors. `embedded` holds, for rows whose vector stays, its revision. `pause` is
    called between two tables.

    `replaced` are those rows that are there, of all that the change names: looked for if it is not given.
    """
    replaced = Replaced.named_by(change) if replaced is None else replaced

    def remove(table: str, ids: Sequence[int]) -> None:
        if ids:
            cursor.execute(sql["remove_by_id"].format(table=table), [list(ids)]).fetchall()

    if replaced.documents:
        cursor.execute(sql["remove_documents"], [replaced.documents]).fetchall()
    if change.removed_chunks:
        cursor.execute(sql["remove_mentions"], [list(change.removed_chunks)]).fetchall()
    if change.remention:
        keys = sorted(change.remention)
        cursor.execute(sql["remove_mentions_under"], [keys, keys]).fetchall()
    remove("chunks", [*change.removed_chunks, *(row.id for row in change.moved)])
    remove("entities", replaced.entities)
    remove("relations", replaced.relations)
    append(cursor, f"{schema}.documents", _documents(change.documents))
    append(cursor, f"{schema}.chunks", _chunks([*change.chunks, *change.moved], embedded, revision))
    pause()
    append(cursor, f"{schema}.mentions", _mentions(change))
    pause()
    append(cursor, f"{schema}.entities", _entities(change.entities, embedded, revision))
    pause()
    append(cursor, f"{schema}.relations", _relations(change.relations, embedded, revision))
    if change.done:
        remove_pending(cursor, sql, list(change.done))
    if change.aliases:
        cursor.execute(sql["remove_aliases"], [list(change.aliases)]).fetchall()
        kept = {key: target for key, target in change.aliases.items() if target is not None}
        append(cursor, f"{schema}.aliases", {"key": _text(kept), "target": _text(kept.values())})


def remove_pending(cursor: Cursor, sql: Mapping[str, str], sequences: list[int]) -> None:
    """Forget submissions, with what was given with them."""
    for statement in ("remove_pending", "remove_given"):
        cursor.execute(sql[statement], [sequences]).fetchall()


def _text(values: Iterable[str | None]) -> Any:
    return pa.array(values if isinstance(values, list) else list(values), pa.string())


def _integers(values: Iterable[int | None]) -> Any:
    return pa.array(values if isinstance(values, list) else list(values), pa.int64())


def _small(values: Iterable[int]) -> Any:
    return pa.array(list(values), pa.int32())


def _documents(rows: Sequence[DocumentRow]) -> dict[str, Any]:
    return {
        "id": _text(row.id for row in rows),
        "source": _text(row.source for row in rows),
        "metadata": _text(metadata_json(row.metadata) for row in rows),
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
        "truncated": [row.truncated for row in rows],
        **_embedded(rows, embedded, revision),
    }


def _embedded(
    rows: Sequence[ChunkRow | EntityRow | RelationRow], embedded: Mapping[int, int], revision: int
) -> dict[str, Any]:
    """What each row is found by, and the revision from which on it is."""
    return {
        "vector": _text(row.vector for row in rows),
        "embedded": _integers(embedded.get(row.id, revision) for row in rows),
    }


def _mentions(change: Change) -> dict[str, Any]:
    entities = [mention for _, mention in change.entity_mentions]
    relations = [mention for _, mention in change.relation_mentions]
    chunk_ids = [mention.chunk_id for told in (entities, relations) for mention in told]
    rows = {chunk_id: chunk_row_id(chunk_id) for chunk_id in set(chunk_ids)}
    blank: list[str | None] = [None] * len(entities)
    return {
        "id": _integers(
            [id_ for told in (change.entity_mentions, change.relation_mentions) for id_, _ in told]
        ),
        "chunk": _integers([rows[chunk_id] for chunk_id in chunk_ids]),
        "generation": _text([mention.generation for told in (entities, relations) for mention in told]),
        "source_key": _text([m.key for m in entities] + [m.source_key for m in relations]),
        "target_key": _text(blank + [m.target_key for m in relations]),
        "source": _text([m.name for m in entities] + [m.source for m in relations]),
        "target": _text(blank + [m.target for m in relations]),
        "label": _text([m.type for m in entities] + [SEPARATOR.join(m.keywords) for m in relations]),
        "description": _text([mention.description for told in (entities, relations) for mention in told]),
        "weight": pa.array([None] * len(entities) + [m.weight or None for m in relations], pa.float64()),
    }


def _entities(rows: Sequence[EntityRow], embedded: Mapping[int, int], revision: int) -> dict[str, Any]:
    return {
        "id": _integers(row.id for row in rows),
        **_entity_columns([row.entity for row in rows]),
        "state": _text(row.state for row in rows),
        **_embedded(rows, embedded, revision),
    }


def _entity_columns(entities: Sequence[Entity]) -> dict[str, Any]:
    return {
        "key": _text(entity.key for entity in entities),
        "name": _text(entity.name for entity in entities),
        "type": _text(entity.type for entity in entities),
        "description": _text(entity.description for entity in entities),
        "weight": _small(entity.weight for entity in entities),
        "tokens": _small(entity.tokens for entity in entities),
    }


def _relations(rows: Sequence[RelationRow], embedded: Mapping[int, int], revision: int) -> dict[str, Any]:
    return {
        "id": _integers(row.id for row in rows),
        "left_id": _integers(row.left for row in rows),
        "right_id": _integers(row.right for row in rows),
        **_relation_columns([row.relation for row in rows]),
        "state": _text(row.state for row in rows),
        **_embedded(rows, embedded, revision),
    }


def _relation_columns(relations: Sequence[Relation]) -> dict[str, Any]:
    return {
        "source_key": _text(relation.source_key for relation in relations),
        "target_key": _text(relation.target_key for relation in relations),
        "source": _text(relation.source for relation in relations),
        "target": _text(relation.target for relation in relations),
        "keywords": _text(SEPARATOR.join(relation.keywords) for relation in relations),
        "description": _text(relation.description for relation in relations),
        "weight": pa.array([float(relation.weight) for relation in relations], pa.float64()),
        "tokens": _small(relation.tokens for relation in relations),
    }


# ---- held in memory ------------------------------------------------------------------------------------


def piece_codec() -> Codec[Piece]:
    """How the view holds chunks: what passages are made of, but for what their documents know."""
    return Codec(_piece_columns, tuple)


def source_codec() -> Codec[Source]:
    """How the view holds documents, under `source_id`: their source, and their metadata as JSON."""
    return Codec(_source_columns, _source)


def source_id(document_id: str) -> int:
    """The id under which the view holds a document."""
    return stable_id("document", document_id)


def piece_of(chunk: Chunk) -> Piece:
    """A chunk as the view holds it."""
    return chunk.id, chunk.document_id, chunk.ordinal, chunk.start, chunk.stop, chunk.text, chunk.tokens


def source_of(document: DocumentRow) -> Source:
    """A document as the view holds it."""
    return document.source, metadata_json(document.metadata)


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as columns hold it."""
    return json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True)


def passage(piece: Piece, source: Source) -> Passage:
    """A chunk with what its document knows of it."""
    chunk_id, document_id, ordinal, start, stop, text, tokens = piece
    return Passage(
        chunk_id=chunk_id,
        document_id=document_id,
        source=source[0],
        ordinal=ordinal,
        start=start,
        stop=stop,
        text=text,
        tokens=tokens,
        score=0.0,
        metadata=json.loads(source[1]),
    )


def _piece_columns(pieces: Sequence[Piece]) -> dict[str, Any]:
    types = (pa.string(), pa.string(), pa.int32(), pa.int64(), pa.int64(), pa.string(), pa.int32())
    columns = list(zip(*pieces, strict=True)) or [()] * len(types)
    return {name: pa.array(column, type_) for name, column, type_ in zip(_PIECE, columns, types, strict=True)}


def _source_columns(sources: Sequence[Source]) -> dict[str, Any]:
    return {
        "source": _text(source for source, _ in sources),
        "metadata": _text(metadata for _, metadata in sources),
    }


def _source(values: Sequence[Any]) -> Source:
    return values[0], values[1]
