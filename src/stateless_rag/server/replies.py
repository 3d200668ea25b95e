"""Values of the library as JSON, and streams of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import fields, is_dataclass
from os import PathLike
from typing import Any

from starlette.responses import Response, StreamingResponse

__all__ = ["STREAM_HEADERS", "json_line", "jsonable", "ndjson", "server_event", "server_events", "told"]

STREAM_HEADERS = (("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"))
_UNTOLD = frozenset({"trace"})


def jsonable(value: Any) -> Any:
    """A value of this library as JSON has it: dataclasses and mappings as objects, collections as arrays.

    The trace of a retrieval is left out; `explain` tells what it says.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        named = (field.name for field in fields(value))
        return {name: jsonable(getattr(value, name)) for name in named if name not in _UNTOLD}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, Collection):
        return [jsonable(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else str(value)


def told(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as the body of an answer."""
    return Response(_dumped(jsonable(value)), status, headers, "application/json")


def json_line(value: Any) -> bytes:
    """A value as a line of JSON."""
    return _dumped(jsonable(value)) + b"\n"


def ndjson(lines: AsyncIterator[bytes]) -> StreamingResponse:
    """Lines of JSON, as they come."""
    headers = {**dict(STREAM_HEADERS), "Connection": "keep-alive"}
    return StreamingResponse(lines, headers=headers, media_type="application/x-ndjson")


def server_event(kind: str | None, value: Any) -> bytes:
    """A server-sent event."""
    named = b"" if kind is None else b"event: " + kind.encode() + b"\n"
    return named + b"data: " + _dumped(jsonable(value)) + b"\n\n"


def server_events(events: AsyncIterator[bytes]) -> StreamingResponse:
    """Server-sent events, as they come."""
    return StreamingResponse(events, headers=dict(STREAM_HEADERS), media_type="text/event-stream")


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        "utf-8", "replace"
    )
