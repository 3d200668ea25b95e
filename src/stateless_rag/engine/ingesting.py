"""The engine takes documents in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import flag, identifier, identifiers, instance, number, optional
from stateless_rag.custom import chunked_document, graph_documents, require_room, same_document
from stateless_rag.engine.core import Core
from stateless_rag.ingest import Documents, Ingest, groups_of, new_tracking_id, require_converter, submit
from stateless_rag.ingest.commits import CANCELLED
from stateless_rag.limits import Priority
from stateless_rag.types import Event, InsertReport, Status

if TYPE_CHECKING:
    from stateless_rag.protocols import Basis, Claim, Observer
    from stateless_rag.types import Budget, Chunk, Document, DocumentStatus, GivenDocument

__all__ = ["Ingesting"]

_RESUBMITTED = 64  # documents whose texts are read in one go


class Ingesting(Core):
    """Documents in."""

    async def insert(
        self, documents: Documents, *, tracking_id: str | None = None, budget: Budget | None = None
    ) -> InsertReport:
        """Take documents in; returns when each is committed or has failed.

        `documents` are texts or Document values: one, a list, an iterable or an async iterable, which is read
        as there is room. A document whose id is known is updated, and pays for changed chunks only; the same
        text again pays nothing. Failures of single chunks are in the report, not raised. Cancelling is safe:
        what was accepted stays pending, what was paid stays paid, and `resume` goes on. If the iterable raises,
        so does this, with the same error, and what it gave before is pending.

        When `budget`, or that of the workspace (`set_budget`), is used up, what is not committed stays pending,
        `InsertReport.paused` says so, and `resume` goes on; no more is spent than the calls that were under way.
        """
        ingest = await self._ingest(tracking_id, budget=budget)
        return await ingest.insert(documents)

    async def insert_events(
        self, documents: Documents, *, tracking_id: str | None = None, budget: Budget | None = None
    ) -> AsyncGenerator[Event]:
        """As `insert`, but yields the progress; the last event, of kind "finished", carries the report."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        observer = self._context.observer

        def tell(event: Event) -> None:
            queue.put_nowait(event)
            if observer is not None:
                observer(event)

        ingest = await self._ingest(tracking_id, observer=tell, budget=budget)
        run = asyncio.create_task(ingest.insert(documents))
        run.add_done_callback(lambda _: queue.put_nowait(Event(kind="", workspace=self.name)))
        try:
            while (event := await queue.get()).kind:
                yield event
            await run
        finally:
            run.cancel()
            # Its error was raised above; nobody is left to be told of one that comes after the last event read.
            await asyncio.gather(run, return_exceptions=True)

    async def insert_chunks(
        self,
        chunks: Iterable[str],
        *,
        text: str | None = None,
        document_id: str | None = None,
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tracking_id: str | None = None,
        budget: Budget | None = None,
    ) -> InsertReport:
        """As `insert`, for one document that the caller has cut: each chunk is extracted as it is.

        `text` is the whole text, in which the chunks must be found in their order (they may overlap); without
        it the chunks make the text, with blank lines between them. Raises InvalidInput for chunks that are
        blank, not in the text, or longer than the embedder takes; then nothing was changed.
        """
        document = chunked_document(
            chunks, whole_text=text, document_id=document_id, source=source, metadata=metadata
        )
        return await self._insert_given([document], tracking_id, budget)

    async def insert_graph(
        self,
        graph: Mapping[str, Any],
        *,
        document_id: str | None = None,
        tracking_id: str | None = None,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Take in a graph that a program made: chunks, entities, relationships, as `stateless_rag.custom` says.

        No LLM is called but for summaries of entities that many chunks describe. What it says is merged with
        what is there, and replaces what the same documents said before; `delete` removes it by their ids:
        `document_id`, else the chunks' `source_id`, else their `file_path`. Names and directions are kept as
        they are given. Relations of an entity with itself are left out and counted in the report's warnings.
        Raises InvalidInput for what is no such graph; then nothing was changed.
        """
        documents = await asyncio.to_thread(graph_documents, graph, document_id)
        return await self._insert_given(documents, tracking_id, budget)

    async def submit(self, documents: Documents, *, tracking_id: str | None = None) -> str:
        """Make documents durable as pending and return their tracking id; `work` or `resume` ingests them."""
        self._check()
        name = _tracking_id(tracking_id)
        async with aclosing(groups_of(documents)) as groups:
            async for group in groups:
                require_converter(self._context, group)
                await submit(self._workspace, group, name, claimed=False)
        return name

    async def work(
        self,
        *,
        stop: asyncio.Event | None = None,
        until_empty: bool = False,
        poll: float = 0.2,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Ingest what is pending and what comes, until `stop` is set (or, with `until_empty`, nothing is left).

        Looks for new documents every `poll` seconds. Any number may work at once: none takes what another
        has. Documents that failed are left to `resume`. The report tells of the last 1,000 documents.

        When the workspace's budget is used up, it waits until there is more, or, with `until_empty`, returns as
        `insert` does; so it does when `budget` is.
        """
        optional("stop", stop, instance, kind=asyncio.Event)
        flag("until_empty", until_empty)
        number("poll", poll, above=0.0)
        ingest = await self._ingest(None, keep=1000, budget=budget)
        stopping = stop or asyncio.Event()

        async def claims() -> AsyncGenerator[Sequence[Claim]]:
            while not stopping.is_set():
                if ingest.paused is not None and not ingest.goes_on():
                    if until_empty or ingest.ended:
                        return
                    await _first(stopping.wait(), poll)
                    continue
                taken = await self._workspace.claim(64, failed=False)
                if taken:
                    yield taken
                elif until_empty:
                    return
                else:
                    await _first(stopping.wait(), poll)

        return await ingest.run(claims())

    async def resume(
        self,
        ids: Collection[str] | str | None = None,
        *,
        truncated: bool = False,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Ingest what is pending or has failed (or those of `ids`); only what is missing is paid for.

        With `truncated` the LLM is asked again for the chunks of which it was cut off by the token limit (of which
        `DocumentStatus.truncated` tells): a larger `ExtractSettings.max_tokens` may help. Until the new reply
        is there, what the old one said counts. `budget` as in `insert`.
        """
        wanted = optional("ids", ids, identifiers)
        ingest = await self._ingest(None, renew_truncated=flag("truncated", truncated), budget=budget)
        if truncated:
            await self._submit_truncated(wanted)
        tried: set[int] = set()

        async def claims() -> AsyncGenerator[Sequence[Claim]]:
            while ingest.paused is None and (
                taken := await self._workspace.claim(64, ids=wanted, failed=True, tried=tried)
            ):
                tried.update(claim.sequence for claim in taken)
                yield taken

        return await ingest.run(claims())

    async def retry(
        self,
        ids: Collection[str] | str | None = None,
        *,
        truncated: bool = False,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Ingest again what has failed or was cancelled (or those of `ids`); only what is missing is paid for.

        `truncated` and `budget` as in `resume`.
        """
        self._check()
        flag("truncated", truncated)
        statuses = await self._statuses(optional("ids", ids, identifiers))
        failed = {each.id for each in statuses if each.status is Status.FAILED}
        cut = {each.id for each in statuses if truncated and each.truncated}
        return await self.resume(failed | cut, truncated=truncated, budget=budget)

    async def _statuses(self, ids: Collection[str] | None) -> list[DocumentStatus]:
        if ids is None:
            return await self._workspace.documents()
        return list((await self._workspace.statuses(ids)).values())

    async def _submit_truncated(self, wanted: Collection[str] | None) -> None:
        """Submit committed documents once more of which a chunk is truncated, unless something of them is pending."""
        statuses = await self._statuses(wanted)
        ids = [each.id for each in statuses if each.truncated and each.status is Status.PROCESSED]
        tracking_id = new_tracking_id()

        def read(basis: Basis) -> list[Document]:
            chunks: dict[str, list[Chunk]] = {}
            for row in basis.chunk_rows(group):
                chunks.setdefault(row.chunk.document_id, []).append(row.chunk)
            return [same_document(row, chunks[id_]) for id_, row in basis.document_rows(group).items()]

        for start in range(0, len(ids), _RESUBMITTED):
            group = ids[start : start + _RESUBMITTED]
            documents = await self._workspace.read_basis(read)
            await submit(self._workspace, documents, tracking_id, claimed=False)

    async def cancel(
        self, ids: Collection[str] | str | None = None, *, tracking_id: str | None = None
    ) -> tuple[str, ...]:
        """Stop what is being ingested or waits: some documents, those of a tracking id, or everything.

        They count as failed, with an error that says so, whoever works on them, as soon as the calls that are
        under way have come back; `resume` goes on with them, and what was paid for stays paid. Those that are
        being committed already are committed. Returns the ids of the documents that were stopped.
        """
        self._check()
        wanted = optional("ids", ids, identifiers)
        optional("tracking_id", tracking_id, identifier)
        return tuple(await self._workspace.cancel(wanted, tracking_id, CANCELLED))

    async def _insert_given(
        self, documents: Sequence[GivenDocument], tracking_id: str | None, budget: Budget | None
    ) -> InsertReport:
        ingest = await self._ingest(tracking_id, budget=budget)
        await asyncio.to_thread(require_room, self._context, documents)
        return await ingest.insert(documents)

    async def _ingest(
        self,
        tracking_id: str | None,
        observer: Observer | None = None,
        *,
        keep: int | None = None,
        renew_truncated: bool = False,
        budget: Budget | None = None,
    ) -> Ingest:
        self._check()
        name = _tracking_id(tracking_id)
        context = (await self._allowed(budget)).derive(
            journal=self._workspace.journal,
            observer=observer or self._context.observer,
            priority=Priority.INGEST,
            renew_truncated=renew_truncated,
        )
        return Ingest(context, self._workspace, name, keep=keep)


def _tracking_id(given: str | None) -> str:
    return new_tracking_id() if given is None else identifier("tracking_id", given)


async def _first(wait: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        return
