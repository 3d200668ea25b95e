"""Errors as answers: problem details (RFC 9457) under /api/v1, and the shapes that other routes' clients know.

No answer quotes a stack, a prompt, or what a provider said; each carries the id under which the log has it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from stateless_rag.errors import (
    BudgetExhausted,
    CommitConflict,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    StatelessRagError,
    StoreClosed,
    StoreLocked,
    StreamAbandoned,
    WorkCancelled,
    WorkspaceMismatch,
    WorkspaceNotFound,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

__all__ = [
    "Problem",
    "Refused",
    "add_handlers",
    "answer_error",
    "error_kind",
    "error_text",
    "request_id_of",
    "status_of",
]

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidInput, 400),
    (WorkspaceNotFound, 404),
    (WorkspaceMismatch, 409),
    (CommitConflict, 409),
    (WorkCancelled, 409),
    (ProviderRateLimited, 503),
    (ProviderTimeout, 504),
    (ProviderError, 502),
    (Overloaded, 503),
    (BudgetExhausted, 402),
    (DeadlineExceeded, 504),
    (StoreClosed, 503),
    (StoreLocked, 503),
    (StreamAbandoned, 408),
    (ClientDisconnect, 400),  # which nobody reads
)
_REQUEST_ID = "stateless_rag.request_id"
_PROBLEMS = "/api/v1"
_SHORT = 200  # characters of what was sent that an answer repeats


class Problem(BaseModel):
    """An error: RFC 9457. `request_id` is what the log has it under; `errors` tells what is wrong with the body.

    `error` is the library's name for it, such as WorkspaceNotFound, where it has one.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    error: str | None = None
    errors: list[dict[str, Any]] | None = None


class Refused(HTTPException):
    """A request that is refused for a reason of the server's own, with its status and headers."""


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id of a request."""
    found: str = scope.get(_REQUEST_ID, "")
    return found


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_text(error: Exception, request_id: str) -> str:
    """What an answer says of an error."""
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, ProviderError):
        return f"A provider failed: {type(error).__name__}. (error_id: {request_id})"
    if isinstance(error, WorkspaceNotFound) and error.name is not None:  # the folder is nobody's business
        there = "`stateless-rag workspaces list` shows what is there"
        return f"there is no workspace {error.name!r} on this server; {there}"
    if isinstance(error, StatelessRagError) and status_of(error) != 500:
        return str(error)
    return f"Internal server error (error_id: {request_id})"


def error_kind(error: Exception) -> str | None:
    """The library's name for an error, None where it is not one of the library's that answers tell of."""
    known = isinstance(error, StatelessRagError) and status_of(error) != 500
    return type(error).__name__ if known else None


async def answer_error(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Answer a request by an error, outside of any route."""
    await _response(Request(scope), error)(scope, receive, send)


def add_handlers(app: FastAPI) -> None:
    """Answer what routes raise."""

    async def failed(request: Request, error: Exception) -> Response:
        return _response(request, error)

    for kind in (HTTPException, RequestValidationError, StatelessRagError, Exception):
        app.add_exception_handler(kind, failed)


def _response(request: Request, error: Exception) -> Response:
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    request_id = request_id_of(request.scope)
    if isinstance(error, RequestValidationError):
        return _invalid(path, request, error)
    status, told = status_of(error), error_text(error, request_id)
    if status >= 500:
        logging.getLogger("stateless_rag.server").log(
            logging.WARNING if isinstance(error, Overloaded) else logging.ERROR,
            "%s %s: %s: %s",
            request.method,
            path,
            type(error).__name__,
            error,
            exc_info=error if status == 500 else None,
            extra={"request_id": request_id, "error": type(error).__name__},
        )
    headers = dict(getattr(error, "headers", None) or {})
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if path.startswith(f"{_PROBLEMS}/"):
        return _problem(request, status, told, headers, kind=error_kind(error))
    return _shaped(path, status, told, headers)


def _shaped(path: str, status: int, told: str, headers: Mapping[str, str]) -> Response:
    if path == "/query/data" and status == 400:
        return JSONResponse(
            {"status": "failure", "message": told, "data": {}, "metadata": {}}, status, headers
        )
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if status < 500 else "server_error"
        code = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}.get(status)
        body = {"error": {"message": told, "type": kind, "param": None, "code": code}}
        return JSONResponse(body, status, headers)
    if path.startswith("/api/"):
        return JSONResponse({"error": told, "detail": told}, status, headers)
    return JSONResponse({"detail": told}, status, headers)


def _problem(
    request: Request,
    status: int,
    told: str,
    headers: Mapping[str, str],
    errors: list[dict[str, Any]] | None = None,
    kind: str | None = None,
) -> Response:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=told,
        instance=request.url.path,
        request_id=request_id_of(request.scope),
        error=kind,
        errors=errors,
    )
    body = problem.model_dump(exclude_none=True)
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _invalid(path: str, request: Request, error: RequestValidationError) -> Response:
    """A body, a query or a header of the wrong shape. What was sent is not repeated."""
    errors = [
        {"type": each["type"], "loc": [*map(str, each["loc"])], "msg": each["msg"]} for each in error.errors()
    ]
    told = "; ".join(f"{'.'.join(each['loc'])}: {each['msg']}" for each in errors)
    if path == "/query/data":
        body = {"status": "failure", "message": f"Validation error: {told}", "data": {}, "metadata": {}}
        return JSONResponse(body, 400)
    if path.startswith(f"{_PROBLEMS}/"):
        return _problem(request, 422, told, {}, errors)
    if path.startswith("/v1/"):
        return _shaped(path, 400, told, {})
    if path.startswith("/api/"):
        large = any(each["type"] in ("string_too_long", "too_long") for each in errors)
        return _shaped(path, 413 if large else 400, told, {})
    listed = [
        {**each, "input": _short(given.get("input"))}
        for each, given in zip(errors, error.errors(), strict=True)
    ]
    return JSONResponse({"detail": listed}, 422)


def _short(value: Any) -> Any:
    """What was sent, where it is short and JSON; lone surrogates, which UTF-8 has not, as question marks."""
    if isinstance(value, str) and len(value) <= _SHORT:
        return value.encode("utf-8", "replace").decode()
    return value if value is None or (isinstance(value, int) and len(str(value)) <= _SHORT) else {}
