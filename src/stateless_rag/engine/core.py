"""What every part of the engine rests on: its context, its workspace, and being closed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from stateless_rag.errors import StoreClosed

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["Core"]


class Core:
    """An open workspace of a store."""

    def __init__(self, context: Context, store: Store, workspace: DuckWorkspace, *, owns_store: bool) -> None:
        self._context = context
        self._store = store
        self._workspace = workspace
        self._owns_store = owns_store
        self._closed = False
        self._closing = threading.Lock()
        self._released: Future[None] | None = None

    async def close(self) -> None:
        """Close the engine, and the store if the engine opened it.

        With the last engine on a workspace its memory is freed, and a database file of its own closed. What
        the engine is still doing ends with StoreClosed then. May be called twice; whoever calls it returns
        when that is done.
        """
        self._closed = True
        with self._closing:  # threads may close it at once, and it has one use of the workspace to give back
            if self._released is None:
                self._released = self._store.release(self._workspace)
        try:
            await asyncio.shield(asyncio.wrap_future(self._released))
        finally:
            if self._owns_store:  # also for who is cancelled meanwhile: the root must not stay locked
                await self._store.close()

    @property
    def context(self) -> Context:
        """What the engine gives to the stages."""
        return self._context

    @property
    def name(self) -> str:
        """The workspace's name."""
        return self._workspace.name

    @property
    def revision(self) -> int:
        """The workspace's last commit."""
        return self._workspace.revision

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed(f"the engine on workspace {self.name!r} is closed; open it again")
        self._workspace.check()
