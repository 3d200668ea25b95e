"""The part of the fake server that takes files of requests: `/v1/files` and `/v1/batches`, right and wrong."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from stateless_rag.checks import each_field, flag, optional, text, whole

__all__ = ["BatchBehaviour", "FakeBatches"]

_CREATED = 1_000_000_000_000  # later than any `since`, so that nothing is passed over for its age
_ROUTE = re.compile(r"/v1/(files|batches)(?:/([\w-]+))?(?:/(content|cancel))?")
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_FIELD = re.compile(rb'name="(\w+)"(?:; filename="([^"]*)")?')
_ENDED = ("completed", "failed", "expired", "cancelled")

Answer = tuple[int, bytes]
Chat = Callable[[Mapping[str, Any], str], Awaitable[tuple[int, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBehaviour:
    """How the fake server deals with batches.

    A batch is "validating", then for `polls` looks at it "in_progress", for one "finalizing", then it has ended.
    Requests whose body holds `failing` get an error, those with `silent` no line at all. After `expires_after`
    requests it ends as "expired". With `rejects` it ends as "failed", under that code. `truncated` cuts the file of
    replies in its last line, so many times as it is read; `shuffled` puts its lines out of order. With `usage` off
    replies tell no tokens.
    """

    polls: int = 0
    failing: str | None = None
    silent: str | None = None
    expires_after: int | None = None
    rejects: str | None = None
    truncated: int = 0
    shuffled: bool = False
    usage: bool = True

    def __post_init__(self) -> None:
        each_field(self, whole, "polls", "truncated")
        each_field(self, optional, "failing", "silent", "rejects", check=text)
        each_field(self, optional, "expires_after", check=whole)
        each_field(self, flag, "shuffled", "usage")


@dataclass(slots=True)
class _Batch:
    id: str
    input: str
    metadata: Mapping[str, Any]
    endpoint: str
    status: str = "validating"
    looks: int = 0
    total: int = 0
    completed: int = 0
    failed: int = 0
    output: str | None = None
    errors: str | None = None
    code: str | None = None


class FakeBatches:
    """Files and batches of one server. `chat` answers one request: its body and the batch's id → status, body."""

    def __init__(self, chat: Chat, behaviour: BatchBehaviour) -> None:
        self._chat = chat
        self.behaviour = behaviour
        self._lock = threading.Lock()
        self._number = 0
        self._truncations = behaviour.truncated
        self._files: dict[str, tuple[str, str, bytes]] = {}
        self._batches: dict[str, _Batch] = {}

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files that are there, by their names."""
        with self._lock:
            return {name: content for name, _, content in self._files.values()}

    @property
    def statuses(self) -> Mapping[str, str]:
        """The status of each batch, by its id."""
        with self._lock:
            return {batch.id: batch.status for batch in self._batches.values()}

    async def answer(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes
    ) -> Answer | None:
        """Status and body for a request to one of the routes; None for any other."""
        path, _, query = target.partition("?")
        route = _ROUTE.fullmatch(path)
        if route is None:
            return None
        kind, id_, part = route.groups()
        if kind == "files":
            return self._file(method, id_, part, parse_qs(query), headers, content)
        return await self._batch(method, id_, part, parse_qs(query), content)

    # ---- files -----------------------------------------------------------------------------------------

    def _file(
        self,
        method: str,
        id_: str | None,
        part: str | None,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        content: bytes,
    ) -> Answer:
        if id_ is None and method == "POST":
            parts = _form(headers.get("content-type", ""), content)
            name, body = parts.get("file", ("", b""))
            return _json(
                200, self._told(self._store(name, parts.get("purpose", ("", b""))[1].decode(), body))
            )
        if id_ is None:
            wanted = query.get("purpose", [""])[0]
            with self._lock:
                found = [key for key, (_, purpose, _) in self._files.items() if wanted in ("", purpose)]
            return _json(200, _page([self._told(key) for key in reversed(found)], query))
        with self._lock:
            stored = self._files.get(id_)
        if stored is None:
            return _error(404, "not_found")
        if method == "DELETE":
            with self._lock:
                self._files.pop(id_, None)
            return _json(200, {"id": id_, "object": "file", "deleted": True})
        if part == "content":
            return 200, self._content(id_, stored[2])
        return _json(200, self._told(id_))

    def _content(self, id_: str, content: bytes) -> bytes:
        with self._lock:
            outputs = {batch.output for batch in self._batches.values()}
            if id_ not in outputs or not self._truncations:
                return content
            self._truncations -= 1
        return content[: len(content) - 40]

    def _store(self, name: str, purpose: str, content: bytes) -> str:
        with self._lock:
            self._number += 1
            key = f"file-{self._number}"
            self._files[key] = (name, purpose, content)
        return key

    def _told(self, key: str) -> dict[str, Any]:
        with self._lock:
            name, purpose, content = self._files[key]
        told = {"id": key, "object": "file", "bytes": len(content), "created_at": _CREATED}
        return {**told, "filename": name, "purpose": purpose, "status": "processed"}

    # ---- batches ---------------------------------------------------------------------------------------

    async def _batch(
        self,
        method: str,
        id_: str | None,
        part: str | None,
        query: Mapping[str, list[str]],
        content: bytes,
    ) -> Answer:
        if id_ is None and method == "POST":
            return self._create(content)
        if id_ is None:
            with self._lock:
                found = [self._shape(batch) for batch in reversed(self._batches.values())]
            return _json(200, _page(found, query))
        with self._lock:
            batch = self._batches.get(id_)
        if batch is None:
            return _error(404, "not_found")
        if part == "cancel":
            if batch.status in _ENDED:
                return _error(409, "batch_ended")
            batch.status = "cancelling"
        else:
            await self._move(batch)
        return _json(200, self._shape(batch))

    def _create(self, content: bytes) -> Answer:
        try:
            asked = json.loads(content)
            uploaded = self._files[asked["input_file_id"]]
        except (ValueError, KeyError, TypeError):
            return _error(400, "invalid_input_file")
        if asked.get("completion_window") != "24h" or uploaded[1] != "batch":
            return _error(400, "invalid_request")
        with self._lock:
            id_ = f"batch_{len(self._batches) + 1}"
            metadata = asked.get("metadata") or {}
            batch = _Batch(id_, asked["input_file_id"], metadata, str(asked.get("endpoint")))
            self._batches[id_] = batch
        return _json(200, self._shape(batch))

    async def _move(self, batch: _Batch) -> None:
        """One look at a batch moves it on."""
        if batch.status in _ENDED:
            return
        batch.looks += 1
        if batch.status == "cancelling":
            await self._work(batch, at_most=0)
            batch.status = "cancelled"
        elif self.behaviour.rejects is not None:
            batch.status, batch.code = "failed", self.behaviour.rejects
        elif batch.looks <= self.behaviour.polls:
            batch.status = "in_progress"
        elif self.behaviour.polls and batch.status != "finalizing":
            batch.status = "finalizing"
        else:
            await self._work(batch, at_most=self.behaviour.expires_after)

    async def _work(self, batch: _Batch, at_most: int | None) -> None:
        uploaded = self._files.get(batch.input)
        if uploaded is None:
            batch.status, batch.code = "failed", "input_file_deleted"
            return
        lines = [json.loads(line) for line in uploaded[2].splitlines() if line.strip()]
        batch.total = len(lines)
        answered: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            if at_most is not None and number >= at_most:
                failed.append(_line(line, None, None, "batch_expired"))
                continue
            body = json.dumps(line["body"], ensure_ascii=False)
            if self.behaviour.silent is not None and self.behaviour.silent in body:
                continue
            if self.behaviour.failing is not None and self.behaviour.failing in body:
                failed.append(_line(line, 500, {"error": {"code": "server_error"}}, None))
                continue
            status, said = await self._chat(line["body"], batch.id)
            if isinstance(said, dict) and not self.behaviour.usage:
                said.pop("usage", None)
            (answered if status == 200 else failed).append(_line(line, status, said, None))
        if self.behaviour.shuffled:
            random.Random(len(answered)).shuffle(answered)  # noqa: S311 -- no secret
        batch.completed, batch.failed = len(answered), len(failed)
        batch.output = self._output(batch, "output", answered)
        batch.errors = self._output(batch, "error", failed)
        batch.status = "completed" if at_most is None else "expired"

    def _output(self, batch: _Batch, kind: str, lines: list[dict[str, Any]]) -> str | None:
        if not lines:
            return None
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        return self._store(f"{batch.id}_{kind}.jsonl", "batch_output", content)

    def _shape(self, batch: _Batch) -> dict[str, Any]:
        errors = None
        if batch.code is not None:
            told = {"code": batch.code, "message": "The fake server refuses it.", "line": None, "param": None}
            errors = {"object": "list", "data": [told]}
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "errors": errors,
            "input_file_id": batch.input,
            "completion_window": "24h",
            "status": batch.status,
            "output_file_id": batch.output,
            "error_file_id": batch.errors,
            "created_at": _CREATED,
            "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
            "metadata": dict(batch.metadata),
        }


def _line(asked: Mapping[str, Any], status: int | None, body: Any, code: str | None) -> dict[str, Any]:
    """A line of a file of replies or errors."""
    response = None
    if status is not None:
        response = {"status_code": status, "request_id": f"req-{asked['custom_id']}", "body": body}
    error = None if code is None else {"code": code, "message": "The batch has ended."}
    return {
        "id": f"batch_req-{asked['custom_id']}",
        "custom_id": asked["custom_id"],
        "response": response,
        "error": error,
    }


def _form(content_type: str, content: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of a multipart form: file name and content, by name of the field."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return {}
    fields = {}
    for part in content.split(b"--" + boundary[1].encode("latin-1"))[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        named = _FIELD.search(head)
        if named is not None:
            name = (named[2] or b"").decode()
            fields[named[1].decode()] = (name, body.removesuffix(b"\r\n"))
    return fields


def _page(found: list[dict[str, Any]], query: Mapping[str, list[str]]) -> dict[str, Any]:
    """A page of a list, after the object that was named."""
    limit, after = int(query.get("limit", ["20"])[0]), query.get("after", [""])[0]
    ids = [each["id"] for each in found]
    start = ids.index(after) + 1 if after in ids else 0
    page = found[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(found),
    }


def _json(status: int, body: Any) -> Answer:
    return status, json.dumps(body).encode()


def _error(status: int, code: str) -> Answer:
    error = {"message": f"The fake server answers {status}.", "type": code, "param": None, "code": code}
    return _json(status, {"error": error})
