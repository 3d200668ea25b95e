"""CSV and Parquet: one table. Of several kinds of rows it has the columns of all, and a first one, `kind`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stateless_rag.exporting.files import Writer
from stateless_rag.exporting.rows import KIND_OF

if TYPE_CHECKING:
    from stateless_rag.types import ExportKind, ExportRow

__all__ = ["COLUMNS", "CsvWriter", "ParquetWriter", "columns_of"]

COLUMNS: Mapping[ExportKind, tuple[str, ...]] = MappingProxyType(
    {
        "entities": ("name", "key", "type", "description", "weight", "documents", "sources"),
        "relations": (
            "source",
            "target",
            "source_key",
            "target_key",
            "keywords",
            "description",
            "weight",
            "documents",
            "sources",
        ),
        "documents": ("id", "source", "metadata", "text", "chunks"),
        "chunks": ("id", "document", "ordinal", "start", "stop", "tokens", "text", "generation", "error"),
    }
)
_LISTS = frozenset({"documents", "sources", "keywords"})
_NUMBERS = frozenset({"weight", "chunks", "ordinal", "start", "stop", "tokens"})


def columns_of(kinds: Collection[ExportKind], *, vectors: bool) -> tuple[str, ...]:
    """The columns of a table of these kinds of rows."""
    chosen = [kind for kind in KIND_OF if kind in kinds]
    found = dict.fromkeys(column for kind in chosen for column in COLUMNS[kind])
    return (*(("kind",) if len(chosen) > 1 else ()), *found, *(("vector",) if vectors else ()))


class CsvWriter(Writer):
    """UTF-8, RFC 4180. Lists, metadata and vectors are JSON; what a row has not is empty."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns
        self._write([columns])

    def write(self, rows: Sequence[ExportRow]) -> None:
        """As `Writer`."""
        self._write([[_cell(row.get(column)) for column in self._columns] for row in rows])

    def _write(self, cells: Sequence[Sequence[str | int]]) -> None:
        page = io.StringIO(newline="")
        csv.writer(page).writerows(cells)
        self._file.write(page.getvalue().encode())


def _cell(value: Any) -> str | int:
    if value is None:
        return ""
    if isinstance(value, str | int):
        return value
    if isinstance(value, np.ndarray):
        value = [float(str(number)) for number in value]  # the shortest that is the same float32
    return json.dumps(value, ensure_ascii=False)


class ParquetWriter(Writer):
    """A row group for each page. Lists and vectors are lists, metadata is JSON."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._schema = pa.schema([(column, _type(pa, column)) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._pa = pa

    def write(self, rows: Sequence[ExportRow]) -> None:
        """As `Writer`."""
        arrays = [
            self._pa.array([_value(row.get(field.name)) for row in rows], field.type)
            for field in self._schema
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))

    def finish(self, end: ExportRow) -> None:  # noqa: ARG002 -- of no use here
        """As `Writer`."""
        self._writer.close()

    def abandon(self) -> None:
        """As `Writer`."""
        self._writer.is_open = False  # it would write its footer when it is collected


def _type(pa: Any, column: str) -> Any:
    if column == "vector":
        return pa.list_(pa.float32())
    if column in _LISTS:
        return pa.list_(pa.string())
    if column == "weight":
        return pa.float64()
    return pa.int64() if column in _NUMBERS else pa.string()


def _value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
