"""What is looked up in a snapshot by name: a document, an entity, its relations, the whole graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateless_rag.types import Document

if TYPE_CHECKING:
    import rustworkx

    from stateless_rag.protocols import Snapshot
    from stateless_rag.types import Entity, Relation

__all__ = ["document_of", "entity_of", "relations_of", "whole_graph"]


def document_of(snapshot: Snapshot, document_id: str) -> Document | None:
    """A committed document."""
    row = snapshot.document(document_id)
    if row is None:
        return None
    return Document(row["text"], id=row["id"], source=row["source"], metadata=row["metadata"])


def entity_of(snapshot: Snapshot, name: str) -> Entity | None:
    """The entity of a name, aliases applied."""
    id_ = snapshot.entity_id(name)
    return None if id_ is None else snapshot.entities([id_]).get(id_)


def relations_of(snapshot: Snapshot, name: str, limit: int) -> list[Relation]:
    """The relations of an entity, heaviest first."""
    id_ = snapshot.entity_id(name)
    edges = [] if id_ is None else snapshot.edges([id_]).get(id_, [])
    found = snapshot.relations([edge for edge, _ in edges]).values()
    return sorted(found, key=lambda r: (-r.weight, r.source_key, r.target_key))[:limit]


def whole_graph(snapshot: Any) -> rustworkx.PyGraph[Entity, Relation]:
    """All entities and relations; those of the embedded store's own snapshot."""
    graph: rustworkx.PyGraph[Any, Any] = snapshot.graph.to_rustworkx()
    graph.add_nodes_from(sorted(set(snapshot.entity_ids()).difference(graph.nodes())))
    entities = snapshot.entities(graph.nodes())
    relations = snapshot.relations(graph.edges())
    for index in graph.node_indices():
        graph[index] = entities[graph[index]]
    for index in graph.edge_indices():
        graph.update_edge_by_index(index, relations[graph.get_edge_data_by_index(index)])
    return graph
