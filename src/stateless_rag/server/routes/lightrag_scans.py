"""/documents/scan, as clients of LightRAG know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response

from stateless_rag.server.asked import Reading, Writing
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import lightrag_router
from stateless_rag.server.routes.documents import accept
from stateless_rag.server.routes.lightrag_shapes import Scan, ScanStarted

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["lightrag_scan_routes"]


async def scan(asked: Writing) -> Response:
    """Take in what lies in the input folder."""
    name = asked.service.scans.start(asked, accept)
    if name is None:
        message = "A scan of this workspace is under way."
        return told({"status": "scanning_skipped_pipeline_busy", "message": message, "track_id": ""})
    return told({"status": "scanning_started", "message": "Scanning in the background.", "track_id": name})


async def scan_status(asked: Reading, track_id: str) -> Response:
    """What a scan has come to."""
    return told(asked.service.scans.job(asked.workspace, track_id).told(track_id))


def lightrag_scan_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Scans."""
    router = lightrag_router("/documents")
    add: Any = router.add_api_route
    add("/scan", scan, methods=["POST"], response_model=ScanStarted)
    add("/scan/status/{track_id}", scan_status, methods=["GET"], response_model=Scan)
    return router
