"""Committing documents that are ready, in groups, and finding those that a provider fails for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stateless_rag.commit import Batch, Outdated, Ready, commit
from stateless_rag.errors import (
    BudgetExhausted,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.ingest.reports import Found, found
from stateless_rag.text import document_digest
from stateless_rag.types import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stateless_rag.context import Context
    from stateless_rag.ingest.reports import Reports
    from stateless_rag.ingest.work import Room, Work
    from stateless_rag.protocols import Basis, Claim, Workspace

__all__ = ["CANCELLED", "Commits"]

CANCELLED = "cancelled; resume goes on with it"

_CHARACTERS = 4_000_000  # of the documents that share a commit
_PAUSE = 0.005  # seconds between two looks for documents that finish close together
_JOINED = 0.02  # seconds that the first of them waits for others: a commit takes longer
_APART = 40.0  # times as long as the last commit took lie between two, so that most of the time is not spent on them,
_APART_AT_MOST = 1.0  # or so many seconds: while a summary is waited for, documents gather anyway
_ENOUGH = 64  # documents, of which each has only a small part of what a commit costs
_FAILURES = 2  # documents in a row after which a provider counts as out of reach


class Commits:
    """Documents whose chunks are done, on their way into the workspace."""

    def __init__(
        self,
        context: Context,
        workspace: Workspace,
        reports: Reports,
        room: Room,
        again: Callable[[Work], None],
    ) -> None:
        """`again` is told of documents that must be extracted once more, from the start."""
        self._context = context
        self._workspace = workspace
        self._settings = context.settings.ingest
        self._reports = reports
        self._room = room
        self._again = again
        self._ready: asyncio.Queue[Work | None] = asyncio.Queue()

    def add(self, work: Work) -> None:
        """Take a document whose chunks are all done."""
        self._ready.put_nowait(work)

    def end(self) -> None:
        """Let `run` end once all is committed."""
        self._ready.put_nowait(None)

    async def run(self) -> None:
        """Commit what is ready, group after group, until the end."""
        held: Work | None = None
        wait_until = 0.0
        while True:
            work = held or await self._ready.get()
            held = None
            group: list[Work] = []
            chunks = characters = 0
            looks = self._looks(wait_until)
            while work is not None:
                if work.cancelled or self._workspace.is_cancelled(work.claim.sequence):
                    await self.fail(work, CANCELLED)
                elif work.paused is not None:
                    await self.put_back([work], work.paused)
                elif work.errors and not self._settings.accept_partial:
                    await self.fail(work, f"{len(work.errors)} of {len(work.chunks)} chunks failed")
                elif group and characters + work.characters > _CHARACTERS:
                    held = work
                    break
                else:
                    group.append(work)
                    chunks += len(work.chunks)
                    characters += work.characters
                if chunks >= self._settings.commit_chunks:
                    break
                if self._ready.empty() and not (group and await self._is_joined(len(group), looks)):
                    break
                work = self._ready.get_nowait()
            if group:
                begun = self._context.clock.monotonic()
                await self._commit(group)
                took = self._context.clock.monotonic() - begun
                wait_until = begun + min(_APART * took, _APART_AT_MOST)
            if work is None:
                return

    def _looks(self, until: float) -> Iterator[int]:
        """As many as there is time for: one by one, each taken anew where documents come together."""
        seconds = max(_JOINED, until - self._context.clock.monotonic())
        return iter(range(round(seconds / _PAUSE)))

    async def _is_joined(self, held: int, looks: Iterator[int]) -> bool:
        """Look a few times whether another document has finished with the `held` that are about to be committed."""
        pause = self._context.clock.sleep or asyncio.sleep
        while held < min(self._room.documents, _ENOUGH) and next(looks, None) is not None:
            await pause(_PAUSE)
            if not self._ready.empty():
                return True
        return False

    async def _commit(self, group: Sequence[Work]) -> None:
        """Commit documents together; those that a provider fails for fail, the others are committed."""
        try:
            await self._together(group)
        except Outdated as outdated:
            if rest := self._prepare_again(group, outdated):
                await self._commit(rest)
        except BudgetExhausted as error:
            await self.put_back(group, error)
        except ProviderError as error:
            await self._apart(group, error)

    async def _together(self, group: Sequence[Work]) -> None:
        """Raises ProviderError or Outdated; then nothing was changed."""
        self._workspace.advance([work.claim.sequence for work in group], Status.MERGING)
        for work in group:
            self._context.emit("merging", document_id=work.claim.document_id, total=len(work.chunks))
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
        committed = await commit(self._context, self._workspace, batch)
        held = await asyncio.to_thread(lambda: list(map(found, group)))
        deleted = await self._deleted([w for w in group if w.claim.sequence in committed.withdrawn])
        left: list[Work] = []
        for work, holds in zip(group, held, strict=True):
            if work.claim.sequence in deleted:
                message = "deleted while it was being ingested"
                self._reports.settle(work, Status.FAILED, "failed", holds, error=message)
                left.append(work)
            elif work.errors and work.claim.sequence not in committed.withdrawn:
                message = f"{len(work.errors)} of {len(work.chunks)} chunks failed; the others are searchable"
                await self.fail(work, message, holds)
            else:
                self._reports.settle(work, Status.PROCESSED, "committed", holds)
                left.append(work)
        await self._room.leave(left)

    async def _deleted(self, withdrawn: Sequence[Work]) -> set[int]:
        """Those of the withdrawn submissions whose document is not there with that text.

        The others were committed by a run that was cancelled while its commit was being carried out.
        """
        if not withdrawn:
            return set()

        def look(basis: Basis) -> set[int]:
            ids = [work.claim.document_id for work in withdrawn]
            aside = [row.document for row in basis.disabled_rows(ids).values()]
            there = {(row.id, row.digest) for row in (*basis.document_rows(ids).values(), *aside)}
            claims = [work.claim for work in withdrawn]
            return {
                claim.sequence
                for claim in claims
                if (claim.document_id, document_digest(claim.text)) not in there
                and (claim.document_id, document_digest(claim.text, cut=True)) not in there
            }

        return await self._workspace.read_basis(look)

    def _done(self, work: Work) -> tuple[int, ...]:
        """What is pending no more once the document is committed; one that is partial stays, to be resumed."""
        mine = {work.claim.sequence} if work.errors else set()
        return tuple(n for n in self._superseded(work.claim) if n not in mine)

    def _superseded(self, claim: Claim) -> Sequence[int]:
        return (claim.sequence,) if claim.upgrade else self._workspace.superseded(claim)

    def _prepare_again(self, group: Sequence[Work], outdated: Outdated) -> list[Work]:
        """Send back what is outdated; returns the others."""
        rest: list[Work] = []
        for work in group:
            if work.claim.document_id in outdated.document_ids:
                self._workspace.advance([work.claim.sequence], Status.EXTRACTING)
                self._again(work)
            else:
                rest.append(work)
        return rest

    async def _apart(self, group: Sequence[Work], error: ProviderError) -> None:
        """A summary or an embedding failed: find the documents that it stops, commit the others.

        Where the provider cannot be reached, that is given up after a few documents in a row: asking it again
        for each would only take longer.
        """
        if len(group) == 1:
            await self.fail(group[0], _told(error))
            return
        if not _unreachable(error):
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
            return
        failures = 0
        for work in group:
            if failures < _FAILURES:
                failures = failures + 1 if await self._alone(work) else 0
            else:
                await self.fail(work, _told(error))

    async def _alone(self, work: Work) -> bool:
        """Commit one document, or let it fail; returns whether a provider could not be reached."""
        try:
            await self._together([work])
        except Outdated as outdated:
            self._prepare_again([work], outdated)
        except BudgetExhausted as error:
            await self.put_back([work], error)
        except ProviderError as error:
            await self.fail(work, _told(error))
            return _unreachable(error)
        return False

    # ---- documents that need no commit -----------------------------------------------------------------

    async def unchanged(self, works: Sequence[Work]) -> None:
        """Settle documents that are there already."""
        await self._workspace.withdraw([n for work in works for n in self._superseded(work.claim)])
        for work in works:
            self._reports.settle(work, Status.PROCESSED, "unchanged", Found(), unchanged=True)
        await self._room.leave(works)

    async def put_back(
        self, works: Sequence[Work], reason: BudgetExhausted | None = None, *, entered: bool = True
    ) -> None:
        """Let go of documents that cannot be paid for now; they stay pending, and what was paid for in the journal.

        `reason` is that of a pause that begins; documents that were not let in yet have not `entered`.
        """
        if reason is not None:
            self._reports.pause(reason)
        stopped = [work for work in works if self._workspace.is_cancelled(work.claim.sequence)]
        for work in stopped:
            await self.fail(work, CANCELLED, entered=entered)
        left = [work for work in works if work not in stopped]
        await self._workspace.release([work.claim.sequence for work in left])
        for work in left:
            self._reports.put_back(work)
        if entered:
            await self._room.leave(left)

    async def fail(
        self, work: Work, message: str, holds: Found | None = None, *, entered: bool = True
    ) -> None:
        """Record that a document failed; what was extracted of it stays in the journal."""
        errors: list[dict[str, Any]] = [
            {"chunk_id": e.chunk_id, "ordinal": e.ordinal, "error": e.error, "attempts": e.attempts}
            for e in work.errors
        ]
        if not errors or message == CANCELLED:
            errors.append({"error": message})
        await self._workspace.fail(work.claim, errors)
        stale = work.updates and not self._settings.accept_partial
        if holds is None:
            holds = await asyncio.to_thread(found, work)
        self._reports.settle(work, Status.FAILED, "failed", holds, error=message, stale=stale)
        if entered:
            await self._room.leave([work])


def _unreachable(error: ProviderError) -> bool:
    return isinstance(error, ProviderUnavailable | ProviderTimeout | ProviderRateLimited)


def _told(error: ProviderError) -> str:
    return f"{type(error).__name__}: {error}"
