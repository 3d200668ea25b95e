"""/api/v1/projects/{workspace}/export and /import: all there is, as a file."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from stateless_rag.exporting.lines import Brought, read_lines
from stateless_rag.server.asked import ReadProject, WriteProject
from stateless_rag.server.replies import jsonable, told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.stages.chunk import document_id
from stateless_rag.types import ExportFormat, ExportKind, JsonlReport

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["file_routes", "header", "new_file", "received"]

_SUFFIXES = MappingProxyType(
    {
        "graphml": (".graphml", "application/graphml+xml"),
        "jsonl": (".jsonl", "application/x-ndjson"),
        "csv": (".csv", "text/csv; charset=utf-8"),
        "parquet": (".parquet", "application/vnd.apache.parquet"),
        "markdown": (".md", "text/markdown; charset=utf-8"),
    }
)


async def export_project(
    asked: ReadProject,
    format: ExportFormat = "jsonl",  # noqa: A002 -- the parameter's name
    include: Annotated[list[ExportKind] | None, Query(description="Kinds of rows; by default all.")] = None,
    vectors: bool = False,
    communities: bool = False,
) -> Response:
    """The graph, or with `jsonl` all there is, as a file."""
    suffix, media_type = _SUFFIXES[format]
    path = await asyncio.to_thread(new_file, suffix)
    try:
        async with asked.engine() as engine:
            report = await engine.export(
                path, format, include=include, vectors=vectors, communities=communities
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type=media_type,
        filename=f"{asked.workspace}{suffix}",
        headers={"X-Revision": str(report.revision), "X-Report": header(report)},
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


async def import_project(request: Request, asked: WriteProject) -> Response:
    """Bring in a file that `export` has made as JSON Lines; into a workspace that holds something, as an insert."""
    path = await asyncio.to_thread(new_file, ".jsonl")
    try:
        await asked.within_tokens()
        await received(request, path)
        quotas = asked.service.quotas
        sizes = await asyncio.to_thread(_sizes, path) if quotas.bounds_room else {}
        async with asked.writing_engine() as engine, quotas.reserved(engine, sizes):
            report = await engine.import_jsonl(path)
    finally:
        path.unlink(missing_ok=True)
    return told(report)


def _sizes(path: Path) -> dict[str, int]:
    """The characters of the documents in a file, by id."""
    with path.open("rb") as file:
        lines = (line for line in read_lines(file, "the file") if isinstance(line, Brought))
        return {document_id(line.document): len(line.document.text) for line in lines}


async def received(request: Request, path: Path) -> None:
    """Write the body of a request into a file, as it comes."""
    with path.open("wb") as file:
        async for piece in request.stream():
            await asyncio.to_thread(_write, file, piece)


def header(report: Any) -> str:
    """A report as a header: JSON in ASCII, without the path that the file had on the server."""
    return json.dumps(jsonable(report) | {"path": ""})


def new_file(suffix: str) -> Path:
    """A file for a while; whoever asks for it removes it."""
    number, name = tempfile.mkstemp(suffix, "stateless-rag-")
    os.close(number)
    return Path(name)


def _write(file: IO[bytes], piece: bytes) -> None:
    file.write(piece)


def file_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Export and import."""
    router = project_router("projects")
    add: Any = router.add_api_route
    files = {kind: {"schema": {"type": "string", "format": "binary"}} for _, kind in _SUFFIXES.values()}
    lines = {"application/x-ndjson": {"schema": {"type": "string"}}}
    add(
        f"{PROJECT}/export",
        export_project,
        methods=["GET"],
        response_class=Response,
        responses={200: {"content": files, "description": "The file."}},
    )
    add(
        f"{PROJECT}/import",
        import_project,
        methods=["POST"],
        response_model=JsonlReport,
        openapi_extra={"requestBody": {"required": True, "content": lines}},
    )
    return router
