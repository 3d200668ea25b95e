"""/graph/* and /graphs, as clients of LightRAG know them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field, field_validator

from stateless_rag.errors import InvalidInput
from stateless_rag.server.asked import Asked, Reading, Writing
from stateless_rag.server.facade import Facade
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import lightrag_router

if TYPE_CHECKING:
    from stateless_rag.interop.lightrag.results import DeletionResult
    from stateless_rag.server.settings import ServerSettings

__all__ = ["lightrag_graph_routes"]

_ENTITY = ("entity_name", "entity_type", "description", "source_id", "file_path")
_RELATION = ("description", "keywords", "source_id", "file_path", "weight")
_UNTOLD = frozenset({"source_id", "file_path"})  # those of the documents that tell of it


def _named(value: str) -> str:
    if not (stripped := value.strip()):
        raise ValueError("the name is blank")
    return stripped


class _Names(BaseModel):
    @field_validator("*", mode="after")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        return _named(value) if isinstance(value, str) else value


class EntityCreate(_Names):
    """An entity made by hand."""

    entity_name: str
    entity_data: dict[str, Any]


class EntityEdit(_Names):
    """What is to be changed of an entity."""

    entity_name: str
    updated_data: dict[str, Any]
    allow_rename: bool = False
    allow_merge: bool = False


class RelationCreate(_Names):
    """A relation made by hand."""

    source_entity: str
    target_entity: str
    relation_data: dict[str, Any]


class RelationEdit(_Names):
    """What is to be changed of a relation."""

    source_id: str
    target_id: str
    updated_data: dict[str, Any]


class EntityMerge(BaseModel):
    """Entities that are one."""

    entities_to_change: Annotated[list[str], Field(min_length=1)]
    entity_to_change_into: str

    @field_validator("entities_to_change", "entity_to_change_into")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        return _named(value) if isinstance(value, str) else [_named(each) for each in value]


class EntityDelete(_Names):
    """An entity to be deleted."""

    entity_name: str


class RelationDelete(_Names):
    """A relation to be deleted."""

    source_entity: str
    target_entity: str


class Operation(BaseModel):
    """What a change came to."""

    status: str
    message: str
    data: dict[str, Any]
    operation_summary: dict[str, Any] | None = None


class Deleted(BaseModel):
    """What a deletion came to."""

    status: str
    doc_id: str
    message: str
    status_code: int
    file_path: str | None


class GraphNode(BaseModel):
    """An entity."""

    id: str
    labels: list[str]
    properties: dict[str, Any]


class GraphEdge(BaseModel):
    """A relation."""

    id: str
    type: str | None
    source: str
    target: str
    properties: dict[str, Any]


class GraphPart(BaseModel):
    """A part of the graph."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    is_truncated: bool


class Exists(BaseModel):
    """Whether there is such an entity."""

    exists: bool


# ---- looking -------------------------------------------------------------------------------------------


async def list_labels(asked: Reading) -> Response:
    """The names of all entities."""
    async with asked.engine_or_none() as engine:
        return told([] if engine is None else await engine.labels())


async def popular_labels(asked: Reading, limit: Annotated[int, Query(ge=1, le=1000)] = 300) -> Response:
    """The names of the entities with the most relations."""
    async with asked.engine_or_none() as engine:
        return told([] if engine is None else await engine.popular_labels(limit=limit))


async def search_labels(
    asked: Reading, q: Annotated[str, Query(max_length=1024)], limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> Response:
    """Names that match, best first."""
    async with asked.engine_or_none() as engine:
        return told([] if engine is None else await engine.search_labels(q, limit=limit))


async def get_graph(
    asked: Reading,
    label: Annotated[str, Query(max_length=1024)],
    max_depth: Annotated[int, Query(ge=1)] = 3,
    max_nodes: Annotated[int, Query(ge=1)] = 1000,
) -> Response:
    """The part of the graph around an entity; "*" is the whole."""
    most = asked.service.settings.max_graph_nodes
    async with asked.engine_or_none() as engine:
        if engine is None:
            return told({"nodes": [], "edges": [], "is_truncated": False})
        graph = await Facade(engine, most).get_knowledge_graph(
            label, min(max_depth, 1000), min(max_nodes, most)
        )
    return told(graph)


async def entity_exists(asked: Reading, name: Annotated[str, Query(max_length=1024)]) -> Response:
    """Whether there is an entity of that name."""
    async with asked.engine_or_none() as engine:
        return told({"exists": engine is not None and await engine.entity(name) is not None})


# ---- changing ------------------------------------------------------------------------------------------


async def create_entity(asked: Writing, body: EntityCreate) -> Response:
    """Make an entity by hand."""
    data = _checked(body.entity_data, _ENTITY)
    if not data.get("description"):
        raise InvalidInput("entity_data has no description; an entity made by hand needs one")
    async with _facade(asked, create=True) as facade:
        made = await facade.acreate_entity(body.entity_name, data)
    return _done(f"Entity '{body.entity_name}' created successfully", made)


async def edit_entity(asked: Writing, body: EntityEdit) -> Response:
    """Give an entity another type, description or name."""
    data = _checked(body.updated_data, _ENTITY)
    async with _facade(asked) as facade:
        made = await facade.aedit_entity(
            body.entity_name, data, allow_rename=body.allow_rename, allow_merge=body.allow_merge
        )
    summary = made.pop("operation_summary")
    return _done("Entity updated successfully", made, {"operation_summary": summary})


async def create_relation(asked: Writing, body: RelationCreate) -> Response:
    """Relate two entities by hand."""
    data = _checked(body.relation_data, _RELATION)
    async with _facade(asked, create=True) as facade:
        made = await facade.acreate_relation(body.source_entity, body.target_entity, data)
    return _done(
        f"Relation between '{body.source_entity}' and '{body.target_entity}' created successfully", made
    )


async def edit_relation(asked: Writing, body: RelationEdit) -> Response:
    """Give a relation other keywords, another description or another weight."""
    data = _checked(body.updated_data, _RELATION)
    async with _facade(asked) as facade:
        made = await facade.aedit_relation(body.source_id, body.target_id, data)
    return _done("Relation updated successfully", made)


async def merge_entities(asked: Writing, body: EntityMerge) -> Response:
    """Make several entities one."""
    sources = [name for name in body.entities_to_change if name != body.entity_to_change_into]
    async with _facade(asked) as facade:
        made = await facade.amerge_entities(sources, body.entity_to_change_into)
    return _done(f"Merged {len(sources)} entities into '{body.entity_to_change_into}'", made)


async def delete_entity(asked: Writing, body: EntityDelete) -> Response:
    """Delete an entity with its relations."""
    async with _facade(asked) as facade:
        return _deleted(await facade.adelete_by_entity(body.entity_name))


async def delete_relation(asked: Writing, body: RelationDelete) -> Response:
    """Delete a relation; its entities stay."""
    async with _facade(asked) as facade:
        return _deleted(await facade.adelete_by_relation(body.source_entity, body.target_entity))


@asynccontextmanager
async def _facade(asked: Asked, *, create: bool = False) -> AsyncIterator[Facade]:
    """LightRAG's methods on the workspace. Raises WorkspaceNotFound unless it is to be created."""
    async with asked.writing_engine() if create else asked.engine() as engine:
        yield Facade(engine, asked.service.settings.max_graph_nodes)


def _checked(data: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """What is to be said by hand. Raises InvalidInput for unknown fields and values of another type."""
    if unknown := sorted(set(data) - set(known)):
        raise InvalidInput(f"unknown fields {', '.join(unknown)[:200]}; there are {', '.join(known)}")
    for name, value in data.items():
        right = (
            isinstance(value, int | float) and not isinstance(value, bool)
            if name == "weight"
            else isinstance(value, str)
        )
        if not right:
            raise InvalidInput(f"{name} must be a {'number' if name == 'weight' else 'string'}")
    return {name: value for name, value in data.items() if name not in _UNTOLD}


def _done(message: str, data: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Response:
    return told({"status": "success", "message": message, "data": data, **(more or {})})


def _deleted(result: DeletionResult) -> Response:
    if result.status_code != 200:
        raise Refused(result.status_code, result.message)
    return told({**asdict(result), "doc_id": ""})


def lightrag_graph_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """The graph."""
    router = lightrag_router()
    add: Any = router.add_api_route
    add("/graph/label/list", list_labels, methods=["GET"], response_model=list[str])
    add("/graph/label/popular", popular_labels, methods=["GET"], response_model=list[str])
    add("/graph/label/search", search_labels, methods=["GET"], response_model=list[str])
    add("/graphs", get_graph, methods=["GET"], response_model=GraphPart)
    add("/graph/entity/exists", entity_exists, methods=["GET"], response_model=Exists)
    add("/graph/entity/create", create_entity, methods=["POST"], response_model=Operation)
    add("/graph/entity/edit", edit_entity, methods=["POST"], response_model=Operation)
    add("/graph/relation/create", create_relation, methods=["POST"], response_model=Operation)
    add("/graph/relation/edit", edit_relation, methods=["POST"], response_model=Operation)
    add("/graph/entities/merge", merge_entities, methods=["POST"], response_model=Operation)
    add("/graph/entity/delete", delete_entity, methods=["DELETE"], response_model=Deleted)
    add("/graph/relation/delete", delete_relation, methods=["DELETE"], response_model=Deleted)
    return router
