"""The workspaces of a store that are in use: loaded when first asked for, freed when nobody uses them any more."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import duckdb

from stateless_rag.errors import StoreError
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.stores.duckdb.record import workspace_statements
from stateless_rag.stores.duckdb.residents import Residents
from stateless_rag.stores.duckdb.threads import pass_error, pass_on
from stateless_rag.stores.duckdb.workspace import DuckWorkspace

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.catalog import Catalog
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.duckdb.threads import Threads

__all__ = ["WorkspacesInUse"]

_LARGE = 16_000_000  # bytes in memory: what a smaller workspace frees is not worth the milliseconds


class WorkspacesInUse:
    """Loads, frees and drops workspaces of one store; what changes that runs in the catalog's thread."""

    def __init__(self, store: Store, catalog: Catalog, threads: Threads) -> None:
        self.residents = Residents()
        self._store = store
        self._catalog = catalog
        self._threads = threads
        self._waiting: dict[str, int] = {}  # in workspaces that are not in memory, where nothing can change

    def release(self, workspace: DuckWorkspace) -> Future[None]:
        """End one use of a workspace. With the last its memory is freed, and a file of its own closed.

        The future is done when it is. Reads that have begun are waited for, but not by who opens others.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # so that nobody can cancel it
        if self.residents.give_back(workspace):
            workspace.when_idle(lambda: self._submit_eviction(workspace, done))
        else:
            done.set_result(None)
        return done

    def _submit_eviction(self, workspace: DuckWorkspace, done: Future[None]) -> None:
        try:
            evicting = self._threads.cataloger.submit(self._evict, workspace)
        except RuntimeError:
            done.set_result(None)  # the store is being closed, and frees everything
        else:
            evicting.add_done_callback(lambda evicted: pass_on(evicted, done))

    def drop(self, name: str) -> Future[None]:
        """Refuse new work on a workspace, and remove it once the reads that have begun are through.

        They are not waited for in the catalog's thread: other workspaces can be opened and closed meanwhile.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # so that nobody can cancel it

        def remove() -> None:
            try:
                removing = self._threads.in_catalog(lambda: self._drop(name))
            except StoreError as error:  # the store was closed meanwhile
                done.set_exception(error)
            else:
                removing.add_done_callback(lambda removed: pass_on(removed, done))

        def begin() -> None:
            self._catalog.record(name)
            workspace = self.residents.get(name)
            if workspace is None:
                remove()
            else:
                _refuse_work(workspace)
                workspace.when_idle(remove)

        self._threads.in_catalog(begin).add_done_callback(lambda begun: pass_error(begun, done))
        return done

    async def use(self, name: str, create: Mapping[str, Any] | None) -> DuckWorkspace:
        """Count one more use of a workspace, which is loaded, and created if `create` is to be recorded with it."""
        import asyncio

        check_name(name)
        self._store.check()
        known = self.residents.take(name)
        if known is not None:
            return known
        loading = self._threads.in_catalog(lambda: self._load(name, create))
        try:
            workspace: DuckWorkspace = await settled(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(self._release_unwanted)
            raise
        return workspace

    def _release_unwanted(self, loading: Future[DuckWorkspace]) -> None:
        if not loading.cancelled() and loading.exception() is None:
            self.release(loading.result())

    def _load(self, name: str, create: Mapping[str, Any] | None) -> DuckWorkspace:
        known = self.residents.take(name)
        if known is not None:
            return known
        if create is not None:
            self.create(name, self._store.settings.placement, create)
        record = self._catalog.record(name)
        database = self._catalog.attach(record)
        try:
            workspace = DuckWorkspace(self._store, database, record, self._catalog.faiss_files(record.schema))
        except BaseException:
            self._catalog.detach(record.schema)
            raise
        self.residents.add(workspace)
        self._waiting.pop(name, None)
        return workspace

    def create(self, name: str, placement: str, info: Mapping[str, Any]) -> bool:
        """Create a workspace; false if there is one of that name. In the catalog's thread."""
        if self._catalog.find(name) is not None:
            return False
        self._catalog.add(name, placement, self._store.clock.wall(), info)
        return True

    def _evict(self, workspace: DuckWorkspace) -> None:
        with self._threads.alone:
            if self._store.closed or not self.residents.remove_unused(workspace):
                return
            with suppress(StoreError):  # on a full disk the vectors wait for another time to be collected
                workspace.collect()
            large = workspace.nbytes > _LARGE
            workspace.close()
            self._catalog.detach(workspace.record.schema)
            if large:
                self._store.release_freed()

    def known_waiting(self, name: str) -> int | None:
        """How many documents of a workspace wait, if it need not be looked up."""
        resident = self.residents.get(name)
        return self._waiting.get(name) if resident is None else resident.claimable

    def forget_waiting(self, name: str) -> None:
        """Look it up the next time."""
        self._waiting.pop(name, None)

    def count_waiting(self, name: str) -> int:
        """As `known_waiting`, from the database. In the catalog's thread."""
        resident = self.residents.get(name)
        if resident is not None:
            return resident.claimable
        record = self._catalog.record(name)
        database = self._catalog.attach(record)
        statement = workspace_statements(self._store.workspace_sql, database, record)["claimable"]
        try:
            with self._store.reading() as cursor:
                self._waiting[name] = _count(cursor, statement)
        finally:
            self._catalog.detach(record.schema)
        return self._waiting[name]

    def _drop(self, name: str) -> None:
        workspace = self.residents.get(name)
        try:
            record = self._catalog.record(name)
            if workspace is not None:
                _refuse_work(workspace)
                workspace.database.run(lambda _: None)  # what was queued before has gone through the lane now
            statement = workspace_statements(self._store.workspace_sql, self._catalog.database, record)[
                "drop"
            ]
            self._catalog.remove(record, statement)
        except BaseException:
            if workspace is not None:
                workspace.mark_dropped(dropped=False)
            raise
        if workspace is not None:
            self.residents.remove(workspace)
            workspace.close()
            self._catalog.detach(record.schema)
        self._waiting.pop(name, None)
        if record.placement == "root":
            self._catalog.checkpoint()
        self._catalog.remove_files(record.schema)


def _refuse_work(workspace: DuckWorkspace) -> None:
    """Mark a workspace as dropped, unless it is already or somebody works on its documents."""
    if workspace.dropped:
        return
    if workspace.claimed:
        raise StoreError(
            f"workspace {workspace.name!r} has {workspace.claimed} documents being worked on; stop that first"
        )
    workspace.mark_dropped(dropped=True)


def _count(cursor: Cursor, statement: str) -> int:
    """The count that a statement tells; 0 for tables that were never made."""
    try:
        return int(cursor.execute(statement).fetchall()[0][0])
    except duckdb.CatalogException:
        return 0
