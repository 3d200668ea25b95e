"""Around every request: its id, a line in the log, the metrics, and how large its body may be."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from stateless_rag.server.problems import answer_error, request_id_of
from stateless_rag.server.workspace_of import path_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from stateless_rag.server.metrics import Metrics
    from stateless_rag.server.settings import ServerSettings

__all__ = ["BodyLimits", "RequestLog", "limits_of"]

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_REQUEST_ID = "stateless_rag.request_id"


class RequestLog:
    """ASGI, outermost: gives each request an id (its own `X-Request-ID`, if that is plain), answers with it, and logs.

    What nobody else has caught is answered with 500 here.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_REQUEST_ID] = _given_id(scope) or secrets.token_hex(8)
        status = 0
        begun = time.perf_counter()

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {"X-Request-ID": scope[_REQUEST_ID], **scope.get("stateless_rag.headers", {})}
                MutableHeaders(scope=message).update(own)
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception as error:
            if status:
                raise
            await answer_error(scope, receive, told, error)
        finally:
            self._note(scope, status, time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", None) or "unmatched"
        self._metrics.answered(scope["method"], path, status, seconds)
        facts: dict[str, Any] = {
            "request_id": request_id_of(scope),
            "method": scope["method"],
            "route": path,
            "status": status,
            "milliseconds": round(seconds * 1000.0, 1),
            **scope.get("stateless_rag.facts", {}),
        }
        logging.getLogger("stateless_rag.server.access").info(
            "%s %s %s %.1f ms", facts["method"], path, status, facts["milliseconds"], extra=facts
        )


class BodyLimits:
    """ASGI: refuses bodies that are larger than their route takes, by what they say and by what comes."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self._app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        limit = self._limit_of(path_of(scope)) if scope["type"] == "http" else 0
        if not limit:
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > limit:
            await answer_error(scope, receive, send, _too_large(limit))
            return
        come = 0

        async def counted() -> Message:
            nonlocal come
            message = await receive()
            come += len(message.get("body", b""))
            if come > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def limits_of(settings: ServerSettings) -> Callable[[str], int]:
    """How large a body may be, by its path; 0 is without bound."""

    def limit_of(path: str) -> int:
        if path.endswith(("/insert_custom_kg", "/import", "/restore", "/lines")):
            return settings.max_graph_body
        if path.endswith(("/documents/upload", "/uploads")):
            return settings.max_upload and settings.max_upload + 2**20
        if path in ("/documents/text", "/documents/texts") or path.endswith(
            ("/documents", "/ingest", "/estimate")
        ):
            return settings.max_text_body
        return settings.max_body

    return limit_of


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"Request body too large. This endpoint accepts at most {limit} bytes.")


def _given_id(scope: Scope) -> str | None:
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _GIVEN_ID.match(given) else None
