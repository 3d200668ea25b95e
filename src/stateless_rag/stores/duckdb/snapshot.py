"""Reading one revision: in-memory views plus rows of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.protocols import (
    ChunkRow,
    DisabledRow,
    DocumentRow,
    EntityRow,
    Hit,
    RelationRow,
    VectorKind,
)
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.aside import disabled_row
from stateless_rag.stores.duckdb.held import labels
from stateless_rag.stores.duckdb.indexes import node_of
from stateless_rag.stores.duckdb.rows import source_id
from stateless_rag.stores.faiss.neighbours import near_pairs
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.text import chunk_id_of, entity_key, relation_key, stable_id

if TYPE_CHECKING:
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.filters import MetadataFilter
    from stateless_rag.protocols import Allowed, Vectors
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.views import View
    from stateless_rag.stores.graph import GraphView
    from stateless_rag.stores.ids import Ids
    from stateless_rag.stores.links import Links
    from stateless_rag.text import KeyPolicy
    from stateless_rag.types import Entity, EntityMention, Passage, Relation, RelationMention

__all__ = ["TABLES", "DuckSnapshot", "Outrun", "fetch_vectors"]

TABLES: Mapping[VectorKind, str] = MappingProxyType(
    {"chunk": "chunks", "entity": "entities", "relation": "relations"}
)


def fetch_vectors(cursor: Cursor, statement: str, parameters: list[Any]) -> tuple[Any, Vectors]:
    """Two columns, a key and a vector, as arrays of shape (n,) and (n, dimension)."""
    table = cursor.sql(statement, params=parameters).to_arrow_table()
    column = table.column(1)
    size = column.type.list_size
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    # What is in one piece is not copied: new memory costs more than reading did. NumPy asks for large pages of it.
    matrix = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.float32)])
    return table.column(0).to_numpy(), np.asarray(matrix, dtype=np.float32).reshape(-1, size)


def _ends(relation: Relation) -> tuple[str, str]:
    return relation_key(relation.source_key, relation.target_key)


class Outrun(Exception):
    """Rows of the view's revision cannot be read any more: another one was committed. The reader starts again."""


class DuckSnapshot:
    """Implements `Snapshot` and `Basis` on a view, and on a transaction for what is not in it.

    `transaction` begins one that reads the view's revision, at the first use of the cursor: most questions are
    answered from memory. It ends when the reading function does.
    """

    def __init__(
        self,
        transaction: Callable[[], Cursor],
        sql: Mapping[str, str],
        view: View,
        key_policy: KeyPolicy,
        *,
        tables: bool,
        vectors: bool,
        weights: bool,
    ) -> None:
        self._transaction = transaction
        self._begun: Cursor | None = None
        self._sql = sql
        self._view = view
        self._key_policy = key_policy
        self._has_tables = tables
        self._has_vectors = vectors
        self._has_weights = weights

    @property
    def revision(self) -> int:
        return self._view.revision

    @property
    def embedder(self) -> str | None:
        return self._view.embedder

    @property
    def _cursor(self) -> Cursor:
        if self._begun is None:
            self._begun = self._transaction()
        return self._begun

    # ---- search ----------------------------------------------------------------------------------------

    def search(
        self,
        kind: VectorKind,
        vector: Vectors,
        top_k: int,
        min_similarity: float = -1.0,
        allowed: Allowed | None = None,
    ) -> list[Hit]:
        view = self._view.vectors.get(kind)
        if view is None or top_k < 1:
            return []
        among = None if allowed is None else allowed.ids(kind)
        return view.search(vector, top_k, min_similarity, rescore=self._exact(kind), allowed=among)

    def similarities(self, kind: VectorKind, vector: Vectors, ids: Sequence[int]) -> Mapping[int, float]:
        view = self._view.vectors.get(kind)
        return {} if view is None else view.similarities(vector, ids, rescore=self._exact(kind))

    def count(self, kind: VectorKind) -> int:
        view = self._view.vectors.get(kind)
        return 0 if view is None else len(view)

    def match_words(self, text: str, top_k: int, allowed: Allowed | None = None) -> list[Hit]:
        among = None if allowed is None else allowed.chunks
        return self._view.indexes.words(self._view).search(text, top_k, among)

    def coverage(self, text: str, ids: Sequence[int], allowed: Allowed | None = None) -> tuple[Any, Any]:
        among = None if allowed is None else allowed.chunks
        return self._view.indexes.words(self._view).coverage(text, id_array(ids), among)

    # ---- the walk --------------------------------------------------------------------------------------

    def links(self) -> Links:
        return self._view.indexes.links(self._view, self._key_policy)

    def node(self, name: str) -> int | None:
        return node_of(name, self._view.aliases, self._key_policy)

    def communities(self, settings: CommunitySettings, allowed: Allowed | None = None) -> Partition:
        def stated() -> Mapping[int, tuple[int, Sequence[float]]]:
            return {} if allowed is None else self.stated_weights(allowed.relations.tolist(), allowed)

        return self._view.partitions.of(self._view, settings, allowed, stated)

    @property
    def mask(self) -> None:
        return None

    # ---- rows ------------------------------------------------------------------------------------------

    def entities(self, ids: Sequence[int]) -> Mapping[int, Entity]:
        return self._view.entities.get(ids)

    def relations(self, ids: Sequence[int]) -> Mapping[int, Relation]:
        return self._view.relations.get(ids)

    def passages(self, ids: Sequence[int]) -> Mapping[int, Passage]:
        pieces = self._view.pieces.get(ids)
        documents = {id_: source_id(piece[1]) for id_, piece in pieces.items()}
        sources = self._view.sources.get(documents.values())
        return {id_: rows.passage(piece, sources[documents[id_]]) for id_, piece in pieces.items()}

    def chunk_names(self, ids: Sequence[int]) -> Mapping[int, str]:
        return {id_: chunk_id_of(id_) for id_ in ids}

    def document(self, document_id: str) -> Mapping[str, Any] | None:
        found = self.document_rows([document_id])
        row = found.get(document_id)
        if row is None:
            return None
        return {
            "id": row.id,
            "source": row.source,
            "metadata": row.metadata,
            "text": row.text,
            "digest": row.digest,
        }

    def entity_chunks(
        self, entity_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> Mapping[int, Sequence[int]]:
        return self._chunks_of(entity_ids, limit, allowed)

    def relation_chunks(
        self, relation_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> Mapping[int, Sequence[int]]:
        return self._chunks_of(relation_ids, limit, allowed)

    def _chunks_of(
        self, ids: Sequence[int], limit: int, allowed: Allowed | None
    ) -> Mapping[int, Sequence[int]]:
        among = None if allowed is None else allowed.chunks
        return self._view.evidence.chunks_of(ids, limit, among)

    # ---- under a metadata filter -----------------------------------------------------------------------

    def allowed(self, condition: MetadataFilter) -> Allowed:
        return self._view.masks.allowed(self._view, condition)

    def mentions(
        self, ids: Sequence[int], allowed: Allowed, limit: int, coming: Sequence[int] = ()
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        told_in = self._chunks_of(ids, limit, allowed)
        if not told_in or not self._has_tables:
            return [], []
        known = self._view.masks.mentions
        found = {(id_, chunk): known.get((id_, chunk)) for id_, own in told_in.items() for chunk in own}
        missing = [pair for pair, told in found.items() if told is None]
        if missing:
            later = self._chunks_of(coming, limit, allowed)
            more = [(id_, chunk) for id_, own in later.items() for chunk in own]
            read = self._mentions_at([*missing, *(pair for pair in more if known.get(pair) is None)])
            known.keep(read)
            found.update((pair, read[pair]) for pair in missing)
        return rows.mentions(chain.from_iterable(told for told in found.values() if told is not None))

    def _mentions_at(self, pairs: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], list[Any]]:
        """Rows of mentions by what they are of and the chunk they are in; without any, an empty list."""
        owners, chunks = ({pair[place] for pair in pairs} for place in (0, 1))
        told: dict[tuple[int, int], list[Any]] = {pair: [] for pair in pairs}
        for row in self._cursor.execute(self._sql["mentions_at"], [list(owners), list(chunks)]).fetchall():
            if row[:2] in told:
                told[row[:2]].append(row[1:])
        return told

    def expect(self, entity_ids: Sequence[int], relation_ids: Sequence[int]) -> None:
        """All rows are in memory."""

    def stated_weights(
        self, ids: Sequence[int], allowed: Allowed
    ) -> Mapping[int, tuple[int, Sequence[float]]]:
        if not (self._has_weights and ids):
            return {}
        found = self._cursor.execute(self._sql["weights"], [list(ids)]).fetchall()
        there = (lookup(allowed.chunks, id_array(row[1] for row in found)) >= 0).tolist()
        stated: dict[int, list[tuple[int, float]]] = {}
        for (id_, chunk, weight), kept in zip(found, there, strict=True):
            if kept:
                stated.setdefault(id_, []).append((chunk, weight))
        return {
            id_: (len({chunk for chunk, _ in own}), [weight for _, weight in own])
            for id_, own in stated.items()
        }

    def told_once(self, ids: Sequence[int]) -> frozenset[int]:
        once = self._view.evidence.told_once(ids)
        return once - self._by_hand(once) if self._view.curations.entries else once

    def _by_hand(self, ids: Collection[int]) -> set[int]:
        """Those of the rows that show something that was said by hand."""
        log = self._view.curations
        found = {id_ for id_, entity in self._view.entities.get(ids).items() if log.entity(entity.key)}
        relations = self._view.relations.get(ids).items()
        return found | {id_ for id_, row in relations if log.relation(_ends(row))}

    # ---- the graph -------------------------------------------------------------------------------------

    def entity_id(self, name: str) -> int | None:
        key = entity_key(name, self._key_policy)
        while (target := self._view.aliases.get(key)) is not None:
            key = target
        id_ = stable_id("entity", key)
        view = self._view.vectors.get("entity")
        return id_ if view is not None and view.contains(id_) else None

    def edges(self, entity_ids: Sequence[int]) -> Mapping[int, Sequence[tuple[int, int]]]:
        return self._view.graph.edges(entity_ids)

    def endpoints(self, relation_ids: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        return self._view.graph.endpoints(relation_ids)

    def degrees(self, entity_ids: Sequence[int]) -> Mapping[int, int]:
        return self._view.graph.degrees(entity_ids)

    def reached(self, entity_ids: Sequence[int]) -> tuple[Ids, Ids]:
        return self._view.graph.reached(entity_ids)

    def entity_ids(self) -> list[int]:
        """All entities of this revision, also those without relations."""
        view = self._view.vectors.get("entity")
        return [] if view is None else view.ids().tolist()

    def entity_labels(self) -> tuple[list[int], list[str], list[str]]:
        """All entities: ids, names and types, in no certain order."""
        ids, table = self._view.entities.columns(("texts",))
        names, types = labels(table.column("texts").to_pylist())
        return ids.tolist(), names, types

    def near_entities(self, top_k: int, least: float) -> Callable[[], Sequence[tuple[int, int, float]]]:
        view = self._view.vectors.get("entity")
        return lambda: () if view is None else near_pairs(view, top_k, least)

    @property
    def graph(self) -> GraphView:
        """All relations of this revision."""
        return self._view.graph

    # ---- the basis of a commit -------------------------------------------------------------------------

    def aliases(self) -> Mapping[str, str]:
        return self._view.aliases

    def curations(self) -> CurationLog:
        return self._view.curations

    def document_rows(self, ids: Collection[str]) -> Mapping[str, DocumentRow]:
        return {row.id: row for row in map(rows.document_row, self._fetch("document_rows", self._there(ids)))}

    def _there(self, document_ids: Collection[str]) -> list[str]:
        """Those of the documents that are committed: most that are ingested are new."""
        ids = {rows.source_id(id_): id_ for id_ in document_ids}
        return [ids[known] for known in self._view.sources.known(list(ids))]

    def disabled_rows(self, ids: Collection[str]) -> Mapping[str, DisabledRow]:
        wanted = self._view.disabled.intersection(ids)
        return {row.document.id: row for row in map(disabled_row, self._fetch("disabled_rows", wanted))}

    def chunk_rows(self, document_ids: Collection[str]) -> Sequence[ChunkRow]:
        return [rows.chunk_row(row) for row in self._fetch("chunk_rows", self._there(document_ids))]

    def mentions_in(
        self, chunk_ids: Collection[int]
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        return rows.mentions(self._fetch("mentions_in", chunk_ids))

    def mentions_of(self, ids: Collection[int]) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        return rows.mentions(self._fetch("mentions_of", ids))

    def mentions_under(
        self, raw_keys: Collection[str]
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        if not raw_keys or not self._has_tables:
            return [], []
        keys = list(raw_keys)
        return rows.mentions(self._cursor.execute(self._sql["mentions_under"], [keys, keys]).fetchall())

    def entity_rows(self, ids: Collection[int]) -> Mapping[int, EntityRow]:
        known = self._view.entities.known(ids)
        return {row.id: row for row in map(rows.entity_row, self._fetch("entity_rows", known))}

    def relation_rows(self, ids: Collection[int]) -> Mapping[int, RelationRow]:
        known = self._view.relations.known(ids)
        return {row.id: row for row in map(rows.relation_row, self._fetch("relation_rows", known))}

    def vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        if not digests or not self._has_vectors:
            return {}
        keys, matrix = fetch_vectors(self._cursor, self._sql["vectors"], [list(digests)])
        return dict(zip(keys.tolist(), matrix, strict=True))

    # ---- plumbing --------------------------------------------------------------------------------------

    def _fetch(self, statement: str, keys: Collection[Any]) -> Iterable[tuple[Any, ...]]:
        if not keys or not self._has_tables:
            return []
        return self._cursor.execute(self._sql[statement], [list(keys)]).fetchall()

    def _exact(self, kind: VectorKind) -> Callable[[Sequence[int]], Mapping[int, Vectors]]:
        def exact(ids: Sequence[int]) -> Mapping[int, Vectors]:
            statement = self._sql["vectors_of_rows"].format(table=TABLES[kind])
            keys, matrix = fetch_vectors(self._cursor, statement, [list(ids)])
            return dict(zip(keys.tolist(), matrix, strict=True))

        return exact
