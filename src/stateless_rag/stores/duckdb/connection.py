"""The DuckDB instance of a root, and the cursors that are made from it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from stateless_rag.errors import StoreCorrupt
from stateless_rag.stores.duckdb.attaching import SMALL_LOG, attach_statement, detach, take_in_log
from stateless_rag.stores.duckdb.database import Cursor, reading, store_error
from stateless_rag.stores.duckdb.traffic import Traffic

if TYPE_CHECKING:
    from stateless_rag.settings import StoreSettings

__all__ = ["Connection"]

_CACHED = 32_000_000  # bytes of the files' blocks from which on they are let go of
_LEFT = 16_000_000  # bytes of them that stay
# Choosing among these takes ten times as long as the rest of a checkpoint, which commits wait for, and opening a
# workspace has to undo it. They would halve what text takes on disk; vectors of most embedders they leave as they are.
_DEAR = "dict_fsst,alp,alprd"
_PATIENCE = 0.005  # seconds
_FLUSHED = 4  # times that it is to be relieved: to give back what was freed takes some milliseconds
_MEMORY = """
SELECT coalesce(sum(memory_usage_bytes) FILTER (tag = 'BASE_TABLE'), 0), sum(memory_usage_bytes) FROM duckdb_memory()
"""

_FILES = "SELECT database_name, path FROM duckdb_databases() WHERE path IS NOT NULL"


class Connection:
    """Keeps a cursor for each thread that reads and each lane that writes."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._cursors: dict[int, Cursor] = {}
        self.name = "root"
        self._limit = settings.memory_limit
        self._stuck = 0  # bytes of blocks that could not be let go of last time: to try again takes 30 ms
        self._relieved = 0
        self.traffic = Traffic()
        self._connection = _connect(path, self.name, settings)
        # Bound here, because a process that ends may forget modules before it forgets this.
        self._of_parent = partial(_is_of_parent, os.getpid(), os.getpid)
        self._keep = partial(_keep, ctypes.pythonapi.Py_IncRef, ctypes.py_object)

    def cursor(self) -> Cursor:
        """A cursor that lasts until it is given back."""
        with self._lock:
            cursor = self._connection.cursor()
            self._cursors[id(cursor)] = cursor
        return cursor

    def give_back(self, cursor: Cursor) -> None:
        """Close a cursor."""
        with self._lock:
            known = self._cursors.pop(id(cursor), None)
        if known is not None:
            cursor.close()

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """A transaction that only reads, on this thread's own cursor."""
        cursor: Cursor | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self.cursor()
        try:
            with self.traffic.using(), reading(cursor):
                yield cursor
        except duckdb.Error as error:
            raise store_error(error, "reading from the store") from error

    def execute(self, statement: str) -> None:
        """Run a statement on the instance as a whole, outside of any transaction."""
        cursor = self.cursor()
        try:
            with self.traffic.using():
                cursor.execute(statement).fetchall()
        finally:
            self.give_back(cursor)

    def relieve(self) -> None:
        """Let go of blocks of the files that DuckDB keeps in memory, unless somebody uses the instance just now.
        Not to be called within a transaction.

        It would keep what was read or written until its memory is full, though whatever is read often is in
        the views, and the rest in the operating system's cache.
        """
        with suppress(duckdb.Error):  # what was to be done is done, whatever memory it leaves behind
            self._relieved += 1
            if self._relieved % _FLUSHED == 0:
                self.give_back_freed()
            cached, _ = self._cached()
            self._stuck = min(self._stuck, cached)
            if cached > max(_CACHED, self._stuck + _CACHED - _LEFT):
                with self.traffic.halted(_PATIENCE) as alone:
                    if alone:
                        self._shrink()
                        self._stuck = self._cached()[0]

    def give_back_freed(self) -> None:
        """Let go of memory that DuckDB has freed, but keeps for a while in case that it needs some. At any time."""
        with suppress(duckdb.Error), self._lock:  # it does so whenever its limit is set, to whatever
            self._connection.execute(f"SET memory_limit = '{self._limit}'").fetchall()

    def _cached(self) -> tuple[int, int]:
        """Bytes of blocks that could be read again, and of all that DuckDB holds."""
        with self._lock:
            ((cached, held),) = self._connection.execute(_MEMORY).fetchall()
        return int(cached), int(held)

    def _shrink(self) -> None:
        # A lower limit is the only way to make it let go. Rows that are not in a file yet stay.
        cached, held = self._cached()
        with self._lock:
            try:
                self._connection.execute(f"SET memory_limit = '{held - cached + _LEFT}B'").fetchall()
            finally:
                self._connection.execute(f"SET memory_limit = '{self._limit}'").fetchall()

    def detach(self, path: Path, alias: str, *, above: int = 0) -> None:
        """Close a file that nobody uses, as `attaching.detach` does."""
        cursor = self.cursor()
        try:
            with self.traffic.using():
                detach(cursor, path, alias, above=above)
        finally:
            self.give_back(cursor)

    def close(self) -> None:
        """Close all cursors and the files, and leave no long log beside these."""
        for cursor in list(self._cursors.values()):
            self.give_back(cursor)
        with closing(self._connection), suppress(duckdb.Error):  # one that has broken down can only be closed
            for alias, path in self._connection.execute(_FILES).fetchall():
                take_in_log(self._connection, Path(path), alias, above=SMALL_LOG)

    def __del__(self) -> None:
        """In a child after a fork: keep what belongs to the parent from being torn down.

        DuckDB would wait there for threads that a fork does not copy, or write to the parent's file.
        """
        if hasattr(self, "_keep") and self._of_parent():
            for connection in (self._connection, *self._cursors.values()):
                self._keep(connection)


def _is_of_parent(owner: int, getpid: Callable[[], int]) -> bool:
    return getpid() != owner


def _keep(increase: Callable[[Any], None], reference: Callable[[Any], Any], connection: Cursor) -> None:
    increase(reference(connection))


def _connect(path: Path, name: str, settings: StoreSettings) -> Cursor:
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": f"{path}.tmp",
        "memory_limit": settings.memory_limit,
        "threads": str(settings.threads),
        "checkpoint_threshold": settings.checkpoint_threshold,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(config=config)
    try:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown").fetchall()  # see SMALL_LOG
        connection.execute(f"SET disabled_compression_methods = '{_DEAR}'").fetchall()  # ignored in `config`
        connection.execute(attach_statement(path, name)).fetchall()
    except duckdb.Error as error:
        connection.close()
        raise StoreCorrupt(
            f"cannot open {path}: {str(error).splitlines()[0]}; if it is damaged, restore it from a backup"
        ) from error
    return connection
