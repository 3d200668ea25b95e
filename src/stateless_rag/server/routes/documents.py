"""/api/v1/projects/{workspace}/documents: documents in, out, and where they stand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from stateless_rag.errors import InvalidInput
from stateless_rag.ingest import new_tracking_id
from stateless_rag.listing import Order
from stateless_rag.server.asked import Asked, ReadProject, WriteProject
from stateless_rag.server.board import CLOSING
from stateless_rag.server.keyed import key_tracking_id
from stateless_rag.server.lines import NewDocument
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import server_event, server_events, told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.texts import weight
from stateless_rag.stages.chunk import document_id
from stateless_rag.types import (
    DocumentContents,
    DocumentPage,
    DocumentStatus,
    Event,
    Status,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import Document

__all__ = ["accept", "document_routes"]

_QUIET = 15.0  # seconds after which a comment shows that the stream is alive
_SETTLED = frozenset({"committed", "failed", "unchanged", "deleted"})
_Ids = Annotated[list[str], Field(min_length=1, max_length=100_000)]


class NewDocuments(BaseModel, extra="forbid"):
    """Documents to be taken in."""

    documents: Annotated[list[NewDocument], Field(min_length=1)]

    def made(self) -> list[Document]:
        """The documents. Raises InvalidInput for what is none."""
        return [each.made() for each in self.documents]


class Accepted(BaseModel):
    """What was accepted: it is durable, and will be taken in. `ids` are those of the documents, in order."""

    tracking_id: str
    ids: list[str]


class Chosen(BaseModel, extra="forbid"):
    """Some documents by id, or those of a tracking id; neither is all."""

    ids: _Ids | None = None
    tracking_id: str | None = None


class Ids(BaseModel, extra="forbid"):
    """Documents by id."""

    ids: _Ids


class Deleted(Ids):
    """Documents to delete by id; with `erase` no byte of them is left in any file, which takes longer and admin."""

    erase: bool = False


class Stopped(BaseModel):
    """The documents that were stopped, or are tried again."""

    ids: list[str]


class DocumentDetail(BaseModel):
    """A document: where it stands, and, if they were asked for, its text and what was made of it."""

    status: DocumentStatus
    text: str | None = None
    contents: DocumentContents | None = None


class DeletionReport(BaseModel):
    """What a delete did. `missing` are ids that were not there."""

    deleted: list[str]
    missing: list[str]
    entities_removed: int
    entities_changed: int
    relations_removed: int
    relations_changed: int
    usage: dict[str, Usage]
    seconds: float
    revision: int
    erased: dict[str, Any] | None = None


_Key = Annotated[
    str | None, Header(alias="Idempotency-Key", description="The same key again does nothing again.")
]


async def insert_documents(asked: WriteProject, body: NewDocuments, idempotency_key: _Key = None) -> Response:
    """Take documents in, in the background; one whose id is known is updated."""

    async def work() -> dict[str, Any]:
        documents = body.made()
        name = None if idempotency_key is None else key_tracking_id(asked.workspace, idempotency_key)
        tracking_id = await accept(asked, documents, name or new_tracking_id(), once=name is not None)
        return {"tracking_id": tracking_id, "ids": [document_id(document) for document in documents]}

    # Not as pydantic's JSON, which lone surrogates cannot be.
    said = "" if idempotency_key is None else json.dumps(body.model_dump())
    answer = await asked.service.keyed.once(asked.workspace, idempotency_key, said, work)
    return told(answer, 202)


async def accept(asked: Asked, documents: Sequence[Document], tracking_id: str, *, once: bool = False) -> str:
    """Make documents durable and see to it that they are taken in; returns their tracking id.

    With `once` nothing is done if there are documents of that tracking id already.
    """
    service = asked.service
    await asked.within_tokens()
    async with asked.writing_engine() as engine:
        if once and await engine.tracked(tracking_id):
            return tracking_id
        async with service.quotas.room(engine, {document_id(each): weight(each) for each in documents}):
            service.board.begin(asked.workspace, len(documents), f"accepted {len(documents)} documents")
            await engine.submit(documents, tracking_id=tracking_id)
    service.ingestion.start(asked.workspace)
    return tracking_id


async def list_documents(
    asked: ReadProject,
    status: Annotated[list[Status] | None, Query(description="Of these statuses.")] = None,
    source: str | None = None,
    tracking_id: str | None = None,
    where: Annotated[str | None, Query(description="A metadata filter, as JSON.", max_length=65_536)] = None,
    order: Order = "id",
    descending: bool = False,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Documents by page."""
    wanted = None if where is None else _filter(where)
    async with asked.engine() as engine:
        page = await engine.list_documents(
            status=status or None,
            source=source,
            tracking_id=tracking_id,
            where=wanted,
            order=order,
            descending=descending,
            offset=offset,
            limit=limit,
        )
    return told(page)


async def get_document(
    asked: ReadProject,
    document_id: str,
    contents: Annotated[bool, Query(description="With its text, chunks, entities and relations.")] = False,
) -> Response:
    """Where a document stands, and what was made of it."""
    async with asked.engine() as engine:
        status = await _known(engine, document_id)
        if not contents:
            return told({"status": status, "text": None, "contents": None})
        document, made = await engine.document(document_id), await engine.contents(document_id)
    return told({"status": status, "text": document.text if document else None, "contents": made})


async def delete_document(asked: WriteProject, document_id: str) -> Response:
    """Delete a document with all that rests on it alone."""
    async with asked.engine() as engine:
        report = await engine.delete(document_id)
    if report.missing:
        raise Refused(404, f"there is no document {document_id!r}")
    return told(report)


async def delete_documents(asked: WriteProject, body: Deleted) -> Response:
    """Delete documents, in one commit; ids that there are not are listed as missing."""
    if body.erase:
        asked.of(asked.workspace, "admin")
    async with asked.engine() as engine:
        return told(await engine.delete(body.ids, erase=body.erase))


async def cancel_documents(asked: WriteProject, body: Chosen) -> Response:
    """Stop what is being taken in or waits; it counts as failed and can be retried."""
    async with asked.engine() as engine:
        return told({"ids": await engine.cancel(body.ids, tracking_id=body.tracking_id)})


async def retry_documents(asked: WriteProject, body: Chosen) -> Response:
    """Try again what has failed or was cancelled, in the background; only what is missing is paid for."""
    await asked.within_tokens()
    async with asked.engine() as engine:
        tracked = body.tracking_id
        known = await (engine.documents() if tracked is None else engine.tracked(tracked))
    wanted = None if body.ids is None else set(body.ids)
    failed = [each.id for each in known if each.status is Status.FAILED]
    ids = [id_ for id_ in failed if wanted is None or id_ in wanted]
    if ids:
        asked.service.board.begin(asked.workspace, len(ids), f"retrying {len(ids)} documents")
        asked.service.ingestion.retry(asked.workspace, ids)
    return told({"ids": ids}, 202)


async def watch_documents(asked: ReadProject, tracking_id: str | None = None) -> Response:
    """Server-sent events: the steps of what is taken in. With a tracking id, until its documents are settled.

    The first event, `documents`, tells where those of the tracking id stand, the last one, `settled`, too.
    """
    async with asked.engine():
        pass  # that there is none is told before the stream begins
    return server_events(_events(asked, tracking_id))


async def _events(asked: Asked, tracking_id: str | None) -> AsyncGenerator[bytes]:
    async with asked.service.board.listening(asked.workspace) as queue:
        standing = None
        if tracking_id is not None:
            standing = await _standing(asked, tracking_id)
            yield server_event("documents", standing.counts)
        while standing is None or standing.open:
            try:
                async with asyncio.timeout(_QUIET):
                    event = await queue.get()
            except TimeoutError:
                yield b": alive\n\n"
                event = None
            if event is not None and event.kind == CLOSING:
                return
            if event is not None and (standing is None or event.document_id in standing.ids):
                yield server_event(event.kind, _shown(event))
            if tracking_id is None or standing is None:
                continue
            if event is not None and event.kind in _SETTLED:
                standing.open.discard(event.document_id)
            # All are looked at only where none seems to be left, or one who is slow may have missed something.
            if not standing.open or event is None or event.kind == "finished":
                standing = await _standing(asked, tracking_id)
        yield server_event("settled", standing.counts)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where the documents of a tracking id stand: all ids, how many are in which status, and the ids not settled."""

    ids: frozenset[str]
    counts: dict[str, int]
    open: set[str | None]


async def _standing(asked: Asked, tracking_id: str) -> _Standing:
    async with asked.engine() as engine:
        documents = await engine.tracked(tracking_id)
    counts = {status.value: 0 for status in Status}
    for each in documents:
        counts[each.status] += 1
    open_ = {each.id for each in documents if each.status not in (Status.PROCESSED, Status.FAILED)}
    return _Standing(frozenset(each.id for each in documents), counts, {*open_})


def _shown(event: Event) -> dict[str, Any]:
    """An event without its report."""
    return {
        "kind": event.kind,
        "document_id": event.document_id,
        "done": event.done,
        "total": event.total,
        "message": event.message,
    }


async def _known(engine: Engine, id_: str) -> DocumentStatus:
    status = await engine.document_status(id_)
    if status is None:
        raise Refused(404, f"there is no document {id_!r}")
    return status


def _filter(where: str) -> Any:
    try:
        return json.loads(where)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"where is not JSON: {error}") from error


def document_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Documents: insert, list, look at, delete, cancel, retry, watch."""
    router = project_router("documents")
    add: Any = router.add_api_route
    many, one = f"{PROJECT}/documents", f"{PROJECT}/documents/{{document_id:path}}"
    stream = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}
    add(many, insert_documents, methods=["POST"], response_model=Accepted, status_code=202)
    add(many, list_documents, methods=["GET"], response_model=DocumentPage)
    add(one, get_document, methods=["GET"], response_model=DocumentDetail)
    add(one, delete_document, methods=["DELETE"], response_model=DeletionReport)
    add(f"{PROJECT}/delete", delete_documents, methods=["POST"], response_model=DeletionReport)
    add(f"{PROJECT}/cancel", cancel_documents, methods=["POST"], response_model=Stopped)
    add(f"{PROJECT}/retry", retry_documents, methods=["POST"], response_model=Stopped, status_code=202)
    add(f"{PROJECT}/events", watch_documents, methods=["GET"], responses=stream, response_class=Response)
    return router
