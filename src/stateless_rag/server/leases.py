"""The workspaces of a server: opened when they are asked for, created, copied, renamed and dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from stateless_rag.engine import Engine
from stateless_rag.errors import Overloaded, WorkspaceMismatch, WorkspaceNotFound
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.workspaces import Workspaces

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.limits import Limits
    from stateless_rag.opening import Opening
    from stateless_rag.protocols import FileReader, Observer
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.types import WorkspaceInfo

__all__ = ["EngineOptions", "Leases"]

EngineOptions = Callable[[str, str | None], Mapping[str, Any]]
"""The keyword arguments of `Engine.open` for a workspace, by its name and the embedder it is known to be made with."""

_PAUSE, _PATIENCE = 0.02, 5.0  # seconds for who still holds a workspace that was dropped


class Leases:
    """Leases on the workspaces of one store, through the library's pool."""

    def __init__(
        self,
        store: Store,
        settings: ServerSettings,
        limits: Limits,
        engine_options: EngineOptions,
        observer_of: Callable[[str], Observer],
        converter: FileReader,
    ) -> None:
        self.store = store
        self._engine_options = engine_options
        self._observer_of = observer_of
        self._converter = converter
        self._limits = limits
        self._recorded: dict[str, str] = {}
        self._creating: dict[str, asyncio.Task[None]] = {}
        self._changing: dict[str, asyncio.Event] = {}
        self._stale: set[str] = set()  # dropped, and still held by somebody
        self.pool = Workspaces(
            store,
            max_open=settings.max_open,
            max_bytes=settings.max_memory,
            max_idle=settings.max_idle,
            max_wait=settings.max_wait,
            limits=limits,
            engine_options=self._options,
            create=False,
        )

    # ---- leases ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, name: str, *, create: bool = False) -> AsyncIterator[Engine]:
        """An engine on a workspace. Raises WorkspaceNotFound if there is none, unless it is to be created."""
        check_name(name)
        async with AsyncExitStack() as stack:
            yield await self._entered(stack, name, create=create)

    async def _entered(self, stack: AsyncExitStack, name: str, *, create: bool) -> Engine:
        await self._settled(name)
        if name in self._stale:
            await self._let_go(name)
        if name not in self.pool.opened:
            try:
                await self.store.waiting(name)  # cheap; so that asking for what is not there opens nothing
            except WorkspaceNotFound:
                if not create:
                    raise
                await self.create(name)
        try:
            return await stack.enter_async_context(self.pool.lease(name))
        except WorkspaceMismatch:
            recorded = (await self.store.describe(name)).embedder
            if recorded is None or self._recorded.get(name) == recorded:
                raise
            self._recorded[name] = recorded
            return await stack.enter_async_context(self.pool.lease(name))

    def another(self, engine: Engine, observer: Observer) -> Opening[Engine]:
        """Another engine on a workspace that is leased, which tells what it does to `observer` as well."""
        note = self._observer_of(engine.name)

        def tell(event: Any) -> None:
            note(event)
            observer(event)

        options = {"limits": self._limits, **self._options(engine.name), "observer": tell, "create": False}
        return Engine.open(self.store, engine.name, **options)

    def _options(self, name: str) -> Mapping[str, Any]:
        given = self._engine_options(name, self._recorded.get(name))
        return {"observer": self._observer_of(name), "converter": self._converter, **given}

    def reembedded(self, name: str, embedder: str) -> None:
        """A workspace has another embedder now: it is opened with that one from now on."""
        self._recorded[name] = embedder

    # ---- what there is ---------------------------------------------------------------------------------

    async def exists(self, name: str) -> bool:
        """Whether there is a workspace of that name."""
        try:
            await self.store.waiting(check_name(name))
        except WorkspaceNotFound:
            return False
        return True

    async def create(self, name: str) -> bool:
        """Create a workspace, once, however many ask for it together; tells whether it was not there before."""
        if await self.exists(name):
            return False
        creating = self._creating.get(name)
        if creating is None:
            creating = self._creating[name] = asyncio.create_task(self._create(name))
            creating.add_done_callback(lambda _: self._creating.pop(name, None))
        await asyncio.shield(creating)
        return True

    async def _create(self, name: str) -> None:
        options = {**self._options(name), "limits": self._limits, "create": True}
        async with Engine.open(self.store, name, **options):
            pass

    async def drop(self, name: str, before: Callable[[], Awaitable[None]]) -> None:
        """Remove a workspace for good, once nobody uses it any more; `before` stops what works on it.

        Raises WorkspaceNotFound, and Overloaded if somebody does not let go of it.
        """
        async with self._alone(name):
            await before()
            await self.store.drop(name)
            self._recorded.pop(name, None)
            self._stale.add(name)
            await self._let_go(name)

    async def clear(self, name: str, before: Callable[[], Awaitable[None]]) -> None:
        """Remove all that a workspace holds, and leave it empty."""
        await self.drop(name, before)
        await self.create(name)

    async def copy(self, name: str, target: str) -> WorkspaceInfo:
        """Make a workspace that holds the same as another; nothing is asked of an LLM, nothing embedded.

        Raises WorkspaceNotFound, and InvalidInput if the target is there already.
        """
        await self.store.copy(name, check_name(target))
        return await self.store.describe(target)

    async def restore(
        self,
        path: Path,
        name: str | None,
        before: Callable[[str], Awaitable[None]],
        *,
        overwrite: bool = False,
    ) -> WorkspaceInfo:
        """Make a workspace of a backup. With `overwrite` one of that name is replaced, once nobody uses it.

        `before` stops what works on it. Raises InvalidInput for what is no backup, and Overloaded if somebody does not
        let go of it.
        """
        if name is None or not (overwrite and await self.exists(name)):
            return await self.store.describe(await self.store.restore(path, name))
        async with self._alone(name):
            await before(name)
            await self._let_go(name)
            await self.store.restore(path, name, overwrite=True)
            self._recorded.pop(name, None)
            return await self.store.describe(name)

    async def rename(self, name: str, target: str, before: Callable[[], Awaitable[None]]) -> WorkspaceInfo:
        """Give a workspace another name, once nobody uses it; `before` stops what works on it.

        Whoever asks for it meanwhile waits, so that nothing is written to it that would be lost. Raises
        WorkspaceNotFound, InvalidInput if the target is there already, and Overloaded if somebody does not let go.
        """
        async with self._alone(name):
            await before()
            await self._let_go(name)
            info = await self.copy(name, target)
            await self.store.drop(name)
            self._recorded.pop(name, None)
            return info

    # ---- plumbing --------------------------------------------------------------------------------------

    async def _settled(self, name: str) -> None:
        while (changing := self._changing.get(name)) is not None:
            await changing.wait()

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncGenerator[None]:
        """Whoever asks for the workspace meanwhile waits."""
        await self._settled(check_name(name))
        changing = self._changing[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._changing[name]
            changing.set()

    async def _let_go(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while not await self.pool.close_one(name):
            if loop.time() > until:
                raise Overloaded(f"somebody still uses the workspace {name!r}; try again", retry_after=1.0)
            await asyncio.sleep(_PAUSE)
        self._stale.discard(name)

    async def close(self) -> None:
        """Close all engines."""
        await asyncio.gather(*self._creating.values(), return_exceptions=True)
        await self.pool.close()
