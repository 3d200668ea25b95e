"""/api/v1/projects/{workspace}/graph: entities and relations, and changes made to them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from stateless_rag.server.asked import ReadProject, WriteProject
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.types import Curation, Entity, Neighbour, Relation, Subgraph

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["graph_routes"]

_Named = Annotated[str, Query(min_length=1, max_length=1024)]
_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Name = Annotated[str, Field(min_length=1, max_length=1024)]


class NewEntity(BaseModel, extra="forbid"):
    """An entity made by hand; what is not given is the documents'."""

    name: _Name
    type: str | None = None
    description: str | None = None


class EntityChange(BaseModel, extra="forbid"):
    """Another name, type or description."""

    name: _Name | None = None
    type: str | None = None
    description: str | None = None


class Merge(BaseModel, extra="forbid"):
    """Entities that are one."""

    sources: Annotated[list[_Name], Field(min_length=1, max_length=1000)]
    target: _Name
    type: str | None = None
    description: str | None = None


class RelationValues(BaseModel, extra="forbid"):
    """What is said of a relation by hand; what is not given is the documents'."""

    source: _Name
    target: _Name
    keywords: list[str] | None = None
    description: str | None = None
    weight: Annotated[float, Field(ge=0, le=2**31 - 1)] | None = None


class Alias(BaseModel, extra="forbid"):
    """A name that stands for an entity; with no target, for itself again."""

    name: _Name
    target: _Name | None = None


class Revision(BaseModel):
    """The commit that a change has made."""

    revision: int


class Changed(BaseModel):
    """What a change came to: its number in the log, its commit, and the entity or the relation as it is now."""

    number: int
    revision: int
    entity: Entity | None = None
    relation: Relation | None = None


class Undo(BaseModel, extra="forbid"):
    """The number of a change by hand."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]


# ---- looking -------------------------------------------------------------------------------------------


async def list_labels(
    asked: ReadProject,
    search: Annotated[str | None, Query(max_length=1024, description="Names that match, best first.")] = None,
    order: Annotated[
        Literal["name", "relations"], Query(description="By name, or most relations first.")
    ] = "name",
    limit: Annotated[int, Query(ge=1, le=10_000_000)] = 1000,
) -> Response:
    """The names of entities."""
    async with asked.engine() as engine:
        if search is not None:
            return told(await engine.search_labels(search, limit=limit))
        if order == "relations":
            return told(await engine.popular_labels(limit=limit))
        return told((await engine.labels())[:limit])


async def count_types(asked: ReadProject) -> Response:
    """How many entities there are of each type."""
    async with asked.engine() as engine:
        return told(await engine.type_counts())


async def get_entity(asked: ReadProject, name: _Named) -> Response:
    """An entity by its name, or by one that stands for it."""
    async with asked.engine() as engine:
        return told(_found(await engine.entity(name), name))


async def list_neighbours(asked: ReadProject, name: _Named, limit: _Limit = 100) -> Response:
    """The entities that an entity is related to, the heaviest relation first."""
    async with asked.engine() as engine:
        _found(await engine.entity(name), name)
        return told(await engine.neighbours(name, limit=limit))


async def get_relation(asked: ReadProject, source: _Named, target: _Named) -> Response:
    """The relation of two entities, whichever way it is stated."""
    async with asked.engine() as engine:
        return told(_found(await engine.relation(source, target), f"{source} - {target}"))


async def get_subgraph(
    asked: ReadProject, name: _Named, depth: Annotated[int, Query(ge=0, le=100)] = 3, limit: _Limit = 1000
) -> Response:
    """The part of the graph around an entity; of "*" the entities with the most relations."""
    async with asked.engine() as engine:
        return told(await engine.subgraph(name, depth=depth, limit=limit))


def _found(value: Any, name: str) -> Any:
    if value is None:
        raise Refused(404, f"the graph has no {name!r}")
    return value


# ---- changing ------------------------------------------------------------------------------------------


async def create_entity(asked: WriteProject, body: NewEntity) -> Response:
    """Make an entity by hand."""
    async with asked.writing_engine() as engine:
        made = await engine.create_entity(body.name, type=body.type, description=body.description)
    return told(made, 201)


async def change_entity(asked: WriteProject, name: _Named, body: EntityChange) -> Response:
    """Give an entity another type, description or name."""
    async with asked.engine() as engine:
        if body.type is None and body.description is None and body.name is None:
            raise Refused(422, "nothing is to be changed; give a name, a type or a description")
        if body.type is not None or body.description is not None:
            made = await engine.edit_entity(name, type=body.type, description=body.description)
        if body.name is not None:
            made = await engine.rename_entity(name, body.name)
    return told(made)


async def delete_entity(asked: WriteProject, name: _Named) -> Response:
    """Delete an entity with its relations, whatever documents say of it."""
    async with asked.engine() as engine:
        return told(await engine.delete_entity(name))


async def merge_entities(asked: WriteProject, body: Merge) -> Response:
    """Make several entities one, as if they had been called that all along."""
    async with asked.engine() as engine:
        return told(
            await engine.merge_entities(
                body.sources, body.target, type=body.type, description=body.description
            )
        )


async def create_relation(asked: WriteProject, body: RelationValues) -> Response:
    """Relate two entities by hand."""
    values = body.model_dump(exclude={"source", "target"})
    async with asked.writing_engine() as engine:
        return told(await engine.create_relation(body.source, body.target, **values), 201)


async def change_relation(asked: WriteProject, body: RelationValues) -> Response:
    """Give a relation other keywords, another description or another weight."""
    values = body.model_dump(exclude={"source", "target"})
    async with asked.engine() as engine:
        return told(await engine.edit_relation(body.source, body.target, **values))


async def delete_relation(asked: WriteProject, source: _Named, target: _Named) -> Response:
    """Delete a relation, whatever documents say of it; its entities stay."""
    async with asked.engine() as engine:
        return told(await engine.delete_relation(source, target))


async def list_aliases(asked: ReadProject) -> Response:
    """The keys that stand for others."""
    async with asked.engine() as engine:
        return told(await engine.aliases())


async def set_alias(asked: WriteProject, body: Alias) -> Response:
    """Let a name stand for an entity."""
    async with asked.engine() as engine:
        return told({"revision": await engine.alias(body.name, body.target)})


async def list_changes(
    asked: ReadProject,
    name: Annotated[str | None, Query(max_length=1024)] = None,
    limit: Annotated[int, Query(ge=0, le=10_000_000)] = 100,
) -> Response:
    """Changes by hand, newest first."""
    async with asked.engine() as engine:
        return told(await engine.history(name, limit=limit))


async def undo_change(asked: WriteProject, body: Undo) -> Response:
    """Take a change by hand back."""
    async with asked.engine() as engine:
        return told(await engine.undo(body.number))


def graph_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """The graph: looking at it, and changing it by hand."""
    router = project_router("graph")
    add: Any = router.add_api_route
    graph = f"{PROJECT}/graph"
    add(f"{graph}/labels", list_labels, methods=["GET"], response_model=list[str])
    add(f"{graph}/types", count_types, methods=["GET"], response_model=dict[str, int])
    add(f"{graph}/entity", get_entity, methods=["GET"], response_model=Entity)
    add(f"{graph}/neighbours", list_neighbours, methods=["GET"], response_model=list[Neighbour])
    add(f"{graph}/relation", get_relation, methods=["GET"], response_model=Relation)
    add(f"{graph}/subgraph", get_subgraph, methods=["GET"], response_model=Subgraph)
    add(f"{graph}/entity", create_entity, methods=["POST"], response_model=Changed, status_code=201)
    add(f"{graph}/entity", change_entity, methods=["PATCH"], response_model=Changed)
    add(f"{graph}/entity", delete_entity, methods=["DELETE"], response_model=Changed)
    add(f"{graph}/merge", merge_entities, methods=["POST"], response_model=Changed)
    add(f"{graph}/relation", create_relation, methods=["POST"], response_model=Changed, status_code=201)
    add(f"{graph}/relation", change_relation, methods=["PATCH"], response_model=Changed)
    add(f"{graph}/relation", delete_relation, methods=["DELETE"], response_model=Changed)
    add(f"{graph}/aliases", list_aliases, methods=["GET"], response_model=dict[str, str])
    add(f"{graph}/aliases", set_alias, methods=["POST"], response_model=Revision)
    add(f"{graph}/changes", list_changes, methods=["GET"], response_model=list[Curation])
    add(f"{graph}/changes/undo", undo_change, methods=["POST"], response_model=Changed)
    return router
