"""The DuckDB instance of a root, and the cursors that are made from it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from stateless_rag.errors import StoreCorrupt
from stateless_rag.stores.duckdb.database import Cursor, reading, store_error

if TYPE_CHECKING:
    from stateless_rag.settings import StoreSettings

__all__ = ["Connection", "attach_statement"]


class Connection:
    """Keeps a cursor for each thread that reads and each lane that writes."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._cursors: dict[int, Cursor] = {}
        self.name = "root"
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
            with reading(cursor):
                yield cursor
        except duckdb.Error as error:
            raise store_error(error, "reading from the store") from error

    def execute(self, statement: str) -> None:
        """Run a statement on the instance as a whole, outside of any transaction."""
        cursor = self.cursor()
        try:
            cursor.execute(statement).fetchall()
        finally:
            self.give_back(cursor)

    def close(self) -> None:
        """Close all cursors, checkpoint, and close the files."""
        for cursor in list(self._cursors.values()):
            self.give_back(cursor)
        self._connection.close()

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


def attach_statement(path: Path, alias: str) -> str:
    """How a database file is opened. Each checkpoint writes the last row group of a table as a whole, and row
    groups of the usual size would make that up to 190 MB of vectors.
    """
    quoted = str(path).replace("'", "''")
    return f"ATTACH '{quoted}' AS {alias} (BLOCK_SIZE 16384, ROW_GROUP_SIZE 8192)"


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
        connection.execute(attach_statement(path, name)).fetchall()
    except duckdb.Error as error:
        connection.close()
        raise StoreCorrupt(
            f"cannot open {path}: {str(error).splitlines()[0]}; if it is damaged, restore it from a backup"
        ) from error
    return connection
