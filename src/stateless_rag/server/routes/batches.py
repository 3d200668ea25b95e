"""/api/v1/projects/{workspace}/batches: the extraction in files that the provider answers within a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from stateless_rag.server.asked import ReadProject, WriteProject
from stateless_rag.server.lines import received_lines
from stateless_rag.server.replies import server_events, told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.runs import run_events
from stateless_rag.types import BatchInfo, BatchReport

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import ServerSettings

__all__ = ["batch_routes"]


class Submitted(BaseModel, extra="forbid"):
    """Documents by id that wait or have failed; without ids all of them."""

    ids: Annotated[list[str], Field(min_length=1, max_length=100_000)] | None = None


class BatchCancelled(BaseModel, extra="forbid"):
    """A batch; with `forget` the provider is not asked to stop it, and its replies are never looked for."""

    id: Annotated[str, Field(min_length=1, max_length=1024)]
    forget: bool = False


async def list_batches(asked: ReadProject) -> Response:
    """All batches there have been, oldest first, as they were when they were last looked at."""
    async with asked.engine() as engine:
        return told(await engine.batches())


async def submit_batch(asked: WriteProject, body: Submitted) -> Response:
    """Hand over what extracting documents needs that wait or have failed: server-sent events, at last report or error.

    The report is a list of the batches that were made. Documents wait for them until they are collected.
    """
    await asked.within_tokens()
    async with asked.engine():
        pass  # that there is none is told before the stream begins

    async def work(engine: Engine) -> tuple[BatchInfo, ...]:
        return await engine.submit_batch(body.ids)

    return server_events(run_events(asked, work))


async def submit_batch_of_lines(request: Request, asked: WriteProject) -> Response:
    """Take documents in, one in each line as JSON, to be extracted in batches; else as the route without lines.

    What is given is left alone by what takes documents in, from the first moment.
    """
    await asked.within_tokens()
    lines = await received_lines(request, asked.service.settings.max_text_body)
    quotas = asked.service.quotas
    try:
        async with asked.writing_engine() as engine, quotas.room(engine, lines.sizes):
            pass  # what is too much is told before the stream begins, and within it where another came first
    except BaseException:
        lines.close()
        raise

    async def work(engine: Engine) -> tuple[BatchInfo, ...]:
        async with quotas.reserved(engine, lines.sizes):
            return await engine.submit_batch(documents=lines.documents())

    return server_events(lines.until_closed(run_events(asked, work, create=True)))


async def collect_batches(asked: WriteProject) -> Response:
    """Keep the replies of the batches that have ended: server-sent events, at last report or error.

    What waited for them is not taken in by this: submit what is left to ask, or `resume`.
    """
    async with asked.engine():
        pass  # that there is none is told before the stream begins

    async def work(engine: Engine) -> BatchReport:
        return await engine.collect_batches()

    return server_events(run_events(asked, work))


async def cancel_batch(asked: WriteProject, body: BatchCancelled) -> Response:
    """Ask the provider to stop a batch; what was answered by then can be collected."""
    async with asked.engine() as engine:
        return told(await engine.cancel_batch(body.id, forget=body.forget))


def batch_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Batches: submitted, looked at, collected, cancelled."""
    router = project_router("documents")
    add: Any = router.add_api_route
    stream = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}
    given: dict[str, Any] = {"methods": ["POST"], "responses": stream, "response_class": Response}
    lines = {"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}
    many = f"{PROJECT}/batches"
    add(many, list_batches, methods=["GET"], response_model=list[BatchInfo])
    add(many, submit_batch, **given)
    add(f"{many}/lines", submit_batch_of_lines, openapi_extra=lines, **given)
    add(f"{many}/collect", collect_batches, **given)
    add(f"{many}/cancel", cancel_batch, methods=["POST"], response_model=BatchInfo)
    return router
