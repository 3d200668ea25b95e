"""Numbered changes of the format. Version n is reached from n - 1 by `sql/migrations/<n>.sql`."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from stateless_rag.errors import WorkspaceMismatch

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = ["FORMAT_VERSION", "migrate"]

FORMAT_VERSION = 1


def migrate(cursor: Cursor, database: str, version: int) -> None:
    """Bring a database file to the current format, inside the transaction of the cursor.

    Each migration is run for the catalog with `{db}`. Raises WorkspaceMismatch for a file written by a newer
    version of the library.
    """
    if version > FORMAT_VERSION:
        raise WorkspaceMismatch(
            f"the database has format {version}, this version of stateless-rag reads up to {FORMAT_VERSION}; "
            "install a newer version"
        )
    for number in range(version + 1, FORMAT_VERSION + 1):
        file = resources.files(__package__) / "sql" / "migrations" / f"{number:04}.sql"
        cursor.execute(file.read_text(encoding="utf-8").replace("{db}", database)).fetchall()
        cursor.execute(f"INSERT INTO {database}.catalog.format VALUES (?)", [number]).fetchall()  # noqa: S608
