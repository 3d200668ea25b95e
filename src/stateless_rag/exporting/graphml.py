"""GraphML (http://graphml.graphdrawing.org): entities as nodes, relations as directed edges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from stateless_rag.exporting.files import Writer
from stateless_rag.kinds import entity_row_id
from stateless_rag.text import clean_text

if TYPE_CHECKING:
    from stateless_rag.types import ExportRow

__all__ = ["GraphmlWriter"]

_NODE = ("name", "key", "type", "description", "weight", "documents", "sources")
_EDGE = ("keywords", "description", "weight", "documents", "sources")
# A parser would make a line feed of a carriage return that stands there as it is.
_ESCAPED: Mapping[str, str] = MappingProxyType({"\r": "&#13;", '"': "&quot;"})
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
"""


class GraphmlWriter(Writer):
    """A node's id follows from the entity's key. Keywords are separated by commas, documents
    and sources are JSON.
    """

    def __init__(self, file: IO[bytes], name: str, *, communities: bool = False) -> None:
        self._file = file
        self._node = (*_NODE, "community") if communities else _NODE
        keys = [
            *(_key("node", "n", column) for column in self._node),
            *(_key("edge", "e", column) for column in _EDGE),
        ]
        start = f'<graph id="{_escaped(name)}" edgedefault="directed">\n'
        self._file.write("".join([_HEAD, *keys, start]).encode())

    def write(self, rows: Sequence[ExportRow]) -> None:
        """As `Writer`."""
        self._file.write("".join(_element(row, self._node) for row in rows).encode())

    def finish(self, end: ExportRow) -> None:  # noqa: ARG002 -- of no use here
        """As `Writer`."""
        self._file.write(b"</graph>\n</graphml>\n")


def _key(of: str, prefix: str, column: str) -> str:
    kind = ("long" if of == "node" else "double") if column == "weight" else "string"
    return f'<key id="{prefix}_{column}" for="{of}" attr.name="{column}" attr.type="{kind}"/>\n'


def _element(row: ExportRow, columns: Sequence[str]) -> str:
    if row["kind"] == "entity":
        return f'<node id="{_node(row["key"])}">{_values(row, "n", columns)}</node>\n'
    ends = f'source="{_node(row["source_key"])}" target="{_node(row["target_key"])}"'
    return f"<edge {ends}>{_values(row, 'e', _EDGE)}</edge>\n"


def _node(key: str) -> str:
    return "n" + entity_row_id(key).to_bytes(8, signed=True).hex()


def _values(row: ExportRow, prefix: str, columns: Sequence[str]) -> str:
    return "".join(
        f'<data key="{prefix}_{column}">{_escaped(_text(column, row[column]))}</data>' for column in columns
    )


def _text(column: str, value: Any) -> str:
    if column == "keywords":
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _escaped(text: str) -> str:
    """Text as XML has it; what XML cannot carry at all is replaced."""
    return escape(clean_text(text), dict(_ESCAPED))
