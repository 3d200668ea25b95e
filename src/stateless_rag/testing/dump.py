"""All that a workspace holds, as plain values that two workspaces can be compared by."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["dump"]

_TABLES = ("documents", "chunks", "mentions", "entities", "relations", "aliases", "pending")


async def dump(engine: Engine) -> dict[str, Any]:
    """What the workspace of an engine holds at one revision: JSON-able, sorted, columns by name.

    Rows of documents, chunks, mentions, entities, relations, aliases and pending submissions; under `vectors`
    a digest of each vector that a row names. Left out is what depends on history alone: revisions, times,
    tracking ids, the journal, the log of changes by hand (but for what it does), and vectors that no row names.
    Equal contents give equal dumps, whatever the order in which they were written. Reads everything: for tests
    and small workspaces.
    """
    from stateless_rag.stores.duckdb.journal import settled

    workspace = engine._workspace  # noqa: SLF001 -- looks behind the façade on purpose
    found: dict[str, Any] = await settled(workspace.in_reader(lambda: _read(engine, workspace)))
    return found


def _read(engine: Engine, workspace: DuckWorkspace) -> dict[str, Any]:
    from stateless_rag.stores.duckdb.snapshot import fetch_vectors

    sql = workspace.sql
    found: dict[str, Any] = {table: [] for table in _TABLES}
    found["vectors"] = {}
    with engine._store.reading() as cursor:  # noqa: SLF001
        place = [workspace.database.alias, workspace.record.schema]
        if not cursor.execute(sql["has_tables"], place).fetchall()[0][0]:
            return found
        for table in _TABLES:
            cursor.execute(sql[f"dump_{table}"])
            names = [column[0] for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            found[table] = sorted(rows, key=_by_value)
        if workspace.dimension is not None:
            digests, matrix = fetch_vectors(cursor, sql["dump_vectors"], [])
            found["vectors"] = {
                digest: blake2b(vector.tobytes(), digest_size=16).hexdigest()
                for digest, vector in sorted(zip(digests.tolist(), matrix, strict=True), key=_first)
            }
    return found


def _by_value(row: dict[str, Any]) -> list[tuple[bool, str]]:
    return [(value is not None, str(value)) for value in row.values()]


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]
