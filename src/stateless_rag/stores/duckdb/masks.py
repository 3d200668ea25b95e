"""What metadata filters leave of one revision, found in memory: the documents that meet one, their chunks, and the
entities and relations that these tell of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.protocols import Allowed
from stateless_rag.stores.duckdb.rows import source_id
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.stores.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from stateless_rag.filters import MetadataFilter
    from stateless_rag.stores.duckdb.views import View
    from stateless_rag.stores.graph import GraphView
    from stateless_rag.stores.ids import Ids

    Flags = NDArray[np.bool_]

__all__ = ["Masks"]

Pair = tuple[int, int]
_KEPT = 8  # filters of one revision
_PAIRS = 4000
_PAIR_BYTES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class _Documents:
    """The documents of a revision: `metadata` are the different ones, as JSON, and `codes` tell whose is which."""

    ids: list[str]
    metadata: list[str]
    codes: Ids
    sources: pa.ChunkedArray

    def meeting(self, condition: MetadataFilter) -> Flags:
        """Which of them meet a filter."""
        if not condition.of_documents:
            met = [condition.holds(json.loads(text)) for text in self.metadata]
            return np.array(met, dtype=np.bool_)[self.codes] if met else np.zeros(0, dtype=np.bool_)
        known = [json.loads(text) for text in self.metadata]
        rows = zip(self.codes.tolist(), self.ids, self.sources.to_pylist(), strict=True)
        return np.array([condition.holds(known[code], id_, source) for code, id_, source in rows], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """What all filters of a revision share.

    Chunk `chunks[i]`, ascending, is of document `owners[i]`. The pairs of the evidence are in the order of their
    rows: those from `starts[j]` on are of row `rows[j]`, ascending, and in chunk `chunks[places[...]]`.
    `relations` tells which of the rows are relations.
    """

    documents: _Documents
    chunks: Ids
    owners: Ids
    rows: Ids
    starts: Ids
    places: Ids
    relations: Flags

    @classmethod
    def of(cls, view: View) -> _Frame:
        ids, pieces = view.pieces.columns(("document_id",))
        encoded = pieces.column(0).combine_chunks().dictionary_encode()
        order = np.argsort(ids)
        chunks = ids[order]
        rows, told_in = view.evidence.pairs()
        by_row = np.argsort(rows, kind="stable")
        rows, told_in = rows[by_row], told_in[by_row]
        distinct, starts = np.unique(rows, return_index=True)
        return cls(
            documents=_documents(view, encoded.dictionary.to_pylist()),
            chunks=chunks,
            owners=encoded.indices.to_numpy()[order],
            rows=distinct,
            starts=starts,
            places=lookup(chunks, told_in).astype(np.int32),
            relations=_relations(view.graph, distinct),
        )

    @property
    def nbytes(self) -> int:
        arrays = (self.chunks, self.owners, self.rows, self.starts, self.places, self.relations)
        return sum(array.nbytes for array in arrays)

    def allowed(self, condition: MetadataFilter) -> Allowed:
        """What a filter leaves."""
        met = self.documents.meeting(condition)[self.owners]
        met_or_unknown = np.append(
            met, False
        )  # the last is for a place of -1: what is not known is not allowed
        weights = np.zeros(0, dtype=np.int64)
        if len(self.rows):
            weights = np.add.reduceat(met_or_unknown[self.places], self.starts, dtype=np.int64)
        entities, relations = (weights > 0) & ~self.relations, (weights > 0) & self.relations
        return Allowed(
            chunks=self.chunks[met],
            entities=self.rows[entities],
            entity_weights=weights[entities],
            relations=self.rows[relations],
            relation_weights=weights[relations],
        )


class Masks:
    """What filters leave of one revision: computed at the first question under a filter, kept for those after it.

    Any thread may ask. Of more than a few filters the one asked for least recently is forgotten. `mentions` are rows
    of mentions that were read lately, by what they are of and the chunk they are in.
    """

    def __init__(self) -> None:
        self.mentions: Recent[Pair, Sequence[Sequence[Any]]] = Recent(_PAIRS)
        self._lock = Lock()
        self._frame: _Frame | None = None
        self._kept: dict[MetadataFilter, Allowed] = {}

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory, but for those of documents' metadata."""
        with self._lock:
            kept = list(self._kept.values())
        arrays = [
            array
            for allowed in kept
            for array in (
                allowed.chunks,
                allowed.entities,
                allowed.entity_weights,
                allowed.relations,
                allowed.relation_weights,
            )
        ]
        held = sum(array.nbytes for array in arrays) + _PAIR_BYTES * len(self.mentions)
        return held + (self._frame.nbytes if self._frame else 0)

    def allowed(self, view: View, condition: MetadataFilter) -> Allowed:
        """What a filter leaves of the view, which must be the one that this belongs to."""
        with self._lock:
            found = self._kept.pop(condition, None)
            if found is None:
                self._frame = self._frame or _Frame.of(view)
                found = self._frame.allowed(condition)
            self._kept[condition] = found
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
            return found


def _documents(view: View, document_ids: list[str]) -> _Documents:
    ids, table = view.sources.columns(("source", "metadata"))
    order = np.argsort(ids)
    at = order[lookup(ids[order], id_array(map(source_id, document_ids)))]
    table = table.take(at)
    metadata = table.column("metadata").combine_chunks().dictionary_encode()
    return _Documents(
        ids=document_ids,
        metadata=metadata.dictionary.to_pylist(),
        codes=metadata.indices.to_numpy().astype(np.int64),
        sources=table.column("source"),
    )


def _relations(graph: GraphView, rows: Ids) -> Flags:
    """Which of the rows are relations."""
    based = lookup(graph.base.relations, rows) >= 0
    if graph.overlay.gone:
        based &= ~np.isin(rows, id_array(graph.overlay.gone))
    return based | np.isin(rows, id_array(graph.overlay.added))
