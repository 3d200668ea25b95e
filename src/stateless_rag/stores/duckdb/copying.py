"""Copies of a workspace's tables from one database file to another, and database files that are there as a whole or
not at all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from stateless_rag.errors import StoreError
from stateless_rag.stores.duckdb.attaching import attach_statement, log_of
from stateless_rag.stores.duckdb.database import store_error

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.connection import Connection
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = [
    "PART",
    "Place",
    "attached",
    "copy_tables",
    "file_bytes",
    "keep_file",
    "new_file",
    "put_in_place",
    "remove_database",
    "sync_path",
    "writing",
]

PART = ".part"
"""Ends the name of a file that is still being written; one that is found later was left by a crash."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workspace's tables lie: the alias of a database, and a schema in it."""

    alias: str
    schema: str

    @property
    def quoted(self) -> str:
        """The schema's name for use in SQL."""
        return f'"{self.alias}"."{self.schema}"'


def copy_tables(cursor: Cursor, sql: Mapping[str, str], source: Place, target: Place) -> None:
    """Make a schema with the same tables and rows, in the transaction of the cursor.

    `sql` is `copying.sql`. Whatever tables there are is copied, so that none is forgotten that is made later on.
    """

    def statement(name: str, table: str = "", columns: str = "") -> str:
        text = sql[name].replace("{from}", source.quoted).replace("{to}", target.quoted)
        return text.replace("{table}", table).replace("{columns}", columns)

    tables = cursor.execute(sql["tables"], [source.alias, source.schema]).fetchall()
    cursor.execute(statement("create_schema")).fetchall()
    for table, definition in tables:
        columns = definition[definition.index("(") :].rstrip(";")
        cursor.execute(statement("create_table", table, columns)).fetchall()
        cursor.execute(statement("copy_rows", table)).fetchall()


@contextmanager
def attached(
    connection: Connection, sql: Mapping[str, str], path: Path, *, read_only: bool = False
) -> Iterator[str]:
    """A database file under an alias of its own, as long as the context lasts. Raises the driver's errors."""
    alias = f"x_{secrets.token_hex(8)}"
    if read_only:
        quoted = str(path).replace("'", "''")
        connection.execute(sql["attach_to_read"].replace("{path}", quoted).replace("{alias}", alias))
    else:
        connection.execute(attach_statement(path, alias))
    try:
        yield alias
    finally:
        connection.detach(path, alias)


@contextmanager
def writing(connection: Connection) -> Iterator[Cursor]:
    """A transaction on a cursor of its own: committed at the end, rolled back after an error.

    Of all attached files it may write to one only; what it reads of another is of one revision.
    """
    cursor = connection.cursor()
    try:
        with connection.traffic.using():
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
            except BaseException:
                with suppress(duckdb.Error):  # a failed commit has ended it already
                    cursor.rollback()
                raise
    finally:
        connection.give_back(cursor)


@contextmanager
def new_file(connection: Connection, sql: Mapping[str, str], path: Path) -> Iterator[str]:
    """The alias of a new database file, which `path` holds at the end, whole and in place of an older one.

    After an error, or a crash at any time, `path` is as it was. Raises StoreError.
    """
    part = path.with_name(path.name + PART)
    try:
        remove_database(part)
        with attached(connection, sql, part) as alias:
            yield alias
        put_in_place(part, path)
    except duckdb.Error as error:
        raise store_error(error, f"writing {path}") from error
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error}; check space and permissions") from error
    finally:
        with suppress(OSError):
            remove_database(part)


def keep_file(connection: Connection, sql: Mapping[str, str], alias: str, version: int) -> Path:
    """Copy a database file that is attached as `alias`, beside it and named after its format; the copy's path.

    Nobody may be writing to it. Raises StoreError.
    """
    with connection.reading() as cursor:
        path = Path(cursor.execute(sql["path"], [alias]).fetchall()[0][0])
    copy = path.with_name(f"{path.name}.format{version}")
    with new_file(connection, sql, copy) as fresh:
        connection.execute(sql["copy_file"].replace("{from}", f'"{alias}"').replace("{to}", f'"{fresh}"'))
    return copy


def put_in_place(part: Path, path: Path) -> None:
    """Give a closed database file its name, for good, also after a loss of power.

    Raises StoreError if it was not closed properly.
    """
    if log_of(part).exists():
        raise StoreError(f"{part} was not written to its end; is the disk full?")
    sync_path(part)
    log_of(path).unlink(missing_ok=True)  # of a file that is replaced: it would be read into the new one
    part.replace(path)
    sync_path(path.parent)


def remove_database(path: Path) -> None:
    """Remove a database file, with its log, if there is one."""
    for file in (path, log_of(path)):
        file.unlink(missing_ok=True)


def file_bytes(path: Path) -> int:
    """What a database file and its log take on disk."""
    return sum(file.stat().st_size for file in (path, log_of(path)) if file.exists())


def sync_path(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
