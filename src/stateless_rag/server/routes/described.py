"""What the API's description says of errors, and routers that say it of all their routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from stateless_rag.server.asked import CheckedRoute
from stateless_rag.server.problems import Problem

__all__ = ["PROJECT", "lightrag_router", "ollama_router", "openai_router", "project_router"]

PROJECT = "/{workspace}"
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
    return APIRouter(prefix=prefix, tags=["lightrag"], responses=_errors(Detail), route_class=CheckedRoute)


def ollama_router() -> APIRouter:
    """A router for clients of Ollama."""
    return APIRouter(prefix="/api", tags=["ollama"], responses=_errors(ChatError), route_class=CheckedRoute)


def openai_router() -> APIRouter:
    """A router for clients of OpenAI."""
    return APIRouter(
        prefix="/v1", tags=["openai"], responses=_errors(CompletionError), route_class=CheckedRoute
    )


def _errors(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model, "description": said} for status, said in _ERRORS if status != 422}


def project_router(tag: str, prefix: str = "/api/v1/projects") -> APIRouter:
    """A router below /api/v1."""
    schema = Problem.model_json_schema()
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": said, "content": {"application/problem+json": {"schema": schema}}}
        for status, said in _ERRORS
    }
    return APIRouter(prefix=prefix, tags=[tag], responses=responses, route_class=CheckedRoute)
