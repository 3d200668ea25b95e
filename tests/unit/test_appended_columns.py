"""Columns that are appended to a table come back as the values that were given."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from stateless_rag.stores.duckdb.rows import append


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("VARCHAR", ["ä", "", None]),
        ("BIGINT", [2**62, -1, None]),
        ("DOUBLE", [1.25, -0.5, None]),
        ("DOUBLE", [1, 2.5, None]),
        ("BOOLEAN", [True, False, None]),
        ("VARCHAR", [None, None]),
    ],
)
def test_values_come_back(kind: str, values: list[Any]) -> None:
    with duckdb.connect() as cursor:
        cursor.execute(f"CREATE TABLE kept (place INTEGER, value {kind})")
        append(cursor, "kept", {"place": list(range(len(values))), "value": values})
        assert [
            value for (value,) in cursor.execute("SELECT value FROM kept ORDER BY place").fetchall()
        ] == values


def test_nothing_is_appended_of_nothing() -> None:
    with duckdb.connect() as cursor:
        cursor.execute("CREATE TABLE kept (value VARCHAR)")
        append(cursor, "kept", {"value": []})
        assert cursor.execute("SELECT count(*) FROM kept").fetchone() == (0,)
