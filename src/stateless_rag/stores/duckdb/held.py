"""Entities and relations as the view of a workspace holds them in memory: all texts of a row in one.

To find and decode a text takes longer than to split it: rows that a question asks for lie apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stateless_rag.stores.columns import Codec
from stateless_rag.stores.duckdb.rows import SEPARATOR, keywords_of
from stateless_rag.types import Entity, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["entity_codec", "labels", "relation_codec"]

_BETWEEN = "\x1e"  # as of all control characters, there is none in texts; the last text of a row may have it


def entity_codec() -> Codec[Entity]:
    """Key, name, type and description in one text; the statement `entities` gives the same."""
    return Codec(_entity_columns, _entity)


def relation_codec() -> Codec[Relation]:
    """Keys, names, keywords and description in one text; the statement `relations` gives the same."""
    return Codec(_relation_columns, _relation)


def labels(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names and types of entities, from their texts."""
    parts = [held.split(_BETWEEN, 3) for held in texts]
    return [part[1] for part in parts], [part[2] for part in parts]


def _entity_columns(entities: Sequence[Entity]) -> dict[str, Any]:
    texts = [_BETWEEN.join((row.key, row.name, row.type, row.description)) for row in entities]
    return {
        "texts": pa.array(texts, pa.string()),
        "weight": pa.array([row.weight for row in entities], pa.int32()),
        "tokens": pa.array([row.tokens for row in entities], pa.int32()),
    }


def _entity(values: Sequence[Any]) -> Entity:
    texts, weight, tokens = values
    key, name, type_, description = texts.split(_BETWEEN, 3)
    return Entity(key=key, name=name, type=type_, description=description, weight=weight, tokens=tokens)


def _relation_columns(relations: Sequence[Relation]) -> dict[str, Any]:
    return {
        "texts": pa.array(list(map(_texts, relations)), pa.string()),
        "weight": pa.array([float(row.weight) for row in relations], pa.float64()),
        "tokens": pa.array([row.tokens for row in relations], pa.int32()),
    }


def _texts(row: Relation) -> str:
    ends = (row.source_key, row.target_key, row.source, row.target)
    return _BETWEEN.join((*ends, SEPARATOR.join(row.keywords), row.description))


def _relation(values: Sequence[Any]) -> Relation:
    texts, weight, tokens = values
    source_key, target_key, source, target, keywords, description = texts.split(_BETWEEN, 5)
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
