"""/api/v1/projects/{workspace}/graph/duplicates: entities that may be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from stateless_rag.server.asked import WriteProject
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.routes.graph import Changed
from stateless_rag.types import Duplicate

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["duplicate_routes"]

_Name = Annotated[str, Field(min_length=1, max_length=1024)]


class Proposed(BaseModel, extra="forbid"):
    """Which proposals are wanted; with `ask_llm` the LLM judges what is not sure."""

    least: Annotated[float, Field(ge=0, le=1)] = 0.75
    limit: Annotated[int, Field(ge=1, le=100_000)] = 1000
    ask_llm: bool = False


class Pair(BaseModel, extra="forbid"):
    """Two entities."""

    source: _Name
    target: _Name


async def propose_duplicates(asked: WriteProject, body: Proposed) -> Response:
    """Entities that may be one, surest first. Nothing is changed."""
    if body.ask_llm:
        await asked.within_tokens()
    async with asked.engine() as engine:
        found = await engine.propose_duplicates(least=body.least, limit=body.limit, ask_llm=body.ask_llm)
    return told(found)


async def apply_duplicate(asked: WriteProject, body: Pair) -> Response:
    """Make two entities one; to undo the change takes it back."""
    async with asked.engine() as engine:
        return told(await engine.apply_duplicate(_duplicate(body)))


async def reject_duplicate(asked: WriteProject, body: Pair) -> Response:
    """Say that two entities are different, so that they are not proposed again."""
    async with asked.engine() as engine:
        return told(await engine.reject_duplicate(_duplicate(body)))


def _duplicate(pair: Pair) -> Duplicate:
    return Duplicate(source=pair.source, target=pair.target, score=0.0, reasons=())


def duplicate_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Proposals: made, applied, rejected."""
    router = project_router("graph")
    add: Any = router.add_api_route
    many = f"{PROJECT}/graph/duplicates"
    add(many, propose_duplicates, methods=["POST"], response_model=list[Duplicate])
    add(f"{many}/apply", apply_duplicate, methods=["POST"], response_model=Changed)
    add(f"{many}/reject", reject_duplicate, methods=["POST"], response_model=Changed)
    return router
