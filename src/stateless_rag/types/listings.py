"""What listings and looks at the graph return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stateless_rag.types.documents import Chunk, Status
from stateless_rag.types.evidence import Entity, Relation
from stateless_rag.types.reports import DocumentStatus

__all__ = ["DocumentContents", "DocumentPage", "Neighbour", "Subgraph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPage:
    """Some of the documents that a listing was asked for. `total` counts all that it was asked for, `counts` all
    documents of the workspace by status.
    """

    documents: tuple[DocumentStatus, ...]
    total: int
    counts: Mapping[Status, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentContents:
    """What was made of a document: its chunks in order, and the entities and relations that they tell of."""

    chunks: tuple[Chunk, ...]
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An entity, and the relation that leads to it."""

    entity: Entity
    relation: Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph:
    """Entities, nearest first, and all relations among them. `truncated`: there was no room for more entities.

    `degrees` has the number of relations of each entity in the whole graph, by its key.
    """

    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    degrees: Mapping[str, int]
    truncated: bool
