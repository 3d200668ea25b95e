"""Writing a database file anew, so that it holds what is there and nothing that was.

DuckDB keeps the content of blocks that it has freed, and no statement clears them. Everything is copied into a new
file, which then takes the place of the old one: a crash leaves the one or the other, whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import duckdb

from stateless_rag.errors import StoreCorrupt, StoreError
from stateless_rag.stores.duckdb.attaching import attach_statement, detach, log_of
from stateless_rag.stores.duckdb.copying import (
    PART,
    attached,
    file_bytes,
    put_in_place,
    remove_database,
)
from stateless_rag.stores.duckdb.database import store_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stateless_rag.stores.duckdb.connection import Connection

__all__ = ["compact_file"]

_PATIENCE = 0.25  # seconds that reads wait for reads before them, and as long they are let in again
_TRIES = 240


def compact_file(
    connection: Connection,
    sql: Mapping[str, str],
    path: Path,
    alias: str,
    pause: Callable[[float], object] = time.sleep,
) -> tuple[int, int]:
    """Rewrite a file that is attached as `alias`; returns its bytes before and after.

    Only the lane of the file may call it, between two transactions: nothing can be written meanwhile. Reads go on,
    but for the moment in which the files change places. `sql` is `copying.sql`. Raises StoreError, and then
    everything is as before.
    """
    before = file_bytes(path)
    part = path.with_name(path.name + PART)
    try:
        remove_database(part)
        with attached(connection, sql, part) as fresh:
            copy = sql["copy_file"].replace("{from}", f'"{alias}"').replace("{to}", f'"{fresh}"')
            connection.execute(copy)
        for _ in range(_TRIES):
            with connection.traffic.halted(_PATIENCE) as alone:
                if alone:
                    _change_places(connection, part, path, alias)
                    return before, file_bytes(path)
            pause(_PATIENCE)
    except duckdb.Error as error:
        raise store_error(error, f"rewriting {path}") from error
    except OSError as error:
        raise StoreError(f"cannot rewrite {path}: {error}; check space and permissions") from error
    finally:
        remove_database(part)
    raise StoreError(f"cannot rewrite {path}: it is read without a pause; try again when less is going on")


def _change_places(connection: Connection, part: Path, path: Path, alias: str) -> None:
    """While nobody else uses the instance. The log is taken in first: a crash may leave the old file without it."""
    cursor = connection.cursor()
    try:
        detach(cursor, path, alias)
        try:
            if log_of(path).exists():
                raise StoreError(f"cannot rewrite {path}: its log could not be written; is the disk full?")
            put_in_place(part, path)
        finally:
            try:
                cursor.execute(attach_statement(path, alias)).fetchall()
            except duckdb.Error as error:
                raise StoreCorrupt(
                    f"cannot open {path} again: {str(error).splitlines()[0]}; close the store and open it again"
                ) from error
    finally:
        connection.give_back(cursor)
