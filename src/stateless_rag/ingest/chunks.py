"""Cutting documents into chunks, and extracting those chunks that are not known from the last version."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from stateless_rag.errors import BudgetExhausted, InvalidInput, ProviderError, WorkCancelled
from stateless_rag.ingest.given import given_again, given_extraction, is_kept, records_of
from stateless_rag.ingest.work import Work
from stateless_rag.stages.chunk import chunk, chunk_at
from stateless_rag.stages.extract import extract_one
from stateless_rag.text import chunk_row_id, document_digest

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Basis, ChunkRow, Claim, DocumentRow, Workspace
    from stateless_rag.types import Chunk

__all__ = ["Chunks"]

_FEWEST_WORKERS = 64
_WORKERS_PER_SLOT = 4  # the others wait for the journal, which takes many replies in one go


class Chunks:
    """The chunks of all documents under way. A document whose last chunk is done goes to `ready`."""

    def __init__(self, context: Context, workspace: Workspace, ready: Callable[[Work], None]) -> None:
        self._context = context
        self._workspace = workspace
        self._ready = ready
        self._waiting: asyncio.Queue[tuple[Work, Chunk] | None] = asyncio.Queue()
        self.workers = max(_FEWEST_WORKERS, _WORKERS_PER_SLOT * context.limits.capacity("llm"))

    # ---- cutting ---------------------------------------------------------------------------------------

    async def prepare(
        self,
        claims: Sequence[Claim],
        unchanged: Callable[[Sequence[Work]], Awaitable[None]],
        fail: Callable[[Work, str], Awaitable[None]],
    ) -> None:
        """Cut the documents, and queue their new chunks; tell of those that nothing is to be done for."""
        ids = [claim.document_id for claim in claims]

        def look(basis: Basis) -> tuple[dict[str, DocumentRow], dict[str, list[ChunkRow]]]:
            chunks: dict[str, list[ChunkRow]] = {}
            for row in basis.chunk_rows(ids):
                chunks.setdefault(row.chunk.document_id, []).append(row)
            known = dict(basis.document_rows(ids))
            for id_, disabled in basis.disabled_rows(ids).items():
                known[id_], chunks[id_] = disabled.document, disabled.chunk_rows()
            return known, chunks

        documents, rows = await self._workspace.read_basis(look)

        def cut(claim: Claim) -> tuple[Work, tuple[Chunk, ...] | InvalidInput | None]:
            self._context.way.give()
            known = documents.get(claim.document_id)
            work = Work(claim, updates=known is not None)
            if claim.upgrade:
                if known is None:
                    return work, InvalidInput("the document was deleted while it waited to be upgraded")
                claim = work.claim = given_again(claim, known, rows.get(known.id, ()))
            pieces = None if claim.given is None else self._cut(work)
            if known is not None and self._same(claim, pieces, known, rows.get(known.id, ())):
                return work, None
            return work, self._cut(work) if pieces is None else pieces

        same: list[Work] = []
        for work, chunks in await asyncio.to_thread(lambda: list(map(cut, claims))):
            before = rows.get(work.claim.document_id, [])
            if isinstance(chunks, InvalidInput):
                await fail(work, f"{type(chunks).__name__}: {chunks}")
                if work.claim.upgrade and not work.updates:
                    await self._workspace.withdraw([work.claim.sequence])
            elif chunks is not None:
                self.start(work, chunks, before)
            else:
                work.chunks = tuple(row.chunk for row in before)
                if _same_metadata(work.claim, documents[work.claim.document_id]):
                    same.append(work)
                else:
                    self._ready(work)
        if same:
            await unchanged(same)

    def _cut(self, work: Work) -> tuple[Chunk, ...] | InvalidInput:
        """A document's chunks; one that cannot be cut fails, and does not stop the others."""
        try:
            given = work.claim.given
            if given is not None:
                return tuple(chunk_at(self._context, work.document, given.spans))
            return tuple(chunk(self._context, work.document))
        except InvalidInput as error:
            return error

    def _same(
        self,
        claim: Claim,
        pieces: tuple[Chunk, ...] | InvalidInput | None,
        known: DocumentRow,
        rows: Sequence[ChunkRow],
    ) -> bool:
        """Whether the document is there already, and whole; `pieces` are its chunks if its caller says which."""
        if known.digest != document_digest(claim.text, cut=claim.given is not None and claim.given.cut):
            return False
        if pieces is not None and (
            isinstance(pieces, InvalidInput) or list(pieces) != [r.chunk for r in rows]
        ):
            return False
        return all(is_kept(self._context, claim, row.chunk, row) for row in rows)

    def start(self, work: Work, chunks: tuple[Chunk, ...], rows: Sequence[ChunkRow] = ()) -> None:
        """Queue the chunks of a document, but for those that one of the rows keeps."""
        known = {row.id: row for row in rows}
        work.chunks = chunks
        new = []
        for piece in chunks:
            row = known.get(chunk_row_id(piece.id))
            if row is None or not is_kept(self._context, work.claim, piece, row):
                new.append(piece)
        work.open_chunks = len(new)
        self._context.emit(
            "chunked",
            document_id=work.claim.document_id,
            done=len(chunks) - len(new),
            total=len(chunks),
        )
        for piece in new:
            self._waiting.put_nowait((work, piece))
        if not new:
            self._ready(work)

    # ---- extracting ------------------------------------------------------------------------------------

    async def extract(self) -> None:
        """Extract chunk after chunk until the end; run `workers` of these at once."""
        while (item := await self._waiting.get()) is not None:
            work, piece = item
            if work.paused is not None:
                self._done(work)
                continue
            await self._context.limits.turn(self._context.priority, self._context.way)
            try:
                records = records_of(work.claim, piece)
                work.extractions[piece.id] = (
                    await extract_one(self._context_of(work), piece)
                    if records is None
                    else await given_extraction(self._context, piece, records)
                )
            except WorkCancelled:
                work.cancelled = True
            except BudgetExhausted as error:
                work.paused = error
            except ProviderError as error:
                generation = self._context.extractor.generation(self._context)
                work.note_error(piece, f"{type(error).__name__}: {error}", generation)
            self._done(work)

    def _context_of(self, work: Work) -> Context:
        cancelled = partial(self._workspace.is_cancelled, work.claim.sequence)
        return self._context.derive(cancelled=cancelled, document=work.claim.document_id)

    def _done(self, work: Work) -> None:
        work.open_chunks -= 1
        self._context.emit(
            "extracted",
            document_id=work.claim.document_id,
            done=len(work.chunks) - work.open_chunks,
            total=len(work.chunks),
        )
        if not work.open_chunks:
            self._ready(work)

    def end(self) -> None:
        """Let the workers end once all is extracted."""
        for _ in range(self.workers):
            self._waiting.put_nowait(None)


def _same_metadata(claim: Claim, known: DocumentRow) -> bool:
    return (known.source, dict(known.metadata)) == (claim.source, dict(claim.metadata))
