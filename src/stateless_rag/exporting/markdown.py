"""Markdown: a table of entities and one of relations, for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from stateless_rag.exporting.files import Writer

if TYPE_CHECKING:
    from stateless_rag.types import ExportRow

__all__ = ["MarkdownWriter"]

_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "entity": ("name", "type", "description", "weight", "sources"),
        "relation": ("source", "target", "keywords", "description", "weight", "sources"),
    }
)
_TITLES: Mapping[str, str] = MappingProxyType({"entity": "Entities", "relation": "Relations"})
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_LINES = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")


class MarkdownWriter(Writer):
    """Marks in names and texts are escaped, line feeds are `<br>`."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._kind = ""
        self._file.write(f"# {_escaped(name)}\n".encode())

    def write(self, rows: Sequence[ExportRow]) -> None:
        """As `Writer`."""
        lines: list[str] = []
        for row in rows:
            columns = _COLUMNS[row["kind"]]
            if row["kind"] != self._kind:
                self._kind = row["kind"]
                lines += ["", f"## {_TITLES[self._kind]}", "", _line([column.title() for column in columns])]
                lines.append(_line(["---"] * len(columns)))
            lines.append(_line([_cell(row[column]) for column in columns]))
        self._file.write("".join(f"{line}\n" for line in lines).encode())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    return ", ".join(map(_escaped, value)) if isinstance(value, list) else _escaped(str(value))


def _escaped(text: str) -> str:
    return _LINES.sub("<br>", _MARKS.sub(r"\\\1", text))
