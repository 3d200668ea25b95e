"""/api/v1/projects/{workspace}/settings and its like: how a workspace works, what it costs, whether it is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from stateless_rag.errors import InvalidInput
from stateless_rag.server.asked import AdminProject, ReadProject, WriteProject
from stateless_rag.server.lines import received_lines
from stateless_rag.server.replies import server_events, told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.routes.documents import Ids, NewDocuments
from stateless_rag.server.runs import run_events
from stateless_rag.types import Budget, CheckReport, CostRow, CostsBy, EnableReport, Estimate, Price

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import InsertReport, ReembedReport

__all__ = ["maintaining_routes"]

_Values = dict[str, Any] | None


class SettingsBody(BaseModel):
    """What is kept with a workspace of how to work on it."""

    chunking: dict[str, Any]
    extraction: dict[str, Any]
    merging: dict[str, Any]
    prompts: dict[str, Any]
    models: dict[str, str]


class SettingsChange(BaseModel, extra="forbid"):
    """Groups with the fields that change, all or none; null stands for the default, of a field or of a group."""

    chunking: _Values = None
    extraction: _Values = None
    merging: _Values = None
    prompts: _Values = None
    models: dict[str, str | None] | None = None


class PriceBody(BaseModel, extra="forbid"):
    """The price of a million tokens."""

    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    batch: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5


class Estimated(NewDocuments):
    """Documents that may be taken in, and prices by model; with `batch` if they are extracted in batch files."""

    prices: dict[str, PriceBody] | None = None
    batch: bool = False


class Upgraded(BaseModel, extra="forbid"):
    """Documents by id, those that meet a metadata filter ({}: all), or both."""

    ids: Annotated[list[str], Field(min_length=1, max_length=100_000)] | None = None
    where: dict[str, Any] | None = None
    budget: Budget | None = None


class Reembedded(BaseModel, extra="forbid"):
    """An embedder that the server knows by name; `cut` embeds the beginnings of chunks that are too long for it."""

    embedder: Annotated[str, Field(min_length=1, max_length=1024)]
    cut: bool = False


async def get_settings(asked: ReadProject) -> Response:
    """What is kept with the workspace: chunking, extraction, merging, prompts, models."""
    async with asked.engine() as engine:
        return told(await engine.settings())


async def change_settings(asked: AdminProject, body: SettingsChange) -> Response:
    """Change what is kept with the workspace; it holds from the next call on."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    async with asked.engine() as engine:
        return told(await engine.configure(**changes))


async def list_costs(
    asked: ReadProject,
    by: Annotated[list[CostsBy], Query(description="What the rows are apart by.")],
    since: Annotated[str | None, Query(max_length=64, description="From this date on (UTC).")] = None,
    until: Annotated[str | None, Query(max_length=64, description="Before this date (UTC).")] = None,
    prices: Annotated[
        str | None, Query(max_length=65_536, description='Prices by model, as JSON: {"*": {"input": 0.25}}.')
    ] = None,
) -> Response:
    """What was paid so far in a workspace, in rows."""
    table = _prices(prices)
    async with asked.engine() as engine:
        return told(await engine.costs(by, since=since, until=until, prices=table))


async def estimate_documents(asked: WriteProject, body: Estimated) -> Response:
    """What taking documents in would cost now. Nothing is paid, no document is taken in."""
    documents = body.made()
    given = body.prices
    prices = None if given is None else {name: Price(**each.model_dump()) for name, each in given.items()}
    async with asked.writing_engine() as engine:
        return told(await engine.estimate(documents, prices=prices, batch=body.batch))


async def estimate_lines(
    request: Request,
    asked: WriteProject,
    prices: Annotated[
        str | None, Query(max_length=65_536, description='Prices by model, as JSON: {"*": {"input": 0.25}}.')
    ] = None,
    batch: Annotated[bool, Query(description="If the extraction goes in batch files.")] = False,
) -> Response:
    """As the route without lines, of documents that come one in each line, as JSON: of more than fit into one body."""
    table = _prices(prices)
    lines = await received_lines(request, asked.service.settings.max_text_body)
    try:
        async with asked.writing_engine() as engine:
            return told(await engine.estimate(lines.documents(), prices=table, batch=batch))
    finally:
        lines.close()


async def upgrade_documents(asked: AdminProject, body: Upgraded) -> Response:
    """Extract documents again with the LLM, the prompts and the settings that there are now.

    Server-sent events of the steps, at last report, or error. What is not done when the reader goes stays pending.
    """
    await asked.within_tokens()
    async with asked.engine():
        pass  # that there is none is told before the stream begins

    async def work(engine: Engine) -> InsertReport:
        return await engine.upgrade(body.ids, where=body.where, budget=body.budget)

    return server_events(run_events(asked, work))


async def reembed_project(asked: AdminProject, body: Reembedded) -> Response:
    """Change the workspace to another embedder: its texts are embedded anew, no LLM is asked.

    Server-sent events of the steps, at last report, or error. Interrupted, the same request goes on.
    """
    await asked.within_tokens()
    embedder = asked.service.embedders(body.embedder)
    async with asked.engine():
        pass  # that there is none is told before the stream begins

    async def work(engine: Engine) -> ReembedReport:
        report = await engine.reembed(embedder, cut=body.cut)
        asked.service.leases.reembedded(asked.workspace, report.embedder)
        return report

    return server_events(run_events(asked, work))


async def enable_documents(asked: WriteProject, body: Ids) -> Response:
    """Take documents that were disabled in again."""
    async with asked.engine() as engine:
        return told(await engine.enable(body.ids))


async def disable_documents(asked: WriteProject, body: Ids) -> Response:
    """Leave documents out of the graph and of every answer, without deleting them."""
    async with asked.engine() as engine:
        return told(await engine.disable(body.ids))


async def check_project(
    asked: ReadProject,
    deep: Annotated[bool, Query(description="Also compare with the LLM's replies that are kept.")] = False,
) -> Response:
    """Whether a workspace is whole: everything that follows from something else is computed again."""
    async with asked.engine() as engine:
        return told(await engine.check(deep=deep))


def _prices(given: str | None) -> dict[str, Price] | None:
    if given is None:
        return None
    try:
        return {name: Price(**price) for name, price in json.loads(given).items()}
    except InvalidInput:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(f'prices must be like {{"*": {{"input": 0.25, "output": 2}}}}: {error}') from error


def maintaining_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Settings, costs, checks, documents that are enabled, disabled and upgraded."""
    router = project_router("projects")
    add: Any = router.add_api_route
    stream = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}
    add(f"{PROJECT}/settings", get_settings, methods=["GET"], response_model=SettingsBody)
    add(f"{PROJECT}/settings", change_settings, methods=["PATCH"], response_model=SettingsBody)
    add(f"{PROJECT}/costs/rows", list_costs, methods=["GET"], response_model=list[CostRow])
    add(f"{PROJECT}/estimate", estimate_documents, methods=["POST"], response_model=Estimate)
    lines = {"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}
    add(
        f"{PROJECT}/estimate/lines",
        estimate_lines,
        methods=["POST"],
        response_model=Estimate,
        openapi_extra=lines,
    )
    add(f"{PROJECT}/upgrade", upgrade_documents, methods=["POST"], responses=stream, response_class=Response)
    add(f"{PROJECT}/reembed", reembed_project, methods=["POST"], responses=stream, response_class=Response)
    add(f"{PROJECT}/enable", enable_documents, methods=["POST"], response_model=EnableReport)
    add(f"{PROJECT}/disable", disable_documents, methods=["POST"], response_model=EnableReport)
    add(f"{PROJECT}/check", check_project, methods=["POST"], response_model=CheckReport)
    return router
