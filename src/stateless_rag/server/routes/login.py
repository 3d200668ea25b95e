"""/auth-status, /login and /auth/verify, as clients of LightRAG know them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel

from stateless_rag.server.asked import service_of
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import lightrag_router
from stateless_rag.server.routes.health import shown

if TYPE_CHECKING:
    from stateless_rag.server.service import Service
    from stateless_rag.server.settings import ServerSettings

__all__ = ["login_routes"]

_GUEST = "Authentication is disabled. Using guest access."


class LoggedIn(BaseModel):
    """A token, and how the server shows itself."""

    access_token: str
    token_type: str
    auth_mode: str
    core_version: str
    api_version: str
    webui_title: str | None
    webui_description: str | None
    ai_content_notice_enabled: bool
    message: str | None = None


class AuthStatus(BaseModel):
    """Whether one has to log in; without accounts, with a guest's token."""

    auth_configured: bool
    auth_mode: str
    core_version: str
    api_version: str
    webui_title: str | None
    webui_description: str | None
    ai_content_notice_enabled: bool
    access_token: str | None = None
    token_type: str | None = None
    message: str | None = None


class Verified(BaseModel):
    """The key or the token is good."""

    status: str


async def auth_status(request: Request) -> Response:
    """Whether one has to log in."""
    service = service_of(request)
    if not service.settings.accounts:
        return told({"auth_configured": False, **_guest(service)})
    return told({"auth_configured": True, "auth_mode": "enabled", **shown(service.settings)})


async def login(
    request: Request, username: Annotated[str, Form()], password: Annotated[str, Form()]
) -> Response:
    """A token for a name and a password."""
    service = service_of(request)
    if not service.settings.accounts:
        return told(_guest(service))
    address = request.client.host if request.client else ""
    account = await service.auth.logins.check(address, username, password)
    token = service.auth.tokens.made(account.name, guest=False)
    known = {"access_token": token, "token_type": "bearer", "auth_mode": "enabled"}
    return told({**known, **shown(service.settings)})


async def verify(request: Request) -> Response:
    """Whether the key or the token is good, also where a path is open to all."""
    service_of(request).auth.principal(request, open_paths=False)
    return told({"status": "ok"})


def _guest(service: Service) -> dict[str, Any]:
    token = service.auth.tokens.made("guest", guest=True)
    known = {"access_token": token, "token_type": "bearer", "auth_mode": "disabled", "message": _GUEST}
    return {**known, **shown(service.settings)}


def login_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Logging in."""
    router = lightrag_router()
    add: Any = router.add_api_route
    add("/auth-status", auth_status, methods=["GET"], response_model=AuthStatus)
    add("/login", login, methods=["POST"], response_model=LoggedIn)
    add("/auth/verify", verify, methods=["GET"], response_model=Verified)
    return router
