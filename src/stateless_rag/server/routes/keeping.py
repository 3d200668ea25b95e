"""/api/v1/projects/{workspace}/backup and its like: what keeps a workspace whole, safe and small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from stateless_rag.errors import InvalidInput, StoreCorrupt
from stateless_rag.server.asked import AdminProject, service_of
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.routes.files import header, new_file, received
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.types import CompactReport, RepairReport, WorkspaceInfo

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["keeping_routes"]

_BACKUP = "application/octet-stream"


class Forgotten(BaseModel):
    """How many of the LLM's replies were dropped."""

    dropped: int


async def backup_project(asked: AdminProject) -> Response:
    """The workspace as a file, as it is at one revision."""
    path = await asyncio.to_thread(new_file, ".backup")
    try:
        async with asked.engine() as engine:
            report = await engine.backup(path, overwrite=True)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type=_BACKUP,
        filename=f"{asked.workspace}.backup",
        headers={"X-Revision": str(report.revision), "X-Report": header(report)},
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


async def restore_project(
    request: Request,
    name: Annotated[str | None, Query(description="Its name; that of the backup unless given.")] = None,
    overwrite: Annotated[bool, Query(description="Replace the workspace of that name.")] = False,
) -> Response:
    """Make a workspace of a backup. To replace one, or with a key for some workspaces only, name it."""
    service = service_of(request)
    principal = service.auth.principal(request)
    principal.require_access("admin")
    if name is not None:
        principal.require(check_name(name), "admin")
    elif not principal.may_use("*"):
        raise Refused(403, "This key is not for all workspaces; say by name which one the backup is to be")
    elif overwrite:
        raise InvalidInput("name the workspace that is to be replaced")
    path = await asyncio.to_thread(new_file, ".backup")
    try:
        await received(request, path)
        return told(await service.restore(path, name, overwrite=overwrite), 201)
    except StoreCorrupt as error:  # what was sent, not what is here
        raise Refused(400, "what was sent is no backup, or a damaged one") from error
    finally:
        path.unlink(missing_ok=True)


async def compact_project(asked: AdminProject) -> Response:
    """Write the database file of a workspace anew, without what was deleted."""
    async with asked.engine() as engine:
        return told(await engine.compact())


async def repair_project(asked: AdminProject) -> Response:
    """Mend what a check finds, as far as it follows from what is there."""
    async with asked.engine() as engine:
        return told(await engine.repair())


async def forget_replies(
    asked: AdminProject,
    purpose: Annotated[
        list[str] | None, Query(description="extract, glean, summarize, keywords, answer; by default all.")
    ] = None,
) -> Response:
    """Drop the LLM's replies that are kept; what is in the workspace stays."""
    async with asked.engine() as engine:
        return told({"dropped": await engine.clear_cache(purpose)})


def keeping_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Backups, repairs, room on the disk."""
    router = project_router("projects")
    add: Any = router.add_api_route
    file = {_BACKUP: {"schema": {"type": "string", "format": "binary"}}}
    add(
        f"{PROJECT}/backup",
        backup_project,
        methods=["GET"],
        response_class=Response,
        responses={200: {"content": file, "description": "The file."}},
    )
    add(f"{PROJECT}/compact", compact_project, methods=["POST"], response_model=CompactReport)
    add(f"{PROJECT}/repair", repair_project, methods=["POST"], response_model=RepairReport)
    add(f"{PROJECT}/replies", forget_replies, methods=["DELETE"], response_model=Forgotten)
    above = project_router("projects", prefix="/api/v1")
    above.add_api_route(
        "/restore",
        restore_project,
        methods=["POST"],
        response_model=WorkspaceInfo,
        status_code=201,
        openapi_extra={"requestBody": {"required": True, "content": file}},
    )
    router.routes.extend(above.routes)
    return router
