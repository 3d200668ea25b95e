"""A workspace of a server, with the names that the library's engine has.

What they do, and what they return, is as `stateless_rag.Engine` tells; what only a server says is a `ServerError`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from stateless_rag.checks import identifiers
from stateless_rag.client.batching import RemoteBatching
from stateless_rag.client.files import downloaded, local_path
from stateless_rag.client.sending import lines_of, sent
from stateless_rag.errors import ServerError
from stateless_rag.ingest import Documents, groups_of
from stateless_rag.types import (
    Answer,
    BudgetStatus,
    CheckReport,
    CostRow,
    DeleteReport,
    DocumentPage,
    DocumentStatus,
    EnableReport,
    Estimate,
    Event,
    Explanation,
    ExportFormat,
    ExportReport,
    InsertReport,
    JsonlReport,
    ReembedReport,
    RepairReport,
    Usage,
    WorkspaceInfo,
)
from stateless_rag.workspace_settings import WorkspaceSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from stateless_rag.client.wire import Wire
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Budget, CostsBy, ExportKind, Prices

__all__ = ["RemoteEngine"]

Report = TypeVar("Report")

_PAGE = 1000


class RemoteEngine(RemoteBatching):
    """One workspace of a server, which need not be there; `observer` is told the steps of what is done in it."""

    def __init__(
        self,
        wire: Wire,
        name: str,
        *,
        observer: Callable[[Event], None] | None = None,
    ) -> None:
        super().__init__(wire, f"/projects/{quote(name, safe='')}")
        self.name = name
        self._observer = observer

    # ---- documents -------------------------------------------------------------------------------------

    async def insert(self, documents: Documents, *, budget: Budget | None = None) -> InsertReport:
        """As `Engine.insert`. Documents are sent in groups; who stops waiting leaves them to the server."""
        async with aclosing(self.insert_events(documents, budget=budget)) as events:
            async for event in events:
                if isinstance(event.report, InsertReport):
                    return event.report
        raise self._broken()

    async def insert_events(
        self, documents: Documents, *, budget: Budget | None = None
    ) -> AsyncGenerator[Event]:
        """As `Engine.insert_events`."""
        reports: list[InsertReport] = []
        async with aclosing(groups_of(documents)) as groups:
            async for group in groups:
                body = {"documents": list(map(sent, group)), "budget": _budget(budget)}
                async with aclosing(self._run("/ingest", body)) as told:
                    async for each in told:
                        if isinstance(each, Event):
                            yield replace(each, total=each.total if each.kind == "extracted" else None)
                        else:
                            reports.append(self._wire.value(InsertReport, each))
                if reports[-1].paused is not None:
                    break
        yield Event(kind="finished", workspace=self.name, report=_whole(reports))

    async def insert_graph(self, graph: Mapping[str, Any], *, document_id: str | None = None) -> InsertReport:
        """As `Engine.insert_graph`."""
        path = f"{self._at}/insert_custom_kg"
        told = await self._wire.ask("POST", path, json=graph, params=_given(document_id=document_id))
        return self._wire.value(InsertReport, told["report"])

    async def resume(
        self,
        ids: Collection[str] | str | None = None,
        *,
        truncated: bool = False,
        budget: Budget | None = None,
    ) -> InsertReport:
        """As `Engine.resume`."""
        wanted = None if ids is None else list(identifiers("ids", ids))
        body = {"ids": wanted, "truncated": truncated, "budget": _budget(budget)}
        return await self._ran(InsertReport, "/resume", body)

    async def upgrade(
        self,
        ids: Collection[str] | str | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> InsertReport:
        """As `Engine.upgrade`."""
        wanted = None if ids is None else list(identifiers("ids", ids))
        body = {"ids": wanted, "where": where, "budget": _budget(budget)}
        return await self._ran(InsertReport, "/upgrade", body)

    async def documents(self) -> list[DocumentStatus]:
        """As `Engine.documents`, page by page."""
        found: list[DocumentStatus] = []
        while True:
            page = await self.list_documents(offset=len(found), limit=_PAGE)
            found += page.documents
            if not page.documents or len(found) >= page.total:
                return found

    async def list_documents(self, *, offset: int = 0, limit: int | None = 100) -> DocumentPage:
        """As `Engine.list_documents`, of all documents by id."""
        return await self._wire.get(DocumentPage, f"{self._at}/documents", offset=offset, limit=limit)

    async def delete(self, ids: Collection[str] | str, *, erase: bool = False) -> DeleteReport:
        """As `Engine.delete`."""
        body = {"ids": list(identifiers("ids", ids)), "erase": erase}
        return await self._wire.post(DeleteReport, f"{self._at}/delete", body)

    async def enable(self, ids: Collection[str] | str) -> EnableReport:
        """As `Engine.enable`."""
        body = {"ids": list(identifiers("ids", ids))}
        return await self._wire.post(EnableReport, f"{self._at}/enable", body)

    async def disable(self, ids: Collection[str] | str) -> EnableReport:
        """As `Engine.disable`."""
        body = {"ids": list(identifiers("ids", ids))}
        return await self._wire.post(EnableReport, f"{self._at}/disable", body)

    # ---- questions -------------------------------------------------------------------------------------

    async def query(
        self,
        question: str,
        *,
        options: QueryOptions | None = None,
        budget: Budget | None = None,
        **changes: Any,
    ) -> Answer:
        """As `Engine.query`."""
        body = _question(question, options, changes, budget)
        return self._answer(await self._wire.ask("POST", f"{self._at}/query", json=body))

    async def stream(
        self,
        question: str,
        *,
        options: QueryOptions | None = None,
        budget: Budget | None = None,
        **changes: Any,
    ) -> AsyncGenerator[str | Answer]:
        """As `Engine.stream`."""
        body = _question(question, options, changes, budget)
        async with aclosing(self._wire.events(f"{self._at}/query/stream", body)) as events:
            async for kind, told in events:
                if kind == "text":
                    yield told["text"]
                elif kind == "answer":
                    yield self._answer(told)

    async def explain(
        self, question: str, *, expect: str | None = None, options: QueryOptions | None = None, **changes: Any
    ) -> Explanation:
        """As `Engine.explain`."""
        asked = _question(question, options, changes, None)
        body = {name: asked[name] for name in ("question", "options")}
        body |= {"expect": expect, "include_trace": True}
        told = await self._wire.ask("POST", f"{self._at}/explain", json=body)
        return self._wire.value(Explanation, told | {"retrieval": _traced(told["retrieval"])})

    def _answer(self, told: dict[str, Any]) -> Answer:
        return self._wire.value(Answer, told | {"retrieval": _traced(told["retrieval"])})

    # ---- the workspace ---------------------------------------------------------------------------------

    async def describe(self) -> WorkspaceInfo:
        """As `Engine.describe`."""
        return await self._wire.get(WorkspaceInfo, self._at)

    async def settings(self) -> WorkspaceSettings:
        """As `Engine.settings`."""
        return await self._wire.get(WorkspaceSettings, f"{self._at}/settings")

    async def configure(self, **changes: Mapping[str, Any] | None) -> WorkspaceSettings:
        """As `Engine.configure`."""
        return await self._wire.patch(WorkspaceSettings, f"{self._at}/settings", changes)

    async def budget(self) -> BudgetStatus | None:
        """As `Engine.budget`."""
        return self._status(await self._wire.ask("GET", f"{self._at}/budget"))

    async def set_budget(self, budget: Budget | None) -> BudgetStatus | None:
        """As `Engine.set_budget`."""
        path = f"{self._at}/budget"
        if budget is None:
            return self._status(await self._wire.ask("DELETE", path))
        return self._status(await self._wire.ask("PUT", path, json=_budget(budget)))

    def _status(self, told: Any) -> BudgetStatus | None:
        status = told["status"]
        return None if status is None else self._wire.value(BudgetStatus, status)

    async def estimate(
        self, documents: Documents, *, prices: Prices | None = None, batch: bool = False
    ) -> Estimate:
        """As `Engine.estimate`. All documents are sent in one request, as they come."""
        table = None if prices is None else json.dumps(_prices(prices))
        params = _given(prices=table, batch=batch)
        async with aclosing(lines_of(documents)) as lines:
            path = f"{self._at}/estimate/lines"
            return self._wire.value(
                Estimate, await self._wire.ask("POST", path, content=lines, params=params)
            )

    async def costs(
        self,
        by: CostsBy | Collection[CostsBy] | None = None,
        *,
        since: date | str | None = None,
        until: date | str | None = None,
        prices: Prices | None = None,
    ) -> Mapping[str, Usage] | list[CostRow]:
        """As `Engine.costs`."""
        if by is None:
            return await self._wire.get(Mapping[str, Usage], f"{self._at}/costs")
        table = None if prices is None else json.dumps(_prices(prices))
        given = {
            "by": list(identifiers("by", by)),
            "since": _day(since),
            "until": _day(until),
            "prices": table,
        }
        return await self._wire.get(list[CostRow], f"{self._at}/costs/rows", **given)

    async def check(self, *, deep: bool = False) -> CheckReport:
        """As `Engine.check`."""
        return await self._wire.post(CheckReport, f"{self._at}/check", deep=deep)

    async def repair(self) -> RepairReport:
        """As `Engine.repair`."""
        return await self._wire.post(RepairReport, f"{self._at}/repair")

    async def clear_cache(self, purposes: Collection[str] | str | None = None) -> int:
        """As `Engine.clear_cache`."""
        chosen = None if purposes is None else list(identifiers("purposes", purposes))
        told = await self._wire.ask("DELETE", f"{self._at}/replies", params=_given(purpose=chosen))
        return int(told["dropped"])

    async def reembed(self, embedder: str, *, cut: bool = False) -> ReembedReport:
        """As `Engine.reembed`, to an embedder that the server knows by name."""
        return await self._ran(ReembedReport, "/reembed", {"embedder": embedder, "cut": cut})

    async def export(
        self,
        path: str | Path,
        format: ExportFormat | None = None,  # noqa: A002
        *,
        include: Collection[ExportKind] | ExportKind | None = None,
        vectors: bool = False,
        communities: bool = False,
    ) -> ExportReport:
        """As `Engine.export`: the server makes the file, and it is written here."""
        from stateless_rag.exporting.export import format_of

        target = local_path(path)
        kind = format_of(target, format)
        kinds = None if include is None else list(identifiers("include", include))
        headers = await downloaded(
            self._wire,
            f"{self._at}/export",
            target,
            format=kind,
            include=kinds,
            vectors=vectors,
            communities=communities,
        )
        told = json.loads(headers["x-report"])
        return self._wire.value(ExportReport, told | {"path": str(target)})

    async def import_jsonl(self, path: str | Path) -> JsonlReport:
        """As `Engine.import_jsonl`: the file is sent."""
        source = local_path(path)
        report = await self._wire.upload(JsonlReport, f"{self._at}/import", source)
        return replace(report, path=source)

    # ---- plumbing --------------------------------------------------------------------------------------

    async def _ran(self, kind: type[Report], path: str, body: Any) -> Report:
        """What came of work that is watched."""
        async with aclosing(self._run(path, body)) as told:
            async for each in told:
                if not isinstance(each, Event):
                    return self._wire.value(kind, each)
        raise self._broken()

    async def _run(self, path: str, body: Any) -> AsyncGenerator[Event | dict[str, Any]]:
        """The events of work, told to the observer, and its report as the server tells it."""
        ended = False
        async with aclosing(self._wire.events(f"{self._at}{path}", body)) as events:
            async for kind, told in events:
                if kind == "report":
                    ended = True
                    yield told
                else:
                    event = self._wire.value(Event, {**told, "workspace": self.name})
                    if self._observer is not None:
                        self._observer(event)
                    yield event
        if not ended:
            raise self._broken()

    def _broken(self) -> ServerError:
        return ServerError(
            f"{self._wire.url} broke off before it was done; what it has taken in it goes on with: ask it for the "
            "status of the documents"
        )


def _prices(prices: Prices | None) -> dict[str, Any] | None:
    return None if prices is None else {name: asdict(price) for name, price in prices.items()}


def _budget(budget: Budget | None) -> dict[str, Any] | None:
    if budget is None:
        return None
    return {
        "tokens": budget.tokens,
        "money": budget.money,
        "period": budget.period,
        "prices": _prices(budget.prices),
    }


def _day(value: date | str | None) -> str | None:
    return value if value is None or isinstance(value, str) else value.isoformat()


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _question(
    question: str, options: QueryOptions | None, changes: Mapping[str, Any], budget: Budget | None
) -> dict[str, Any]:
    """The body that asks a question."""
    from stateless_rag.settings import QueryOptions

    chosen = replace(options or QueryOptions(), **changes)
    default = QueryOptions()
    names = [name for name in chosen.__dataclass_fields__ if getattr(chosen, name) != getattr(default, name)]
    said = {name: getattr(chosen, name) for name in names}
    flags = {name: bool(said.pop(name, False)) for name in ("only_context", "only_prompt")}
    if (limit := said.get("metadata_filter")) is not None:
        said["metadata_filter"] = json.loads(limit.text)
    if isinstance(history := said.get("history"), Sequence):
        said["history"] = [{"role": role, "content": text} for role, text in history]
    body = {"question": question, "options": said, **flags, "budget": _budget(budget)}
    return body | {"include_context": True, "include_trace": True}


def _traced(retrieval: dict[str, Any]) -> dict[str, Any]:
    """A retrieval as the library has it: chunks by the two keys of a relation."""
    if (trace := retrieval.get("trace")) is None:
        return retrieval
    chunks = {tuple(each["keys"]): each["chunk_ids"] for each in trace["relation_chunks"]}
    return retrieval | {"trace": trace | {"relation_chunks": chunks}}


def _whole(reports: Sequence[InsertReport]) -> InsertReport:
    """What all groups came to."""
    if not reports:
        return InsertReport(tracking_id="", documents=(), usage={}, seconds=0.0, revision=0)
    usage: dict[str, Usage] = {}
    for report in reports:
        for purpose, used in report.usage.items():
            usage[purpose] = usage.get(purpose, Usage()) + used
    return replace(
        reports[-1],
        documents=tuple(each for report in reports for each in report.documents),
        usage=MappingProxyType(usage),
        seconds=sum(report.seconds for report in reports),
    )
