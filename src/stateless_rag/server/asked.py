"""What routes are given: who asks, of which workspace, and what they may do there. Dependencies of FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Header, Path, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from stateless_rag.errors import WorkspaceNotFound
from stateless_rag.server.auth import Principal
from stateless_rag.server.service import Service
from stateless_rag.server.workspace_of import HEADERS, named_in_path, one_workspace

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import Access

__all__ = [
    "AdminProject",
    "Administering",
    "Asked",
    "Chatting",
    "Named",
    "ReadProject",
    "Reading",
    "WriteProject",
    "Writing",
    "is_named",
    "service_of",
]

_ABOUT = "The workspace; without one, the default."
_NAME = r"^[A-Za-z0-9_-]{1,64}$"

# Read from the request itself, where they may come more than once; declared here for the API's description.
_Lightrag = Annotated[str | None, Header(alias="LIGHTRAG-WORKSPACE", description=_ABOUT)]
_Workspace = Annotated[str | None, Header(alias="X-Workspace", description=_ABOUT)]
_Key = Annotated[object, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
_Bearer = Annotated[object, Security(HTTPBearer(auto_error=False))]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who asks, and of which workspace."""

    service: Service
    principal: Principal
    workspace: str

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        """The workspace's engine. Raises WorkspaceNotFound."""
        async with self.service.leases.lease(self.workspace) as engine:
            yield engine

    @asynccontextmanager
    async def engine_or_none(self) -> AsyncIterator[Engine | None]:
        """The workspace's engine; None where there is no such workspace, which is then not made."""
        try:
            lease = self.service.leases.lease(self.workspace)
            engine = await lease.__aenter__()
        except WorkspaceNotFound:
            yield None
            return
        try:
            yield engine
        finally:
            await lease.__aexit__(None, None, None)

    @asynccontextmanager
    async def writing_engine(self) -> AsyncIterator[Engine]:
        """The workspace's engine, made if there is no such workspace and the settings let writing make it."""
        create = self.service.settings.create_on_write
        async with self.service.leases.lease(self.workspace, create=create) as engine:
            yield engine

    def of(self, workspace: str, access: Access = "read") -> Asked:
        """The same, of another workspace. Raises Refused if that is not theirs."""
        self.principal.require(workspace, access)
        return replace(self, workspace=workspace)

    def entered(self, request: Request, workspace: str, access: Access = "read") -> Asked:
        """The request is for a workspace: it counts there, and its line in the log says so. Raises Refused."""
        asked = self.of(workspace, access)
        request.scope["stateless_rag.facts"] = {"workspace": workspace, "principal": self.principal.name}
        self.service.quotas.request(workspace)
        return asked


def service_of(request: Request) -> Service:
    """What the application has open."""
    service: Service = request.app.state.service
    return service


def is_named(request: Request) -> bool:
    """Whether a request names a workspace by its path or a header."""
    return bool(named_in_path(request.scope)) or any(value.strip() for value in _headers(request))


def _headers(request: Request) -> list[str]:
    return [value for header in HEADERS for value in request.headers.getlist(header)]


def _asked(request: Request, access: Access, *, by_model: bool = False) -> Asked:
    service = service_of(request)
    principal = service.auth.principal(request)
    said = [*named_in_path(request.scope), *_headers(request)]
    workspace = one_workspace(said, service.settings.default_workspace)
    asked = Asked(service, principal, workspace)
    if by_model and not is_named(request):
        principal.require_access(access)
        request.scope["stateless_rag.facts"] = {"principal": principal.name}
    else:
        asked = asked.entered(request, workspace, access)
    token = service.auth.renewed(request, principal)
    if token is not None:
        request.scope["stateless_rag.headers"] = {"X-New-Token": token}
    return asked


Named = Annotated[str, Path(description="The workspace.", pattern=_NAME)]
"""A workspace in the path. The name counts as `named_in_path` has read it."""


def _of_request(access: Access, *, by_model: bool = False) -> Callable[..., Awaitable[Asked]]:
    """What a route depends on whose workspace is named by a header, by `/w/…` in the path, or by default.

    `by_model`: where none is named, the route finds it out by the name of a model, and then has to enter it.
    """

    async def found(
        request: Request, _1: _Lightrag = None, _2: _Workspace = None, _3: _Key = None, _4: _Bearer = None
    ) -> Asked:
        return _asked(request, access, by_model=by_model)

    return found


def _of_project(access: Access) -> Callable[..., Awaitable[Asked]]:
    """What a route depends on whose path names the workspace."""

    async def found(
        request: Request,
        workspace: Named,  # noqa: ARG001 -- counts as `named_in_path` has read it
        _3: _Key = None,
        _4: _Bearer = None,
    ) -> Asked:
        return _asked(request, access)

    return found


Reading = Annotated[Asked, Depends(_of_request("read"))]
Chatting = Annotated[Asked, Depends(_of_request("read", by_model=True))]
"""Of a workspace that a model's name says, unless the request does: see `chosen`, which enters it."""
Writing = Annotated[Asked, Depends(_of_request("write"))]
Administering = Annotated[Asked, Depends(_of_request("admin"))]
ReadProject = Annotated[Asked, Depends(_of_project("read"))]
WriteProject = Annotated[Asked, Depends(_of_project("write"))]
AdminProject = Annotated[Asked, Depends(_of_project("admin"))]
