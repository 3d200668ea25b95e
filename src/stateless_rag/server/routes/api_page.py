"""/docs and /redoc: the API's description for people, in one page that loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from starlette.responses import HTMLResponse

from stateless_rag.server.routes.described import service_router

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["api_page_routes"]

_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


async def api_page() -> Response:
    """The page; it asks for /openapi.json itself. No key is needed for it, what it sends needs one."""
    page = files("stateless_rag.server") / "pages" / "docs.html"
    text = await asyncio.to_thread(page.read_text, encoding="utf-8")
    return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"})


def api_page_routes(settings: ServerSettings) -> APIRouter:
    """The page, where it is wanted."""
    router = service_router()
    for path in ("/docs", "/redoc") if settings.docs else ():
        router.add_api_route(path, api_page, methods=["GET"], include_in_schema=False)
    return router
