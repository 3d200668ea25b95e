"""The embedded store: one root folder, one owner, any number of workspaces."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from stateless_rag.checks import choice, flag, instance, json_object, optional, path
from stateless_rag.context import Clock
from stateless_rag.errors import InvalidInput, StoreClosed, StoreError
from stateless_rag.opening import Opening
from stateless_rag.providers.tokenizer import O200kTokenizer
from stateless_rag.right_of_way import RightOfWay
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.catalog import Catalog
from stateless_rag.stores.duckdb.connection import Connection
from stateless_rag.stores.duckdb.database import Cursor
from stateless_rag.stores.duckdb.describing import describe
from stateless_rag.stores.duckdb.in_use import WorkspacesInUse
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.keeping import Keeper, Placement
from stateless_rag.stores.duckdb.lock import RootLock
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.stores.duckdb.statements import load_statements
from stateless_rag.stores.duckdb.threads import Threads
from stateless_rag.stores.duckdb.workspace import DuckWorkspace
from stateless_rag.stores.freeing import release_freed
from stateless_rag.types import BackupReport, CompactReport, WorkspaceInfo

__all__ = ["Store"]

Result = TypeVar("Result")
_FILE = "stateless_rag.duckdb"


class Store:
    """Owns a root folder: its lock, the connection, the threads, and the views of the workspaces in use.

    Thread-safe; engines on any event loop or thread share it. Get one by `await Store.open(root)` or
    `async with Store.open(root) as store`. A workspace is in memory, and a file of its own attached, as long
    as an engine is open on it.
    """

    def __init__(self, root: Path, settings: StoreSettings, clock: Clock) -> None:
        self.root = root
        self.settings = settings
        self.clock = clock
        self.catalog_sql = load_statements("catalog.sql")
        self.workspace_sql = load_statements("workspace.sql")
        self.way = RightOfWay()
        self.tokenizer = O200kTokenizer()  # of all engines that are not given one: it is dear to build
        self._closing = threading.Lock()
        self._closed = False
        self._released = False
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder {root}: {error.strerror}; choose one that can be written to"
            ) from error
        self._root_lock = RootLock(root)
        shutil.rmtree(
            root / f"{_FILE}.tmp", ignore_errors=True
        )  # what DuckDB had put aside when it was killed
        try:
            self._connection = Connection(root / _FILE, settings)
        except BaseException:
            self._root_lock.release()
            raise
        self._threads = Threads(settings.readers, self.check, self._is_closed)
        self._catalog = Catalog(root, self._connection, self._threads.writers, self.catalog_sql)
        self._in_use = WorkspacesInUse(self, self._catalog, self._threads)
        self._keeper = Keeper(root, root / _FILE, self._connection, self._catalog, self.catalog_sql)
        try:
            self._keeper.sweep()
            self._catalog.prepare()
        except BaseException:
            self.close_now()
            raise

    @classmethod
    def open(
        cls, root: str | Path, settings: StoreSettings | None = None, *, clock: Clock | None = None
    ) -> Opening[Store]:
        """Open the store on a root folder, which is created if need be.

        Raises StoreLocked if another store, in this process or another, owns the root, and StoreCorrupt if
        the database cannot be read.
        """
        import asyncio

        async def enter() -> Store:
            folder = _root_path(root)
            chosen = (
                StoreSettings() if settings is None else instance("settings", settings, kind=StoreSettings)
            )
            opening: Future[Store] = Future()

            def make() -> None:
                try:
                    store = cls(folder, chosen, clock or Clock())
                except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
                    opening.set_exception(error)
                else:
                    opening.set_result(store)

            # Not a thread of the loop's: who is cancelled here must not leave the root locked.
            threading.Thread(target=make, name="stateless-rag-open").start()
            try:
                store: Store = await settled(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(_close_unwanted)
                raise
            return store

        return Opening(enter, lambda store: store.close())

    async def close(self) -> None:
        """Finish what is being written, and let go of the root.

        May be called twice; whoever calls it returns when that is done.
        """
        import asyncio

        await asyncio.shield(asyncio.to_thread(self.close_now))

    # ---- workspaces ------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        *,
        placement: Placement | None = None,
        info: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """Create a workspace; false if there is one of that name. `info` is recorded with a new one."""
        check_name(name)
        optional("placement", placement, choice, among=("root", "own"))
        info = json_object("info", info, error=InvalidInput)
        created: bool = await settled(
            self._threads.in_catalog(
                lambda: self._in_use.create(name, placement or self.settings.placement, info)
            )
        )
        return created

    def workspace(self, name: str, *, create: Mapping[str, Any] | None = None) -> Opening[DuckWorkspace]:
        """Use the workspace of that name: `async with store.workspace(name) as workspace`.

        Awaited, it is used until `release`. If there is none, it is created and `create` recorded with it,
        or WorkspaceNotFound raised where that is None.
        """

        async def leave(workspace: DuckWorkspace) -> None:
            await settled(self.release(workspace))

        return Opening(lambda: self._in_use.use(name, create), leave)

    def release(self, workspace: DuckWorkspace) -> Future[None]:
        """End one use of a workspace. With the last its memory is freed, and a file of its own closed.

        The future is done when it is. Reads that have begun are waited for, but not by who opens others.
        """
        return self._in_use.release(workspace)

    def hold(self, workspace: DuckWorkspace) -> bool:
        """Use once more a workspace that is in use; tells whether it is. `release` ends it."""
        return self._in_use.residents.take_again(workspace)

    async def names(self) -> Sequence[str]:
        """The names of all workspaces, in code point order."""
        names: Sequence[str] = await settled(self.in_reader(self._catalog.names))
        return names

    async def describe(self, name: str) -> WorkspaceInfo:
        """What a workspace holds and was made with. Raises WorkspaceNotFound."""
        async with self.workspace(name) as workspace:
            schema = workspace.record.schema
            files = (self._catalog.own_file(schema), self._catalog.faiss_files(schema))
            info: WorkspaceInfo = await settled(
                self.in_reader(lambda: describe(workspace, self._connection, *files))
            )
        return info

    async def waiting(self, name: str) -> int:
        """How many documents of a workspace wait to be ingested: not those that failed or are worked on.

        Cheap, also for a workspace that is not in use. Raises WorkspaceNotFound.
        """
        check_name(name)
        self.check()
        known = self._in_use.known_waiting(name)
        if known is None:
            known = int(await settled(self._threads.in_catalog(lambda: self._in_use.count_waiting(name))))
        return known

    def memory(self, name: str) -> int:
        """Bytes that a workspace holds in memory: its vectors and its graph. 0 if it is not in use."""
        resident = self._in_use.residents.get(name)
        return 0 if resident is None else resident.nbytes

    async def drop(self, name: str) -> None:
        """Remove a workspace with all it holds. Raises WorkspaceNotFound.

        Engines that are open on it get a StoreError at their next call. Works, too, if its file is missing
        or damaged.
        """
        check_name(name)
        await settled(self._in_use.drop(name))

    # ---- backups and copies ----------------------------------------------------------------------------

    async def backup(self, name: str, path: str | Path, *, overwrite: bool = False) -> BackupReport:
        """Write a workspace as it is at one revision into a file, while others go on reading and writing.

        The file is there as a whole at the end, or not at all; one that is there is replaced only with
        `overwrite`. Raises WorkspaceNotFound, InvalidInput for a path that cannot be used, StoreError.
        """
        target, replaces = _absolute(path), flag("overwrite", overwrite)
        async with self.workspace(name) as workspace:
            await workspace.note_charges()
            writing = workspace.in_background(
                lambda: self._keeper.backup(workspace, target, overwrite=replaces)
            )
            report: BackupReport = await settled(writing)
        return report

    async def restore(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        placement: Placement | None = None,
        overwrite: bool = False,
    ) -> str:
        """Make a workspace of a backup, under its name or another one; returns the name.

        A workspace that is there is replaced only with `overwrite`, and only if no engine is open on it. All or
        nothing, also after a crash. Raises InvalidInput for what is no backup, StoreCorrupt for a damaged one.
        """
        if name is not None:
            check_name(name)
        optional("placement", placement, choice, among=("root", "own"))
        source, replaces = _absolute(path), flag("overwrite", overwrite)

        def work() -> str:
            target = self._keeper.named_in(source) if name is None else name
            if replaces:
                self._require_unused(target)
            self._in_use.forget_waiting(target)
            place = placement or self.settings.placement
            return self._keeper.restore(source, target, place, overwrite=replaces)

        restored: str = await settled(self._threads.in_catalog(work))
        return restored

    async def copy(self, name: str, to: str, *, placement: Placement | None = None) -> None:
        """Make a second workspace that holds what one holds at its newest revision, journal included.

        All or nothing, also after a crash. Raises WorkspaceNotFound, and InvalidInput if `to` is there already.
        """
        check_name(to)
        optional("placement", placement, choice, among=("root", "own"))
        place = placement or self.settings.placement
        async with self.workspace(name) as workspace:
            await workspace.note_charges()
            await settled(self._threads.in_catalog(lambda: self._keeper.copy(workspace, to, place)))

    async def compact(self, name: str, *, keep_earlier: bool = True) -> CompactReport:
        """Write the database file of a workspace anew, so that it holds nothing that was deleted.

        The file of the root is that of all workspaces without one of their own. Nothing is written to it
        meanwhile; reads go on but for a moment. A crash leaves the old file or the new one. Copies that were made
        of the file when it was brought to a newer format are removed only without `keep_earlier`. Raises
        WorkspaceNotFound, StoreError if there is no room for a second copy.
        """
        keeps = flag("keep_earlier", keep_earlier)
        async with self.workspace(name) as workspace:
            rewriting = workspace.alone(lambda: self._keeper.compact(workspace, keep_earlier=keeps))
            report: CompactReport = await settled(rewriting)
        return report

    def _require_unused(self, name: str) -> None:
        if self._in_use.residents.get(name) is not None:
            raise StoreError(f"workspace {name!r} is in use; close the engines on it first")

    # ---- threads and connections -----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def check(self) -> None:
        """Raise StoreClosed if the store was closed, or came into this process by a fork."""
        if self._closed:
            raise self._is_closed()
        self._root_lock.check()

    def in_reader(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function in a reading thread."""
        return self._threads.in_reader(function)

    def in_folder(self, function: Callable[[], Result]) -> Future[Result]:
        """Compute what a commit changes in a thread of its own kind."""
        return self._threads.in_folder(function)

    def in_background(self, function: Callable[[], Result]) -> Future[Result]:
        """Run what takes longer, one at a time, and leave the reading threads to questions."""
        return self._threads.in_background(function)

    def reading(self) -> AbstractContextManager[Cursor]:
        """A transaction that only reads, on this thread's own connection."""
        return self._connection.reading()

    def release_freed(self) -> None:
        """Give memory back that a large piece of work has freed. Takes milliseconds."""
        self._connection.give_back_freed()
        release_freed()

    def _is_closed(self) -> StoreClosed:
        return StoreClosed(f"the store on {self.root} is closed; open it again")

    # ---- closing ---------------------------------------------------------------------------------------

    def close_now(self) -> None:
        """As `close`, for threads without a loop. Blocks."""
        self._root_lock.check()
        with self._closing:
            if self._released:
                return
            with self._threads.alone:
                self._closed = True
            try:
                self._threads.end_reads()
                with suppress(StoreError):  # on a full disk the vectors wait for another time to be collected
                    for workspace in self._in_use.residents.all():
                        workspace.collect()
                self._threads.end_writes()
            finally:
                self._released = True
                try:
                    self._connection.close()
                finally:
                    self._root_lock.release()


def _close_unwanted(opening: Future[Store]) -> None:
    if opening.exception() is None:
        opening.result().close_now()


def _root_path(root: str | Path) -> Path:
    return path("root", root).resolve()


def _absolute(given: str | Path) -> Path:
    return path("path", given).expanduser().resolve()
