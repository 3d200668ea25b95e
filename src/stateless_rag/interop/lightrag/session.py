"""What an instance holds: the store and the engine it has opened, once, and a runner for synchronous calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.engine import Engine
from stateless_rag.errors import StatelessRagError, StoreLocked
from stateless_rag.interop.lightrag.errors import StorageNotInitializedError
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.sync import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Opened", "Place", "Session"]

Result = TypeVar("Result")
_PATIENCE, _PAUSE = 3.0, 0.02  # seconds for an instance that was forgotten to let go of the root


@dataclass(frozen=True)
class Place:
    """Where a workspace lies: in a store that is given, else below a root of its own."""

    root: Path
    workspace: str
    store: Store | None = None

    @classmethod
    def of(cls, working_dir: Path, workspace: str, store: Store | None) -> Place:
        """Without a workspace, `working_dir` itself, as "default"; else the folder of that name in it.

        So instances on one `working_dir` do not share a store, which one of them would have to own.
        """
        name = workspace or "default"
        if store is not None:
            return cls(store.root, name, store)
        return cls(working_dir / workspace if workspace else working_dir, name)


@dataclass(frozen=True)
class Opened:
    """An open store and an engine in it; `arguments` open others on the same workspace.

    `earlier` are engines with other arguments that somebody may use still.
    """

    store: Store
    engine: Engine
    arguments: Mapping[str, Any]
    owns_store: bool
    earlier: tuple[Engine, ...] = ()

    async def close(self) -> None:
        """Close the engines, and the store if it was opened for them."""
        async with AsyncExitStack() as stack:
            if self.owns_store:
                stack.push_async_callback(self.store.close)
            for engine in (*self.earlier, self.engine):
                stack.push_async_callback(engine.close)

    def close_now(self) -> None:
        """As `close`, without a loop."""
        for engine in (self.engine, *self.earlier):
            engine.close_now()
        if self.owns_store:
            self.store.close_now()

    async def another(self, **changes: Any) -> Engine:
        """Another engine on the same workspace; cheap, as the workspace is in memory."""
        return await Engine.open(self.store, self.engine.name, **{**self.arguments, **changes})

    async def changed(self, arguments: Mapping[str, Any]) -> Opened:
        """The same workspace with other arguments; what runs goes on with those that it has."""
        engine = await self.another(**arguments)
        return Opened(self.store, engine, arguments, self.owns_store, (*self.earlier, self.engine))


class Session:
    """Opens on first use, for whoever comes first, from any thread and event loop; nobody gets half of it."""

    def __init__(self, place: Place, arguments: Callable[[], Mapping[str, Any]]) -> None:
        self._place = place
        self._arguments = arguments
        self._lock = threading.Lock()
        self._opening: Future[Opened] | None = None
        self._runner: Runner | None = None
        self._ended = False

    async def opened(self, *, again: bool = False) -> Opened:
        """What is open. Raises StorageNotInitializedError once it was closed, unless it is to be opened `again`."""
        opening = self._begin(again=again)
        if opening.done():
            return opening.result()
        return await asyncio.shield(asyncio.wrap_future(opening))

    async def change(self, changes: Callable[[], Mapping[str, Any]]) -> None:
        """Use other arguments from now on; those who came before keep what they have. All or nothing."""
        with self._lock:
            opening, arguments = self._opening, {**self._arguments(), **changes()}
            if opening is None:
                self._arguments = lambda: arguments
                return
        before = await self.opened()
        after = await before.changed(arguments)
        ready: Future[Opened] = Future()
        ready.set_result(after)
        with self._lock:
            if taken := self._opening is opening:
                self._opening, self._arguments = ready, lambda: arguments
        if not taken:  # somebody closed it meanwhile, or changed it as well
            await after.engine.close()
            await self.change(changes)

    async def close(self) -> None:
        """Close all that is open. May be called twice."""
        with self._lock:
            self._ended = True
            opening, self._opening = self._opening, None
            runner, self._runner = self._runner, None
        if opening is not None:
            await asyncio.shield(_close(opening))
        if runner is not None:
            await asyncio.to_thread(runner.close)

    def forget(self) -> None:
        """Close all that is open: for when an instance was dropped without being closed.

        Not where the garbage was collected, which may be anywhere, but in a thread. When the process ends nothing
        is closed: it would not wait for the thread, and what is committed is safe.
        """
        if (self._opening is None and self._runner is None) or not threading.main_thread().is_alive():
            return
        threading.Thread(target=self._close_now, name="stateless-rag-forget").start()

    def _close_now(self) -> None:
        with self._lock:
            self._ended = True
            opening, self._opening = self._opening, None
            runner, self._runner = self._runner, None
        with suppress(
            RuntimeError, StatelessRagError
        ):  # the process may end meanwhile, and its pools before it
            if opening is not None and opening.exception() is None:
                opening.result().close_now()
        if runner is not None:
            runner.close()

    # ---- synchronous calls -----------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine, on the loop of the runner. Raises StorageNotInitializedError as `opened` does."""
        if self._ended:
            coroutine.close()
            raise self._is_closed()
        runner = self._running()
        try:
            return runner.run(coroutine)
        finally:
            # Its loop has let go of the coroutine then: the instance is not dropped there, when the process ends.
            if not runner.closed:
                runner.run(asyncio.sleep(0))

    def iterate(self, source: AsyncGenerator[Result]) -> Generator[Result, None, None]:
        """What an async generator yields, on the loop of the runner."""
        return self._running().iterate(source)

    def _running(self) -> Runner:
        with self._lock:
            if self._runner is None:
                self._runner = Runner()
            return self._runner

    # ---- opening ---------------------------------------------------------------------------------------

    def _begin(self, *, again: bool) -> Future[Opened]:
        with self._lock:
            if self._ended and not again:
                raise self._is_closed()
            self._ended = False
            failed = (
                self._opening is not None and self._opening.done() and self._opening.exception() is not None
            )
            if self._opening is None or failed:
                self._opening = Future()
                self._opening.set_running_or_notify_cancel()  # so that nobody who waits can cancel it
                # Not a task of whoever comes first: that may be cancelled while others wait.
                threading.Thread(
                    target=self._open_in_thread, args=(self._opening,), name="stateless-rag-open"
                ).start()
            return self._opening

    def _is_closed(self) -> StorageNotInitializedError:
        return StorageNotInitializedError(
            f"the storages in {self._place.root} were finalized; await initialize_storages() to go on"
        )

    def _open_in_thread(self, opening: Future[Opened]) -> None:
        try:
            opening.set_result(asyncio.run(_open(self._place, self._arguments())))
        except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
            opening.set_exception(error)


async def _close(opening: Future[Opened]) -> None:
    """Close what was opened, or is being opened."""
    await asyncio.wait([waiting := asyncio.wrap_future(opening)])
    if waiting.exception() is None:
        await waiting.result().close()


async def _open(place: Place, arguments: Mapping[str, Any]) -> Opened:
    owns = place.store is None
    store = await _store(place.root) if place.store is None else place.store
    try:
        engine = await Engine.open(store, place.workspace, **arguments)
    except BaseException:
        if owns:
            await store.close()
        raise
    return Opened(store, engine, arguments, owns)


async def _store(root: Path) -> Store:
    """The store on a root. An instance on it that was just dropped, of a cell that is run again, is waited for."""
    clock = asyncio.get_running_loop()
    until = clock.time() + _PATIENCE
    while True:
        try:
            return await Store.open(root)
        except StoreLocked as error:
            # Who lets go of a root is not named for a moment.
            if error.holder.startswith("process ") and f"process {os.getpid()} " not in error.holder:
                raise
            if clock.time() > until:
                raise StoreLocked(
                    f"{root} is open in this process already. Await finalize_storages() of the other LightRAG first; "
                    "or open one stateless_rag.Store and give it to both, as LightRAG(…, store=store)",
                    error.holder,
                ) from error
        await asyncio.sleep(_PAUSE)
