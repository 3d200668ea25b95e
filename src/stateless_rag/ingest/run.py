"""One run of the write path: claims go in, and all that is needed for them runs until they are settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from stateless_rag.ingest.chunks import Chunks
from stateless_rag.ingest.commits import CANCELLED, Commits
from stateless_rag.ingest.files import Files
from stateless_rag.ingest.reports import Reports
from stateless_rag.ingest.source import Documents, groups_of, require_converter, submit
from stateless_rag.ingest.work import Room, Work

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Claim, Workspace
    from stateless_rag.types import InsertReport

__all__ = ["Ingest"]

_CLAIMS = 64
_POLL = 0.02  # seconds between two looks for documents that others may have let go of


class Ingest:
    """One run of the write path over claims; made for one call and then thrown away."""

    def __init__(
        self, context: Context, workspace: Workspace, tracking_id: str, *, keep: int | None = None
    ) -> None:
        """`keep`: how many documents the report tells of at the most, the last ones; None for all."""
        self._context = context
        self._settings = context.settings.ingest
        self._workspace = workspace
        self._tracking_id = tracking_id
        self._reports = Reports(context, tracking_id, keep)
        self._room = Room(self._settings)
        self._chunks = Chunks(context, workspace, self._is_ready)
        self._commits = Commits(context, workspace, self._reports, self._room, self._again)

    async def insert(self, documents: Documents) -> InsertReport:
        """Take documents in: submit them, work on them, and wait for those of them that others work on."""
        return await self.run(self._submitted(documents))

    async def take(self, groups: AsyncGenerator[Sequence[Claim]]) -> InsertReport:
        """As `insert`, for submissions in groups."""
        return await self.run(self._followed(groups))

    async def run(self, claims: AsyncGenerator[Sequence[Claim]]) -> InsertReport:
        """Work on all claims that the generator yields; returns when they are committed or have failed."""
        extractors = [asyncio.create_task(self._chunks.extract()) for _ in range(self._chunks.workers)]
        committer = asyncio.create_task(self._commits.run())
        feeder = asyncio.create_task(self._feed(claims))
        tasks = [*extractors, committer, feeder]
        try:
            await _all_or_first_error(feeder, tasks)
            tasks.append(drained := asyncio.create_task(self._room.empty()))
            await _all_or_first_error(drained, tasks)
            self._chunks.end()
            self._commits.end()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                await self._workspace.release(self._reports.under_way)
        return await self._reports.finish(self._workspace)

    async def _followed(self, groups: AsyncGenerator[Sequence[Claim]]) -> AsyncGenerator[Sequence[Claim]]:
        async with aclosing(groups):
            async for group in groups:
                submitted, taken = await self._workspace.submit(group, claimed=True)
                self._reports.expect(submitted)
                yield taken
        async for taken in self._left():
            yield taken

    async def _submitted(self, documents: Documents) -> AsyncGenerator[Sequence[Claim]]:
        async with aclosing(groups_of(documents, at_most=self._settings.documents_in_flight)) as groups:
            async for group in groups:
                require_converter(self._context, group)
                submitted, taken = await submit(self._workspace, group, self._tracking_id, claimed=True)
                self._reports.expect(submitted)
                yield taken
        async for taken in self._left():
            yield taken

    async def _left(self) -> AsyncGenerator[Sequence[Claim]]:
        """What others worked on when it was submitted, and have let go of."""
        while set(self._workspace.unfinished(self._tracking_id)) - self._reports.accepted:
            taken = await self._workspace.claim(_CLAIMS, tracking_id=self._tracking_id, failed=False)
            if taken:
                yield taken
            else:
                await asyncio.sleep(_POLL)

    async def _feed(self, claims: AsyncGenerator[Sequence[Claim]]) -> None:
        files = Files(self._context, self._workspace, self._let_in, self._unreadable)
        async with aclosing(claims), aclosing(files):
            async for group in claims:
                self._reports.accept(group)
                await files.take(group)
            await files.finish()
        self._reports.total = len(self._reports.accepted)

    async def _let_in(self, group: Sequence[Claim]) -> None:
        entered = 0
        while entered < len(group):
            if self._reports.paused is not None:
                rest = [Work(claim) for claim in group[entered:]]
                await self._commits.put_back(rest, entered=False)
                break
            let_in = group[entered : entered + await self._room.enter(group[entered:])]
            await self._chunks.prepare(let_in, self._commits.unchanged, self._commits.fail)
            entered += len(let_in)

    async def _unreadable(self, claim: Claim, error: str | None, updates: bool) -> None:
        await self._room.enter([claim])
        await self._commits.fail(Work(claim, updates=updates), CANCELLED if error is None else error)

    # ---- budgets ---------------------------------------------------------------------------------------

    @property
    def paused(self) -> str | None:
        """Why nothing more is worked on: a budget is used up."""
        return None if self._reports.paused is None else str(self._reports.paused)

    @property
    def ended(self) -> bool:
        """Whether that is the run's own budget, so that it will not go on."""
        allowance = self._context.allowance
        return allowance is not None and allowance.lasting

    def goes_on(self) -> bool:
        """Go on after a pause, if there is something to be spent again; tells whether there is."""
        allowance = self._context.allowance
        if allowance is not None and allowance.refusal() is not None:
            return False
        self._reports.paused = None
        return True

    def _is_ready(self, work: Work) -> None:
        self._commits.add(work)

    def _again(self, work: Work) -> None:
        work.extractions.clear()
        work.errors.clear()
        self._chunks.start(work, work.chunks)


async def _all_or_first_error(wanted: asyncio.Task[Any], tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for one task, or for the first of the others that fails; its error is raised as it is."""
    while not wanted.done():
        watched = {task for task in tasks if not task.done()} | {wanted}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                wanted.cancel()
                raise error
    wanted.result()
