"""The log of changes by hand, as rows."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stateless_rag.curation_log import CurationLog
from stateless_rag.stores.duckdb.rows import append, metadata_json
from stateless_rag.types import Curation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stateless_rag.stores.duckdb.database import Cursor

__all__ = ["curation_row", "read_curations", "write_curation"]


def read_curations(cursor: Cursor, sql: Mapping[str, str]) -> CurationLog:
    """The log that is kept, else that of aliases that are older than logs are."""
    if kept := cursor.execute(sql["curations"]).fetchall():
        return CurationLog.of(map(curation_row, kept))
    aliases = sorted(cursor.execute(sql["aliases"]).fetchall())
    return CurationLog.of(
        Curation(number=number, at=0.0, kind="alias", keys=pair, names=pair)
        for number, pair in enumerate(aliases, 1)
    )


def curation_row(row: Sequence[Any]) -> Curation:
    """A row of `curations`."""
    number, at, kind, keys, names, payload = row
    return Curation(
        number=number,
        at=at,
        kind=kind,
        keys=tuple(json.loads(keys)),
        names=tuple(json.loads(names)),
        payload=MappingProxyType(json.loads(payload)),
    )


def write_curation(
    cursor: Cursor, sql: Mapping[str, str], schema: str, log: CurationLog, curation: Curation
) -> None:
    """Add an entry to a log. Aliases that are older than the log are only in memory before its first entry."""
    known = cursor.execute(sql["count_curations"]).fetchall()[0][0]
    new = [curation] if known else [*log.entries, curation]
    append(cursor, f"{schema}.curations", _curations(new))


def _curations(entries: Sequence[Curation]) -> dict[str, Any]:
    # What was undone follows from the entries that undo.
    def listed(values: Sequence[str]) -> str:
        return json.dumps(values, ensure_ascii=False)

    return {
        "number": pa.array([entry.number for entry in entries], pa.int64()),
        "made_at": pa.array([entry.at for entry in entries], pa.float64()),
        "kind": pa.array([entry.kind for entry in entries], pa.string()),
        "keys": pa.array([listed(entry.keys) for entry in entries], pa.string()),
        "names": pa.array([listed(entry.names) for entry in entries], pa.string()),
        "payload": pa.array([metadata_json(entry.payload) for entry in entries], pa.string()),
    }
