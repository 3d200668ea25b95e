"""/api/v1/projects/{workspace}/budget: what may be spent in a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from stateless_rag.server.asked import AdminProject, ReadProject
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.types import Budget, BudgetStatus

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["budget_routes"]


class BudgetState(BaseModel):
    """How the budget of a workspace stands; null if there is none."""

    status: BudgetStatus | None


async def get_budget(asked: ReadProject) -> Response:
    """The budget that is kept with the workspace, and how much of it is spent."""
    async with asked.engine() as engine:
        return told({"status": await engine.budget()})


async def set_budget(asked: AdminProject, body: Budget) -> Response:
    """Keep a budget with the workspace. What waits for one is gone on with."""
    return await _set(asked, body)


async def remove_budget(asked: AdminProject) -> Response:
    """Keep no budget with the workspace any more. What waits for one is gone on with."""
    return await _set(asked, None)


async def _set(asked: AdminProject, budget: Budget | None) -> Response:
    async with asked.engine() as engine:
        status = await engine.set_budget(budget)
    asked.service.ingestion.start(asked.workspace)
    return told({"status": status})


def budget_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """The budget of a workspace."""
    router = project_router("projects")
    add: Any = router.add_api_route
    add(f"{PROJECT}/budget", get_budget, methods=["GET"], response_model=BudgetState)
    add(f"{PROJECT}/budget", set_budget, methods=["PUT"], response_model=BudgetState)
    add(f"{PROJECT}/budget", remove_budget, methods=["DELETE"], response_model=BudgetState)
    return router
