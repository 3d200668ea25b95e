"""/documents/*: deleting, cancelling, trying again, as clients of LightRAG know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response

from stateless_rag.server.asked import Reading, Writing
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import lightrag_router
from stateless_rag.server.routes.lightrag_shapes import (
    CacheCleared,
    Cancelled,
    Cleared,
    Conflicts,
    DeleteDocs,
    Deletion,
    ForceReset,
    Repair,
    Reprocessed,
    Reset,
)

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["lightrag_change_routes"]


async def delete_document(asked: Writing, body: DeleteDocs) -> Response:
    """Delete documents; when this answers, they are gone. Ids that there are not are told in the history."""
    async with asked.engine_or_none() as engine:
        report = None if engine is None else await engine.delete(body.doc_ids)
    missing = body.doc_ids if report is None else report.missing
    deleted = len(body.doc_ids) - len(missing)
    message = f"{deleted} documents were deleted"
    if missing:
        message += f"; not found: {', '.join(missing[:20])}"
    asked.service.board.say(asked.workspace, message)
    return told({"status": "deletion_started", "message": message, "doc_id": ", ".join(body.doc_ids)})


async def clear_documents(asked: Writing) -> Response:
    """Remove all that the workspace holds."""
    asked.principal.require(asked.workspace, "admin")
    if await asked.service.leases.exists(asked.workspace):
        await asked.service.clear(asked.workspace)
    return told({"status": "success", "message": "All documents and all that rests on them were removed."})


async def clear_cache(asked: Writing, body: dict[str, Any]) -> Response:  # noqa: ARG001 -- a body must come
    """Drop the LLM's replies that are kept; what is in the workspace stays, and deleting stays exact."""
    async with asked.engine_or_none() as engine:
        dropped = 0 if engine is None else await engine.clear_cache()
    message = f"{dropped} kept replies were dropped."
    return told({"status": "success", "message": message})


async def cancel_pipeline(asked: Writing) -> Response:
    """Stop what is being taken in; it counts as failed and can be tried again."""
    if not asked.service.ingestion.busy(asked.workspace):
        return told({"status": "not_busy", "message": "Nothing is being processed."})
    async with asked.engine() as engine:
        stopped = await engine.cancel()
    asked.service.board.job(asked.workspace).cancelled = True
    asked.service.board.say(asked.workspace, f"cancelled {len(stopped)} documents")
    return told(
        {"status": "cancellation_requested", "message": f"{len(stopped)} documents are being stopped."}
    )


async def reprocess_failed(asked: Writing) -> Response:
    """Try again what has failed; only what is missing is paid for."""
    await asked.within_tokens()
    if await asked.service.leases.exists(asked.workspace):
        asked.service.board.begin(asked.workspace, 0, "retrying failed documents")
        asked.service.ingestion.retry(asked.workspace)
    message = "What has failed is tried again in the background."
    return told({"status": "reprocessing_started", "message": message, "track_id": ""})


async def force_reset(asked: Writing, body: ForceReset) -> Response:  # noqa: ARG001 -- who asks is checked
    """Does nothing: a commit is whole or not there, so there is nothing to recover."""
    message = "There is nothing to recover."
    return told({"status": "no_recovery_required", "message": message, "cancelled_manual_retries": 0})


async def source_conflicts(
    asked: Reading,  # noqa: ARG001 -- who asks is checked
    limit: Annotated[int, Query(ge=1, le=200)] = 50,  # noqa: ARG001 -- there are none
    cursor: str | None = None,
) -> Response:
    """None: a document is identified by its whole source."""
    if cursor is not None:
        raise Refused(400, "malformed cursor")
    return told({"conflicts": [], "next_cursor": None})


async def repair_source_conflict(asked: Writing, body: Repair) -> Response:  # noqa: ARG001 -- who asks is checked
    """Refused: there are no conflicts."""
    raise Refused(409, f"{body.primary_doc_id} is no candidate: no source has several documents")


def lightrag_change_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Deleting, cancelling, trying again."""
    router = lightrag_router("/documents")
    add: Any = router.add_api_route
    add("", clear_documents, methods=["DELETE"], response_model=Cleared)
    add("/delete_document", delete_document, methods=["DELETE"], response_model=Deletion)
    add("/clear_cache", clear_cache, methods=["POST"], response_model=CacheCleared)
    add("/cancel_pipeline", cancel_pipeline, methods=["POST"], response_model=Cancelled)
    add("/reprocess_failed", reprocess_failed, methods=["POST"], response_model=Reprocessed)
    add("/recovery/force_reset", force_reset, methods=["POST"], response_model=Reset)
    add("/source_conflicts", source_conflicts, methods=["GET"], response_model=Conflicts)
    add("/source_conflicts/repair", repair_source_conflict, methods=["POST"], response_model=dict[str, Any])
    return router
