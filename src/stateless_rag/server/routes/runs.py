"""/api/v1/projects/{workspace}/ingest and /resume: documents are taken in while the client waits and watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from stateless_rag.server.asked import Asked, WriteProject
from stateless_rag.server.replies import server_events
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.routes.documents import NewDocuments
from stateless_rag.server.runs import run_events
from stateless_rag.server.texts import weight
from stateless_rag.stages.chunk import document_id
from stateless_rag.types import Budget

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import InsertReport

__all__ = ["run_routes"]


class Ingested(NewDocuments):
    """Documents to be taken in, and what may be spent for it."""

    budget: Budget | None = None


class Resumed(BaseModel, extra="forbid"):
    """Documents to go on with; without ids all that wait or have failed.

    With `truncated` those, too, of which the LLM was cut off by its token limit.
    """

    ids: Annotated[list[str], Field(min_length=1, max_length=100_000)] | None = None
    truncated: bool = False
    budget: Budget | None = None


async def ingest_documents(asked: WriteProject, body: Ingested) -> Response:
    """Take documents in and wait for it: server-sent events of the steps, at last report, or error.

    Who stops reading leaves them to the server, which takes them in all the same, unless there is a budget.
    """
    documents = body.made()
    await asked.within_tokens()
    sizes = {document_id(each): weight(each) for each in documents}
    quotas = asked.service.quotas
    async with asked.writing_engine() as engine, quotas.room(engine, sizes):
        pass  # what is too much is told before the stream begins, and within it where another came first

    async def work(engine: Engine) -> InsertReport:
        async with quotas.reserved(engine, sizes):
            return await engine.insert(documents, budget=body.budget)

    events = run_events(asked, work, create=True)
    return server_events(events if body.budget else _left_to_server(asked, events))


async def resume_documents(asked: WriteProject, body: Resumed) -> Response:
    """Go on with what waits or has failed, and wait for it: server-sent events, at last report, or error."""
    await asked.within_tokens()
    async with asked.engine():
        pass  # that there is none is told before the stream begins

    async def work(engine: Engine) -> InsertReport:
        return await engine.resume(body.ids, truncated=body.truncated, budget=body.budget)

    events = run_events(asked, work)
    return server_events(events if body.budget else _left_to_server(asked, events))


async def _left_to_server(asked: Asked, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The events; what is pending at their end is taken in behind the requests."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    finally:
        asked.service.ingestion.start(asked.workspace)


def run_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Documents that a client waits for."""
    router = project_router("documents")
    add: Any = router.add_api_route
    stream = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}
    given: dict[str, Any] = {"methods": ["POST"], "responses": stream, "response_class": Response}
    add(f"{PROJECT}/ingest", ingest_documents, **given)
    add(f"{PROJECT}/resume", resume_documents, **given)
    return router
