"""Which workspaces a root has, and the database files they lie in."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from stateless_rag.errors import StoreCorrupt, WorkspaceNotFound
from stateless_rag.stores.duckdb.attaching import SMALL_LOG, attach_statement
from stateless_rag.stores.duckdb.connection import Connection
from stateless_rag.stores.duckdb.copying import keep_file
from stateless_rag.stores.duckdb.database import Cursor, Database, store_error
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION, migrate
from stateless_rag.stores.duckdb.names import schema_name
from stateless_rag.stores.duckdb.record import WorkspaceRecord
from stateless_rag.stores.duckdb.statements import load_statements

__all__ = ["Catalog"]


class Catalog:
    """The catalog of a root. Apart from `names`, one thread at a time may call it."""

    def __init__(
        self, root: Path, connection: Connection, executor: Executor, sql: Mapping[str, str]
    ) -> None:
        self._root = root
        self._connection = connection
        self._executor = executor
        self._sql = sql
        self.database = self._database(connection.name)
        self._attached: dict[str, Database] = {}

    def prepare(self) -> None:
        """Make what a new root needs, or bring an old one to the current format."""
        self._bring_to_format(self.database)

    # ---- workspaces ------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of all workspaces, in code point order."""
        with self._connection.reading() as cursor:
            return sorted(
                row[0] for row in cursor.execute(self._statement("names", self.database)).fetchall()
            )

    def find(self, name: str) -> WorkspaceRecord | None:
        """The row of a workspace."""
        return self._find(self.database, schema_name(name))

    def _find(self, database: Database, schema: str) -> WorkspaceRecord | None:
        with self._connection.reading() as cursor:
            rows = cursor.execute(self._statement("workspace", database), [schema]).fetchall()
        return WorkspaceRecord(rows[0]) if rows else None

    def record(self, name: str) -> WorkspaceRecord:
        """The row of a workspace. Raises WorkspaceNotFound."""
        found = self.find(name)
        if found is None:
            raise WorkspaceNotFound(
                f"there is no workspace {name!r} in {self._root}; `stateless-rag workspaces list` shows what is there",
                name,
            )
        return found

    def add(self, name: str, placement: str, created_at: float, info: Mapping[str, Any]) -> None:
        """Enter a workspace that is not there yet."""
        schema = schema_name(name)
        values = [name, schema, placement, created_at, json.dumps(dict(info))]
        self.remove_files(schema)  # a crash has left them when a workspace of this name was dropped
        if placement == "own":
            # The file of its own first: a crash between the two leaves a file that nothing names.
            try:
                self._enter(self._attach(name, schema), values)
            finally:
                self.detach(schema)
        self._enter(self.database, values)

    def remove(self, record: WorkspaceRecord, drop: str) -> None:
        """Forget a workspace, by the statement that drops its tables where they lie in the root's file."""

        def forget(cursor: Cursor) -> None:
            cursor.execute(self._statement("remove_workspace", self.database), [record.schema]).fetchall()
            if record.placement == "root":
                cursor.execute(drop).fetchall()

        self.database.run(forget)

    def remove_files(self, schema: str) -> None:
        """Remove the files of a workspace that nothing names."""
        self.own_file(schema).unlink(missing_ok=True)
        Path(f"{self.own_file(schema)}.wal").unlink(missing_ok=True)
        for earlier in self.own_file(schema).parent.glob(f"{schema}.duckdb.format*"):
            earlier.unlink(missing_ok=True)
        shutil.rmtree(self.faiss_files(schema), ignore_errors=True)

    def own_file(self, schema: str) -> Path:
        """Where a workspace with a file of its own has it."""
        return self._root / "workspaces" / f"{schema}.duckdb"

    def faiss_files(self, schema: str) -> Path:
        """The folder of a workspace's FAISS files."""
        return self._root / "faiss" / schema

    # ---- database files --------------------------------------------------------------------------------

    def attach(self, record: WorkspaceRecord) -> Database:
        """The database that a workspace lies in, attached if need be. Raises StoreCorrupt."""
        if record.placement == "root":
            return self.database
        path = self.own_file(record.schema)
        advice = "restore it from a backup, or drop the workspace"
        if not path.is_file():  # DuckDB would make an empty one
            raise StoreCorrupt(f"the file of workspace {record.name!r}, {path}, is missing; {advice}")
        database = self._attach(record.name, record.schema)
        if self._find(database, record.schema) is None:
            self.detach(record.schema)
            raise StoreCorrupt(f"{path} does not hold workspace {record.name!r}; {advice}")
        return database

    def _attach(self, name: str, schema: str) -> Database:
        alias = f"f_{schema}"
        if alias not in self._attached:
            path = self.own_file(schema)
            path.parent.mkdir(exist_ok=True)
            try:
                self._connection.execute(attach_statement(path, alias))
            except duckdb.Error as error:
                raise StoreCorrupt(
                    f"cannot open the file of workspace {name!r}, {path}: {str(error).splitlines()[0]}; "
                    "restore it from a backup, or drop the workspace"
                ) from error
            database = self._attached[alias] = self._database(alias)
            try:
                self._bring_to_format(database)
            except BaseException:
                self.detach(schema)
                raise
        return self._attached[alias]

    def detach(self, schema: str, *, above: int = SMALL_LOG) -> None:
        """Close the file of a workspace that has one, and take in a log of more bytes than `above`; nobody may be
        using it.
        """
        alias = f"f_{schema}"
        database = self._attached.get(alias)
        if database is None:
            return
        database.close()
        try:
            self._connection.detach(self.own_file(schema), alias, above=above)
        except duckdb.Error as error:
            raise store_error(error, f"closing {self.own_file(schema)}") from error
        del self._attached[alias]

    def checkpoint(self) -> None:
        """Free what dropped workspaces held in the root's file."""
        try:
            self._connection.execute(f"FORCE CHECKPOINT {self._connection.name}")
        except duckdb.Error as error:
            raise store_error(error, "freeing what a dropped workspace held") from error

    # ---- plumbing --------------------------------------------------------------------------------------

    def _database(self, alias: str) -> Database:
        connection = self._connection
        return Database(
            connection.cursor,
            connection.give_back,
            self._executor,
            alias,
            connection.traffic.using,
            connection.relieve,
        )

    def _enter(self, database: Database, values: list[Any]) -> None:
        def apply(cursor: Cursor) -> None:
            if not cursor.execute(self._statement("workspace", database), [values[1]]).fetchall():
                cursor.execute(self._statement("add_workspace", database), values).fetchall()

        database.run(apply)

    def _bring_to_format(self, database: Database) -> None:
        version = self._version(database)
        if version is None:
            database.run(lambda cursor: self._make(cursor, database))
        elif version != FORMAT_VERSION:
            self._keep_earlier_format(database, version)
            database.run(lambda cursor: migrate(cursor, database.quoted, database.alias, version))

    def _version(self, database: Database) -> int | None:
        """The format of a database file; None of one without a catalog."""
        with self._connection.reading() as cursor:
            try:
                rows = cursor.execute(self._statement("version", database)).fetchall()
            except duckdb.CatalogException:  # to look the table up by name would read those of all workspaces
                return None
        return int(rows[0][0])

    def _keep_earlier_format(self, database: Database, version: int) -> None:
        """Copy a file that is about to be brought to the current format, and tell the name of the copy.

        Raises StoreError if there is no room for it; then the file stays as it is.
        """
        with self._connection.reading() as cursor:
            held = cursor.execute(self._statement("names", database)).fetchall()
        if version < FORMAT_VERSION and held:
            copy = keep_file(self._connection, load_statements("copying.sql"), database.alias, version)
            logging.getLogger("stateless_rag").warning(
                "%s is brought from format %d to %d; %s is a copy of it as it was, to be deleted once all is well",
                copy.with_suffix(""),
                version,
                FORMAT_VERSION,
                copy,
            )

    def _make(self, cursor: Cursor, database: Database) -> None:
        statement = partial(self._statement, database=database)
        cursor.execute(statement("create")).fetchall()
        cursor.execute(statement("set_version"), [FORMAT_VERSION]).fetchall()

    def _statement(self, name: str, database: Database) -> str:
        return self._sql[name].replace("{db}", database.quoted)
