"""Descriptions that an LLM has written in another workspace, taken over where they are about the same texts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stateless_rag.calls import vector_digest
from stateless_rag.counting import count_lines
from stateless_rag.errors import CommitConflict
from stateless_rag.exporting.rows import texts_digest
from stateless_rag.kinds import Entities, Relations, entity_row_id, relation_row_id
from stateless_rag.protocols import Change
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.stages.embed import embed_named, entity_text, relation_text
from stateless_rag.text import relation_key
from stateless_rag.types import Entity

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.exporting.lines import Described
    from stateless_rag.protocols import Basis, EntityRow, RelationRow, Workspace

__all__ = ["Summaries"]

_ATTEMPTS = 100
_PAUSE = 0.02  # seconds, growing by as much with each attempt

Rows = tuple[int, Sequence["EntityRow"], Sequence["RelationRow"]]


class Summaries:
    """Takes descriptions over; `taken` counts them."""

    def __init__(self, context: Context, workspace: Workspace) -> None:
        self._context = context
        self._workspace = workspace
        self.taken = 0

    async def take(self, lines: Sequence[Described]) -> None:
        """One commit of those that are about what is there. Again, if another one came between."""
        sleep = self._context.clock.sleep or asyncio.sleep
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self.taken += await self._take(lines)
            except CommitConflict:
                if attempt == _ATTEMPTS:
                    raise
                await sleep(_PAUSE * attempt)
            else:
                return

    async def _take(self, lines: Sequence[Described]) -> int:
        base, entities, relations = await self._workspace.read_basis(partial(self._wanted, lines))
        if not (entities or relations):
            return 0
        change, texts = await asyncio.to_thread(self._change, base, entities, relations)
        await self._workspace.commit(replace(change, vectors=await embed_named(self._context, texts)))
        return len(entities) + len(relations)

    def _wanted(self, lines: Sequence[Described], basis: Basis) -> Rows:
        """The revision, and the rows with the descriptions that they are to have."""
        by_id = {_row_id(line): line for line in lines}
        log, settings = basis.curations(), self._context.settings.merging
        entities, relations = Entities(settings), Relations(settings)
        found: list[EntityRow] = []
        for row in basis.entity_rows(by_id).values():
            key, line = row.entity.key, by_id[row.id]
            texts = entities.load(key, row.state).texts
            if _is_about(line, row.entity.description, texts, log.entity(key)):
                found.append(replace(row, entity=replace(row.entity, description=line.shown.description)))
        others: list[RelationRow] = []
        for other in basis.relation_rows(by_id).values():
            relation, line = other.relation, by_id[other.id]
            pair = relation_key(relation.source_key, relation.target_key)
            texts = relations.load(pair, other.state).texts
            if _is_about(line, relation.description, texts, log.relation(pair)):
                others.append(replace(other, relation=replace(relation, description=line.shown.description)))
        return basis.revision, found, others

    def _change(
        self, base: int, entities: Sequence[EntityRow], relations: Sequence[RelationRow]
    ) -> tuple[Change, Mapping[str, str]]:
        """The change without vectors, and the texts to embed for it, by digest."""
        context, texts = self._context, dict[str, str]()
        lines = [*(entity_line(r.entity) for r in entities), *(relation_line(r.relation) for r in relations)]
        tokens = iter(count_lines(context.tokenizer, lines))

        def named(text: str) -> str:
            key = vector_digest(context.embedder.model, text)
            texts[key] = text
            return key

        change = Change(
            base=base,
            reads=frozenset([*(row.id for row in entities), *(row.id for row in relations)]),
            entities=tuple(
                replace(
                    row,
                    entity=replace(row.entity, tokens=next(tokens)),
                    vector=named(entity_text(context, row.entity)),
                )
                for row in entities
            ),
            relations=tuple(
                replace(
                    row,
                    relation=replace(row.relation, tokens=next(tokens)),
                    vector=named(relation_text(context, row.relation)),
                )
                for row in relations
            ),
            vectors={},
            embedder=context.embedder.model,
        )
        return change, texts


def _row_id(line: Described) -> int:
    if isinstance(line.shown, Entity):
        return entity_row_id(line.shown.key)
    return relation_row_id(relation_key(line.shown.source_key, line.shown.target_key))


def _is_about(line: Described, description: str, texts: Sequence[str], by_hand: Any) -> bool:
    """Whether a line describes these texts, and otherwise than they are described now."""
    told = by_hand is not None and by_hand.description is not None
    return not told and line.shown.description != description and line.summary_of == texts_digest(texts)
