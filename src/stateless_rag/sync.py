"""A synchronous mirror of the engine, on an event loop of its own.

    from stateless_rag.sync import Engine

    with Engine.open("knowledge") as engine:
        engine.insert(["Ada Lovelace wrote about the Analytical Engine."])
        print(engine.query("Who wrote about the Analytical Engine?").text)

Works inside a running event loop too (in notebooks), because its own loop runs in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Generator, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from stateless_rag import engine as asynchronous
from stateless_rag.errors import StoreClosed

if TYPE_CHECKING:
    from datetime import date

    import rustworkx

    from stateless_rag.ingest import Documents
    from stateless_rag.protocols import Embedder
    from stateless_rag.settings import QueryOptions
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.types import (
        Answer,
        BackupReport,
        BatchInfo,
        BatchReport,
        Budget,
        BudgetStatus,
        CheckReport,
        Community,
        CompactReport,
        CostRow,
        CostsBy,
        Curated,
        Curation,
        DeleteReport,
        Document,
        DocumentContents,
        DocumentPage,
        DocumentStatus,
        Duplicate,
        EnableReport,
        Entity,
        Estimate,
        Event,
        Explanation,
        ExportFormat,
        ExportKind,
        ExportReport,
        ExportRow,
        InsertReport,
        JsonlReport,
        Neighbour,
        Prices,
        ReembedReport,
        Relation,
        RepairReport,
        Retrieval,
        Subgraph,
        Usage,
        WorkspaceInfo,
    )
    from stateless_rag.workspace_settings import WorkspaceSettings

__all__ = ["Engine", "Runner"]

Result = TypeVar("Result")


class Runner:
    """An event loop in a thread of its own, for as long as something needs it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="stateless-rag-sync", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._loop.run_forever()
        # Here, because the thread that closes the runner may have a running loop of its own.
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @property
    def closed(self) -> bool:
        """Whether the loop was stopped."""
        return self._closed

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end; an interrupt (Ctrl-C) cancels it and waits until it has let go."""
        if self._closed:
            coroutine.close()
            raise StoreClosed("the engine is closed; open it again")
        tasks: Future[asyncio.Task[Result]] = Future()
        let_go = threading.Event()

        def start() -> None:
            task = self._loop.create_task(coroutine)
            task.add_done_callback(lambda _: let_go.set())
            tasks.set_result(task)

        self._loop.call_soon_threadsafe(start)
        try:
            let_go.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(lambda: tasks.result().cancel())
            let_go.wait()
            raise
        return tasks.result().result()

    def iterate(self, source: AsyncGenerator[Result]) -> Generator[Result, None, None]:
        """What an async generator yields; leaving early closes it."""
        try:
            while True:
                try:
                    yield self.run(_following(source))
                except StopAsyncIteration:
                    return
        finally:
            if not self._closed:  # closing the runner has closed the source
                self.run(_closed(source))

    def close(self) -> None:
        """Stop the loop. May be called twice."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


class Engine:
    """`stateless_rag.Engine` without `await`; each method does what the one of the same name there does."""

    def __init__(self, runner: Runner, engine: asynchronous.Engine) -> None:
        self._runner = runner
        self._engine = engine

    @classmethod
    def open(cls, store: Store | str | Path, workspace: str = "default", **options: Any) -> Engine:
        """Open an engine; the options are those of `stateless_rag.Engine.open`."""
        runner = Runner()

        async def enter() -> asynchronous.Engine:
            return await asynchronous.Engine.open(store, workspace, **options)

        try:
            return cls(runner, runner.run(enter()))
        except BaseException:
            runner.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the engine and its loop. May be called twice."""
        if self._runner.closed:
            return
        try:
            self._runner.run(self._engine.close())
        finally:
            self._runner.close()

    @property
    def name(self) -> str:
        """The workspace's name."""
        return self._engine.name

    @property
    def revision(self) -> int:
        """The workspace's last commit."""
        return self._engine.revision

    def insert(
        self, documents: Documents, *, tracking_id: str | None = None, budget: Budget | None = None
    ) -> InsertReport:
        """Take documents in; returns when each is committed or has failed, or the budget is used up."""
        return self._runner.run(self._engine.insert(documents, tracking_id=tracking_id, budget=budget))

    def insert_events(
        self, documents: Documents, *, tracking_id: str | None = None, budget: Budget | None = None
    ) -> Generator[Event, None, None]:
        """As `insert`, but yields the progress."""
        events = self._engine.insert_events(documents, tracking_id=tracking_id, budget=budget)
        return self._runner.iterate(events)

    def insert_chunks(self, chunks: Iterable[str], **options: Any) -> InsertReport:
        """As `insert`, for one document that the caller has cut."""
        return self._runner.run(self._engine.insert_chunks(chunks, **options))

    def insert_graph(self, graph: Mapping[str, Any], **options: Any) -> InsertReport:
        """Take in a graph that a program made."""
        return self._runner.run(self._engine.insert_graph(graph, **options))

    def submit(self, documents: Documents, *, tracking_id: str | None = None) -> str:
        """Make documents durable as pending and return their tracking id."""
        return self._runner.run(self._engine.submit(documents, tracking_id=tracking_id))

    def work(self, *, budget: Budget | None = None) -> InsertReport:
        """Ingest what is pending until nothing is left, or the budget is used up."""
        return self._runner.run(self._engine.work(until_empty=True, budget=budget))

    def resume(
        self,
        ids: Collection[str] | str | None = None,
        *,
        truncated: bool = False,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Ingest what is pending or has failed."""
        return self._runner.run(self._engine.resume(ids, truncated=truncated, budget=budget))

    def retry(
        self,
        ids: Collection[str] | str | None = None,
        *,
        truncated: bool = False,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Ingest again what has failed or was cancelled."""
        return self._runner.run(self._engine.retry(ids, truncated=truncated, budget=budget))

    def cancel(
        self, ids: Collection[str] | str | None = None, *, tracking_id: str | None = None
    ) -> tuple[str, ...]:
        """Stop what is being ingested or waits."""
        return self._runner.run(self._engine.cancel(ids, tracking_id=tracking_id))

    def delete(self, ids: Collection[str] | str, *, erase: bool = False) -> DeleteReport:
        """Delete documents with all that rests on them alone."""
        return self._runner.run(self._engine.delete(ids, erase=erase))

    def check(self, *, deep: bool = False) -> CheckReport:
        """Look whether everything follows from the documents and from what was paid for."""
        return self._runner.run(self._engine.check(deep=deep))

    def repair(self) -> RepairReport:
        """Mend what `check` finds."""
        return self._runner.run(self._engine.repair())

    def backup(self, path: str | Path, *, overwrite: bool = False) -> BackupReport:
        """Write the workspace as it is at one revision into a file."""
        return self._runner.run(self._engine.backup(path, overwrite=overwrite))

    def copy(self, to: str) -> None:
        """Make a second workspace that holds what this one holds."""
        self._runner.run(self._engine.copy(to))

    def compact(self) -> CompactReport:
        """Write the database file anew, without what was deleted."""
        return self._runner.run(self._engine.compact())

    def clear_cache(self, purposes: Collection[str] | str | None = None) -> int:
        """Drop the LLM's replies that are kept."""
        return self._runner.run(self._engine.clear_cache(purposes))

    def reembed(
        self, embedder: Embedder | Callable[..., Any], *, cut: bool = False, budget: Budget | None = None
    ) -> ReembedReport:
        """Change the workspace to another embedder."""
        return self._runner.run(self._engine.reembed(embedder, cut=cut, budget=budget))

    def upgrade(
        self,
        ids: Collection[str] | str | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        tracking_id: str | None = None,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Extract documents again with the extractor, the prompts and the LLM that the engine has now."""
        return self._runner.run(
            self._engine.upgrade(ids, where=where, tracking_id=tracking_id, budget=budget)
        )

    def disable(self, ids: Collection[str] | str) -> EnableReport:
        """Leave documents out of the graph and of every answer, as if they were deleted."""
        return self._runner.run(self._engine.disable(ids))

    def enable(self, ids: Collection[str] | str) -> EnableReport:
        """Take documents that were disabled into the graph again."""
        return self._runner.run(self._engine.enable(ids))

    def create_entity(self, name: str, **given: str | None) -> Curated:
        """Make an entity by hand; what is given is as in `stateless_rag.Engine`, here and below."""
        return self._runner.run(self._engine.create_entity(name, **given))

    def edit_entity(self, name: str, **given: str | None) -> Curated:
        """Give an entity another type or description."""
        return self._runner.run(self._engine.edit_entity(name, **given))

    def rename_entity(self, name: str, new_name: str) -> Curated:
        """Give an entity another name."""
        return self._runner.run(self._engine.rename_entity(name, new_name))

    def merge_entities(self, sources: Collection[str] | str, target: str, **given: str | None) -> Curated:
        """Make several entities one."""
        return self._runner.run(self._engine.merge_entities(sources, target, **given))

    def delete_entity(self, name: str) -> Curated:
        """Delete an entity with its relations."""
        return self._runner.run(self._engine.delete_entity(name))

    def create_relation(self, source: str, target: str, **given: Any) -> Curated:
        """Relate two entities by hand."""
        return self._runner.run(self._engine.create_relation(source, target, **given))

    def edit_relation(self, source: str, target: str, **given: Any) -> Curated:
        """Give a relation other keywords, another description or another weight."""
        return self._runner.run(self._engine.edit_relation(source, target, **given))

    def delete_relation(self, source: str, target: str) -> Curated:
        """Delete a relation; its entities stay."""
        return self._runner.run(self._engine.delete_relation(source, target))

    def propose_duplicates(
        self, *, least: float = 0.75, limit: int = 1000, ask_llm: bool = False
    ) -> list[Duplicate]:
        """Pairs of entities that look like one, surest first."""
        return self._runner.run(self._engine.propose_duplicates(least=least, limit=limit, ask_llm=ask_llm))

    def apply_duplicate(self, duplicate: Duplicate) -> Curated:
        """Make the two entities of a proposal one."""
        return self._runner.run(self._engine.apply_duplicate(duplicate))

    def reject_duplicate(self, duplicate: Duplicate) -> Curated:
        """Say that the two entities of a proposal are different."""
        return self._runner.run(self._engine.reject_duplicate(duplicate))

    def undo(self, number: int) -> Curated:
        """Take a change by hand back."""
        return self._runner.run(self._engine.undo(number))

    def history(self, name: str | None = None, *, limit: int = 100) -> list[Curation]:
        """Changes by hand, newest first."""
        return self._runner.run(self._engine.history(name, limit=limit))

    def alias(self, name: str, target: str | None) -> int:
        """Let an entity's name stand for another entity."""
        return self._runner.run(self._engine.alias(name, target))

    def aliases(self) -> Mapping[str, str]:
        """The aliases."""
        return self._runner.run(self._engine.aliases())

    def query(
        self,
        question: str,
        *,
        options: QueryOptions | None = None,
        budget: Budget | None = None,
        **changes: Any,
    ) -> Answer:
        """Answer a question from the workspace, with references."""
        return self._runner.run(self._engine.query(question, options=options, budget=budget, **changes))

    def stream(
        self,
        question: str,
        *,
        options: QueryOptions | None = None,
        budget: Budget | None = None,
        **changes: Any,
    ) -> Generator[str | Answer, None, None]:
        """As `query`, but yields the text as it comes, and last the Answer."""
        pieces = self._engine.stream(question, options=options, budget=budget, **changes)
        return self._runner.iterate(pieces)

    def retrieve(self, question: str, *, options: QueryOptions | None = None, **changes: Any) -> Retrieval:
        """What would be found for a question."""
        return self._runner.run(self._engine.retrieve(question, options=options, **changes))

    def explain(
        self,
        question: str,
        *,
        expect: str | None = None,
        options: QueryOptions | None = None,
        **changes: Any,
    ) -> Explanation:
        """Why each passage is found for a question, and what became of the document `expect`."""
        return self._runner.run(self._engine.explain(question, expect=expect, options=options, **changes))

    def settings(self) -> WorkspaceSettings:
        """What is kept with the workspace."""
        return self._runner.run(self._engine.settings())

    def configure(self, **changes: Any) -> WorkspaceSettings:
        """Change what is kept with the workspace: chunking, extraction, merging, prompts, models."""
        return self._runner.run(self._engine.configure(**changes))

    def describe(self) -> WorkspaceInfo:
        """What the workspace holds and was made with."""
        return self._runner.run(self._engine.describe())

    def documents(self) -> list[DocumentStatus]:
        """The status of every document."""
        return self._runner.run(self._engine.documents())

    def list_documents(self, **options: Any) -> DocumentPage:
        """Documents by page, status, source, tracking id or metadata."""
        return self._runner.run(self._engine.list_documents(**options))

    def tracked(self, tracking_id: str) -> list[DocumentStatus]:
        """The documents of a tracking id: where they stand."""
        return self._runner.run(self._engine.tracked(tracking_id))

    def document_status(self, document_id: str) -> DocumentStatus | None:
        """Where a document stands."""
        return self._runner.run(self._engine.document_status(document_id))

    def contents(self, document_id: str) -> DocumentContents | None:
        """What was made of a document: its chunks, entities and relations."""
        return self._runner.run(self._engine.contents(document_id))

    def document(self, document_id: str) -> Document | None:
        """A committed document."""
        return self._runner.run(self._engine.document(document_id))

    def entity(self, name: str) -> Entity | None:
        """The entity of that name."""
        return self._runner.run(self._engine.entity(name))

    def relations_of(self, name: str, *, limit: int = 100) -> list[Relation]:
        """The relations of an entity, heaviest first."""
        return self._runner.run(self._engine.relations_of(name, limit=limit))

    def relation(self, one: str, other: str) -> Relation | None:
        """The relation of two entities."""
        return self._runner.run(self._engine.relation(one, other))

    def neighbours(self, name: str, *, limit: int = 100) -> list[Neighbour]:
        """The entities that an entity is related to."""
        return self._runner.run(self._engine.neighbours(name, limit=limit))

    def subgraph(self, name: str, *, depth: int = 3, limit: int = 1000) -> Subgraph:
        """The part of the graph around an entity."""
        return self._runner.run(self._engine.subgraph(name, depth=depth, limit=limit))

    def labels(self) -> list[str]:
        """The names of all entities."""
        return self._runner.run(self._engine.labels())

    def popular_labels(self, *, limit: int = 300) -> list[str]:
        """The names of the entities with the most relations."""
        return self._runner.run(self._engine.popular_labels(limit=limit))

    def search_labels(self, query: str, *, limit: int = 50) -> list[str]:
        """Names that match."""
        return self._runner.run(self._engine.search_labels(query, limit=limit))

    def type_counts(self) -> Mapping[str, int]:
        """How many entities there are of each type."""
        return self._runner.run(self._engine.type_counts())

    def communities(
        self, *, level: int | None = 0, resolution: float | None = None, limit: int | None = 100
    ) -> list[Community]:
        """Entities that belong together, largest first."""
        return self._runner.run(self._engine.communities(level=level, resolution=resolution, limit=limit))

    def community(self, id: str, *, resolution: float | None = None) -> Community | None:  # noqa: A002
        """The community of an id."""
        return self._runner.run(self._engine.community(id, resolution=resolution))

    def graph(self) -> rustworkx.PyGraph[Entity, Relation]:
        """The whole graph, for algorithms of rustworkx."""
        return self._runner.run(self._engine.graph())

    def export(
        self,
        path: str | Path,
        format: ExportFormat | None = None,  # noqa: A002
        *,
        include: Collection[ExportKind] | ExportKind | None = None,
        vectors: bool = False,
        communities: bool = False,
    ) -> ExportReport:
        """Write the graph into a file, or all there is, as JSON Lines."""
        return self._runner.run(
            self._engine.export(path, format, include=include, vectors=vectors, communities=communities)
        )

    def export_rows(
        self, *, include: Collection[ExportKind] | ExportKind | None = None, vectors: bool = False
    ) -> Generator[ExportRow, None, None]:
        """What a JSON Lines file would hold, row by row."""
        return self._runner.iterate(self._engine.export_rows(include=include, vectors=vectors))

    def import_jsonl(self, path: str | Path, *, tracking_id: str | None = None) -> JsonlReport:
        """Bring in a file that `export` has written as JSON Lines."""
        return self._runner.run(self._engine.import_jsonl(path, tracking_id=tracking_id))

    def estimate(
        self, documents: Documents, *, prices: Prices | None = None, batch: bool = False
    ) -> Estimate:
        """What `insert` would cost now."""
        return self._runner.run(self._engine.estimate(documents, prices=prices, batch=batch))

    def submit_batch(
        self, ids: Collection[str] | str | None = None, *, documents: Documents | None = None
    ) -> tuple[BatchInfo, ...]:
        """Hand over to the provider, in files, what extracting pending documents needs."""
        return self._runner.run(self._engine.submit_batch(ids, documents=documents))

    def batches(self) -> list[BatchInfo]:
        """All batches that were submitted."""
        return self._runner.run(self._engine.batches())

    def collect_batches(self, **options: Any) -> BatchReport:
        """Keep the replies of batches that have ended."""
        return self._runner.run(self._engine.collect_batches(**options))

    def cancel_batch(self, batch_id: str, *, forget: bool = False) -> BatchInfo:
        """Ask the provider to stop a batch."""
        return self._runner.run(self._engine.cancel_batch(batch_id, forget=forget))

    @overload
    def costs(self) -> Mapping[str, Usage]: ...

    @overload
    def costs(
        self,
        by: CostsBy | Collection[CostsBy],
        *,
        since: date | str | None = None,
        until: date | str | None = None,
        prices: Prices | None = None,
    ) -> list[CostRow]: ...

    def costs(self, by: Any = None, **options: Any) -> Mapping[str, Usage] | list[CostRow]:
        """What was paid so far in the workspace: usage by purpose, or rows by what is asked for."""
        return self._runner.run(self._engine.costs(by, **options))

    def paid_today(self) -> Mapping[str, Usage]:
        """What providers were paid today (UTC) in the workspace, by model."""
        return self._runner.run(self._engine.paid_today())

    def budget(self) -> BudgetStatus | None:
        """The budget that is kept with the workspace, and how much of it is spent."""
        return self._runner.run(self._engine.budget())

    def set_budget(self, budget: Budget | None) -> BudgetStatus | None:
        """Keep a budget with the workspace, or none."""
        return self._runner.run(self._engine.set_budget(budget))


async def _following(source: AsyncGenerator[Result]) -> Result:
    return await anext(source)


async def _closed(source: AsyncGenerator[Any]) -> None:
    await source.aclose()
