"""The engine: the async façade on one workspace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.changes import aliases_of, delete_documents, set_alias
from stateless_rag.checks import (
    flag,
    identifier,
    identifiers,
    instance,
    number,
    optional,
    path,
    text,
    whole,
)
from stateless_rag.context import Clock, Context, Meter
from stateless_rag.errors import InvalidInput, StoreClosed
from stateless_rag.identity import made_with, require_match
from stateless_rag.ingest import Documents, Ingest, groups_of, new_tracking_id, submit
from stateless_rag.limits import Limits, Priority
from stateless_rag.lookups import document_of, entity_of, relations_of, whole_graph
from stateless_rag.opening import Opening
from stateless_rag.prompts import Prompts
from stateless_rag.settings import QueryOptions, Settings
from stateless_rag.types import (
    Answer,
    DeleteReport,
    DocumentStatus,
    Event,
    InsertReport,
    Retrieval,
    Usage,
)

if TYPE_CHECKING:
    import rustworkx

    from stateless_rag.protocols import (
        LLM,
        Claim,
        Embedder,
        Extractor,
        Observer,
        Reranker,
        Tokenizer,
    )
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import Document, Entity, Relation, WorkspaceInfo

__all__ = ["Engine"]


class Engine:
    """One workspace, ready to take documents in and to answer questions.

    Get one by `await Engine.open(…)` or `async with Engine.open(…) as engine`; there is no other way. Any
    number of engines work side by side, also on one workspace, where they see each other's commits.
    """

    def __init__(self, context: Context, store: Store, workspace: DuckWorkspace, *, owns_store: bool) -> None:
        self._context = context
        self._store = store
        self._workspace = workspace
        self._owns_store = owns_store
        self._closed = False
        self._closing = threading.Lock()
        self._released: Future[None] | None = None

    @classmethod
    def open(
        cls,
        store: Store | str | Path,
        workspace: str = "default",
        *,
        settings: Settings | None = None,
        llm: LLM | Callable[..., Any] | None = None,
        embedder: Embedder | Callable[..., Any] | None = None,
        reranker: Reranker | None = None,
        tokenizer: Tokenizer | None = None,
        extractor: Extractor | None = None,
        prompts: Prompts | None = None,
        limits: Limits | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
        create: bool = True,
    ) -> Opening[Engine]:
        """Open an engine on a workspace of a store, or of a root folder that this engine then owns.

        Without an `llm` the built-in extractor works and answers are passages; without an `embedder` the
        built-in hashing embedder does. Providers may be any async callables. Engines may share `limits`.
        A workspace that does not exist is created, unless `create` is false (WorkspaceNotFound). Raises
        StoreLocked if another store owns the root, and WorkspaceMismatch if the workspace was written with
        another embedder, tokenizer or key policy.
        """
        context = Context.create(
            llm=llm,
            embedder=embedder,
            tokenizer=tokenizer,
            extractor=extractor,
            reranker=reranker,
            settings=Settings() if settings is None else settings,
            prompts=Prompts() if prompts is None else prompts,
            limits=Limits() if limits is None else limits,
            observer=observer,
            clock=Clock() if clock is None else clock,
            workspace=workspace,
        )
        flag("create", create)
        return Opening(lambda: _open(context, store, workspace, create=create), lambda engine: engine.close())

    async def close(self) -> None:
        """Close the engine, and the store if the engine opened it.

        With the last engine on a workspace its memory is freed, and a database file of its own closed. What
        the engine is still doing ends with StoreClosed then. May be called twice; whoever calls it returns
        when that is done.
        """
        self._closed = True
        with self._closing:  # threads may close it at once, and it has one use of the workspace to give back
            if self._released is None:
                self._released = self._store.release(self._workspace)
        try:
            await asyncio.shield(asyncio.wrap_future(self._released))
        finally:
            if self._owns_store:  # also for who is cancelled meanwhile: the root must not stay locked
                await self._store.close()

    @property
    def context(self) -> Context:
        """What the engine gives to the stages."""
        return self._context

    @property
    def name(self) -> str:
        """The workspace's name."""
        return self._workspace.name

    @property
    def revision(self) -> int:
        """The workspace's last commit."""
        return self._workspace.revision

    # ---- writing ---------------------------------------------------------------------------------------

    async def insert(self, documents: Documents, *, tracking_id: str | None = None) -> InsertReport:
        """Take documents in; returns when each is committed or has failed.

        `documents` are texts or Document values: one, a list, an iterable or an async iterable, which is read
        as there is room. A document whose id is known is updated, and pays for changed chunks only; the same
        text again pays nothing. Failures of single chunks are in the report, not raised. Cancelling is safe:
        what was accepted stays pending, what was paid stays paid, and `resume` goes on. If the iterable raises,
        so does this, with the same error, and what it gave before is pending.
        """
        ingest = self._ingest(tracking_id)
        return await ingest.insert(documents)

    async def insert_events(
        self, documents: Documents, *, tracking_id: str | None = None
    ) -> AsyncGenerator[Event]:
        """As `insert`, but yields the progress; the last event, of kind "finished", carries the report."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        observer = self._context.observer

        def tell(event: Event) -> None:
            queue.put_nowait(event)
            if observer is not None:
                observer(event)

        ingest = self._ingest(tracking_id, observer=tell)
        run = asyncio.create_task(ingest.insert(documents))
        run.add_done_callback(lambda _: queue.put_nowait(Event(kind="", workspace=self.name)))
        try:
            while (event := await queue.get()).kind:
                yield event
            await run
        finally:
            if not run.done():
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)

    async def submit(self, documents: Documents, *, tracking_id: str | None = None) -> str:
        """Make documents durable as pending and return their tracking id; `work` or `resume` ingests them."""
        self._check()
        name = _tracking_id(tracking_id)
        async with aclosing(groups_of(documents)) as groups:
            async for group in groups:
                await submit(self._workspace, group, name, claimed=False)
        return name

    async def work(
        self, *, stop: asyncio.Event | None = None, until_empty: bool = False, poll: float = 0.2
    ) -> InsertReport:
        """Ingest what is pending and what comes, until `stop` is set (or, with `until_empty`, nothing is left).

        Looks for new documents every `poll` seconds. Any number may work at once: none takes what another
        has. Documents that failed are left to `resume`. The report tells of the last 1,000 documents.
        """
        optional("stop", stop, instance, kind=asyncio.Event)
        flag("until_empty", until_empty)
        number("poll", poll, above=0.0)
        ingest = self._ingest(None, keep=1000)
        stopping = stop or asyncio.Event()

        async def claims() -> AsyncGenerator[Sequence[Claim]]:
            while not stopping.is_set():
                taken = await self._workspace.claim(64, failed=False)
                if taken:
                    yield taken
                elif until_empty:
                    return
                else:
                    await _first(stopping.wait(), poll)

        return await ingest.run(claims())

    async def resume(self, ids: Collection[str] | str | None = None) -> InsertReport:
        """Ingest what is pending or has failed (or those of `ids`); only what is missing is paid for."""
        wanted = optional("ids", ids, identifiers)
        ingest = self._ingest(None)
        tried: set[int] = set()

        async def claims() -> AsyncGenerator[Sequence[Claim]]:
            while taken := await self._workspace.claim(64, ids=wanted, failed=True, tried=tried):
                tried.update(claim.sequence for claim in taken)
                yield taken

        return await ingest.run(claims())

    async def delete(self, ids: Collection[str] | str) -> DeleteReport:
        """Delete documents with all that rests on them alone; one commit for all of them.

        What is pending of them is withdrawn as well. The rest of the workspace is as if they had never been
        there; entities and relations whose texts change may need a new summary.
        """
        self._check()
        return await delete_documents(self._context, self._workspace, identifiers("ids", ids))

    async def alias(self, name: str, target: str | None) -> int:
        """Let an entity's name stand for another entity from now on (or, with None, for itself again).

        Stored evidence stays as it is: an alias can be taken back exactly. Returns the new revision. Raises
        InvalidInput for aliases that would lead in a circle.
        """
        self._check()
        return await set_alias(self._context, self._workspace, name, target)

    async def aliases(self) -> Mapping[str, str]:
        """The aliases: keys and the keys they stand for."""
        self._check()
        return await aliases_of(self._workspace)

    # ---- asking ----------------------------------------------------------------------------------------

    async def query(self, question: str, *, options: QueryOptions | None = None, **changes: Any) -> Answer:
        """Answer a question from the workspace, with references.

        Keyword arguments are fields of QueryOptions (`mode="local"`, `top_k=10`, …) and change `options`, by
        default the engine's settings. Raises ProviderError if a provider fails, InvalidInput for a question
        or an option that cannot be used, and DeadlineExceeded.
        """
        from stateless_rag.retrieval.answer import answer

        self._check()
        return await answer(self._asking(), self._workspace.read, question, self._options(options, changes))

    async def stream(
        self, question: str, *, options: QueryOptions | None = None, **changes: Any
    ) -> AsyncGenerator[str | Answer]:
        """As `query`, but yields the text piece by piece as it comes, and last the Answer with its references."""
        from stateless_rag.retrieval.answer import stream_answer

        self._check()
        pieces = stream_answer(
            self._asking(), self._workspace.read, question, self._options(options, changes)
        )
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def retrieve(
        self, question: str, *, options: QueryOptions | None = None, **changes: Any
    ) -> Retrieval:
        """What would be found for a question: entities, relations, passages and references.

        No LLM is called: keywords are those that are given (`low_level_keywords`, `high_level_keywords`), else
        the built-in extractor reads them from the question. `query(question, only_context=True)` asks the LLM
        for keywords and returns the context that they lead to.
        """
        from stateless_rag.retrieval.retrieve import retrieve

        self._check()
        context = self._asking().derive(llm=None)
        return await retrieve(context, self._workspace.read, question, self._options(options, changes))

    # ---- looking ---------------------------------------------------------------------------------------

    async def describe(self) -> WorkspaceInfo:
        """What the workspace holds and was made with."""
        self._check()
        return await self._store.describe(self.name)

    async def documents(self) -> list[DocumentStatus]:
        """The status of every document, by id."""
        self._check()
        return await self._workspace.documents()

    async def document(self, document_id: str) -> Document | None:
        """A committed document, None if there is none of that id."""
        self._check()
        identifier("document_id", document_id)
        return await self._workspace.read(lambda snapshot: document_of(snapshot, document_id))

    async def entity(self, name: str) -> Entity | None:
        """The entity of that name, aliases applied."""
        self._check()
        text("name", name)
        return await self._workspace.read(lambda snapshot: entity_of(snapshot, name))

    async def relations_of(self, name: str, *, limit: int = 100) -> list[Relation]:
        """The relations of an entity, heaviest first, at most `limit`."""
        self._check()
        text("name", name)
        whole("limit", limit)
        return await self._workspace.read(lambda snapshot: relations_of(snapshot, name, limit))

    async def graph(self) -> rustworkx.PyGraph[Entity, Relation]:
        """The whole graph with entities and relations as payloads, for algorithms of rustworkx.

        Entities without relations are nodes too.
        """
        self._check()
        return await self._workspace.read(whole_graph)

    async def costs(self) -> Mapping[str, Usage]:
        """What was paid so far to build the workspace, by purpose, from its journal."""
        self._check()
        return await self._workspace.costs()

    # ---- plumbing --------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed(f"the engine on workspace {self.name!r} is closed; open it again")
        self._workspace.check()

    def _asking(self) -> Context:
        return self._context.derive(meter=Meter(), priority=Priority.QUERY)

    def _options(self, options: QueryOptions | None, changes: Mapping[str, Any]) -> QueryOptions:
        unknown = changes.keys() - QueryOptions.__dataclass_fields__.keys()
        if unknown:
            known = ", ".join(sorted(QueryOptions.__dataclass_fields__))
            raise InvalidInput(f"unknown query options {sorted(unknown)}; there are {known}")
        given = optional("options", options, instance, kind=QueryOptions)
        return replace(given or self._context.settings.query, **changes)

    def _ingest(
        self, tracking_id: str | None, observer: Observer | None = None, *, keep: int | None = None
    ) -> Ingest:
        self._check()
        context = self._context.derive(
            meter=Meter(),
            journal=self._workspace.journal,
            observer=observer or self._context.observer,
            priority=Priority.INGEST,
        )
        return Ingest(context, self._workspace, _tracking_id(tracking_id), keep=keep)


def _tracking_id(given: str | None) -> str:
    return new_tracking_id() if given is None else identifier("tracking_id", given)


async def _first(wait: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        return


async def _open(context: Context, store: Store | str | Path, name: str, *, create: bool) -> Engine:
    from stateless_rag.stores.duckdb.store import Store

    owns = not isinstance(store, Store)
    opened = store if isinstance(store, Store) else await Store.open(path("store", store))
    workspace = None
    try:
        workspace = await opened.workspace(name, create=made_with(context) if create else None)
        require_match(name, workspace.record.info, context)
    except BaseException:
        if workspace is not None:
            opened.release(workspace)
        if owns:
            await opened.close()
        raise
    return Engine(context, opened, workspace, owns_store=owns)
