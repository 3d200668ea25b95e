"""/webui and /workspace: the pages of a web UI that was built for LightRAG's API, from a folder that is set."""

from __future__ import annotations

import asyncio
import json
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from stateless_rag.server.problems import Refused
from stateless_rag.server.routes.described import service_router

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["web_ui_routes"]

_MARK = "<!-- __LIGHTRAG_RUNTIME_CONFIG__ -->"
_APPS = (("webui", "index.html"), ("workspace", "workspace.html"))
_FOREVER = "public, max-age=31536000, immutable"  # names of assets say what is in them


def web_ui_routes(settings: ServerSettings) -> APIRouter:
    """The pages, where a folder is set; they need no key, what they ask for does."""
    router = service_router()
    if settings.webui_dir is None:
        return router
    folder, title = Path(settings.webui_dir), settings.title
    files = StaticFiles(directory=folder, check_dir=False)
    for name, page in _APPS:
        _add(router, name, _page_of(name, folder / page, title), files)
    return router


def _add(router: APIRouter, name: str, page: Any, files: StaticFiles) -> None:
    async def begin(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/{name}/", 307)

    async def file(request: Request, path: str) -> Response:
        normal = posixpath.normpath(path) if path else ""
        if not normal:
            found: Response = await page(request)
            return found
        if normal.endswith(".html"):
            raise Refused(404, "Not Found")
        answer = await files.get_response(normal, request.scope)
        if normal.startswith("assets/"):
            answer.headers["Cache-Control"] = _FOREVER
        return answer

    router.add_api_route(f"/{name}", begin, methods=["GET"], include_in_schema=False)
    router.add_api_route(f"/{name}/{{path:path}}", file, methods=["GET"], include_in_schema=False)


def _page_of(name: str, path: Path, title: str) -> Any:
    async def page(request: Request) -> Response:
        """The page, told where the API is."""
        root = request.scope.get("root_path", "")
        told = {"apiPrefix": root, "webuiPrefix": f"{root}/{name}/", "webuiTitle": title}
        script = json.dumps(told).replace("<", "\\u003c")
        try:
            text = await asyncio.to_thread(path.read_text, encoding="utf-8")
        except OSError as error:
            raise Refused(404, "Not Found") from error
        text = text.replace(_MARK, f"<script>window.__LIGHTRAG_CONFIG__ = {script}</script>")
        return HTMLResponse(text, headers={"Cache-Control": "no-cache, no-store, must-revalidate"})

    return page
