"""What of a workspace is held in memory: made when it is opened, and anew by each commit at the cost of the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa

from stateless_rag.curation_log import CurationLog
from stateless_rag.protocols import Change, VectorKind
from stateless_rag.stores.columns import Codec, ColumnView
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.curations import read_curations
from stateless_rag.stores.duckdb.held import entity_codec, relation_codec
from stateless_rag.stores.duckdb.indexes import Indexes
from stateless_rag.stores.duckdb.masks import Masks
from stateless_rag.stores.duckdb.partitions import Partitions
from stateless_rag.stores.evidence import EvidenceView
from stateless_rag.stores.graph import GraphView
from stateless_rag.stores.ids import id_array
from stateless_rag.text import chunk_ids_of, chunk_row_id

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.faiss.segments import VectorView
    from stateless_rag.stores.ids import Ids
    from stateless_rag.types import Entity, Relation

__all__ = ["View"]

Sql = Mapping[str, str]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One revision. `vectors` is empty before the first vector; `embedder` names what they were made by, if known.

    `disabled` are the ids of documents that are laid aside.
    """

    revision: int = 0
    vectors: Mapping[VectorKind, VectorView] = field(default_factory=lambda: MappingProxyType({}))
    graph: GraphView = field(default_factory=GraphView.empty)
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    curations: CurationLog = field(default_factory=CurationLog)
    entities: ColumnView[Entity] = field(default_factory=lambda: ColumnView.empty(entity_codec()))
    relations: ColumnView[Relation] = field(default_factory=lambda: ColumnView.empty(relation_codec()))
    pieces: ColumnView[rows.Piece] = field(default_factory=lambda: ColumnView.empty(rows.piece_codec()))
    sources: ColumnView[rows.Source] = field(default_factory=lambda: ColumnView.empty(rows.source_codec()))
    evidence: EvidenceView = field(default_factory=EvidenceView.empty)
    masks: Masks = field(default_factory=Masks, compare=False)
    indexes: Indexes = field(default_factory=Indexes, compare=False)
    partitions: Partitions = field(default_factory=Partitions, compare=False)
    embedder: str | None = None
    disabled: frozenset[str] = frozenset()

    @classmethod
    def load(cls, cursor: Cursor, sql: Sql, revision: int, vectors: Mapping[VectorKind, VectorView]) -> View:
        """The view of what the tables hold."""
        edges = cursor.sql(sql["edges"]).to_arrow_table()
        return cls(
            revision=revision,
            vectors=vectors,
            graph=_graph(*(column.to_numpy() for column in edges.columns)),
            aliases=MappingProxyType(dict(cursor.execute(sql["aliases"]).fetchall())),
            curations=read_curations(cursor, sql),
            entities=_columns(cursor, sql["entities"], entity_codec()),
            relations=_columns(cursor, sql["relations"], relation_codec()),
            pieces=_pieces(cursor, sql),
            sources=_sources(cursor, sql),
            evidence=_evidence(cursor, sql),
            disabled=frozenset(row[0] for row in cursor.execute(sql["disabled"]).fetchall()),
        )

    def following(
        self, cursor: Cursor, sql: Sql, change: Change, vectors: Mapping[VectorKind, VectorView]
    ) -> View:
        """The view after a change, whose rows are written already."""
        return View(
            revision=self.revision + 1,
            vectors=vectors,
            graph=_next_graph(self.graph, change),
            aliases=_updated(self.aliases, change.aliases),
            curations=(
                self.curations if change.curation is None else self.curations.following(change.curation)
            ),
            entities=self.entities.apply(
                {row.id: row.entity for row in change.entities}, change.removed_entities
            ),
            relations=self.relations.apply(
                {row.id: row.relation for row in change.relations}, change.removed_relations
            ),
            pieces=self.pieces.apply(
                {row.id: rows.piece_of(row.chunk) for row in (*change.chunks, *change.moved)},
                change.removed_chunks,
            ),
            sources=self.sources.apply(
                {rows.source_id(row.id): rows.source_of(row) for row in change.documents},
                list(map(rows.source_id, change.removed_documents)),
            ),
            # Where aliases move mentions to other rows, no chunk tells what went: the tables do.
            evidence=_evidence(cursor, sql) if change.remention else _next_evidence(self.evidence, change),
            indexes=self.indexes,
            partitions=self.partitions,
            embedder=self.embedder,
            disabled=_next_disabled(self.disabled, change),
        )

    @property
    def nbytes(self) -> int:
        """Bytes held in memory, but for those of vectors."""
        held = (
            self.graph,
            self.entities,
            self.relations,
            self.pieces,
            self.sources,
            self.evidence,
            self.masks,
            self.indexes,
            self.partitions,
        )
        return sum(view.nbytes for view in held)


def _graph(relations: Ids, left: Ids, right: Ids) -> GraphView:
    """A relation that is there twice must not keep a workspace from being opened, and repaired."""
    distinct, first = np.unique(relations, return_index=True)
    if len(distinct) != len(relations):
        relations, left, right = distinct, left[first], right[first]
    return GraphView.from_arrays(relations, left, right)


def _columns(cursor: Cursor, statement: str, codec: Codec[Row]) -> ColumnView[Row]:
    table = cursor.sql(statement).to_arrow_table()
    return ColumnView.from_table(codec, table.column(0).to_numpy(), table.remove_column(0))


def _pieces(cursor: Cursor, sql: Sql) -> ColumnView[rows.Piece]:
    table = cursor.sql(sql["pieces"]).to_arrow_table()
    ids = table.column(0).to_numpy()
    names = pa.array(chunk_ids_of(ids), pa.string())
    return ColumnView.from_table(rows.piece_codec(), ids, table.set_column(0, "chunk_id", names))


def _sources(cursor: Cursor, sql: Sql) -> ColumnView[rows.Source]:
    table = cursor.sql(sql["sources"]).to_arrow_table()
    ids = id_array(map(rows.source_id, table.column(0).to_pylist()))
    return ColumnView.from_table(rows.source_codec(), ids, table.remove_column(0))


def _evidence(cursor: Cursor, sql: Sql) -> EvidenceView:
    pairs = cursor.sql(sql["evidence"]).to_arrow_table()
    return EvidenceView.from_arrays(*(column.to_numpy() for column in pairs.columns))


def _next_evidence(evidence: EvidenceView, change: Change) -> EvidenceView:
    chunks = {row.chunk.id: row.id for row in change.chunks}

    def row_of(chunk_id: str) -> int:
        return chunks[chunk_id] if chunk_id in chunks else chunk_row_id(chunk_id)

    added = [(id_, row_of(m.chunk_id)) for id_, m in change.entity_mentions if id_ is not None]
    added += [(id_, row_of(m.chunk_id)) for id_, m in change.relation_mentions if id_ is not None]
    return evidence.apply(added, change.removed_chunks)


def _next_graph(graph: GraphView, change: Change) -> GraphView:
    if not (change.relations or change.removed_relations):
        return graph
    return graph.apply(
        [(row.id, row.left, row.right) for row in change.relations], set(change.removed_relations)
    )


def _next_disabled(disabled: frozenset[str], change: Change) -> frozenset[str]:
    if not (change.disabled or change.removed_disabled):
        return disabled
    return disabled.difference(change.removed_disabled).union(row.document.id for row in change.disabled)


def _updated(aliases: Mapping[str, str], changes: Mapping[str, str | None] | None) -> Mapping[str, str]:
    if not changes:
        return aliases
    following = {key: target for key, target in aliases.items() if key not in changes}
    following.update({key: target for key, target in changes.items() if target is not None})
    return MappingProxyType(following)
