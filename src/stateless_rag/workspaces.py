"""The pool: engines for applications with many workspaces, opened when they are needed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, Overloaded, StoreClosed
from stateless_rag.limits import Limits
from stateless_rag.opening import Opening
from stateless_rag.types import InsertReport

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.store import Store

__all__ = ["Workspaces"]


class _Entry:
    """An open engine, or one that is being opened, and how many hold it."""

    __slots__ = ("engine", "leases")

    def __init__(self, engine: asyncio.Task[Engine]) -> None:
        self.engine = engine
        self.leases = 0


class Workspaces:
    """Engines on the workspaces of one store, by name.

    `async with workspaces.lease(name) as engine` opens an engine once, however many ask for it together, and
    keeps it from being closed while it is leased; a stream needs a lease of its own for as long as it is read.
    At most `max_open` engines are kept open; those used least recently are closed first, and if all are
    leased, a further one is refused with Overloaded. All share `limits`, so that waiting for providers is
    fair between workspaces. Belongs to one event loop; pools on other loops may use the same store.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_open: int = 256,
        limits: Limits | None = None,
        engine_options: Callable[[str], Mapping[str, Any]] | None = None,
        create: bool = True,
    ) -> None:
        """`engine_options(name)` gives the keyword arguments of `Engine.open` for a workspace."""
        if max_open < 1:
            raise InvalidInput(f"max_open must be at least 1, not {max_open}")
        self.limits = limits or Limits()
        self.store = store
        self._max_open = max_open
        self._options = engine_options or (lambda _: {})
        self._create = create
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._closed = False

    @classmethod
    def open(cls, root: str | Path, **options: Any) -> Opening[Workspaces]:
        """Open a store on a root folder and a pool on it; closing the pool closes the store."""
        from stateless_rag.stores.duckdb.store import Store

        settings = options.pop("store_settings", None)

        async def enter() -> Workspaces:
            return cls(await Store.open(root, settings), **options)

        async def leave(pool: Workspaces) -> None:
            await pool.close()
            await pool.store.close()

        return Opening(enter, leave)

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Engine]:
        """An engine on the workspace, that stays open as long as the lease lasts."""
        entry = await self._entry(name)
        entry.leases += 1
        try:
            yield await asyncio.shield(entry.engine)
        finally:
            entry.leases -= 1

    async def close_one(self, name: str) -> bool:
        """Close the engine of a workspace, if it is open and not leased; tells whether it is closed now."""
        entry = self._entries.get(name)
        if entry is None:
            return True
        if entry.leases:
            return False
        del self._entries[name]
        await (await entry.engine).close()
        return True

    async def close(self) -> None:
        """Close all engines; leases that are still held get StoreClosed at their next call."""
        self._closed = True
        while self._entries:
            _, entry = self._entries.popitem()
            engine = await asyncio.gather(entry.engine, return_exceptions=True)
            if isinstance(engine[0], Engine):
                await engine[0].close()

    @property
    def opened(self) -> tuple[str, ...]:
        """The workspaces that are open, least recently used first."""
        return tuple(self._entries)

    async def work(
        self, *, stop: asyncio.Event | None = None, until_empty: bool = False, poll: float = 0.2
    ) -> Mapping[str, InsertReport]:
        """Ingest what is pending in all workspaces of the store, side by side, as `Engine.work` does for one.

        The slots of the shared limits go round the workspaces that wait, so a large one does not starve the
        others. Workspaces created meanwhile are found every `poll` seconds.
        """
        reports: dict[str, InsertReport] = {}
        running: dict[str, asyncio.Task[InsertReport]] = {}
        stopping = stop or asyncio.Event()
        try:
            while not stopping.is_set():
                for name in await self.store.names():
                    task = running.get(name)
                    if (task is None or task.done()) and await self._has_pending(name):
                        running[name] = asyncio.create_task(self._work_one(name, stopping, reports))
                if until_empty and not any(not task.done() for task in running.values()):
                    break
                waiting = [task for task in running.values() if not task.done()]
                await asyncio.wait(
                    [*waiting, pause := asyncio.create_task(asyncio.sleep(poll))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                pause.cancel()
            await asyncio.gather(*running.values())
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)
        return reports

    async def _has_pending(self, name: str) -> bool:
        return bool((await self.store.workspace(name)).claimable)

    async def _work_one(
        self, name: str, stop: asyncio.Event, reports: dict[str, InsertReport]
    ) -> InsertReport:
        async with self.lease(name) as engine:
            report = await engine.work(stop=stop, until_empty=True)
        reports[name] = report
        return report

    async def _entry(self, name: str) -> _Entry:
        if self._closed:
            raise StoreClosed("the pool of workspaces is closed")
        entry = self._entries.get(name)
        if entry is None:
            await self._make_room()
            entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry(asyncio.create_task(self._open(name)))
        self._entries.move_to_end(name)
        return entry

    async def _open(self, name: str) -> Engine:
        try:
            options = {"limits": self.limits, "create": self._create, **self._options(name)}
            return await Engine.open(self.store, name, **options)
        except BaseException:
            self._entries.pop(name, None)
            raise

    async def _make_room(self) -> None:
        while len(self._entries) >= self._max_open:
            idle = next((n for n, entry in self._entries.items() if not entry.leases), None)
            if idle is None:
                raise Overloaded(
                    f"all {self._max_open} workspaces that may be open are in use; try again later, or raise max_open",
                    retry_after=1.0,
                )
            await self.close_one(idle)
