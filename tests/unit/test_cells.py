"""Cells of columns, and rows whose texts are held in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.stores.cells import with_cells
from stateless_rag.stores.columns import ColumnView
from stateless_rag.stores.duckdb.held import entity_codec, labels, relation_codec
from stateless_rag.stores.ids import id_array, ranges
from stateless_rag.types import Entity, Relation

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
MARKED = st.text(st.sampled_from("aé\x1e\x1f\n"), max_size=6)


@given(st.lists(st.text(max_size=4), max_size=6), st.data())
def test_texts_are_those_of_the_rows(texts: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(texts)))
    column = pa.array(texts, pa.large_string()).slice(start)
    rows = data.draw(st.lists(st.sampled_from(range(len(column)))) if len(column) else st.just([]))
    kept, cells = with_cells(column)
    assert cells.at(id_array(rows)) == [texts[start + row] for row in rows]
    assert kept.to_pylist() == texts[start:] and kept.type == column.type


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([3, -1, 2**40], pa.int64()),
        ([1, 2, 3], pa.int32()),
        ([1.5, -0.0, 3.0], pa.float64()),
        (["a", None, ""], pa.large_string()),
        (["", "", ""], pa.large_string()),
        ([None, 2, None], pa.int64()),
        ([True, False, True], pa.bool_()),
    ],
)
def test_cells_are_what_the_column_has(values: list[Any], kind: pa.DataType) -> None:
    column, cells = with_cells(pa.array(values, kind))
    for rows in ([2, 0, 0], [1], []):
        found = cells.at(id_array(rows))
        assert found == [values[row] for row in rows]
        assert [type(one) for one in found] == [type(values[row]) for row in rows]
    assert column.to_pylist() == values


def test_a_column_and_its_cells_share_their_memory() -> None:
    column, cells = with_cells(pa.array(["a" * 1000, "b" * 1000], pa.large_string()))
    text = cells.text  # type: ignore[attr-defined]
    assert column.buffers()[2].address == np.frombuffer(text, np.uint8).ctypes.data


@given(TEXT, MARKED, MARKED, MARKED, st.integers(1, 9))
def test_entities_come_back_from_what_is_held(
    key: str, name: str, kind: str, description: str, weight: int
) -> None:
    entity = Entity(key=key, name=name, type=kind, description=description, weight=weight, tokens=7)
    view = ColumnView.empty(entity_codec()).apply({1: entity})
    based = ColumnView.from_table(
        entity_codec(), id_array([1]), pa.table(dict(entity_codec().encode([entity])))
    )
    for held in (view, based):
        (found,) = held.get([1]).values()
        assert found == entity and found.tokens == 7
        texts = held.columns(("texts",))[1].column("texts").to_pylist()
        assert labels(texts) == ([name], [kind])


@given(
    st.tuples(TEXT, TEXT, MARKED, MARKED), st.lists(TEXT.filter(bool)), MARKED, st.sampled_from([1, 2.5, 0])
)
def test_relations_come_back_from_what_is_held(
    ends: tuple[str, str, str, str], keywords: list[str], description: str, weight: float
) -> None:
    relation = Relation(
        source_key=ends[0],
        target_key=ends[1],
        source=ends[2],
        target=ends[3],
        keywords=tuple(keywords),
        description=description,
        weight=weight,
        tokens=3,
    )
    table = pa.table(dict(relation_codec().encode([relation])))
    (found,) = ColumnView.from_table(relation_codec(), id_array([1]), table).get([1]).values()
    assert found == relation and found.tokens == 3
    assert type(found.weight) is type(weight)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4))))
def test_ranges_list_what_lies_in_them(given_: list[tuple[int, int]]) -> None:
    starts, lengths = (id_array(pair[place] for pair in given_) for place in (0, 1))
    owners, numbers = ranges(starts, starts + lengths)
    expected = [
        (place, start + more) for place, (start, length) in enumerate(given_) for more in range(length)
    ]
    assert list(zip(owners.tolist(), numbers.tolist(), strict=True)) == expected
