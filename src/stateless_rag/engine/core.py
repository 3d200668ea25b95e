"""What every part of the engine rests on: its context, its workspace, and being closed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from stateless_rag.budgets import allowed
from stateless_rag.checks import instance, optional
from stateless_rag.errors import InvalidInput, StoreClosed
from stateless_rag.types import Budget
from stateless_rag.workspace_settings import FIXED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.context import Context
    from stateless_rag.identity import Fit
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["Core"]


class Core:
    """An open workspace of a store. `fit` makes the context for what is recorded of the workspace."""

    def __init__(
        self,
        fit: Fit,
        store: Store,
        workspace: DuckWorkspace,
        *,
        owns_store: bool,
    ) -> None:
        self._fit = fit
        self._fitted_to = _decides(workspace.record.info)
        self._context = fit(workspace.record.info)
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
        released = self._release()
        try:
            await asyncio.shield(asyncio.wrap_future(released))
        finally:
            if self._owns_store:  # also for who is cancelled meanwhile: the root must not stay locked
                await self._store.close()

    def close_now(self) -> None:
        """As `close`, for threads without a loop; does not wait until the memory is freed."""
        self._release()
        if self._owns_store:
            self._store.close_now()

    def _release(self) -> Future[None]:
        self._closed = True
        with self._closing:  # threads may close it at once, and it has one use of the workspace to give back
            if self._released is None:
                self._released = self._store.release(self._workspace)
            return self._released

    @property
    def context(self) -> Context:
        """What the engine gives to the stages, with the workspace's settings as they are now."""
        self._follow()
        return self._context

    @property
    def workspace(self) -> DuckWorkspace:
        """What the engine reads and writes, for those who do as it does: exports, imports, façades."""
        self._check()
        return self._workspace

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
        self._follow()

    async def _allowed(
        self, budget: Budget | None = None, *, questions: bool = False, context: Context | None = None
    ) -> Context:
        """The context of an operation that may spend what `budget` and that of the workspace leave.

        Of `questions`, those that have begun are brought to their end. Raises InvalidInput for what is no budget.
        """
        optional("budget", budget, instance, kind=Budget)
        if budget is not None and budget.period != "total":
            raise InvalidInput(
                f"budget.period is {budget.period!r}; what one call may spend is a total: keep a budget for each day "
                "with the workspace (`set_budget`)"
            )
        workspace = self._workspace
        if workspace.spending.recorded is not None:
            await workspace.spending.load()
        charge = None if questions else workspace.ledger.charge
        return allowed(
            context or self._context, workspace.spending, budget, finishes=questions, charge=charge
        )

    def _follow(self) -> None:
        """Take note of settings of the workspace that were changed, by whatever engine."""
        info = self._workspace.record.info
        if _decides(info) != self._fitted_to:
            self._fit.embedder = self._workspace.reembedding.following(self._context.embedder)
            self._context = self._fit(info)
            self._fitted_to = _decides(info)


def _decides(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a workspace's record decides on the context."""
    return (info.get("settings"), info.get("embedder"), *map(info.get, FIXED))
