"""The write path: chunk → extract → merge → embed → store, over many documents at once.

Documents are made durable as pending before anything is paid for. Extraction runs over the chunks of all
documents together, so the LLM's slots stay full; documents whose chunks are done are committed in groups while
the others go on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.commit import Batch, Outdated, Ready, commit
from stateless_rag.errors import (
    InvalidInput,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    StatelessRagError,
)
from stateless_rag.protocols import Basis, Claim
from stateless_rag.stages.chunk import chunk, document_id, prepare
from stateless_rag.stages.extract import extract_one
from stateless_rag.text import chunk_row_id, digest
from stateless_rag.types import (
    ChunkError,
    Document,
    DocumentReport,
    DocumentStatus,
    Extraction,
    InsertReport,
    Status,
)

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import ChunkRow, DocumentRow, Workspace
    from stateless_rag.types import Chunk

__all__ = ["Documents", "Ingest", "new_tracking_id", "submit"]

Documents = Iterable[Document | str] | AsyncIterable[Document | str] | Document | str
_GROUP = 128
_GROUP_CHARACTERS = 2_000_000
_PATIENCE = 0.05  # seconds


def new_tracking_id() -> str:
    """A name for one insert, under which its documents can be found."""
    return f"track-{secrets.token_hex(8)}"


# ---- reading the input ---------------------------------------------------------------------------------


async def groups_of(documents: Documents) -> AsyncIterator[list[Document]]:
    """Documents in groups of bounded size, in the order given, validated and cleaned.

    A group is not held back for documents that an async iterable is slow to give.
    """
    group: list[Document] = []
    characters = 0
    async for given in _each(documents):
        if given is None:
            if group:
                yield group
                group, characters = [], 0
            continue
        if not isinstance(given, Document | str):
            raise InvalidInput(f"documents are texts or Document values, not {type(given).__name__}")
        document = prepare(given if isinstance(given, Document) else Document(given))
        group.append(document)
        characters += len(document.text)
        if len(group) >= _GROUP or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


async def _each(documents: Documents) -> AsyncIterator[Document | str | None]:
    """Each document; None when the next one of an async iterable is long in coming."""
    if isinstance(documents, Document | str):
        yield documents
    elif isinstance(documents, AsyncIterable):
        async for document in _or_none(aiter(documents)):
            yield document
    elif isinstance(documents, Iterable):
        for document in documents:
            yield document
    else:
        raise InvalidInput(f"documents is {documents!r:.80}; give a text, a Document, or an iterable of them")


async def _or_none(source: AsyncIterator[Document | str]) -> AsyncIterator[Document | str | None]:
    async def following() -> Document | str:
        return await anext(source)

    coming = asyncio.create_task(following())
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=_PATIENCE)
            if not done:
                yield None
                await asyncio.wait({coming})
            try:
                document = coming.result()
            except StopAsyncIteration:
                return
            coming = asyncio.create_task(following())
            yield document
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def submit(
    workspace: Workspace, documents: Sequence[Document], tracking_id: str, *, claimed: bool
) -> tuple[Sequence[Claim], Sequence[Claim]]:
    """Make documents durable as pending; returns all of them, and those that the caller may work on."""
    claims = [
        Claim(
            sequence=0,
            document_id=document_id(document),
            source=document.source,
            metadata=document.metadata,
            text=document.text,
            tracking_id=tracking_id,
        )
        for document in documents
    ]
    return await workspace.submit(claims, claimed=claimed)


# ---- one document under way ----------------------------------------------------------------------------


@dataclass(eq=False)
class _Work:
    """A claimed document between chunking and commit."""

    claim: Claim
    chunks: tuple[Chunk, ...] = ()
    extractions: dict[str, Extraction] = field(default_factory=dict)
    errors: list[ChunkError] = field(default_factory=list)
    open_chunks: int = 0
    updates: bool = False

    @property
    def characters(self) -> int:
        return len(self.claim.text)


class Ingest:
    """One run of the write path over claims; made for one call and then thrown away."""

    def __init__(
        self, context: Context, workspace: Workspace, tracking_id: str, *, keep: int | None = None
    ) -> None:
        """`keep`: how many documents the report tells of at the most, the last ones; None for all."""
        self._keep = keep
        self._context = context
        self._workspace = workspace
        self._settings = context.settings.ingest
        self.tracking_id = tracking_id
        self.reports: dict[int, DocumentReport] = {}
        self.order: list[int] = []
        self._started = context.clock.monotonic()
        self._expected: list[Claim] = []
        self._claimed: set[int] = set()
        self._chunks: asyncio.Queue[tuple[_Work, Chunk] | None] = asyncio.Queue()
        self._ready: asyncio.Queue[_Work | None] = asyncio.Queue()
        self._room = asyncio.Condition()
        self._documents = 0
        self._settled = 0
        self._characters = 0
        self._total: int | None = None

    async def run(self, claims: AsyncIterator[Sequence[Claim]]) -> InsertReport:
        """Work on all claims that the iterator yields; returns when they are committed or have failed."""
        capacity = self._context.limits.capacity("llm")
        extractors = [asyncio.create_task(self._extract_chunks()) for _ in range(max(32, 2 * capacity))]
        committer = asyncio.create_task(self._commit_ready())
        feeder = asyncio.create_task(self._feed(claims))
        tasks = [*extractors, committer, feeder]
        try:
            await _all_or_first_error(feeder, tasks)
            tasks.append(drained := asyncio.create_task(self._drained()))
            await _all_or_first_error(drained, tasks)
            for _ in extractors:
                self._chunks.put_nowait(None)
            self._ready.put_nowait(None)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                await self._workspace.release(self._claimed)
        return await self._finish()

    @property
    def claimed(self) -> set[int]:
        """Submissions that this run has worked on or is working on."""
        return set(self.order)

    def expect(self, submitted: Sequence[Claim]) -> None:
        """Take note of documents that the report must tell of, also if another run works on them."""
        self._expected.extend(replace(claim, text="") for claim in submitted)

    async def _finish(self) -> InsertReport:
        by_document = {report.id: report for _, report in sorted(self.reports.items())}
        others = {claim.document_id for claim in self._expected} - by_document.keys()
        if others:
            statuses = await self._workspace.statuses(others)
            by_document.update({id_: _report_of(status) for id_, status in statuses.items()})
        sequences = [claim.sequence for claim in self._expected] or self.order
        documents = {claim.sequence: claim.document_id for claim in self._expected}
        found = [
            self.reports.get(sequence) or by_document.get(documents.get(sequence, ""))
            for sequence in sequences
        ]
        report = InsertReport(
            tracking_id=self.tracking_id,
            documents=tuple(report for report in found if report is not None),
            usage=self._context.meter.totals(),
            seconds=self._context.clock.monotonic() - self._started,
            revision=self._workspace.revision,
        )
        self._context.emit("finished", done=len(found), total=len(found), report=report)
        return report

    # ---- feeding ---------------------------------------------------------------------------------------

    async def _feed(self, claims: AsyncIterator[Sequence[Claim]]) -> None:
        async for group in claims:
            self._claimed.update(claim.sequence for claim in group)
            for claim in group:
                self.order.append(claim.sequence)
                self._context.emit("accepted", document_id=claim.document_id, done=len(self.order))
            await self._enter(len(group), sum(len(claim.text) for claim in group))
            await self._prepare(group)
        self._total = len(self.order)

    async def _enter(self, documents: int, characters: int) -> None:
        async with self._room:
            await self._room.wait_for(
                lambda: (
                    self._documents == 0
                    or (
                        self._documents + documents <= self._settings.documents_in_flight
                        and self._characters + characters <= self._settings.characters_in_flight
                    )
                )
            )
            self._documents += documents
            self._characters += characters

    async def _leave(self, work: _Work) -> None:
        async with self._room:
            self._documents -= 1
            self._characters -= work.characters
            self._room.notify_all()

    async def _drained(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self._documents == 0)

    async def _prepare(self, claims: Sequence[Claim]) -> None:
        """Chunk the documents, and queue those chunks that are not known from their last version."""
        ids = [claim.document_id for claim in claims]

        def look(basis: Basis) -> tuple[dict[str, DocumentRow], dict[str, list[ChunkRow]]]:
            chunks: dict[str, list[ChunkRow]] = {}
            for row in basis.chunk_rows(ids):
                chunks.setdefault(row.chunk.document_id, []).append(row)
            return dict(basis.document_rows(ids)), chunks

        documents, rows = await self._workspace.read_basis(look)
        new: list[_Work] = []
        for claim in claims:
            known = documents.get(claim.document_id)
            whole = all(row.error is None for row in rows.get(claim.document_id, ()))
            work = _Work(claim, updates=known is not None)
            if known is not None and known.digest == digest("document", claim.text) and whole:
                await self._same_text(work, known, rows.get(claim.document_id, []))
            else:
                new.append(work)
        cut = await asyncio.to_thread(lambda: [self._cut(work.claim) for work in new])
        for work, chunks in zip(new, cut, strict=True):
            if isinstance(chunks, InvalidInput):
                await self._fail(work, f"{type(chunks).__name__}: {chunks}")
            else:
                self._start(work, chunks, rows.get(work.claim.document_id, []))

    def _cut(self, claim: Claim) -> tuple[Chunk, ...] | InvalidInput:
        """A document's chunks; one that cannot be cut fails, and does not stop the others."""
        try:
            return tuple(chunk(self._context, _document(claim)))
        except InvalidInput as error:
            return error

    async def _same_text(self, work: _Work, known: DocumentRow, rows: Sequence[ChunkRow]) -> None:
        """A document that is there already, at most with other metadata: nothing is paid."""
        work.chunks = tuple(row.chunk for row in rows)
        if (known.source, dict(known.metadata)) != (work.claim.source, dict(work.claim.metadata)):
            self._ready.put_nowait(work)
            return
        await self._workspace.withdraw(self._workspace.superseded(work.claim))
        self._settle(work, Status.PROCESSED, "unchanged", unchanged=True)
        await self._leave(work)

    def _start(self, work: _Work, chunks: tuple[Chunk, ...], rows: Sequence[ChunkRow]) -> None:
        kept = {row.id for row in rows if row.error is None}
        work.chunks = chunks
        new = [piece for piece in chunks if chunk_row_id(piece.id) not in kept]
        work.open_chunks = len(new)
        self._context.emit("chunked", document_id=work.claim.document_id, total=len(chunks))
        for piece in new:
            self._chunks.put_nowait((work, piece))
        if not new:
            self._ready.put_nowait(work)

    # ---- extracting ------------------------------------------------------------------------------------

    async def _extract_chunks(self) -> None:
        while (item := await self._chunks.get()) is not None:
            work, piece = item
            try:
                work.extractions[piece.id] = await extract_one(self._context, piece)
            except ProviderError as error:
                self._note_error(work, piece, error)
            work.open_chunks -= 1
            self._context.emit(
                "extracted",
                document_id=work.claim.document_id,
                done=len(work.chunks) - work.open_chunks,
                total=len(work.chunks),
            )
            if not work.open_chunks:
                self._ready.put_nowait(work)

    def _note_error(self, work: _Work, piece: Chunk, error: ProviderError) -> None:
        text = f"{type(error).__name__}: {error}"
        before = {known.get("chunk_id"): known.get("attempts", 0) for known in work.claim.errors}
        attempts = before.get(piece.id, 0) + 1
        work.errors.append(
            ChunkError(chunk_id=piece.id, ordinal=piece.ordinal, error=text, attempts=attempts)
        )
        work.extractions[piece.id] = Extraction(
            chunk_id=piece.id,
            generation=self._context.extractor.generation(self._context),
            error=text,
        )

    # ---- committing ------------------------------------------------------------------------------------

    async def _commit_ready(self) -> None:
        ended = False
        while not ended:
            group: list[_Work] = []
            chunks = 0
            work = await self._ready.get()
            while True:
                if work is None:
                    ended = True
                    break
                if work.errors and not self._settings.accept_partial:
                    await self._fail(work, f"{len(work.errors)} of {len(work.chunks)} chunks failed")
                else:
                    group.append(work)
                    chunks += len(work.chunks)
                if self._ready.empty() or chunks >= self._settings.commit_chunks:
                    break
                work = self._ready.get_nowait()
            if group:
                await self._commit(group)

    async def _commit(self, group: list[_Work]) -> None:
        batch = Batch(
            ready=tuple(
                Ready(
                    claim=work.claim,
                    chunks=work.chunks,
                    extractions=work.extractions,
                    done=self._done(work),
                )
                for work in group
            )
        )
        try:
            committed = await commit(self._context, self._workspace, batch)
        except Outdated as outdated:
            again = [work for work in group if work.claim.document_id in outdated.document_ids]
            rest = [work for work in group if work.claim.document_id not in outdated.document_ids]
            for work in again:
                work.open_chunks = len(work.chunks)
                work.extractions.clear()
                self._start(work, work.chunks, [])
            if rest:
                await self._commit(rest)
            return
        except ProviderError as error:
            await self._apart(group, error)
            return
        for work in group:
            if work.claim.sequence in committed.withdrawn:
                self._settle(work, Status.FAILED, "failed", error="deleted while it was being ingested")
                await self._leave(work)
                continue
            if work.errors:
                message = f"{len(work.errors)} of {len(work.chunks)} chunks failed; the others are searchable"
                await self._fail(work, message)
            else:
                self._settle(work, Status.PROCESSED, "committed")
                await self._leave(work)

    def _done(self, work: _Work) -> tuple[int, ...]:
        """What is pending no more once the document is committed; one that is partial stays, to be resumed."""
        mine = {work.claim.sequence} if work.errors else set()
        return tuple(n for n in self._workspace.superseded(work.claim) if n not in mine)

    async def _apart(self, group: list[_Work], error: ProviderError) -> None:
        """A summary or an embedding failed: find the documents that it stops, commit the others.

        Where the provider cannot be reached, that is given up after two documents in a row: asking it again
        for each would only take longer.
        """
        if len(group) == 1:
            await self._fail(group[0], f"{type(error).__name__}: {error}")
            return
        if not isinstance(error, ProviderUnavailable | ProviderTimeout | ProviderRateLimited):
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
            return
        failures = 0
        for work in group:
            if failures < 2:
                await self._commit([work])
                report = self.reports.get(work.claim.sequence)  # none if it must be prepared again
                failed = report is not None and report.status is Status.FAILED
                failures = failures + 1 if failed else 0
            else:
                await self._fail(work, f"{type(error).__name__}: {error}")

    async def _fail(self, work: _Work, message: str) -> None:
        errors: list[dict[str, Any]] = [
            {"chunk_id": e.chunk_id, "ordinal": e.ordinal, "error": e.error, "attempts": e.attempts}
            for e in work.errors
        ]
        await self._workspace.fail(work.claim, errors or [{"error": message}])
        stale = work.updates and not self._settings.accept_partial
        self._settle(work, Status.FAILED, "failed", error=message, stale=stale)
        await self._leave(work)

    def _settle(self, work: _Work, status: Status, kind: Any, **fields: Any) -> None:
        found = work.extractions.values()
        report = DocumentReport(
            id=work.claim.document_id,
            source=work.claim.source,
            status=status,
            chunks=len(work.chunks),
            entities=len({mention.key for extraction in found for mention in extraction.entities}),
            relations=len(
                {
                    frozenset((mention.source_key, mention.target_key))
                    for extraction in found
                    for mention in extraction.relations
                }
            ),
            errors=tuple(work.errors),
            warnings=MappingProxyType(
                dict(sum((Counter(extraction.warnings) for extraction in found), Counter[str]()))
            ),
            **fields,
        )
        self._claimed.discard(work.claim.sequence)
        self.reports[work.claim.sequence] = report
        self._settled += 1
        if self._keep is not None and len(self.reports) > self._keep:
            oldest = next(iter(self.reports))
            del self.reports[oldest]
            self.order.remove(oldest)
        self._context.emit(
            kind,
            document_id=report.id,
            done=self._settled,
            total=self._total,
            message=report.error or "",
            report=report,
        )


def _report_of(status: DocumentStatus) -> DocumentReport:
    """What became of a document that another run worked on."""
    return DocumentReport(
        id=status.id,
        source=status.source,
        status=status.status,
        chunks=status.chunks,
        errors=status.errors,
        error=status.error,
        stale=status.stale,
    )


def _document(claim: Claim) -> Document:
    return Document(claim.text, id=claim.document_id, source=claim.source, metadata=claim.metadata)


async def _all_or_first_error(wanted: asyncio.Task[Any], tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for one task, or for the first of the others that fails."""
    while not wanted.done():
        watched = {task for task in tasks if not task.done()} | {wanted}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                wanted.cancel()
                raise _innermost(task.exception())
    wanted.result()


def _innermost(error: BaseException | None) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if error is not None else StatelessRagError("a task ended without a reason")
