"""Entities and relations as the view of a workspace holds them in memory: all texts of a row in one.

To find and decode a text takes longer than to cut it up: rows that a question asks for lie apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stateless_rag.stores.columns import Codec
from stateless_rag.stores.duckdb.rows import SEPARATOR, entity_of, relation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stateless_rag.types import Entity, Relation

__all__ = ["entity_codec", "labels", "relation_codec"]


def entity_codec() -> Codec[Entity]:
    """Key, name, type and description in one text; the statement `entities` gives the same."""
    return Codec(_entity_columns, _entity)


def relation_codec() -> Codec[Relation]:
    """Keys, names, keywords and description in one text; the statement `relations` gives the same."""
    return Codec(_relation_columns, _relation)


def labels(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names and types of entities, from their texts."""
    parts = list(map(_apart, texts))
    return [part[1] for part in parts], [part[2] for part in parts]


def _entity_columns(entities: Sequence[Entity]) -> dict[str, Any]:
    texts = [_joined(row.key, row.name, row.type, row.description) for row in entities]
    return {
        "texts": pa.array(texts, pa.string()),
        "weight": pa.array([row.weight for row in entities], pa.int32()),
        "tokens": pa.array([row.tokens for row in entities], pa.int32()),
    }


def _entity(values: Sequence[Any]) -> Entity:
    texts, weight, tokens = values
    return entity_of((*_apart(texts), weight, tokens))


def _relation_columns(relations: Sequence[Relation]) -> dict[str, Any]:
    return {
        "texts": pa.array(list(map(_texts, relations)), pa.string()),
        "weight": pa.array([float(row.weight) for row in relations], pa.float64()),
        "tokens": pa.array([row.tokens for row in relations], pa.int32()),
    }


def _texts(row: Relation) -> str:
    ends = (row.source_key, row.target_key, row.source, row.target)
    return _joined(*ends, SEPARATOR.join(row.keywords), row.description)


def _relation(values: Sequence[Any]) -> Relation:
    texts, weight, tokens = values
    return relation_of((*_apart(texts), weight, tokens))


def _joined(*texts: str) -> str:
    """The texts in one, after the lengths of all but the last: whatever characters they hold, they come apart again."""
    return f"{','.join([str(len(text)) for text in texts[:-1]])}:{''.join(texts)}"


def _apart(joined: str) -> list[str]:
    lengths, _, texts = joined.partition(":")
    parts, start = [], 0
    for length in lengths.split(","):
        stop = start + int(length)
        parts.append(texts[start:stop])
        start = stop
    parts.append(texts[start:])
    return parts
