"""What routes are given: who asks, of which workspace, and what they may do there. Dependencies of FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header, Path, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer

from stateless_rag.errors import WorkspaceNotFound
from stateless_rag.server.auth import Principal
from stateless_rag.server.service import Service
from stateless_rag.server.workspace_of import HEADERS, named_in_path, one_workspace

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import Access
    from stateless_rag.types import Usage

__all__ = [
    "AdminProject",
    "Administering",
    "Asked",
    "Chatting",
    "CheckedRoute",
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
_ACCESS = "stateless_rag_access"

# Read from the request itself, where they may come more than once; declared here for the API's description.
_Lightrag = Annotated[str | None, Header(alias="LIGHTRAG-WORKSPACE", description=_ABOUT)]
_Workspace = Annotated[str | None, Header(alias="X-Workspace", description=_ABOUT)]
_Key = Annotated[object, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
_Bearer = Annotated[object, Security(HTTPBearer(auto_error=False))]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who asks, and of which workspace. `facts` are what its line in the log will tell."""

    service: Service
    principal: Principal
    workspace: str
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, usage: Mapping[str, Usage]) -> None:
        """Have the request's line in the log tell what was paid."""
        tokens = sum(used.tokens for used in usage.values())
        self.facts["tokens"] = self.facts.get("tokens", 0) + tokens

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

    async def within_tokens(self) -> None:
        """Raise Refused (429) if the workspace has spent its tokens of today."""
        if self.service.quotas.bounds_tokens:
            async with self.engine_or_none() as engine:
                if engine is not None:  # else nothing was paid there
                    await self.service.quotas.tokens(engine)

    def of(self, workspace: str, access: Access = "read") -> Asked:
        """The same, of another workspace. Raises Refused if that is not theirs."""
        self.principal.require(workspace, access)
        return replace(self, workspace=workspace)

    def entered(self, request: Request, workspace: str, access: Access = "read") -> Asked:
        """The request is for a workspace: it counts there, and its line in the log says so. Raises Refused."""
        facts: dict[str, Any] = {"workspace": workspace, "principal": self.principal.name}
        asked = replace(self.of(workspace, access), facts=facts)
        request.scope["stateless_rag.facts"] = facts
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


class CheckedRoute(APIRoute):
    """A route that refuses who may not do what it does before it reads the body of the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()
        required = [getattr(each.call, _ACCESS) for each in self.dependant.dependencies if _tells(each.call)]

        async def checked(request: Request) -> Response:
            for access, by_model in required:
                asked = _of(request)
                if by_model and not is_named(request):
                    asked.principal.require_access(access)
                else:
                    asked.principal.require(asked.workspace, access)
            return await answer(request)

        return checked


def _tells(call: Any) -> bool:
    return hasattr(call, _ACCESS)


def _of(request: Request) -> Asked:
    service = service_of(request)
    said = [*named_in_path(request.scope), *_headers(request)]
    principal = service.auth.principal(request)
    return Asked(service, principal, one_workspace(said, service.settings.default_workspace))


def _asked(request: Request, access: Access, *, by_model: bool = False) -> Asked:
    asked = _of(request)
    service, principal, workspace = asked.service, asked.principal, asked.workspace
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

    return _telling(found, access, by_model=by_model)


def _of_project(access: Access) -> Callable[..., Awaitable[Asked]]:
    """What a route depends on whose path names the workspace."""

    async def found(
        request: Request,
        workspace: Named,  # noqa: ARG001 -- counts as `named_in_path` has read it
        _3: _Key = None,
        _4: _Bearer = None,
    ) -> Asked:
        return _asked(request, access)

    return _telling(found, access, by_model=False)


def _telling(
    found: Callable[..., Awaitable[Asked]], access: Access, *, by_model: bool
) -> Callable[..., Awaitable[Asked]]:
    """A dependency that tells `CheckedRoute` what it will ask for."""
    setattr(found, _ACCESS, (access, by_model))
    return found


Reading = Annotated[Asked, Depends(_of_request("read"))]
Chatting = Annotated[Asked, Depends(_of_request("read", by_model=True))]
"""Of a workspace that a model's name says, unless the request does: see `chosen`, which enters it."""
Writing = Annotated[Asked, Depends(_of_request("write"))]
Administering = Annotated[Asked, Depends(_of_request("admin"))]
ReadProject = Annotated[Asked, Depends(_of_project("read"))]
WriteProject = Annotated[Asked, Depends(_of_project("write"))]
AdminProject = Annotated[Asked, Depends(_of_project("admin"))]
