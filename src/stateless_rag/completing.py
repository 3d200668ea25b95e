"""What the rows of a change still lack once they are known: their vectors, and the tokens of their lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from stateless_rag.counting import count_lines
from stateless_rag.protocols import Change, EntityRow, RelationRow
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.stages.embed import embed_named
from stateless_rag.types import Entity, Relation

if TYPE_CHECKING:
    from stateless_rag.context import Context

__all__ = ["completed"]

_LINES = 4096  # that are held, and counted, at once


async def completed(context: Context, change: Change, texts: Mapping[str, str]) -> Change:
    """The change with the vectors of the texts, which come by digest, and with tokens.

    They are counted while the embedder is asked. Raises ProviderError if that fails.
    """
    try:
        async with asyncio.TaskGroup() as group:
            counting = group.create_task(asyncio.to_thread(_with_tokens, context, change))
            vectors = await embed_named(context, texts)
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    return replace(counting.result(), vectors=vectors)


def _with_tokens(context: Context, change: Change) -> Change:
    of_entities = _counted(context, (entity_line(row.entity) for row in change.entities))
    of_relations = _counted(context, (relation_line(row.relation) for row in change.relations))
    return replace(
        change,
        entities=tuple(map(_entity_row, change.entities, of_entities)),
        relations=tuple(map(_relation_row, change.relations, of_relations)),
    )


def _counted(context: Context, lines: Iterator[str]) -> Iterator[int]:
    while some := list(islice(lines, _LINES)):
        context.way.give()
        yield from count_lines(context.tokenizer, some)


# Copies written out: `dataclasses.replace` takes twice as long, and this runs for each row of a commit.


def _entity_row(row: EntityRow, tokens: int) -> EntityRow:
    shown = row.entity
    entity = Entity(
        key=shown.key,
        name=shown.name,
        type=shown.type,
        description=shown.description,
        weight=shown.weight,
        tokens=tokens,
    )
    return EntityRow(id=row.id, entity=entity, state=row.state, vector=row.vector)


def _relation_row(row: RelationRow, tokens: int) -> RelationRow:
    shown = row.relation
    relation = Relation(
        source_key=shown.source_key,
        target_key=shown.target_key,
        source=shown.source,
        target=shown.target,
        keywords=shown.keywords,
        description=shown.description,
        weight=shown.weight,
        tokens=tokens,
    )
    return RelationRow(
        id=row.id, left=row.left, right=row.right, relation=relation, state=row.state, vector=row.vector
    )
