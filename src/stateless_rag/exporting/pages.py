"""Reading a workspace page by page: each page in a read of its own, nothing is held open between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.communities import membership
from stateless_rag.exporting.rows import (
    chunk_row,
    curation_row,
    document_row,
    entity_row,
    relation_row,
    texts_digest,
)
from stateless_rag.kinds import Entities, Relations, entity_row_id, relation_row_id
from stateless_rag.stages.summarize import joined
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.text import relation_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stateless_rag.context import Context
    from stateless_rag.exporting.rows import Told
    from stateless_rag.protocols import Basis, EntityRow, RelationRow, Snapshot, Workspace
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.types import Entity, EntityMention, ExportKind, ExportRow, Relation, RelationMention

    Ids = NDArray[np.int64]

__all__ = ["Order", "pages"]

PAGE = 1000
"""Rows that are read at a time."""
_DOCUMENTS, _CHARACTERS = 64, 1_000_000  # of a page of documents
_EVERY = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Order:
    """Which rows are wanted, and what of them. `full` rows tell all that another workspace needs; with `communities`
    entities name the smallest community that they are in.
    """

    kinds: Collection[ExportKind]
    vectors: bool = False
    full: bool = False
    communities: CommunitySettings | None = None


async def pages(
    context: Context, workspace: Workspace, documents: Mapping[str, int], order: Order
) -> AsyncGenerator[list[ExportRow]]:
    """Pages of rows: curations, entities, relations, documents with their chunks.

    Entities come by name, relations by the names of their ends, documents by id; of `documents`, which maps ids
    to lengths, those that are committed. What a commit changes meanwhile shows in the pages that are read after
    it, but a relation comes only if both of its entities did.
    """
    pages = _Pages(context, workspace, order)
    if "curations" in order.kinds:
        entries = await workspace.read_basis(lambda basis: basis.curations().entries)
        for part in parts(entries):
            yield list(map(curation_row, part))
    if {"entities", "relations"}.intersection(order.kinds):
        async for page in pages.graph():
            yield page
    if {"documents", "chunks"}.intersection(order.kinds):
        for ids in _document_groups(documents):
            yield await workspace.read_basis(partial(_documents, order, ids))


def parts(items: Sequence[Any]) -> Iterator[Any]:
    """The items, a page at a time."""
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]


class _Pages:
    """Reads the graph; made for one export."""

    def __init__(self, context: Context, workspace: Workspace, order: Order) -> None:
        # What would be said of a key if no LLM had summed it up.
        self._context = context.without_llm()
        self._workspace = workspace
        self._order = order

    async def graph(self) -> AsyncGenerator[list[ExportRow]]:
        ids = await self._workspace.read(_by_name)
        there = np.zeros(len(ids), dtype=np.bool_)
        wanted, groups = "entities" in self._order.kinds, await self._groups()
        for start in range(0, len(ids), PAGE):
            found = await self._workspace.read(partial(_entities, ids[start : start + PAGE].tolist()))
            there[start : start + PAGE] = np.isin(ids[start : start + PAGE], id_array(found))
            if groups is not None:
                for id_, row in found.items():
                    row["community"] = groups.get(id_, "")
            if wanted and found:
                yield await self._completed(list(found.values()))
        if "relations" in self._order.kinds:
            # Where only relations are wanted, too, those whose entities are gone do not count.
            known = np.sort(ids[there])
            for start in range(0, len(ids), PAGE):
                owners = ids[start : start + PAGE].tolist()
                relations = await self._workspace.read(partial(_owned, owners, known))
                for part in parts(relations):
                    rows = await self._workspace.read(partial(_relations, part))
                    yield await self._completed(rows)

    async def _groups(self) -> Mapping[int, str] | None:
        """The community of each entity; None if that is not wanted."""
        settings = self._order.communities
        if settings is None:
            return None
        return await self._workspace.read(lambda snapshot: membership(snapshot, settings))

    async def _completed(self, rows: list[ExportRow]) -> list[ExportRow]:
        """The rows, with vectors and with what tells of summaries, if that is wanted."""
        if not (self._order.vectors or self._order.full) or not rows:
            return rows
        stored, log, vectors = await self._workspace.read_basis(partial(self._stored, rows))

        def complete() -> list[ExportRow]:
            for row in rows:
                kept = stored.get(_id_of(row))
                if kept is None or _shown(kept).description != row["description"]:
                    continue  # it changed since: what is kept belongs to another description
                if self._order.full and (digest := self._summed_up(kept, log)) is not None:
                    row["summary_of"] = digest
                if (vector := vectors.get(kept.vector)) is not None:
                    row["vector"] = vector
            return rows

        return await asyncio.to_thread(complete)

    def _stored(self, rows: Sequence[ExportRow], basis: Basis) -> tuple[Mapping[int, Any], Any, Any]:
        ids = list(map(_id_of, rows))
        found: dict[int, EntityRow | RelationRow] = {}
        found.update(basis.entity_rows(ids) if rows[0]["kind"] == "entity" else basis.relation_rows(ids))
        wanted = {row.vector for row in found.values()} if self._order.vectors else set()
        return found, basis.curations(), basis.vectors(wanted)

    def _summed_up(self, row: EntityRow | RelationRow, log: Any) -> str | None:
        """The digest of the texts that an LLM has summed up; None if it was not an LLM."""
        settings = self._context.settings.merging
        shown = _shown(row)
        if hasattr(shown, "key"):
            by_hand, texts = log.entity(shown.key), Entities(settings).load(shown.key, row.state).texts
        else:
            pair = relation_key(shown.source_key, shown.target_key)
            by_hand, texts = log.relation(pair), Relations(settings).load(pair, row.state).texts
        if not texts or (by_hand is not None and by_hand.description is not None):
            return None
        return None if joined(self._context, texts) == shown.description else texts_digest(texts)


def _shown(row: Any) -> Any:
    shown: Entity | Relation = row.entity if hasattr(row, "entity") else row.relation
    return shown


def _id_of(row: ExportRow) -> int:
    if row["kind"] == "entity":
        return entity_row_id(row["key"])
    return relation_row_id(relation_key(row["source_key"], row["target_key"]))


# ---- the graph -----------------------------------------------------------------------------------------


def _by_name(snapshot: Snapshot) -> Ids:
    """The ids of all entities, by name."""
    ids, names, _ = snapshot.entity_labels()
    return id_array(ids[place] for place in sorted(range(len(ids)), key=lambda at: (names[at], ids[at])))


def _entities(ids: Sequence[int], snapshot: Snapshot) -> dict[int, ExportRow]:
    found = snapshot.entities(ids)
    told = _told(snapshot, snapshot.entity_chunks(list(found), _EVERY))
    return {id_: entity_row(entity, told.get(id_, ((), ()))) for id_, entity in found.items()}


def _owned(owners: Sequence[int], known: Ids, snapshot: Snapshot) -> list[int]:
    """The relations whose first end is one of the owners, and whose ends are both known; in the owners' order."""
    edges = snapshot.edges(owners)
    found: list[int] = []
    for owner in owners:
        own = [relation for relation, _ in edges.get(owner, ())]
        ends = snapshot.endpoints(own)
        mine = [(relation, pair) for relation, pair in ends.items() if pair[0] == owner]
        at = lookup(known, id_array(end for _, pair in mine for end in pair)).reshape(-1, 2).min(axis=1)
        found += [relation for (relation, _), place in zip(mine, at.tolist(), strict=True) if place >= 0]
    return found


def _relations(ids: Sequence[int], snapshot: Snapshot) -> list[ExportRow]:
    found = snapshot.relations(ids)
    told = _told(snapshot, snapshot.relation_chunks(list(found), _EVERY))
    return [relation_row(relation, told.get(id_, ((), ()))) for id_, relation in found.items()]


def _told(snapshot: Snapshot, chunks: Mapping[int, Sequence[int]]) -> dict[int, Told]:
    """For each row the documents that tell of it, and their sources."""
    owners: dict[int, tuple[str, str | None]] = {}
    for part in parts(sorted({chunk for own in chunks.values() for chunk in own})):
        owners.update((id_, (p.document_id, p.source)) for id_, p in snapshot.passages(part).items())
    told: dict[int, Told] = {}
    for row, own in chunks.items():
        known = {owners[chunk] for chunk in own if chunk in owners}
        told[row] = (
            sorted({document for document, _ in known}),
            sorted({source for _, source in known if source is not None}),
        )
    return told


# ---- documents -----------------------------------------------------------------------------------------


def _document_groups(documents: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    characters = 0
    for id_ in sorted(documents):
        if group and (len(group) >= _DOCUMENTS or characters + documents[id_] > _CHARACTERS):
            yield group
            group, characters = [], 0
        group.append(id_)
        characters += documents[id_]
    if group:
        yield group


def _documents(order: Order, ids: Sequence[str], basis: Basis) -> list[ExportRow]:
    """Documents with their chunks and what these say, as one commit has left them."""
    documents = basis.document_rows(ids)
    chunks = basis.chunk_rows(list(documents)) if "chunks" in order.kinds else ()
    vectors = basis.vectors({row.vector for row in chunks}) if order.vectors else {}
    entities: dict[str, list[EntityMention]] = {}
    relations: dict[str, list[RelationMention]] = {}
    if order.full and chunks:
        mentions = basis.mentions_in([row.id for row in chunks])
        for entity in mentions[0]:
            entities.setdefault(entity.chunk_id, []).append(entity)
        for relation in mentions[1]:
            relations.setdefault(relation.chunk_id, []).append(relation)
    of: dict[str, list[ExportRow]] = {}
    for row in chunks:
        id_ = row.chunk.id
        told = chunk_row(row, entities.get(id_, ()), relations.get(id_, ()))
        if (vector := vectors.get(row.vector)) is not None:
            told["vector"] = vector
        of.setdefault(row.chunk.document_id, []).append(told)
    rows: list[ExportRow] = []
    for id_ in ids:
        if id_ in documents:
            rows += [document_row(documents[id_])] if "documents" in order.kinds else []
            rows += of.get(id_, ())
    return rows
