"""Views of rows and of evidence against plain dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.stores import columns, evidence
from stateless_rag.stores.columns import Codec, ColumnView
from stateless_rag.stores.evidence import EvidenceView

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str, int]
IDS = st.integers(-3, 12)
PAIRS = st.lists(st.tuples(IDS, IDS), max_size=12)


def _encode(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "text": pa.array([text for text, _ in rows], pa.string()),
        "number": pa.array([number for _, number in rows], pa.int32()),
    }


def _decode(values: Sequence[Any]) -> Row:
    return (values[0], values[1])


@pytest.fixture(autouse=True)
def _small_overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_OVERLAY", 4)
    monkeypatch.setattr(evidence, "_OVERLAY", 4)


@given(
    first=st.dictionaries(IDS, st.tuples(st.text(max_size=3), st.integers(0, 9))),
    steps=st.lists(
        st.tuples(
            st.dictionaries(IDS, st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=5),
            st.frozensets(IDS, max_size=3),
        ),
        max_size=6,
    ),
    asked=st.lists(IDS, max_size=8),
)
def test_rows_are_those_that_were_put_last(
    first: dict[int, Row], steps: list[tuple[dict[int, Row], frozenset[int]]], asked: list[int]
) -> None:
    ids = np.array(list(first), dtype=np.int64)
    view = ColumnView.from_table(Codec(_encode, _decode), ids, pa.table(_encode(list(first.values()))))
    model = dict(first)
    for changed, removed in steps:
        before, old = view, dict(model)
        view = view.apply(changed, removed)
        for id_ in removed:
            model.pop(id_, None)
        model.update(changed)
        assert before.get(range(-3, 13)) == {n: old[n] for n in range(-3, 13) if n in old}
        found = view.get(asked)
        assert found == {n: model[n] for n in asked if n in model}
        assert list(found) == [n for n in dict.fromkeys(asked) if n in model]
        assert view.known(asked) == [n for n in asked if n in model]


@given(
    first=PAIRS,
    steps=st.lists(st.tuples(PAIRS, st.frozensets(IDS, max_size=4)), max_size=6),
    limit=st.integers(1, 4),
)
def test_evidence_is_the_set_of_pairs(
    first: list[tuple[int, int]], steps: list[tuple[list[tuple[int, int]], frozenset[int]]], limit: int
) -> None:
    pairs = np.array(first, dtype=np.int64).reshape(-1, 2)
    view = EvidenceView.from_arrays(pairs[:, 0], pairs[:, 1])
    model = set(first)
    for added, removed in steps:
        view = view.apply(added, removed)
        model = {pair for pair in model if pair[1] not in removed} | set(added)
        rows = list(range(-3, 13))
        expected = {row: sorted(chunk for own, chunk in model if own == row) for row in rows}
        assert view.chunks_of(rows, limit) == {row: own[:limit] for row, own in expected.items() if own}
        assert {*zip(*(array.tolist() for array in view.pairs()), strict=True)} == model


def test_a_column_may_hold_more_text_than_offsets_of_32_bits_reach() -> None:
    view = ColumnView.empty(Codec(_encode, _decode)).apply({n: ("text", n) for n in range(9)})
    assert view._base.schema.field("text").type == pa.large_string()
    assert view.get([3]) == {3: ("text", 3)}


@given(
    first=PAIRS,
    steps=st.lists(st.tuples(PAIRS, st.frozensets(IDS, max_size=4)), max_size=6),
    among=st.frozensets(IDS),
    limit=st.integers(1, 4),
)
def test_evidence_tells_what_rests_on_one_mention_and_what_some_chunks_tell(
    first: list[tuple[int, int]],
    steps: list[tuple[list[tuple[int, int]], frozenset[int]]],
    among: frozenset[int],
    limit: int,
) -> None:
    """A pair for each mention. Chunks come once; those that come again were removed before."""
    pairs = np.array(first, dtype=np.int64).reshape(-1, 2)
    view = EvidenceView.from_arrays(pairs[:, 0], pairs[:, 1])
    told, ever_repeated = list(first), {row for row, chunk in first if first.count((row, chunk)) > 1}
    rows = list(range(-3, 13))
    for added, removed in steps:
        gone = removed | {chunk for _, chunk in added}
        view = view.apply(added, gone)
        told = [pair for pair in told if pair[1] not in gone] + added
        ever_repeated |= {row for row, chunk in added if added.count((row, chunk)) > 1}
        once = {row for row in rows if [own for own, _ in told].count(row) == 1}
        assert once - ever_repeated <= view.told_once(rows) <= once
        left = np.array(sorted(among), dtype=np.int64)
        expected = {row: sorted({c for own, c in told if own == row and c in among})[:limit] for row in rows}
        assert view.chunks_of(rows, limit, left) == {row: own for row, own in expected.items() if own}
