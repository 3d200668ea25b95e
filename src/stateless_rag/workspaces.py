"""The pool: engines for applications with many workspaces, opened when they are needed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import callback, flag, instance, number, optional, whole
from stateless_rag.engine import Engine
from stateless_rag.errors import Overloaded, StatelessRagError, StoreClosed, WorkFailed, WorkspaceNotFound
from stateless_rag.limits import Limits
from stateless_rag.opening import Opening
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.types import InsertReport, OpenWorkspace

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.store import Store

__all__ = ["Workspaces"]

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_PAUSED = 5.0  # seconds between two looks whether a budget that was used up has something again
_CLOSED = "the pool of workspaces is closed"


class _Entry:
    """An engine that is open, is being opened or waits for room; who holds it, what it takes, its last use."""

    __slots__ = ("admitted", "engine", "leases", "memory", "name", "timer", "used_at")

    def __init__(self, name: str, used_at: float) -> None:
        self.name = name
        self.admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.engine: asyncio.Future[Engine]  # once it is admitted
        self.leases = 0
        self.memory = 0
        self.used_at = used_at
        self.timer: asyncio.TimerHandle | None = None


class Workspaces:
    """Engines on the workspaces of one store, by name.

    `async with workspaces.lease(name) as engine` opens an engine once, however many ask for it together, and
    keeps it from being closed while it is leased; a stream needs a lease of its own for as long as it is read.
    At most `max_open` engines are kept open, and with `max_bytes` as many as fit with what they hold in memory
    (vectors and graph); those used least recently are closed first. If all are leased, who asks for a further
    one waits for room, in the order of asking, and gets Overloaded after `max_wait` seconds. Engines that were
    not leased for `max_idle` seconds are closed.
    All share `limits`, so that waiting for providers is fair between workspaces, and the store's tokenizer
    unless their options name another. Belongs to one event loop; pools on other loops may use the same store.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_open: int = 256,
        max_bytes: int | None = None,
        max_idle: float | None = None,
        max_wait: float = 10.0,
        limits: Limits | None = None,
        engine_options: Callable[[str], Mapping[str, Any]] | None = None,
        create: bool = True,
    ) -> None:
        """`engine_options(name)` gives the keyword arguments of `Engine.open` for a workspace."""
        from stateless_rag.stores.duckdb.store import Store

        instance("store", store, kind=Store)
        self._max_open = whole("max_open", max_open, least=1)
        self._max_bytes = optional("max_bytes", max_bytes, whole, least=1, most=2**63)
        self._max_idle = optional("max_idle", max_idle, number, above=0.0)
        self._max_wait = number("max_wait", max_wait, above=0.0)
        optional("engine_options", engine_options, callback)
        self.limits = Limits() if limits is None else instance("limits", limits, kind=Limits)
        self.store = store
        self._options = engine_options or (lambda _: {})
        self._create = flag("create", create)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._queue: dict[str, _Entry] = {}  # who waits for room, the longest first
        self._closing: dict[asyncio.Task[None], _Entry] = {}
        self._closed = False

    @classmethod
    def open(cls, root: str | Path, **options: Any) -> Opening[Workspaces]:
        """Open a store on a root folder and a pool on it; closing the pool closes the store."""
        from stateless_rag.stores.duckdb.store import Store

        settings = options.pop("store_settings", None)

        async def enter() -> Workspaces:
            store = await Store.open(root, settings)
            try:
                return cls(store, **options)
            except BaseException:
                await store.close()
                raise

        async def leave(pool: Workspaces) -> None:
            try:
                await pool.close()
            finally:
                await pool.store.close()

        return Opening(enter, leave)

    # ---- leases ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Engine]:
        """An engine on the workspace, that stays open as long as the lease lasts.

        Raises Overloaded if all that may be open were in use for `max_wait` seconds.
        """
        entry = self._asked(check_name(name))
        entry.leases += 1
        try:
            await self._admitted(entry)
            yield await asyncio.shield(entry.engine)
        finally:
            entry.leases -= 1
            self._returned(entry)

    async def close_one(self, name: str) -> bool:
        """Close the engine of a workspace, if it is open and not leased; tells whether it is closed now."""
        entry = self._entries.get(check_name(name)) or self._queue.get(name)
        if entry is not None:
            if entry.leases:
                return False
            self._retire(entry)
        closing = [task for task, closed in self._closing.items() if closed.name == name]
        await asyncio.gather(*map(asyncio.shield, closing))
        return True

    async def close(self) -> None:
        """Close all engines; leases that are still held get StoreClosed at their next call.

        May be called twice; whoever calls it returns when all are closed. Raises the error of the first that
        could not be closed properly, after the others were.
        """
        self._closed = True
        for entry in self._queue.values():
            entry.admitted.set_exception(StoreClosed(_CLOSED))
            _seen(entry.admitted)
        self._queue.clear()
        for entry in list(self._entries.values()):
            self._retire(entry)
        ended = await asyncio.gather(*map(asyncio.shield, self._closing), return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    @property
    def opened(self) -> tuple[str, ...]:
        """The workspaces that are open, least recently used first."""
        return tuple(self._entries)

    def usage(self) -> tuple[OpenWorkspace, ...]:
        """The workspaces that are open, least recently used first, with what uses them and what they take."""
        now = asyncio.get_running_loop().time()
        return tuple(
            OpenWorkspace(
                name=name,
                leases=entry.leases,
                memory=self.store.memory(name),
                idle=0.0 if entry.leases else now - entry.used_at,
            )
            for name, entry in self._entries.items()
        )

    # ---- work ------------------------------------------------------------------------------------------

    async def work(
        self,
        *,
        stop: asyncio.Event | None = None,
        until_empty: bool = False,
        poll: float = 0.2,
        on_error: Callable[[str, Exception], None] | None = None,
    ) -> Mapping[str, InsertReport]:
        """Ingest what is pending in all workspaces of the store, side by side, as `Engine.work` does for one.

        The slots of the shared limits go round the workspaces that wait, so a large one does not starve the
        others. Workspaces created meanwhile are found every `poll` seconds. Returns the last report of each.

        A workspace that cannot be opened or worked on does not hold up the others: `on_error` is called with
        its name and the error. With `until_empty` it is left alone then, else it is tried again after a
        pause that grows to a minute. Without `on_error`, errors that last are raised at the end in one
        WorkFailed, which carries the reports. A workspace for which the pool has no room waits for it.
        """
        optional("stop", stop, instance, kind=asyncio.Event)
        number("poll", poll, above=0.0)
        optional("on_error", on_error, callback)
        work = _Work(self, stop or asyncio.Event(), until_empty=until_empty, poll=poll, on_error=on_error)
        await work.run()
        if work.errors and on_error is None:
            raise WorkFailed(work.reports, work.errors) from next(iter(work.errors.values()))
        return work.reports

    # ---- plumbing --------------------------------------------------------------------------------------

    @property
    def max_open(self) -> int:
        """How many workspaces may be open."""
        return self._max_open

    def check(self) -> None:
        """Raise StoreClosed if the pool was closed."""
        if self._closed:
            raise StoreClosed(_CLOSED)

    def _asked(self, name: str) -> _Entry:
        """The entry of a workspace, that waits for room if there was none yet."""
        self.check()
        entry = self._entries.get(name)
        if entry is not None:
            self._entries.move_to_end(name)
            return entry
        entry = self._queue.get(name)
        if entry is None:
            entry = self._queue[name] = _Entry(name, asyncio.get_running_loop().time())
            self._admit()
        return entry

    async def _admitted(self, entry: _Entry) -> None:
        try:
            async with asyncio.timeout(self._max_wait):
                await asyncio.shield(entry.admitted)
        except TimeoutError:
            raise Overloaded(
                f"all {self._max_open} workspaces that may be open are in use; try again later, or raise max_open"
                if len(self._entries) >= self._max_open
                else f"the workspaces in use take {self._memory():,} bytes of memory, max_bytes is "
                f"{self._max_bytes or 0:,}; try again later, or raise max_bytes",
                retry_after=1.0,
            ) from None

    def _admit(self) -> None:
        """Open engines for those who wait, as far as there is room or what is not leased can make room."""
        while self._queue:
            if self._crowded():
                idle = next((entry for entry in self._entries.values() if not entry.leases), None)
                if idle is None or len(self._closing) >= len(self._queue):
                    return  # the end of a lease, or of what is being closed, looks again
                self._retire(idle)
                continue
            name = next(iter(self._queue))
            entry = self._entries[name] = self._queue.pop(name)
            entry.engine = asyncio.get_running_loop().create_task(self._open(entry))
            entry.engine.add_done_callback(_seen)  # whoever asked for it may have been cancelled
            entry.admitted.set_result(None)

    def _crowded(self) -> bool:
        closing = self._closing.values()
        if len(self._entries) + len(closing) >= self._max_open:
            return True
        held = self._memory() + sum(entry.memory for entry in closing)
        return self._max_bytes is not None and held >= self._max_bytes

    async def _open(self, entry: _Entry) -> Engine:
        try:
            options = {"limits": self.limits, "create": self._create, **self._options(entry.name)}
            engine = await Engine.open(self.store, entry.name, **options)
        except BaseException:
            if self._entries.get(entry.name) is entry:
                del self._entries[entry.name]
                self._admit()
            raise
        entry.memory = self.store.memory(entry.name)
        self._trim()
        return engine

    def _returned(self, entry: _Entry) -> None:
        """A lease has ended, or whoever asked for one did not wait for it."""
        if not entry.leases and self._queue.get(entry.name) is entry:
            del self._queue[entry.name]
        elif self._entries.get(entry.name) is entry:
            entry.memory = self.store.memory(entry.name)
            entry.used_at = asyncio.get_running_loop().time()
            self._watch(entry)
            self._trim()
            self._admit()

    def _memory(self) -> int:
        return sum(entry.memory for entry in self._entries.values())

    def _trim(self) -> None:
        """Close what is not leased, least recently used first, until the rest fits into `max_bytes`."""
        if self._max_bytes is None:
            return
        excess = self._memory() - self._max_bytes
        for entry in list(self._entries.values()):
            if excess <= 0:
                return
            if not entry.leases and entry.engine.done():
                excess -= entry.memory
                self._retire(entry)

    def _watch(self, entry: _Entry) -> None:
        """See to it that the engine is closed when it has not been used for too long."""
        if self._max_idle is None or entry.timer is not None:
            return

        def look() -> None:
            entry.timer = None
            if entry.leases:
                return  # the end of the lease watches it again
            if loop.time() >= entry.used_at + idle:
                self._retire(entry)
            else:
                self._watch(entry)

        loop, idle = asyncio.get_running_loop(), self._max_idle
        entry.timer = loop.call_at(entry.used_at + idle, look)

    def _retire(self, entry: _Entry) -> None:
        """Take an engine out of the pool, and close it in a task of its own."""
        del self._entries[entry.name]
        if entry.timer is not None:
            entry.timer.cancel()
        closing = asyncio.create_task(_close(entry))
        self._closing[closing] = entry
        closing.add_done_callback(self._retired)

    def _retired(self, closing: asyncio.Task[None]) -> None:
        del self._closing[closing]
        _seen(closing)  # what could not be freed will be with the store
        self._admit()


async def _close(entry: _Entry) -> None:
    await asyncio.wait([entry.engine])
    if not entry.engine.cancelled() and entry.engine.exception() is None:
        await entry.engine.result().close()


def _seen(done: asyncio.Future[Any]) -> None:
    """Whoever waits for a task is told of its error; if nobody does, nobody misses it."""
    if not done.cancelled():
        done.exception()


class _Work:
    """One call of `Workspaces.work`: what runs, what came of it, and what may be tried again when."""

    def __init__(
        self,
        pool: Workspaces,
        stop: asyncio.Event,
        *,
        until_empty: bool,
        poll: float,
        on_error: Callable[[str, Exception], None] | None,
    ) -> None:
        self.reports: dict[str, InsertReport] = {}
        self.errors: dict[str, Exception] = {}
        self._pool = pool
        self._stop = stop
        self._until_empty = flag("until_empty", until_empty)
        self._poll = number("poll", poll, above=0.0)
        self._on_error = on_error
        self._running: dict[str, asyncio.Task[None]] = {}
        self._rounds: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._paused: set[str] = set()

    async def run(self) -> None:
        try:
            while not self._stop.is_set():
                await self._start()
                if self._until_empty and not self._running and not self._not_before:
                    break
                if self._running:
                    running = self._running.values()
                    await asyncio.wait(running, timeout=self._poll, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(self._poll)
                for name, task in list(self._running.items()):
                    if task.done():
                        del self._running[name]
                        task.result()
            await asyncio.gather(*self._running.values())
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _start(self) -> None:
        """Start on workspaces with pending documents, as many as the pool has room for; the longest waiting first."""
        self._pool.check()
        names = await self._pool.store.names()
        now = asyncio.get_running_loop().time()
        for name in sorted(names, key=lambda name: self._rounds.get(name, 0)):
            if len(self._running) >= self._pool.max_open:
                return
            if self._not_before.get(name, 0.0) <= now and name not in self._running:
                self._not_before.pop(name, None)
                if await self._has_work(name):
                    self._rounds[name] = self._rounds.get(name, 0) + 1
                    self._running[name] = asyncio.create_task(self._one(name))

    def _rest(self, name: str) -> None:
        """Leave a workspace alone whose budget is used up: for a while, or until all others are done."""
        if self._until_empty:
            self._paused.add(name)
        else:
            self._not_before[name] = asyncio.get_running_loop().time() + _PAUSED

    async def _has_work(self, name: str) -> bool:
        if self._until_empty and (name in self.errors or name in self._paused):
            return False
        try:
            return await self._pool.store.waiting(name) > 0
        except WorkspaceNotFound:
            return False  # dropped since its name was read
        except StoreClosed:
            raise
        except StatelessRagError as error:
            self._failed(name, error)
            return False

    async def _one(self, name: str) -> None:
        try:
            async with self._pool.lease(name) as engine:
                report = await engine.work(stop=self._stop, until_empty=True)
        except Overloaded as error:
            self._not_before[name] = asyncio.get_running_loop().time() + error.retry_after
        except Exception as error:  # noqa: BLE001 -- one workspace's trouble, of whatever kind, is not the others'
            self._failed(name, error)
        else:
            if report.paused is not None:
                self._rest(name)
            self.reports[name] = report
            self.errors.pop(name, None)
            self._failures.pop(name, None)

    def _failed(self, name: str, error: Exception) -> None:
        self.errors[name] = error
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        if not self._until_empty:
            delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (failures - 1))
            self._not_before[name] = asyncio.get_running_loop().time() + delay
        if self._on_error is not None:
            self._on_error(name, error)
