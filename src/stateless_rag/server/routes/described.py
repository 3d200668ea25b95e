"""What the API's description says of errors, and routers that say it of all their routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel

from stateless_rag.server.asked import CheckedRoute
from stateless_rag.server.problems import Problem

__all__ = [
    "PROJECT",
    "lightrag_router",
    "ollama_router",
    "openai_router",
    "project_router",
    "service_router",
]

PROJECT = "/{workspace}"
_OURS = frozenset({"projects", "documents", "queries", "graph", "service"})
_ERRORS = (
    (400, "A value that cannot be used, or a name that is none."),
    (401, "No key, or a wrong one."),
    (403, "A key that does not open this."),
    (404, "There is no such thing."),
    (409, "Something else is in the way."),
    (413, "The body is too large."),
    (422, "The request has not the shape it must have."),
    (429, "Too much; Retry-After tells when to come again."),
    (502, "A provider failed."),
    (503, "Too many at once; Retry-After tells when to come again."),
    (504, "A provider took too long."),
)


class Detail(BaseModel):
    """An error, as LightRAG's routes tell it."""

    detail: str


class ChatError(BaseModel):
    """An error, as Ollama tells it."""

    error: str
    detail: str


class CompletionErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class CompletionError(BaseModel):
    """An error, as OpenAI tells it."""

    error: CompletionErrorBody


def lightrag_router(prefix: str = "") -> APIRouter:
    """A router of LightRAG's routes."""
    return _router("lightrag", prefix, _errors(Detail))


def ollama_router() -> APIRouter:
    """A router for clients of Ollama."""
    return _router("ollama", "/api", _errors(ChatError))


def openai_router() -> APIRouter:
    """A router for clients of OpenAI."""
    return _router("openai", "/v1", _errors(CompletionError))


def project_router(tag: str, prefix: str = "/api/v1/projects") -> APIRouter:
    """A router below /api/v1."""
    schema = Problem.model_json_schema()
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": said, "content": {"application/problem+json": {"schema": schema}}}
        for status, said in _ERRORS
    }
    return _router(tag, prefix, responses)


def service_router() -> APIRouter:
    """A router of what is about the server itself."""
    return APIRouter(tags=["service"], generate_unique_id_function=_operation_id)


def _errors(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What FastAPI says of 422 by itself holds."""
    # A status that names its model costs a validator for each route: one does, the others refer to it.
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    (first, described), *others = ((status, said) for status, said in _ERRORS if status != 422)
    return {
        first: {"model": model, "description": described},
        **{status: {"content": content, "description": said} for status, said in others},
    }


def _router(tag: str, prefix: str, responses: dict[int | str, dict[str, Any]]) -> APIRouter:
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        responses=responses,
        route_class=CheckedRoute,
        generate_unique_id_function=_operation_id,
    )


def _operation_id(route: APIRoute) -> str:
    tag = str(route.tags[0])
    return route.name if tag in _OURS else f"{tag}_{route.name}"
