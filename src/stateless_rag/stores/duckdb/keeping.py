"""Backups of workspaces, copies of them, and what is made of these again. Blocks: the store calls it in its threads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from stateless_rag.errors import InvalidInput, StoreCorrupt, StoreError, WorkspaceMismatch
from stateless_rag.stores.duckdb.attaching import log_of
from stateless_rag.stores.duckdb.compact import compact_file
from stateless_rag.stores.duckdb.copying import (
    PART,
    Place,
    attached,
    copy_tables,
    new_file,
    remove_database,
    writing,
)
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION, migrate
from stateless_rag.stores.duckdb.names import schema_name
from stateless_rag.stores.duckdb.record import WorkspaceRecord
from stateless_rag.stores.duckdb.statements import load_statements
from stateless_rag.types import BackupReport, CompactReport

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.stores.duckdb.catalog import Catalog
    from stateless_rag.stores.duckdb.connection import Connection
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["Keeper", "Placement"]

Placement = Literal["root", "own"]


class Keeper:
    """Copies workspaces out of a root and into it. A backup is a database file that holds one workspace."""

    def __init__(
        self, root: Path, file: Path, connection: Connection, catalog: Catalog, catalog_sql: Mapping[str, str]
    ) -> None:
        self._root = root
        self._file = file
        self._connection = connection
        self._catalog = catalog
        self._catalog_sql = catalog_sql
        self._sql = load_statements("copying.sql")

    # ---- out of the root -------------------------------------------------------------------------------

    def backup(self, workspace: DuckWorkspace, path: Path, *, overwrite: bool) -> BackupReport:
        """Write what a workspace holds at one revision into a file; others may go on writing meanwhile.

        Raises InvalidInput for a path that cannot be used, StoreError if it cannot be written.
        """
        self._require_free(path, overwrite=overwrite)
        source = Place(workspace.database.alias, workspace.record.schema)
        with new_file(self._connection, self._sql, path) as alias, writing(self._connection) as cursor:
            record = self._record(cursor, source)
            self._write(cursor, source, record, Place(alias, source.schema), "own", whole_file=True)
        return BackupReport(
            workspace=record.name, revision=record.revision, path=str(path), bytes=path.stat().st_size
        )

    def _require_free(self, path: Path, *, overwrite: bool) -> None:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder; name the file that the backup is to be")
        if not path.parent.is_dir():
            raise InvalidInput(f"the folder {path.parent} does not exist; make it first")
        if path.parent == self._root or self._root in path.parents:
            raise InvalidInput(f"{path} lies in the store's own folder; a backup belongs elsewhere")
        if path.exists() and not overwrite:
            raise InvalidInput(
                f"{path} is there already; choose another name, or replace it (overwrite, --overwrite)"
            )

    # ---- into the root ---------------------------------------------------------------------------------

    def restore(self, path: Path, name: str | None, placement: Placement, *, overwrite: bool) -> str:
        """Make a workspace of a backup, under another name if one is given; returns the name.

        One that is there is replaced only with `overwrite`, and nobody may be using it: the caller sees to that.
        """
        with self.opened(path) as (alias, record):
            target = record.name if name is None else name
            self._require_absent(target, overwrite=overwrite)
            self._take_in(Place(alias, record.schema), record, target, placement)
        return target

    def copy(self, workspace: DuckWorkspace, name: str, placement: Placement) -> None:
        """Make a second workspace that holds what one holds."""
        self._require_absent(name, overwrite=False)
        source = Place(workspace.database.alias, workspace.record.schema)
        self._take_in(source, None, name, placement)

    def named_in(self, path: Path) -> str:
        """The name of the workspace that a backup was made of."""
        with self.opened(path) as (_, record):
            return record.name

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[str, WorkspaceRecord]]:
        """The alias of a backup, to read from, and what is recorded of its workspace; of an older format, of a copy
        of it that was brought to this one. Raises InvalidInput for what is no backup, StoreCorrupt for a damaged one.
        """
        if not path.is_file():
            raise InvalidInput(f"there is no backup {path}; check the path")
        scratch = self._root / f"backup{PART}"
        try:
            with attached(self._connection, self._sql, path, read_only=True) as alias:
                version = self._version(path, alias)
                if version == FORMAT_VERSION:
                    yield alias, self._only(path, alias)
                    return
            remove_database(scratch)
            shutil.copyfile(path, scratch)
            with attached(self._connection, self._sql, scratch) as alias:
                with writing(self._connection) as cursor:
                    migrate(cursor, f'"{alias}"', alias, version)
                yield alias, self._only(path, alias)
        except duckdb.Error as error:
            raise StoreCorrupt(
                f"the backup {path} cannot be read: {str(error).splitlines()[0]}; use another one"
            ) from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        finally:
            remove_database(scratch)

    def _version(self, path: Path, alias: str) -> int:
        with writing(self._connection) as cursor:
            if not cursor.execute(self._catalog_sql["exists"], [alias]).fetchall()[0][0]:
                raise InvalidInput(f"{path} is no backup of a workspace; `stateless-rag backup` makes one")
            statement = self._catalog_sql["version"].replace("{db}", f'"{alias}"')
            version = int(cursor.execute(statement).fetchall()[0][0])
        if version > FORMAT_VERSION:
            raise WorkspaceMismatch(
                f"{path} has format {version}, this version of stateless-rag reads up to {FORMAT_VERSION}; "
                "install a newer version"
            )
        return version

    def _only(self, path: Path, alias: str) -> WorkspaceRecord:
        with writing(self._connection) as cursor:
            rows = cursor.execute(self._sql["workspaces"].replace("{db}", f'"{alias}"')).fetchall()
        if len(rows) != 1:
            raise InvalidInput(
                f"{path} holds {len(rows)} workspaces, a backup holds one; if it is a root's file, open that root "
                "and back up its workspaces"
            )
        return WorkspaceRecord(rows[0])

    def _require_absent(self, name: str, *, overwrite: bool) -> None:
        if not overwrite and self._catalog.find(name) is not None:
            raise InvalidInput(
                f"workspace {name!r} is there already; choose another name, or replace it (overwrite, --overwrite)"
            )

    def _take_in(
        self, source: Place, record: WorkspaceRecord | None, name: str, placement: Placement
    ) -> None:
        """Copy a workspace into the root, in place of one of that name. Without a record, the newest revision."""
        old, schema = self._catalog.find(name), schema_name(name)
        if old is None:
            self._catalog.remove_files(schema)  # a crash has left them
        elif old.placement == "own":
            self._settle(old)
        target = Place(self._catalog.database.alias, schema)

        def enter(cursor: Cursor) -> WorkspaceRecord:
            found = record or self._record(cursor, source)
            self._forget(cursor, target)
            if placement == "root":
                self._write(cursor, source, found, target, placement, name=name)
            else:
                self._enter(cursor, target.alias, found, schema, placement, name)
            return found

        if placement == "own":
            path = self._catalog.own_file(schema)
            path.parent.mkdir(exist_ok=True)
            with new_file(self._connection, self._sql, path) as alias, writing(self._connection) as cursor:
                found = record or self._record(cursor, source)
                whole = Place(alias, schema)
                self._write(cursor, source, found, whole, placement, name=name, whole_file=True)
        self._catalog.database.run(enter)
        if old is not None:
            shutil.rmtree(self._catalog.faiss_files(schema), ignore_errors=True)
            if old.placement == "own" and placement == "root":
                remove_database(self._catalog.own_file(schema))

    def _settle(self, old: WorkspaceRecord) -> None:
        """Bring the log of a file that is to be replaced into it, unless the file is damaged."""
        if log_of(self._catalog.own_file(old.schema)).exists():
            with suppress(StoreError):
                self._catalog.attach(old)
                self._catalog.detach(old.schema, above=0)

    # ---- rows ------------------------------------------------------------------------------------------

    def _record(self, cursor: Cursor, source: Place) -> WorkspaceRecord:
        """What the catalog says of a workspace, in the transaction in which its tables are read."""
        statement = self._catalog_sql["workspace"].replace("{db}", f'"{source.alias}"')
        rows: Sequence[Sequence[Any]] = cursor.execute(statement, [source.schema]).fetchall()
        if not rows:
            raise StoreError("the workspace was dropped in the meantime")
        return WorkspaceRecord(rows[0])

    def _write(
        self,
        cursor: Cursor,
        source: Place,
        record: WorkspaceRecord,
        target: Place,
        placement: Placement,
        *,
        name: str | None = None,
        whole_file: bool = False,
    ) -> None:
        """The tables, and the row of the catalog; with `whole_file` the catalog itself, too."""
        if whole_file:
            statements = {
                key: text.replace("{db}", f'"{target.alias}"') for key, text in self._catalog_sql.items()
            }
            cursor.execute(statements["create"]).fetchall()
            cursor.execute(statements["set_version"], [FORMAT_VERSION]).fetchall()
        copy_tables(cursor, self._sql, source, target)
        self._enter(cursor, target.alias, record, target.schema, placement, name or record.name)

    def _enter(
        self,
        cursor: Cursor,
        alias: str,
        record: WorkspaceRecord,
        schema: str,
        placement: Placement,
        name: str,
    ) -> None:
        # FAISS files are not copied: what is recorded of them would not be true of the copy.
        info = {key: value for key, value in record.info.items() if key != "bases"}
        statements = {key: text.replace("{db}", f'"{alias}"') for key, text in self._catalog_sql.items()}
        values = [name, schema, placement, record.created_at, json.dumps(info)]
        cursor.execute(statements["add_workspace"], values).fetchall()
        cursor.execute(statements["set_revision"], [record.revision, schema]).fetchall()

    def _forget(self, cursor: Cursor, target: Place) -> None:
        statement = self._catalog_sql["remove_workspace"].replace("{db}", f'"{target.alias}"')
        cursor.execute(statement, [target.schema]).fetchall()
        cursor.execute(self._sql["drop_schema"].replace("{to}", target.quoted)).fetchall()

    # ---- in place --------------------------------------------------------------------------------------

    def compact(self, workspace: DuckWorkspace, *, keep_earlier: bool) -> CompactReport:
        """Rewrite the file that a workspace lies in, for the lane of that file.

        Copies that were made of it before its format was changed go, unless they are to be kept.
        """
        own = workspace.record.placement == "own"
        path = self._catalog.own_file(workspace.record.schema) if own else self._file
        before, after = compact_file(self._connection, self._sql, path, workspace.database.alias)
        for earlier in () if keep_earlier else path.parent.glob(f"{path.name}.format*"):
            earlier.unlink(missing_ok=True)
        return CompactReport(workspace=workspace.name, before=before, after=after)

    def sweep(self) -> None:
        """Remove what a crash has left of files that were being written."""
        for folder in (self._root, self._root / "workspaces"):
            for file in folder.glob(f"*{PART}*"):
                file.unlink(missing_ok=True)
