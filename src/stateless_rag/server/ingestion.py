"""Documents are taken in behind the requests: a task for each workspace that has some, until none are left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import Overloaded, StatelessRagError, StoreClosed, WorkspaceNotFound

if TYPE_CHECKING:
    from stateless_rag.server.board import Board
    from stateless_rag.server.leases import Leases
    from stateless_rag.types import InsertReport

__all__ = ["Ingestion"]

_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0  # seconds
_PAUSED = 60.0  # seconds between two looks whether a budget that was used up has something again


class Ingestion:
    """Works on what is pending in the workspaces, `at_once` of them side by side. Belongs to one event loop.

    What is under way holds a lease, so that the workspace stays open. What was accepted is durable: after a crash, or
    a shutdown that could not wait, `look` finds it again.
    """

    def __init__(self, leases: Leases, board: Board, at_once: int) -> None:
        self._leases = leases
        self._board = board
        self._slots = asyncio.Semaphore(at_once)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._retrying: dict[str, set[asyncio.Task[None]]] = {}
        self._again: set[str] = set()
        self._stops: dict[str, asyncio.Event] = {}
        self._refused: set[str] = set()
        self._paused: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    async def look(self) -> None:
        """Begin with what earlier processes have left."""
        for name in await self._leases.store.names():
            try:
                if await self._leases.store.waiting(name):
                    self.start(name)
            except StoreClosed:
                raise
            except StatelessRagError as error:  # of this workspace; the others are served
                _log("cannot be looked at", name, error)

    def start(self, name: str) -> None:
        """See to it that what is pending in a workspace is taken in."""
        if self._closed or name in self._refused:
            return
        if name in self._working:
            self._again.add(name)
            return
        self._stops[name] = asyncio.Event()
        task = self._working[name] = asyncio.create_task(self._work(name))
        task.add_done_callback(lambda _: self._ended(name))

    def retry(self, name: str, ids: Collection[str] | None = None) -> None:
        """Try again what has failed in a workspace, or those of `ids`."""
        if not self._closed and name not in self._refused:
            tasks = self._retrying.setdefault(name, set())
            task = asyncio.create_task(self._guarded(name, self._retry(name, ids)))
            tasks.add(task)
            task.add_done_callback(lambda _: self._retried(name, task))

    def busy(self, name: str) -> bool:
        """Whether documents of a workspace are being taken in."""
        return name in self._working or name in self._retrying

    async def idle(self, name: str) -> None:
        """Wait until nothing is being taken in."""
        while tasks := [*self._retrying.get(name, ()), *filter(None, [self._working.get(name)])]:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # what is done when they are

    @property
    def count(self) -> int:
        """How many workspaces are being worked on."""
        return len({*self._working, *self._retrying})

    async def halt(self, name: str) -> None:
        """Stop working on a workspace now; what is under way stays pending. Nothing begins until `allow`."""
        self._refused.add(name)
        tasks = [*self._retrying.get(name, ()), *filter(None, [self._working.get(name)])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def allow(self, name: str) -> None:
        """Work may begin again."""
        self._refused.discard(name)

    async def close(self, grace: float) -> None:
        """Take in what is under way for so many seconds; the rest stays pending."""
        self._closed = True
        for timer in self._paused.values():
            timer.cancel()
        for stop in self._stops.values():
            stop.set()
        tasks = [*self._working.values(), *(each for tasks in self._retrying.values() for each in tasks)]
        if tasks and grace:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- tasks -----------------------------------------------------------------------------------------

    async def _work(self, name: str) -> None:
        async with self._slots:
            delay = _FIRST_DELAY
            while not self._closed:
                self._again.discard(name)
                try:
                    async with self._leases.lease(name) as engine:
                        report = await engine.work(stop=self._stops[name], until_empty=True)
                except (StoreClosed, WorkspaceNotFound):
                    return
                except Overloaded as error:
                    await asyncio.sleep(error.retry_after)
                    continue
                except Exception as error:  # noqa: BLE001 -- of one workspace, of whatever kind: it is tried again
                    _log("could not be worked on", name, error)
                    await asyncio.sleep(delay)
                    delay = min(_LONGEST_DELAY, delay * 2)
                    continue
                _log_report(name, report)
                if report.paused is not None:
                    self._look_again(name)
                    return
                if name not in self._again:
                    return

    def _look_again(self, name: str) -> None:
        """Look after a while whether there is something to be spent again; who raises the budget starts it at once."""
        if name not in self._paused and not self._closed:
            loop = asyncio.get_running_loop()
            self._paused[name] = loop.call_later(_PAUSED, self._paused_enough, name)

    def _paused_enough(self, name: str) -> None:
        self._paused.pop(name, None)
        self.start(name)

    async def _retry(self, name: str, ids: Collection[str] | None) -> None:
        while True:
            try:
                async with self._leases.lease(name) as engine:
                    report = await engine.retry(ids)
                _log_report(name, report)
                return
            except Overloaded as error:
                await asyncio.sleep(error.retry_after)

    async def _guarded(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StatelessRagError as error:
            _log("could not be tried again", name, error)

    def _ended(self, name: str) -> None:
        self._working.pop(name, None)
        self._stops.pop(name, None)
        if not self.busy(name):
            self._board.end(name)
        if name in self._again:  # came in after the last look
            self._again.discard(name)
            self.start(name)

    def _retried(self, name: str, task: asyncio.Task[None]) -> None:
        tasks = self._retrying.get(name, set())
        tasks.discard(task)
        if not tasks:
            self._retrying.pop(name, None)
        if not self.busy(name):
            self._board.end(name)


def _log_report(name: str, report: InsertReport) -> None:
    """What was taken in, where anything was."""
    if not report.counts:
        return
    facts = {
        "workspace": name,
        "documents": sum(report.counts.values()),
        "failed": len(report.failed),
        "tokens": sum(used.tokens for used in report.usage.values()),
        "seconds": round(report.seconds, 3),
    }
    logging.getLogger("stateless_rag.server").info(
        "workspace %s: %d documents were worked on, %d failed",
        name,
        facts["documents"],
        facts["failed"],
        extra=facts,
    )


def _log(what: str, name: str, error: Exception) -> None:
    told = "workspace %s %s: %s: %s"
    facts = {"workspace": name, "error": type(error).__name__}
    logging.getLogger("stateless_rag.server").warning(
        told, name, what, type(error).__name__, error, extra=facts
    )
