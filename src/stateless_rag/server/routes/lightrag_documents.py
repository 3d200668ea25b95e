"""/documents/*: documents in, and where they stand, as clients of LightRAG know it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response, UploadFile

from stateless_rag.converting import SUFFIXES
from stateless_rag.errors import InvalidInput
from stateless_rag.interop.lightrag.documents import document_id_of, status_rows
from stateless_rag.interop.lightrag.results import DocStatus
from stateless_rag.interop.shapes import UNKNOWN_SOURCE
from stateless_rag.server.asked import Asked, Reading, Writing
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import lightrag_router
from stateless_rag.server.routes.documents import accept
from stateless_rag.server.routes.lightrag_shapes import (
    FileTypes,
    Inserted,
    InsertText,
    InsertTexts,
    Page,
    PageRequest,
    PipelineStatus,
    StatusCounts,
    TextChunking,
    Tracked,
)
from stateless_rag.server.scans import track_id
from stateless_rag.server.texts import file_document
from stateless_rag.settings import ChunkSettings
from stateless_rag.stages.chunk import chunk
from stateless_rag.types import Document, Given, GivenDocument, Status

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.listing import Order
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import DocumentStatus

__all__ = ["lightrag_document_routes", "row_of"]

_LOOKED_AT = 20  # documents of a request that are told to be known already
_NO_SOURCE = frozenset({"", "no-file-path", UNKNOWN_SOURCE})
_OURS: Mapping[DocStatus, tuple[Status, ...]] = MappingProxyType(
    {
        DocStatus.PENDING: (Status.PENDING,),
        DocStatus.PROCESSING: (Status.EXTRACTING, Status.MERGING),
        DocStatus.PROCESSED: (Status.PROCESSED,),
        DocStatus.FAILED: (Status.FAILED,),
    }
)
_ORDERS: Mapping[str, Order] = MappingProxyType(
    {"created_at": "updated_at", "updated_at": "updated_at", "id": "id", "file_path": "source"}
)


# ---- in ------------------------------------------------------------------------------------------------


async def upload_document(asked: Writing, file: UploadFile) -> Response:
    """Take a file in. A file of the same name is updated."""
    most = asked.service.settings.max_upload
    if most and (file.size or 0) > most:
        raise Refused(413, f"File too large. Maximum size: {most} bytes")
    document = await file_document(asked.service.converter, file, most, document_id_of)
    return await _accept(asked, "upload", [document], None)


async def insert_text(asked: Writing, body: InsertText) -> Response:
    """Take a text in."""
    return await _insert(asked, "insert", [(body.text, _source(body.file_source))], body.chunking)


async def insert_texts(asked: Writing, body: InsertTexts) -> Response:
    """Take texts in."""
    most = asked.service.settings.max_texts
    if most and len(body.texts) > most:
        raise Refused(413, f"Too many texts. At most {most} are accepted in one request.")
    given = body.file_sources or []
    if len(given) != len(body.texts):
        raise InvalidInput("file_sources must have as many entries as texts")
    sources = [_source(each) for each in given]
    if len(set(sources)) < len(sources):
        raise InvalidInput("file_sources must be unique")
    return await _insert(asked, "insert", list(zip(body.texts, sources, strict=True)), body.chunking)


async def _insert(
    asked: Asked, kind: str, texts: Sequence[tuple[str, str]], chunking: TextChunking | None
) -> Response:
    documents = [Document(text, id=document_id_of(source), source=source) for text, source in texts]
    return await _accept(asked, kind, documents, chunking)


async def _accept(
    asked: Asked, kind: str, documents: list[Document], chunking: TextChunking | None
) -> Response:
    async with asked.writing_engine() as engine:
        known = [
            str(each.source)
            for each in documents[:_LOOKED_AT]
            if await engine.document_status(str(each.id)) is not None
        ]
        if chunking is not None:
            documents = await asyncio.to_thread(_cut, engine, documents, chunking)
    name = await accept(asked, documents, track_id(kind, asked.service.wall()))
    message = f"{len(documents)} documents were accepted and are processed in the background."
    if known:
        message += f" Known already, and updated: {', '.join(known)}"
    return told({"status": "success", "message": message, "track_id": name})


def _source(given: str | None) -> str:
    source = (given or "").strip()
    if source in _NO_SOURCE:
        raise InvalidInput("file_source is required, and must tell where the text is from")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in source):
        raise InvalidInput("file_source must not have control characters in it")
    return source


def _cut(engine: Engine, documents: Sequence[Document], chunking: TextChunking) -> list[Document]:
    """The documents with their chunks, cut as the request says; long, so to be run in a thread."""
    context = engine.context
    settings = _chunk_settings(chunking)
    cutting = context.derive(settings=replace(context.settings, chunking=settings))
    made: list[Document] = []
    for document in documents:
        spans = tuple((each.start, each.stop) for each in chunk(cutting, document))
        given = Given(spans, (None,) * len(spans), cut=True)
        made.append(GivenDocument(document.text, id=document.id, source=document.source, given=given))
    return made


def _chunk_settings(chunking: TextChunking) -> ChunkSettings:
    params = chunking.params
    names = (("chunk_token_size", "max_tokens"), ("chunk_overlap_token_size", "overlap_tokens"))
    sizes: dict[str, Any] = {ours: params[theirs] for theirs, ours in names if params.get(theirs) is not None}
    if chunking.strategy == "recursive_character":
        separators = params.get("separators")
        marks: dict[str, Any] = {} if separators is None else {"separators": tuple(separators)}
        return ChunkSettings(strategy="recursive", **sizes, **marks)
    if chunking.strategy in ("semantic_vector", "paragraph_semantic"):
        return ChunkSettings(strategy="content", **sizes)
    if mark := params.get("split_by_character"):
        only = bool(params.get("split_by_character_only"))
        return ChunkSettings(strategy="separator", separator=mark, separator_only=only, **sizes)
    return ChunkSettings(strategy="tokens", **sizes)


# ---- where they stand ----------------------------------------------------------------------------------


async def track_status(asked: Reading, track_id: str) -> Response:
    """The documents of a tracking id; an unknown one has none."""
    rows: list[dict[str, Any]] = []
    async with asked.engine_or_none() as engine:
        if engine is not None:
            rows = await _rows(engine, await engine.tracked(track_id))
    summary = dict(Counter(row["status"] for row in rows))
    return told(
        {"track_id": track_id, "documents": rows, "total_count": len(rows), "status_summary": summary}
    )


async def paginated(asked: Reading, body: PageRequest) -> Response:
    """Documents by page."""
    filters = body.status_filters if body.status_filters is not None else [body.status_filter]
    wanted = [status for each in filters if each is not None for status in _OURS.get(each, ())]
    rows: list[dict[str, Any]] = []
    counts: Mapping[Status, int] = {}
    total = 0
    async with asked.engine_or_none() as engine:
        if engine is not None:
            page = await engine.list_documents(
                status=wanted if any(each is not None for each in filters) else None,
                order=_ORDERS[body.sort_field],
                descending=body.sort_direction == "desc",
                offset=min((body.page - 1) * body.page_size, 2**31 - 1),
                limit=body.page_size,
            )
            rows, counts, total = await _rows(engine, page.documents), page.counts, page.total
    pages = -(-total // body.page_size)
    pagination = {
        "page": body.page,
        "page_size": body.page_size,
        "total_count": total,
        "total_pages": pages,
        "has_next": body.page < pages,
        "has_prev": body.page > 1,
    }
    return told({"documents": rows, "pagination": pagination, "status_counts": _counts(counts)})


async def status_counts(asked: Reading) -> Response:
    """How many documents there are of each status."""
    counts: Mapping[Status, int] = {}
    async with asked.engine_or_none() as engine:
        if engine is not None:
            counts = (await engine.list_documents(limit=1)).counts
    return told({"status_counts": _counts(counts)})


async def pipeline_status(asked: Reading) -> Response:
    """What the workspace is doing."""
    service = asked.service
    job, busy = service.board.job(asked.workspace), service.ingestion.busy(asked.workspace)
    started = None if job.started is None else datetime.fromtimestamp(job.started, UTC).isoformat()
    lines = list(job.lines)
    return told(
        {
            "busy": busy,
            "job_name": f"{asked.workspace}[{job.documents} files]" if busy else "-",
            "job_start": started if busy else None,
            "docs": job.documents,
            "batchs": job.documents,
            "cur_batch": min(job.settled, job.documents),
            "request_pending": False,
            "latest_message": lines[-1] if lines else "",
            "history_messages": lines,
            "update_status": {},
            "recovery_required": False,
            "recovery_kind": None,
            "recovery_message": None,
            "destructive_busy": False,
            "scanning": service.scans.running(asked.workspace),
            "scanning_exclusive": False,
            "pending_enqueues": 0,
            "cancellation_requested": job.cancelled and busy,
        }
    )


async def supported_file_types(asked: Reading) -> Response:  # noqa: ARG001 -- who asks is checked
    """What can be uploaded."""
    headers = {"Cache-Control": "no-store", "Vary": "LIGHTRAG-WORKSPACE"}
    bare = [suffix.removeprefix(".") for suffix in SUFFIXES]
    return told({"supported_extensions": SUFFIXES, "engines": {"native": bare}}, headers=headers)


async def _rows(engine: Engine, statuses: Sequence[DocumentStatus]) -> list[dict[str, Any]]:
    found = await status_rows(engine, statuses)
    return [row_of(status.id, found[status.id]) for status in statuses]


def row_of(id_: str, row: Any) -> dict[str, Any]:
    """A document's row as the routes tell it."""
    names = (
        "content_summary",
        "content_length",
        "status",
        "created_at",
        "updated_at",
        "track_id",
        "chunks_count",
        "error_msg",
        "metadata",
        "file_path",
    )
    return {"id": id_, **{name: getattr(row, name) for name in names}}


def _counts(counts: Mapping[Status, int]) -> dict[str, int]:
    found = {status.value: sum(counts.get(each, 0) for each in _OURS.get(status, ())) for status in DocStatus}
    return {**found, "all": sum(found.values())}


def lightrag_document_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Documents in, and where they stand."""
    router = lightrag_router("/documents")
    add: Any = router.add_api_route
    add("/upload", upload_document, methods=["POST"], response_model=Inserted)
    add("/text", insert_text, methods=["POST"], response_model=Inserted)
    add("/texts", insert_texts, methods=["POST"], response_model=Inserted)
    add("/track_status/{track_id}", track_status, methods=["GET"], response_model=Tracked)
    add("/paginated", paginated, methods=["POST"], response_model=Page)
    add("/status_counts", status_counts, methods=["GET"], response_model=StatusCounts)
    add("/pipeline_status", pipeline_status, methods=["GET"], response_model=PipelineStatus)
    add("/supported_file_types", supported_file_types, methods=["GET"], response_model=FileTypes)
    return router
