"""JSON Lines: a line for each row; the first tells of the workspace, the last that the file is whole."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import numpy as np

from stateless_rag.exporting.files import Writer

if TYPE_CHECKING:
    from stateless_rag.types import ExportRow

__all__ = ["JsonLinesWriter"]


class JsonLinesWriter(Writer):
    """Vectors are base64 of little-endian float32."""

    def __init__(self, file: IO[bytes], head: ExportRow) -> None:
        self._file = file
        self._lines = 0
        self.write([head])

    def write(self, rows: Sequence[ExportRow]) -> None:
        """As `Writer`."""
        self._file.write("".join(map(_line, rows)).encode())
        self._lines += len(rows)

    def finish(self, end: ExportRow) -> None:
        """As `Writer`."""
        self.write([{"kind": "end", "lines": self._lines + 1, **end}])


def _line(row: ExportRow) -> str:
    vector = row.get("vector")
    if vector is not None:
        row = {**row, "vector": b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")}
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
