"""Whatever names and texts there are, each format gives them back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from stateless_rag.exporting.files import Writer
from stateless_rag.exporting.graphml import GraphmlWriter
from stateless_rag.exporting.jsonl import JsonLinesWriter
from stateless_rag.exporting.markdown import MarkdownWriter
from stateless_rag.exporting.tables import CsvWriter, ParquetWriter, columns_of
from stateless_rag.text import clean_text

AWKWARD = "\t\n\r\x85\u2028\"'`,;|\\<>&=+-@]\u00a0\ufeff漢Ω😀 aA1"
words = st.text(st.characters() | st.sampled_from(AWKWARD), max_size=12).map(clean_text)
lists = st.lists(words, max_size=3)
entities = st.fixed_dictionaries(
    {
        "kind": st.just("entity"), "name": words, "key": words, "type": words, "description": words,
        "weight": st.integers(0, 2**31), "documents": lists, "sources": lists,
        "vector": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2).map(
            lambda numbers: np.array(numbers, dtype=np.float32)
        ),
    }
)  # fmt: skip
relations = st.fixed_dictionaries(
    {
        "kind": st.just("relation"), "source": words, "target": words, "source_key": words, "target_key": words,
        "keywords": lists, "description": words, "weight": st.integers(0, 2**31), "documents": lists,
        "sources": lists,
    }
)  # fmt: skip
pages = st.lists(entities | relations, max_size=4)


def written(make: Callable[[Any], Writer], rows: list[dict[str, Any]]) -> bytes:
    """The rows as two pages."""
    file = io.BytesIO()
    writer = make(file)
    writer.write(rows[:2])
    writer.write(rows[2:])
    writer.finish({"revision": 1, "moved_on": False})
    return file.getvalue()


@given(pages)
def test_csv(rows: list[dict[str, Any]]) -> None:
    columns = columns_of(("entities", "relations"), vectors=True)
    content = written(lambda file: CsvWriter(file, columns), rows).decode()
    found = list(csv.DictReader(io.StringIO(content, newline="")))
    assert len(found) == len(rows)
    for row, back in zip(rows, found, strict=True):
        assert set(back) == set(columns)
        for name, value in back.items():
            given_ = row.get(name, "")
            if isinstance(given_, np.ndarray):
                assert np.array_equal(np.float32(json.loads(value)), given_)
            elif isinstance(given_, list):
                assert json.loads(value) == given_
            else:
                assert value == str(given_)


@given(pages)
def test_parquet(rows: list[dict[str, Any]]) -> None:
    columns = columns_of(("entities", "relations"), vectors=True)
    content = written(lambda file: ParquetWriter(file, columns), rows)
    back = parquet.read_table(io.BytesIO(content)).to_pylist()
    plain = [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()} for row in rows]
    assert back == [{column: row.get(column) for column in columns} for row in plain]


@given(pages)
def test_json_lines(rows: list[dict[str, Any]]) -> None:
    content = written(lambda file: JsonLinesWriter(file, {"kind": "workspace"}), rows)
    head, *back, end = map(
        json.loads, content.splitlines() if b"\r" not in content else content.split(b"\n")[:-1]
    )
    assert (head["kind"], end) == (
        "workspace",
        {"kind": "end", "lines": len(rows) + 2, "revision": 1, "moved_on": False},
    )
    for row, other in zip(rows, back, strict=True):
        assert {**row, "vector": None} == {**other, "vector": None}


@given(pages)
def test_graphml(rows: list[dict[str, Any]]) -> None:
    content = written(lambda file: GraphmlWriter(file, '"w" & <b>'), rows)
    graph = ElementTree.fromstring(content)[-1]
    assert (graph.get("id"), len(graph)) == ('"w" & <b>', len(rows))
    ids: dict[str, str] = {}
    for row, element in zip(rows, graph, strict=True):
        back = {data.get("key", "")[2:]: data.text or "" for data in element}
        for name, value in back.items():
            if name == "keywords":
                assert value == ", ".join(row["keywords"])
            else:
                assert (json.loads(value) if isinstance(row[name], list) else value) == (
                    row[name] if isinstance(row[name], list) else str(row[name])
                )
        for attribute, key in (("id", "key"), ("source", "source_key"), ("target", "target_key")):
            if key in row:
                assert ids.setdefault(row[key], element.get(attribute, "")) == element.get(attribute)
    assert len(set(ids.values())) == len(ids)


@given(pages)
def test_markdown_has_a_line_for_each_row(rows: list[dict[str, Any]]) -> None:
    rows.sort(key=lambda row: str(row["kind"]))
    content = written(lambda file: MarkdownWriter(file, "w"), rows).decode()
    lines = [line for line in content.splitlines() if line.startswith("|")]
    assert len(lines) == len(rows) + 2 * len({row["kind"] for row in rows})
    for line in lines:
        bars = line.replace("\\\\", "").replace("\\|", "").count("|")
        assert bars in (6, 7)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "graphml", "markdown"])
def test_nothing_makes_a_file_too(kind: str, tmp_path: Path) -> None:
    columns = columns_of(["entities"], vectors=False)
    makers: dict[str, Callable[[Any], Writer]] = {
        "csv": lambda file: CsvWriter(file, columns),
        "parquet": lambda file: ParquetWriter(file, columns),
        "jsonl": lambda file: JsonLinesWriter(file, {"kind": "workspace"}),
        "graphml": lambda file: GraphmlWriter(file, "w"),
        "markdown": lambda file: MarkdownWriter(file, "w"),
    }
    assert written(makers[kind], [])
    assert columns[0] == "name"
