"""insert_custom_kg: graphs that programs have made, under the three paths that clients know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from stateless_rag.custom import graph_documents
from stateless_rag.errors import InvalidInput
from stateless_rag.ingest import new_tracking_id
from stateless_rag.server.asked import Asked, WriteProject, Writing
from stateless_rag.server.reading_json import read_json
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, lightrag_router, project_router
from stateless_rag.stages.chunk import document_id as _id_of
from stateless_rag.types import InsertReport

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["custom_graph_routes"]

_NAME = "insert_custom_kg"


class Chunk(BaseModel):
    """A text of a graph; `source_id` ties records to it."""

    content: str
    source_id: str
    file_path: str | None = None
    chunk_order_index: int | None = None


class Entity(BaseModel):
    """An entity of a graph."""

    entity_name: str
    entity_type: str | None = None
    description: str | None = None
    source_id: str | None = None
    file_path: str | None = None


class Relationship(BaseModel):
    """A relation of a graph."""

    src_id: str
    tgt_id: str
    description: str | None = None
    keywords: str | None = None
    weight: float | None = None
    source_id: str | None = None
    file_path: str | None = None


class CustomGraph(BaseModel):
    """A graph that a program has made; the body may also have it under `custom_kg`."""

    chunks: list[Chunk]
    entities: list[Entity]
    relationships: list[Relationship]


class GraphInserted(BaseModel):
    """What was taken in: the ids of its documents, by which it can be deleted, and what was left out."""

    status: str
    message: str
    track_id: str
    workspace: str
    documents: list[str]
    warnings: dict[str, int]
    report: InsertReport


_DocumentId = Annotated[
    str | None, Query(max_length=512, description="The document that all of it belongs to; else its sources.")
]


async def insert_graph(request: Request, asked: WriteProject, document_id: _DocumentId = None) -> Response:
    """Take in a graph that a program has made: chunks, entities, relationships."""
    return await _insert(request, asked, document_id)


async def insert_custom_kg(request: Request, asked: Writing, document_id: _DocumentId = None) -> Response:
    """Take in a graph that a program has made: chunks, entities, relationships."""
    return await _insert(request, asked, document_id)


async def insert_custom_kg_of_documents(
    request: Request, asked: Writing, document_id: _DocumentId = None
) -> Response:
    """As /insert_custom_kg."""
    return await _insert(request, asked, document_id)


async def _insert(request: Request, asked: Asked, document_id: str | None) -> Response:
    graph = await asyncio.to_thread(read_json, await request.body())
    if isinstance(graph, dict) and "custom_kg" in graph:
        graph = graph["custom_kg"]
    if not isinstance(graph, dict):
        raise InvalidInput("the body must be an object with chunks, entities and relationships")
    service = asked.service
    await asked.within_tokens()
    tracking_id = new_tracking_id()
    sizes: dict[str, int] = {}
    if service.quotas.bounds_room or not await service.leases.exists(asked.workspace):
        documents = await asyncio.to_thread(graph_documents, graph, document_id)
        sizes = {_id_of(each): len(each.text) for each in documents}  # what is refused makes no workspace
    async with asked.writing_engine() as engine, service.quotas.reserved(engine, sizes):
        report = await engine.insert_graph(graph, document_id=document_id, tracking_id=tracking_id)
    asked.note(report.usage)
    warnings: dict[str, int] = {}
    for each in report.documents:
        for what, count in each.warnings.items():
            warnings[what] = warnings.get(what, 0) + count
    failed = len(report.failed)
    body = {
        "status": "success"
        if not failed
        else "failure"
        if failed == len(report.documents)
        else "partial_success",
        "message": f"{len(report.documents) - failed} documents were taken in, {failed} failed",
        "track_id": tracking_id,
        "workspace": asked.workspace,
        "documents": [each.id for each in report.documents],
        "warnings": warnings,
        "report": report,
    }
    return told(body)


def custom_graph_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """insert_custom_kg."""
    schema = CustomGraph.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = schema.pop("$defs")
    inlined = {
        name: {**said, "items": parts[said["items"]["$ref"].rpartition("/")[2]]}
        for name, said in schema["properties"].items()
    }
    content = {"application/json": {"schema": {**schema, "properties": inlined}}}
    described: dict[str, Any] = {
        "methods": ["POST"],
        "response_model": GraphInserted,
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }
    project = project_router("graph")
    project.add_api_route(f"{PROJECT}/{_NAME}", insert_graph, **described)
    plain = lightrag_router()
    plain.add_api_route(f"/{_NAME}", insert_custom_kg, **described)
    plain.add_api_route(f"/documents/{_NAME}", insert_custom_kg_of_documents, **described)
    project.routes.extend(plain.routes)
    return project
