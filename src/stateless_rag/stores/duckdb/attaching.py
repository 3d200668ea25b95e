"""Database files: how they are attached, and what becomes of their logs when they are detached."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = ["SMALL_LOG", "attach_statement", "detach", "log_of", "take_in_log"]

SMALL_LOG = 256_000
"""Bytes of a log that may stay beside a closed file. To replay it takes up to 4 ms when the file is opened again, a
checkpoint takes 15 when it is closed, after which each table that holds a row has a block of its own.
"""


def attach_statement(path: Path, alias: str) -> str:
    """How a database file is opened. Each checkpoint writes the last row group of a table as a whole, and row
    groups of the usual size would make that up to 190 MB of vectors.
    """
    quoted = str(path).replace("'", "''")
    return f"ATTACH '{quoted}' AS {alias} (BLOCK_SIZE 16384, ROW_GROUP_SIZE 8192)"


def log_of(path: Path) -> Path:
    """The file beside a database that holds what was committed since its last checkpoint."""
    return path.with_name(path.name + ".wal")


def take_in_log(cursor: Cursor, path: Path, alias: str, *, above: int = 0) -> None:
    """Write the log of an attached file into the file if it has more bytes than `above`; nobody may be writing.

    Where that fails, on a full disk, the log stays as it is, and the file can only be detached.
    """
    log = log_of(path)
    if log.exists() and log.stat().st_size > above:
        with suppress(duckdb.Error):
            cursor.execute(f'CHECKPOINT "{alias}"').fetchall()


def detach(cursor: Cursor, path: Path, alias: str, *, above: int = 0) -> None:
    """Close a file that nobody uses, with its log taken in as `take_in_log` does. Raises the driver's errors."""
    take_in_log(cursor, path, alias, above=above)
    cursor.execute(f'DETACH "{alias}"').fetchall()
