"""The graph: reading it, in LightRAG's shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.browsing import relation_between, subgraph
from stateless_rag.checks import flag, optional, text, whole
from stateless_rag.interop.lightrag.core import Core
from stateless_rag.interop.lightrag.results import KnowledgeGraph, KnowledgeGraphEdge, KnowledgeGraphNode
from stateless_rag.interop.shapes import SEPARATOR, UNKNOWN_SOURCE
from stateless_rag.kinds import entity_row_id, relation_row_id
from stateless_rag.lookups import entity_of
from stateless_rag.text import chunk_id_of, relation_key
from stateless_rag.types import Entity, Relation

if TYPE_CHECKING:
    from stateless_rag.protocols import Basis, EntityRow, RelationRow, Snapshot

__all__ = ["Bounds", "Graph", "Values", "values_of", "vector_id", "vector_row"]

Result = TypeVar("Result")


class Graph(Core):
    """Reading the graph."""

    async def get_graph_labels(self) -> list[str]:
        """The names of all entities, sorted."""
        return await (await self.engine()).labels()

    async def get_popular_labels(self, limit: int = 300) -> list[str]:
        """The names of the entities with the most relations."""
        return await (await self.engine()).popular_labels(limit=limit)

    async def search_labels(self, query: str, limit: int = 50) -> list[str]:
        """Names that match: the same, those that begin so, those that hold it, those with a typo."""
        return await (await self.engine()).search_labels(query, limit=limit)

    async def get_knowledge_graph(
        self, node_label: str, max_depth: int = 3, max_nodes: int | None = None
    ) -> KnowledgeGraph:
        """The part of the graph around an entity, at most `max_graph_nodes` of it; for "*" the most related ones."""
        name, depth = text("node_label", node_label), whole("max_depth", max_depth)
        given = optional("max_nodes", max_nodes, whole, least=1)
        bounds = self._listed()
        limit = self.max_graph_nodes if given is None else min(given, self.max_graph_nodes)

        def read(snapshot: Snapshot) -> KnowledgeGraph:
            part = subgraph(snapshot, name, depth, max(1, limit))
            values = values_of(snapshot, bounds, part.entities, part.relations)
            return KnowledgeGraph(
                [KnowledgeGraphNode(e.name, [e.name], values.entities[e.key]) for e in part.entities],
                [_edge(r, values.relations[r.source_key, r.target_key]) for r in part.relations],
                part.truncated,
            )

        return await self._read(read)

    async def get_entity_info(self, entity_name: str, include_vector_data: bool = False) -> dict[str, Any]:
        """What there is of an entity: `graph_data` is None if there is none of that name."""
        name, vectors = text("entity_name", entity_name), flag("include_vector_data", include_vector_data)
        bounds = self._listed()

        def read(snapshot: Snapshot) -> tuple[Entity | None, dict[str, Any] | None]:
            found = entity_of(snapshot, name)
            values = None if found is None else values_of(snapshot, bounds, [found], []).entities[found.key]
            return found, values

        found, values = await self._read(read)
        info: dict[str, Any] = {
            "entity_name": name if found is None else found.name,
            "source_id": None if values is None else values["source_id"],
            "graph_data": values,
        }
        if vectors:
            info["vector_data"] = None if found is None else await self._vector_data(found)
        return info

    async def get_relation_info(
        self, src_entity: str, tgt_entity: str, include_vector_data: bool = False
    ) -> dict[str, Any]:
        """What there is of a relation, whichever way it is stated: `graph_data` is None if there is none."""
        ends = text("src_entity", src_entity), text("tgt_entity", tgt_entity)
        vectors, bounds = flag("include_vector_data", include_vector_data), self._listed()

        def read(snapshot: Snapshot) -> tuple[Relation | None, dict[str, Any] | None]:
            found = relation_between(snapshot, *ends)
            if found is None:
                return None, None
            return found, values_of(snapshot, bounds, [], [found]).relations[
                found.source_key, found.target_key
            ]

        found, values = await self._read(read)
        info: dict[str, Any] = {
            "src_entity": ends[0],
            "tgt_entity": ends[1],
            "source_id": None if values is None else values["source_id"],
            "graph_data": values,
        }
        if vectors:
            info["vector_data"] = None if found is None else await self._vector_data(found)
        return info

    def _listed(self) -> Bounds:
        return Bounds(
            self.max_source_ids_per_entity,
            self.max_source_ids_per_relation,
            self.max_file_paths,
            self.file_path_more_placeholder,
        )

    async def _read(self, query: Callable[[Snapshot], Result]) -> Result:
        return await (await self.engine()).workspace.read(query)

    async def _vector_data(self, found: Entity | Relation) -> dict[str, Any] | None:
        engine = await self.engine()
        return await engine.workspace.read_basis(lambda basis: vector_row(basis, found))


def _edge(relation: Relation, properties: dict[str, Any]) -> KnowledgeGraphEdge:
    id_ = f"{relation.source}-{relation.target}"
    return KnowledgeGraphEdge(id_, "DIRECTED", relation.source, relation.target, properties)


# ---- values --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """How many chunks are listed of one thing, and how many files."""

    entity_chunks: int
    relation_chunks: int
    files: int
    more: str


@dataclass(frozen=True)
class Values:
    """What LightRAG's graph holds of entities, by key, and of relations, by both keys."""

    entities: Mapping[str, dict[str, Any]]
    relations: Mapping[tuple[str, str], dict[str, Any]]


def values_of(
    snapshot: Snapshot, bounds: Bounds, entities: Sequence[Entity], relations: Sequence[Relation]
) -> Values:
    """Nodes and edges as LightRAG has them. `source_id` and `file_path` are cut to the bounds."""
    entity_ids = [entity_row_id(entity.key) for entity in entities]
    relation_ids = [relation_row_id(relation_key(each.source_key, each.target_key)) for each in relations]
    told = snapshot.entity_chunks(entity_ids, bounds.entity_chunks)
    stated = snapshot.relation_chunks(relation_ids, bounds.relation_chunks)
    chunks = sorted({chunk for found in (told, stated) for ids in found.values() for chunk in ids})
    sources = {id_: passage.source or UNKNOWN_SOURCE for id_, passage in snapshot.passages(chunks).items()}
    return Values(
        {
            entity.key: _entity_values(entity) | _evidence(told.get(id_, ()), sources, bounds)
            for entity, id_ in zip(entities, entity_ids, strict=True)
        },
        {
            (each.source_key, each.target_key): _relation_values(each)
            | _evidence(stated.get(id_, ()), sources, bounds)
            for each, id_ in zip(relations, relation_ids, strict=True)
        },
    )


def _entity_values(entity: Entity) -> dict[str, Any]:
    return {"entity_id": entity.name, "entity_type": entity.type, "description": entity.description}


def _relation_values(relation: Relation) -> dict[str, Any]:
    return {
        "weight": float(relation.weight),
        "description": relation.description,
        "keywords": ",".join(relation.keywords),
    }


def _evidence(chunks: Sequence[int], sources: Mapping[int, str], bounds: Bounds) -> dict[str, Any]:
    files = list(dict.fromkeys(sources[chunk] for chunk in chunks if chunk in sources))
    if len(files) > bounds.files:
        files = [*files[: bounds.files], f"...{bounds.more}..."]
    return {
        "source_id": SEPARATOR.join(map(chunk_id_of, chunks)) or "manual_creation",
        "file_path": SEPARATOR.join(files) or "manual_creation",
        "created_at": None,
        "truncate": "",
    }


def vector_row(basis: Basis, found: Entity | Relation) -> dict[str, Any] | None:
    """The vector of an entity or a relation, with what it is of."""
    row: EntityRow | RelationRow | None
    if isinstance(found, Entity):
        row = basis.entity_rows([key := entity_row_id(found.key)]).get(key)
    else:
        pair = relation_key(found.source_key, found.target_key)
        row = basis.relation_rows([key := relation_row_id(pair)]).get(key)
    vector = None if row is None else basis.vectors([row.vector]).get(row.vector)
    if vector is None:
        return None
    return {"id": vector_id(found), "content": found.description, "vector": vector.tolist()}


def vector_id(found: Entity | Relation) -> str:
    """The id that the vector of an entity or a relation has in LightRAG."""
    named = isinstance(found, Entity)
    name = found.name if isinstance(found, Entity) else "".join(sorted((found.source, found.target)))
    number = md5(name.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return f"{'ent' if named else 'rel'}-{number}"
