"""The embedded store: one root folder, one owner, any number of workspaces."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import duckdb

from stateless_rag.context import Clock
from stateless_rag.errors import InvalidInput, StoreClosed, StoreCorrupt, StoreError, WorkspaceNotFound
from stateless_rag.opening import Opening
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.database import Cursor, Database, reading, store_error
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.lock import RootLock
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION, migrate
from stateless_rag.stores.duckdb.names import check_name, schema_name
from stateless_rag.stores.duckdb.statements import load_statements
from stateless_rag.stores.duckdb.workspace import DuckWorkspace, WorkspaceRecord
from stateless_rag.types import Status, WorkspaceInfo

__all__ = ["Store"]

Result = TypeVar("Result")
_FILE = "stateless_rag.duckdb"


class Store:
    """Owns a root folder: its lock, the connection, the threads, and the views of its workspaces.

    Thread-safe; engines on any event loop or thread share it. Get one by `await Store.open(root)` or
    `async with Store.open(root) as store`.
    """

    def __init__(self, root: Path, settings: StoreSettings, clock: Clock) -> None:
        self.root = root
        self.settings = settings
        self.clock = clock
        self.catalog_sql = load_statements("catalog.sql")
        self.workspace_sql = load_statements("workspace.sql")
        self._lock = threading.RLock()
        self._cursor_lock = threading.Lock()  # of its own: changes of the catalog wait for the lane's cursor
        self._local = threading.local()
        self._cursors: list[Cursor] = []
        self._workspaces: dict[str, DuckWorkspace] = {}
        self._closed = False
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder {root}: {error.strerror}; choose one that can be written to"
            ) from error
        self._root_lock = RootLock(root)
        try:
            self._connection = _connect(root / _FILE, settings)
        except BaseException:
            self._root_lock.release()
            raise
        os.register_at_fork(after_in_child=partial(_disown, weakref.ref(self)))
        self._readers = ThreadPoolExecutor(settings.readers, thread_name_prefix="stateless-rag-read")
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="stateless-rag-write")
        self._catalog = ThreadPoolExecutor(1, thread_name_prefix="stateless-rag-catalog")
        self._databases = {"": self._database(_name_of(self._connection))}
        try:
            self._databases[""].run(lambda cursor: self._prepare(cursor, self._databases[""]))
        except BaseException:
            self._close()
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
            path = _root_path(root)
            opening: Future[Store] = Future()

            def make() -> None:
                try:
                    store = cls(path, settings or StoreSettings(), clock or Clock())
                except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
                    opening.set_exception(error)
                else:
                    opening.set_result(store)

            # Not a thread of the loop's: who is cancelled here must not leave the root locked.
            threading.Thread(target=make, name="stateless-rag-open").start()
            try:
                return await asyncio.shield(asyncio.wrap_future(opening))
            except asyncio.CancelledError:
                opening.add_done_callback(_close_unwanted)
                raise

        return Opening(enter, lambda store: store.close())

    async def close(self) -> None:
        """Finish what is being written, checkpoint, and let go of the root. May be called twice."""
        import asyncio

        await asyncio.shield(asyncio.to_thread(self._close))

    # ---- workspaces ------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        *,
        placement: Literal["root", "own"] | None = None,
        info: Mapping[str, Any] = MappingProxyType({}),
    ) -> DuckWorkspace:
        """Create a workspace, or return the one of that name. `info` is recorded with a new one."""
        check_name(name)
        workspace: DuckWorkspace = await self._in_catalog(
            lambda: self._create(name, placement or self.settings.placement, dict(info))
        )
        return workspace

    async def workspace(self, name: str) -> DuckWorkspace:
        """The workspace of that name. Raises WorkspaceNotFound."""
        check_name(name)
        known = self._workspaces.get(name)
        if known is not None:
            self.check()
            return known
        workspace: DuckWorkspace = await self._in_catalog(lambda: self._open_workspace(name))
        return workspace

    async def names(self) -> Sequence[str]:
        """The names of all workspaces, in code point order."""
        names: Sequence[str] = await settled(
            self.in_reader(lambda: sorted(record.name for record in self._records()))
        )
        return names

    async def describe(self, name: str) -> WorkspaceInfo:
        """What a workspace holds and was made with. Raises WorkspaceNotFound."""
        workspace = await self.workspace(name)
        info: WorkspaceInfo = await settled(self.in_reader(lambda: self._describe(workspace)))
        return info

    async def drop(self, name: str) -> None:
        """Remove a workspace with all it holds. Raises WorkspaceNotFound.

        Engines that are open on it get a StoreError at their next call.
        """
        workspace = await self.workspace(name)
        await self._in_catalog(lambda: self._drop(workspace))

    # ---- threads and connections -----------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreClosed if the store was closed, or came into this process by a fork."""
        if self._closed:
            raise StoreClosed(f"the store on {self.root} is closed; open it again")
        self._root_lock.check()

    def in_reader(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function in a reading thread."""
        self.check()
        try:
            return self._readers.submit(function)
        except RuntimeError as error:
            raise StoreClosed(f"the store on {self.root} is closed; open it again") from error

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """A transaction that only reads, on this thread's own connection."""
        cursor: Cursor | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self._cursor()
        try:
            with reading(cursor):
                yield cursor
        except duckdb.Error as error:
            raise store_error(error, "reading from the store") from error

    async def _in_catalog(self, function: Callable[[], Result]) -> Result:
        """Run something that changes the catalog, one at a time, off the event loop."""

        def alone() -> Result:
            with self._lock:
                self.check()
                return function()

        self.check()
        result: Result = await settled(self._catalog.submit(alone))
        return result

    def _cursor(self) -> Cursor:
        with self._cursor_lock:
            cursor = self._connection.cursor()
            self._cursors.append(cursor)
            return cursor

    def _database(self, alias: str) -> Database:
        return Database(self._cursor, self._writers, alias)

    # ---- the catalog -----------------------------------------------------------------------------------

    def _prepare(self, cursor: Cursor, database: Database) -> None:
        sql = {name: text.replace("{db}", database.quoted) for name, text in self.catalog_sql.items()}
        if cursor.execute(sql["exists"], [database.alias]).fetchall()[0][0]:
            version = cursor.execute(sql["version"]).fetchall()[0][0]
            migrate(cursor, database.quoted, version)
        else:
            cursor.execute(sql["create"]).fetchall()
            cursor.execute(sql["set_version"], [FORMAT_VERSION]).fetchall()

    def _statement(self, name: str, database: Database) -> str:
        return self.catalog_sql[name].replace("{db}", database.quoted)

    def _records(self) -> list[WorkspaceRecord]:
        with self.reading() as cursor:
            found = cursor.execute(self._statement("workspaces", self._databases[""])).fetchall()
        return [WorkspaceRecord(row) for row in found]

    def _record(self, name: str) -> WorkspaceRecord:
        with self.reading() as cursor:
            row = cursor.execute(
                self._statement("workspace", self._databases[""]), [schema_name(name)]
            ).fetchall()
        if not row:
            raise WorkspaceNotFound(
                f"there is no workspace {name!r} in {self.root}; `stateless-rag workspaces list` shows what is there"
            )
        return WorkspaceRecord(row[0])

    def _open_workspace(self, name: str) -> DuckWorkspace:
        known = self._workspaces.get(name)
        if known is not None:
            return known
        record = self._record(name)
        database = self._attach(record)
        workspace = DuckWorkspace(self, database, record, self.root / "faiss" / record.schema)
        self._workspaces[name] = workspace
        return workspace

    def _create(self, name: str, placement: str, info: dict[str, Any]) -> DuckWorkspace:
        try:
            return self._open_workspace(name)
        except WorkspaceNotFound:
            pass
        schema = schema_name(name)
        values = [name, schema, placement, self.clock.wall(), json.dumps(info)]
        record = WorkspaceRecord([name, schema, placement, 0, 0.0, json.dumps(info)])
        if f"f_{schema}" not in self._databases:
            self._remove_files(schema)  # a crash has left them when a workspace of this name was dropped
        places = [self._attach(record)] if placement == "own" else []
        # The file of its own first: a crash between the two leaves a file that nothing names.
        for database in [*places, self._databases[""]]:
            add = self._statement("add_workspace", database)
            there = self._statement("workspace", database)

            def apply(cursor: Cursor, add: str = add, there: str = there) -> None:
                if not cursor.execute(there, [schema]).fetchall():
                    cursor.execute(add, values).fetchall()

            database.run(apply)
        return self._open_workspace(name)

    def _attach(self, record: WorkspaceRecord) -> Database:
        if record.placement == "root":
            return self._databases[""]
        alias = f"f_{record.schema}"
        if alias not in self._databases:
            path = self._own_file(record.schema)
            path.parent.mkdir(exist_ok=True)
            cursor = self._cursor()
            try:
                cursor.execute(f"ATTACH {_literal(str(path))} AS {alias} (BLOCK_SIZE 16384)").fetchall()
            except duckdb.Error as error:
                raise StoreCorrupt(f"cannot open {path}: {error}; restore it from a backup") from error
            database = self._database(alias)
            database.run(lambda cursor: self._prepare(cursor, database))
            self._databases[alias] = database
        return self._databases[alias]

    def _own_file(self, schema: str) -> Path:
        return self.root / "workspaces" / f"{schema}.duckdb"

    def _drop(self, workspace: DuckWorkspace) -> None:
        record = workspace.record
        if workspace.claimed:
            raise StoreError(
                f"workspace {record.name!r} has {workspace.claimed} documents being worked on; stop that first"
            )
        root = self._databases[""]

        def forget(cursor: Cursor) -> None:
            cursor.execute(self._statement("remove_workspace", root), [record.schema]).fetchall()
            if record.placement == "root":
                cursor.execute(workspace.sql["drop"]).fetchall()

        workspace.mark_dropped(dropped=True)
        try:
            workspace.database.run(lambda _: None)  # what was queued before has gone through the lane now
            root.run(forget)
        except BaseException:
            workspace.mark_dropped(dropped=False)
            raise
        self._workspaces.pop(record.name, None)
        if record.placement == "own":
            self._databases.pop(f"f_{record.schema}").close()
        try:
            with self._connection.cursor() as cursor:
                if record.placement == "own":
                    cursor.execute(f"DETACH f_{record.schema}").fetchall()
                else:
                    cursor.execute("FORCE CHECKPOINT").fetchall()
        except duckdb.Error as error:
            raise store_error(error, f"freeing what workspace {record.name!r} held") from error
        self._remove_files(record.schema)

    def _remove_files(self, schema: str) -> None:
        self._own_file(schema).unlink(missing_ok=True)
        Path(f"{self._own_file(schema)}.wal").unlink(missing_ok=True)
        shutil.rmtree(self.root / "faiss" / schema, ignore_errors=True)

    def _describe(self, workspace: DuckWorkspace) -> WorkspaceInfo:
        record = workspace.record
        counts = workspace.select("counts") or [(0, 0, 0, 0)]
        documents, chunks, entities, relations = counts[0]
        pending = workspace.select("pending_list")
        failed = sum(1 for row in pending if row[6])
        return WorkspaceInfo(
            name=record.name,
            placement="own" if record.placement == "own" else "root",
            revision=workspace.revision,
            documents=MappingProxyType(
                {
                    Status.PROCESSED: documents,
                    Status.PENDING: len(pending) - failed,
                    Status.FAILED: failed,
                }
            ),
            chunks=chunks,
            entities=entities,
            relations=relations,
            generations=MappingProxyType(dict(workspace.select("generations"))),
            embedder=record.info.get("embedder"),
            dimension=record.info.get("dimension"),
            tokenizer=record.info.get("tokenizer"),
            key_policy=record.info.get("key_policy", "casefold"),
            format_version=FORMAT_VERSION,
            bytes=self._bytes(workspace),
            created_at=record.created_at,
        )

    def _bytes(self, workspace: DuckWorkspace) -> int:
        record = workspace.record
        faiss = sum(path.stat().st_size for path in (self.root / "faiss" / record.schema).glob("*"))
        if record.placement == "own":
            files = self._own_file(record.schema).parent.glob(f"{record.schema}.duckdb*")
            return faiss + sum(path.stat().st_size for path in files)
        with self.reading() as cursor:
            tables = cursor.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ?",
                [workspace.database.alias, record.schema],
            ).fetchall()
            blocks = 0
            for (table,) in tables:
                statement = workspace.sql["blocks"].format(table=f"{workspace.schema}.{table}")
                blocks += cursor.execute(statement).fetchall()[0][0]
        # What was written since the last checkpoint lies in the log, which all workspaces of the file share.
        stored = int((workspace.select("size") or [(0,)])[0][0])
        vectors = int(workspace.select("count_vectors")[0][0]) if workspace.dimension else 0
        return faiss + max(int(blocks) * 16384, stored + vectors * 4 * (workspace.dimension or 0))

    # ---- closing ---------------------------------------------------------------------------------------

    def _close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._root_lock.check()
            self._closed = True
        try:
            self._catalog.shutdown(wait=True)
            self._readers.shutdown(wait=True)
            with suppress(StoreError):  # on a full disk the vectors wait for another time to be collected
                for workspace in self._workspaces.values():
                    workspace.collect()
            self._writers.shutdown(wait=True)
        finally:
            for cursor in self._cursors:
                cursor.close()
            try:
                self._connection.close()
            finally:
                self._root_lock.release()


def _close_unwanted(opening: Future[Store]) -> None:
    if opening.exception() is None:
        opening.result()._close()  # noqa: SLF001 -- the store's own


def _disown(reference: weakref.ref[Store]) -> None:
    """In a child after a fork: keep what belongs to the parent from being torn down when the child exits.

    DuckDB would wait there for threads that a fork does not copy, or write to the parent's file.
    """
    store = reference()
    if store is not None:
        for connection in (store._connection, *store._cursors):  # noqa: SLF001 -- the store's own
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _root_path(root: str | Path) -> Path:
    text = str(root)
    if not text.strip() or "\0" in text:
        raise InvalidInput(f"root folder {text!r} is not a path")
    return Path(root).expanduser().resolve()


def _connect(path: Path, settings: StoreSettings) -> Cursor:
    config: dict[str, str | bool | int | float | list[str]] = {
        "default_block_size": "16384",
        "memory_limit": settings.memory_limit,
        "threads": str(settings.threads),
        "checkpoint_threshold": settings.checkpoint_threshold,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    try:
        return duckdb.connect(str(path), config=config)
    except duckdb.Error as error:
        raise StoreCorrupt(
            f"cannot open {path}: {str(error).splitlines()[0]}; if it is damaged, restore it from a backup"
        ) from error


def _name_of(connection: Cursor) -> str:
    name: str = connection.execute("SELECT current_database()").fetchall()[0][0]
    return name


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
