"""Numbered changes of the format. Version n is reached from n - 1 by `sql/migrations/<n>.sql`, if there is such.

    1  the first
    2  the tables `given` and `curations` of each workspace
    3  the columns `truncated` of `chunks` and `weight` of `mentions`; `relations.weight` is a double;
       the columns `document`, `query`, `texts` and `batch` of `journal`

Tables and columns that a version adds need no file: those that a workspace lacks are made after the files were run.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from stateless_rag.errors import WorkspaceMismatch
from stateless_rag.stores.duckdb.statements import load_statements

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Cursor

__all__ = ["FORMAT_VERSION", "migrate"]

FORMAT_VERSION = 3

_SCHEMAS = """
SELECT DISTINCT w.schema FROM {db}.catalog.workspaces w JOIN information_schema.tables t ON t.table_schema = w.schema
WHERE t.table_catalog = ?
"""


def migrate(cursor: Cursor, database: str, alias: str, version: int) -> None:
    """Bring a database file to the current format, inside the transaction of the cursor.

    `database` is its quoted name, `alias` the bare one. Raises WorkspaceMismatch for a file written by a newer
    version of the library.
    """
    if version > FORMAT_VERSION:
        raise WorkspaceMismatch(
            f"the database has format {version}, this version of stateless-rag reads up to {FORMAT_VERSION}; "
            "install a newer version"
        )
    if version == FORMAT_VERSION:
        return
    for number in range(version + 1, FORMAT_VERSION + 1):
        file = resources.files(__package__) / "sql" / "migrations" / f"{number:04}.sql"
        if file.is_file():
            cursor.execute(file.read_text(encoding="utf-8").replace("{db}", database)).fetchall()
    statements = load_statements("workspace.sql")
    for (schema,) in cursor.execute(_SCHEMAS.replace("{db}", database), [alias]).fetchall():
        for name in ("create", "add_columns"):
            cursor.execute(statements[name].replace("{w}", f'{database}."{schema}"')).fetchall()
    cursor.execute(f"INSERT INTO {database}.catalog.format VALUES (?)", [FORMAT_VERSION]).fetchall()  # noqa: S608
