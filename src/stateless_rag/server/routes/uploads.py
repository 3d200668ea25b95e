"""/api/v1/projects/{workspace}/uploads: files in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, File, Header, Response, UploadFile
from pydantic import BaseModel

from stateless_rag.converting import SUFFIXES
from stateless_rag.errors import InvalidInput, UnreadableFile
from stateless_rag.ingest import new_tracking_id
from stateless_rag.server.asked import Asked, ReadProject, WriteProject
from stateless_rag.server.keyed import key_tracking_id
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.routes.documents import accept
from stateless_rag.server.texts import file_document
from stateless_rag.stages.chunk import document_id
from stateless_rag.types import FileDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import Document

__all__ = ["upload_routes"]

_SHOWN = 20
_NAME = 255
_Key = Annotated[
    str | None, Header(alias="Idempotency-Key", description="The same key again does nothing again.")
]


class Uploaded(BaseModel):
    """What became of a file: an accepted one is the document `id`, a refused one says why; `reason` in a word."""

    name: str
    status: Literal["accepted", "refused"]
    id: str | None = None
    error: str | None = None
    reason: str | None = None


class Uploads(BaseModel):
    """What became of the files, in order. Those accepted are durable, and are read and taken in in the background."""

    tracking_id: str
    files: list[Uploaded]


class Kinds(BaseModel):
    """The suffixes of files that are taken in, and the bytes that a request may have (0: without bound)."""

    suffixes: list[str]
    max_bytes: int


async def upload_files(
    asked: WriteProject,
    files: Annotated[list[UploadFile], File(description="One part of this name for each file.")],
    idempotency_key: _Key = None,
) -> Response:
    """Take files in, in the background; one whose name is known is updated.

    Files that are refused at once do not hinder the others; if all are, the answer is 400. One that turns out later to
    be unreadable is a document that failed, with the reason.
    """
    outcomes, documents = await _read(asked, files)

    async def work() -> dict[str, Any]:
        if not documents:
            refused = "; ".join(str(each.error) for each in outcomes[:_SHOWN])
            raise Refused(400, refused or "there are no files in the request")
        name = None if idempotency_key is None else key_tracking_id(asked.workspace, idempotency_key)
        tracking_id = await accept(asked, documents, name or new_tracking_id(), once=name is not None)
        return {"tracking_id": tracking_id, "files": [each.model_dump() for each in outcomes]}

    said = "" if idempotency_key is None else await asyncio.to_thread(_digest, outcomes, documents)
    return told(await asked.service.keyed.once(asked.workspace, idempotency_key, said, work), 202)


async def _read(asked: Asked, files: Sequence[UploadFile]) -> tuple[list[Uploaded], list[Document]]:
    """What is accepted of the files, and what is said of each."""
    outcomes: list[Uploaded] = []
    documents: dict[str, Document] = {}
    for file in files:
        name = (file.filename or "")[:_NAME]
        try:
            document = await file_document(asked.service.converter, file, asked.service.settings.max_upload)
            id_ = document_id(document)
            if id_ in documents:
                raise InvalidInput(f"{name} comes twice in the request; send one of them by another name")
        except InvalidInput as error:
            reason = error.reason if isinstance(error, UnreadableFile) else "invalid"
            outcomes.append(Uploaded(name=name, status="refused", error=str(error), reason=reason))
            continue
        documents[id_] = document
        outcomes.append(Uploaded(name=name, status="accepted", id=id_))
    return outcomes, list(documents.values())


def _digest(outcomes: Sequence[Uploaded], documents: Sequence[Document]) -> str:
    """What tells two requests apart."""
    found = hashlib.sha256(json.dumps([each.model_dump() for each in outcomes]).encode())
    for document in documents:
        content = document.content if isinstance(document, FileDocument) else document.text.encode()
        found.update(hashlib.sha256(content).digest())
    return found.hexdigest()


async def upload_kinds(asked: ReadProject) -> Response:
    """Which files can be uploaded."""
    return told({"suffixes": SUFFIXES, "max_bytes": asked.service.settings.max_upload})


def upload_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Uploads."""
    router = project_router("documents")
    add: Any = router.add_api_route
    add(f"{PROJECT}/uploads", upload_files, methods=["POST"], response_model=Uploads, status_code=202)
    add(f"{PROJECT}/uploads", upload_kinds, methods=["GET"], response_model=Kinds)
    return router
