"""A snapshot made of values, for tests of the read path without a store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.protocols import Allowed, Hit, VectorKind
from stateless_rag.providers.cooccurrence import title_of
from stateless_rag.stores.graph import reached_by
from stateless_rag.stores.ids import id_array
from stateless_rag.stores.links import Links, LinksBase
from stateless_rag.stores.words import WordIndex
from stateless_rag.text import entity_key, relation_key, stable_id
from stateless_rag.types import EntityMention, RelationMention

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from stateless_rag.filters import MetadataFilter
    from stateless_rag.protocols import Vectors
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.types import Entity, Passage, Relation

__all__ = ["MemorySnapshot", "chunk_row", "entity_row", "relation_row"]

Row = TypeVar("Row")


def entity_row(name: str) -> int:
    """The id that `MemorySnapshot` gives the entity of that name."""
    return stable_id("entity", entity_key(name))


def relation_row(one: str, other: str) -> int:
    """The id that `MemorySnapshot` gives the relation of two entities."""
    return stable_id("relation", *relation_key(entity_key(one), entity_key(other)))


def chunk_row(chunk_id: str) -> int:
    """The id that `MemorySnapshot` gives a chunk."""
    return stable_id("chunk", chunk_id)


class MemorySnapshot:
    """Implements `Snapshot` by brute force over what it is given.

    `mentions` names the chunks that mention an entity, `statements` those that state a relation (a pair of
    names), `vectors` the vectors by id; a row without one is not found by vector search. `asked` counts the
    rows that each method gave out.
    """

    def __init__(
        self,
        *,
        entities: Iterable[Entity] = (),
        relations: Iterable[Relation] = (),
        passages: Iterable[Passage] = (),
        mentions: Mapping[str, Collection[str]] | None = None,
        statements: Mapping[tuple[str, str], Collection[str]] | None = None,
        vectors: Mapping[int, Vectors] | None = None,
        revision: int = 1,
    ) -> None:
        self.revision = revision
        self.embedder: str | None = None
        self.asked: Counter[str] = Counter()
        self._entities = {entity_row(entity.key): entity for entity in entities}
        self._relations = {relation_row(row.source_key, row.target_key): row for row in relations}
        self._passages = {chunk_row(passage.chunk_id): passage for passage in passages}
        self._vectors = vectors or {}
        self._chunks = {
            **{entity_row(name): sorted(map(chunk_row, ids)) for name, ids in (mentions or {}).items()},
            **{relation_row(*pair): sorted(map(chunk_row, ids)) for pair, ids in (statements or {}).items()},
        }
        self._ends = {
            row: (entity_row(relation.source_key), entity_row(relation.target_key))
            for row, relation in self._relations.items()
        }
        self._edges: dict[int, list[tuple[int, int]]] = {}
        for row, (one, other) in sorted(self._ends.items()):
            self._edges.setdefault(one, []).append((row, other))
            self._edges.setdefault(other, []).append((row, one))

    def _rows(self, kind: VectorKind) -> Mapping[int, Any]:
        tables: dict[VectorKind, Mapping[int, Any]] = {
            "chunk": self._passages,
            "entity": self._entities,
            "relation": self._relations,
        }
        return tables[kind]

    def _given(self, method: str, rows: Mapping[int, Row], ids: Sequence[int]) -> dict[int, Row]:
        given = {row: rows[row] for row in ids if row in rows}
        self.asked[method] += len(given)
        return given

    def search(
        self,
        kind: VectorKind,
        vector: Vectors,
        top_k: int,
        min_similarity: float = -1.0,
        allowed: Allowed | None = None,
    ) -> list[Hit]:
        """The nearest rows by cosine, best first, ties by id."""
        rows = self._rows(kind) if allowed is None else allowed.ids(kind).tolist()
        near = self.similarities(kind, vector, list(rows))
        hits = [Hit(row, score) for row, score in near.items() if score >= min_similarity]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]

    def similarities(self, kind: VectorKind, vector: Vectors, ids: Sequence[int]) -> dict[int, float]:
        """The cosine of the vector with each of the rows that have one."""
        rows = self._rows(kind)
        known = (row for row in ids if row in rows and row in self._vectors)
        cosines = ((row, _cosine(vector, self._vectors[row])) for row in known)
        return {row: cosine for row, cosine in cosines if cosine is not None}

    def count(self, kind: VectorKind) -> int:
        """How many rows there are."""
        return len(self._rows(kind))

    def entities(self, ids: Sequence[int]) -> dict[int, Entity]:
        """Entities by id."""
        return self._given("entities", self._entities, ids)

    def relations(self, ids: Sequence[int]) -> dict[int, Relation]:
        """Relations by id."""
        return self._given("relations", self._relations, ids)

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        """Chunks by id."""
        return self._given("passages", self._passages, ids)

    def chunk_names(self, ids: Sequence[int]) -> dict[int, str]:
        """As the protocol says."""
        return {row: self._passages[row].chunk_id for row in ids if row in self._passages}

    def entity_ids(self) -> list[int]:
        """As the protocol says."""
        return list(self._entities)

    def entity_labels(self) -> tuple[list[int], list[str], list[str]]:
        """As the protocol says."""
        rows = self._entities.values()
        return list(self._entities), [row.name for row in rows], [row.type for row in rows]

    def entity_id(self, name: str) -> int | None:
        """The id of the entity of that name."""
        row = entity_row(name)
        return row if row in self._entities else None

    def edges(self, entity_ids: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        """For each entity its relations as (relation id, id of the other end), by relation id."""
        return {row: self._edges.get(row, []) for row in entity_ids if row in self._entities}

    def endpoints(self, relation_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """For each relation the ids of its two entities."""
        return {row: self._ends[row] for row in relation_ids if row in self._ends}

    def degrees(self, entity_ids: Sequence[int]) -> dict[int, int]:
        """For each entity the number of its relations."""
        return {row: len(self._edges.get(row, [])) for row in entity_ids if row in self._entities}

    def reached(self, entity_ids: Sequence[int]) -> tuple[Any, Any]:
        """As the protocol says."""
        return reached_by(self.edges(entity_ids), self.degrees)

    def entity_chunks(
        self, entity_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> dict[int, list[int]]:
        """For each entity the ids of chunks that mention it, at most `limit` each."""
        told = {row: self._told_in(row, allowed)[:limit] for row in entity_ids if row in self._entities}
        return told if allowed is None else {row: chunks for row, chunks in told.items() if chunks}

    def relation_chunks(
        self, relation_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> dict[int, list[int]]:
        """For each relation the ids of chunks that state it, at most `limit` each."""
        told = {row: self._told_in(row, allowed)[:limit] for row in relation_ids if row in self._relations}
        return told if allowed is None else {row: chunks for row, chunks in told.items() if chunks}

    def match_words(self, text: str, top_k: int, allowed: Allowed | None = None) -> list[Hit]:
        """Chunks by the words they share with the text, by BM25."""
        return self._words().search(text, top_k, None if allowed is None else allowed.chunks)

    def coverage(self, text: str, ids: Sequence[int], allowed: Allowed | None = None) -> tuple[Any, Any]:
        """How rare each word of a text is, and which chunks have it."""
        among = None if allowed is None else allowed.chunks
        return self._words().coverage(text, id_array(ids), among)

    def _words(self) -> WordIndex:
        return WordIndex().apply({row: passage.text for row, passage in self._passages.items()}, id_array(()))

    def links(self) -> Links:
        """Entities, chunks and titles as nodes of a graph."""
        ends = [(row, *self._ends[row]) for row in sorted(self._ends)]
        columns = id_array(number for row in ends for number in row).reshape(-1, 3)
        pairs = [(row, chunk) for row in self._entities for chunk in self._chunks.get(row, ())]
        rows = id_array(number for pair in pairs for number in pair).reshape(-1, 2)
        titles = {p.document_id: title_of(p.text) for p in self._passages.values() if p.ordinal == 0}
        found = {row: titles.get(passage.document_id) for row, passage in self._passages.items()}
        nodes = {row: entity_row(title) for row, title in found.items() if title}
        relations = (columns[:, 0], columns[:, 1], columns[:, 2])
        base = LinksBase.of(relations, (rows[:, 0], rows[:, 1]), id_array(sorted(self._passages)), nodes)
        return Links(base)

    def node(self, name: str) -> int | None:
        """The id that an entity or title of that name has among the links."""
        return entity_row(name) if entity_key(name) else None

    def communities(self, settings: CommunitySettings, allowed: Allowed | None = None) -> Partition:
        """As the protocol says; every relation weighs what it says."""
        import numpy as np

        from stateless_rag.stores.communities import Graph, communities

        rows = sorted(self._entities) if allowed is None else allowed.entities.tolist()
        edges = sorted(self._relations) if allowed is None else allowed.relations.tolist()
        counted = {} if allowed is None else dict(zip(edges, allowed.relation_weights.tolist(), strict=True))
        pairs = [(row, chunk) for row in rows for chunk in self._told_in(row, allowed)]
        ends = id_array(end for edge in edges for end in self._ends[edge]).reshape(-1, 2)
        told = id_array(number for pair in pairs for number in pair).reshape(-1, 2)
        weights = np.array([counted.get(edge, self._relations[edge].weight) for edge in edges], np.float64)
        graph = Graph(id_array(rows), ends[:, 0], ends[:, 1], weights, (told[:, 0], told[:, 1]))
        return communities(graph, settings)

    @property
    def mask(self) -> None:
        """It is whole."""
        return None

    def _told_in(self, row: int, allowed: Allowed | None) -> list[int]:
        chunks = self._chunks.get(row, [])
        return chunks if allowed is None else [chunk for chunk in chunks if chunk in allowed.chunks]

    def allowed(self, condition: MetadataFilter) -> Allowed:
        """What a filter leaves of the passages, and what they tell of."""
        import numpy as np

        passages = self._passages.items()
        met = {row for row, p in passages if condition.holds(p.metadata, p.document_id, p.source)}

        def weighed(rows: Collection[int]) -> tuple[Any, Any]:
            counts = [(row, len(met.intersection(self._chunks.get(row, ())))) for row in sorted(rows)]
            pairs = np.array([pair for pair in counts if pair[1]], dtype=np.int64).reshape(-1, 2)
            return pairs[:, 0], pairs[:, 1]

        return Allowed(np.array(sorted(met), np.int64), *weighed(self._entities), *weighed(self._relations))

    def mentions(
        self,
        ids: Sequence[int],
        allowed: Allowed,
        limit: int,
        coming: Sequence[int] = (),  # noqa: ARG002 -- nothing has to be looked up
    ) -> tuple[list[EntityMention], list[RelationMention]]:
        """For each row and allowed chunk a mention that says what the row says."""
        entities, relations = [], []
        for row in ids:
            told_in = [p.chunk_id for n, p in self._passages.items() if n in self._told_in(row, allowed)]
            for chunk in told_in[:limit]:
                if (entity := self._entities.get(row)) is not None:
                    parts = (entity.key, entity.name, entity.type, entity.description)
                    entities.append(EntityMention(chunk, "", *parts))
                elif (found := self._relations.get(row)) is not None:
                    ends = (found.source_key, found.target_key, found.source, found.target)
                    relations.append(RelationMention(chunk, "", *ends, found.keywords, found.description))
        return entities, relations

    def stated_weights(
        self,
        ids: Sequence[int],  # noqa: ARG002 -- of the protocol
        allowed: Allowed,  # noqa: ARG002 -- of the protocol
    ) -> dict[int, tuple[int, Sequence[float]]]:
        """No mention here says what a relation weighs."""
        return {}

    def expect(self, entity_ids: Sequence[int], relation_ids: Sequence[int]) -> None:
        """As the protocol says."""

    def told_once(self, ids: Sequence[int]) -> frozenset[int]:
        """Those of the rows that one chunk tells of."""
        return frozenset(row for row in ids if len(self._chunks.get(row, ())) == 1)

    def aliases(self) -> dict[str, str]:
        """There are none."""
        return {}

    def document(self, document_id: str) -> Mapping[str, Any] | None:
        """One document's id and source, if a passage is of it."""
        for passage in self._passages.values():
            if passage.document_id == document_id:
                return {"id": document_id, "source": passage.source, "metadata": passage.metadata}
        return None


def _cosine(one: Vectors, other: Vectors) -> float | None:
    import numpy as np

    norms = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.dot(one, other)) / norms if norms else None
