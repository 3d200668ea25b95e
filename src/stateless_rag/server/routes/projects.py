"""/api/v1/projects: workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from stateless_rag.server.asked import AdminProject, Asked, ReadProject, service_of
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.types import Usage, WorkspaceInfo

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["project_routes"]

_Name = Annotated[str, Field(description="Letters, digits, - and _; at most 64.", max_length=256)]


class NewName(BaseModel, extra="forbid"):
    """A workspace's name."""

    name: _Name


class Project(BaseModel):
    """A workspace in a list. `open`: it is in memory. `working`: documents are being taken in."""

    name: str
    open: bool
    working: bool


class ProjectList(BaseModel):
    """Workspaces by name; `total` counts all that the key opens."""

    projects: list[Project]
    total: int


class ProjectHealth(BaseModel):
    """How a workspace is; `exists` is false for one that there is not."""

    status: str
    workspace: str
    exists: bool
    open: bool
    working: bool
    waiting: int


async def list_projects(
    request: Request,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The workspaces that the key opens, by name."""
    service = service_of(request)
    principal = service.auth.principal(request)
    names = [name for name in await service.leases.store.names() if principal.may_use(name)]
    opened = set(service.leases.pool.opened)
    page = names[offset : offset + limit]
    listed = [{"name": n, "open": n in opened, "working": service.ingestion.busy(n)} for n in page]
    return told({"projects": listed, "total": len(names)})


async def create_project(request: Request, body: NewName) -> Response:
    """Make an empty workspace."""
    service = service_of(request)
    name = check_name(body.name)
    service.auth.principal(request).require(name, "admin")
    if not await service.leases.create(name):
        raise Refused(409, f"there is a workspace {name!r} already; choose another name")
    where = f"{request.url.path.rstrip('/')}/{name}"
    return told(await service.leases.store.describe(name), 201, {"Location": where})


async def describe_project(asked: ReadProject) -> Response:
    """What a workspace holds and was made with."""
    async with asked.engine() as engine:
        return told(await engine.describe())


async def rename_project(asked: AdminProject, body: NewName) -> Response:
    """Give a workspace another name; what is being taken in goes on under it."""
    await _free(asked, body.name)
    return told(await asked.service.rename(asked.workspace, body.name))


async def copy_project(asked: AdminProject, body: NewName) -> Response:
    """Make another workspace that holds the same, also what waits or has failed."""
    await _free(asked, body.name)
    return told(await asked.service.copy(asked.workspace, body.name), 201)


async def drop_project(asked: AdminProject) -> Response:
    """Remove a workspace with all it holds, for good."""
    await asked.service.drop(asked.workspace)
    return Response(status_code=204)


async def project_health(asked: ReadProject) -> Response:
    """How a workspace is, also one that there is not."""
    service, name = asked.service, asked.workspace
    exists = await service.leases.exists(name)
    return told(
        {
            "status": "healthy",
            "workspace": name,
            "exists": exists,
            "open": name in service.leases.pool.opened,
            "working": service.ingestion.busy(name),
            "waiting": await service.leases.store.waiting(name) if exists else 0,
        }
    )


async def project_costs(asked: ReadProject) -> Response:
    """What was paid so far to build a workspace, by purpose."""
    async with asked.engine() as engine:
        return told(await engine.costs())


async def _free(asked: Asked, name: str) -> None:
    asked.principal.require(check_name(name), "admin")
    if await asked.service.leases.exists(name):
        raise Refused(409, f"there is a workspace {name!r} already; choose another name")


def project_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Workspaces: list, create, describe, rename, copy, drop."""
    router = project_router("projects")
    add: Any = router.add_api_route
    add("", list_projects, methods=["GET"], response_model=ProjectList)
    add("", create_project, methods=["POST"], response_model=WorkspaceInfo, status_code=201)
    add(PROJECT, describe_project, methods=["GET"], response_model=WorkspaceInfo)
    add(PROJECT, rename_project, methods=["PATCH"], response_model=WorkspaceInfo)
    add(PROJECT, drop_project, methods=["DELETE"], status_code=204)
    add(f"{PROJECT}/copy", copy_project, methods=["POST"], response_model=WorkspaceInfo, status_code=201)
    add(f"{PROJECT}/health", project_health, methods=["GET"], response_model=ProjectHealth)
    add(f"{PROJECT}/costs", project_costs, methods=["GET"], response_model=dict[str, Usage])
    return router
