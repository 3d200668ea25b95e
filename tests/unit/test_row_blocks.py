"""Rows in blocks are the rows of one matrix, and none of them ever moves."""

from __future__ import annotations

import numpy as np
import pytest

from stateless_rag.stores.faiss.cosine import normalize_into, query_of, scores_of
from stateless_rag.stores.faiss.row_blocks import RowBlocks

DIMENSION = 5


def unit_rows_of(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    scaled = np.empty_like(rows)
    normalize_into(rows, scaled)
    return scaled


def filled(steps: tuple[int, ...]) -> tuple[RowBlocks, np.ndarray]:
    blocks, start = RowBlocks(DIMENSION), 0
    whole = unit_rows_of(sum(steps))
    for count in steps:
        blocks = blocks.with_room(start + count)
        assert blocks.write(start, whole[start : start + count]).all()
        start += count
    return blocks, whole


STEPS = [(7,), (1, 1, 1, 1, 1), (3, 9, 2, 30), (100, 1, 60)]


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("steps", STEPS)
def test_rows_and_candidates_are_those_of_one_matrix(
    monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...], coded: bool
) -> None:
    monkeypatch.setattr("stateless_rag.stores.faiss.row_blocks._CODED_FROM", 2)
    monkeypatch.setattr("stateless_rag.stores.faiss.row_blocks._SCANS", 0 if coded else 10**6)
    blocks, whole = filled(steps)
    chosen = np.random.default_rng(1).integers(0, len(whole), 2 * len(whole))
    assert np.array_equal(blocks.take(chosen), whole[chosen])
    query = query_of(np.arange(1.0, DIMENSION + 1), DIMENSION)
    assert query is not None
    for count in (0, 1, len(whole) // 2, len(whole)):
        scores = scores_of(whole[:count], query)
        searchable = np.arange(count) % 3 < 2
        for top_k, least in ((1, -1.0), (4, 0.2), (2 * len(whole), -1.0), (3, 0.99)):
            found = blocks.candidates(query, top_k, least, searchable)
            ranked = np.lexsort((np.arange(count), -scores)).tolist()
            best = [row for row in ranked if searchable[row] and scores[row] >= least][:top_k]
            assert set(best) <= set(found.rows.tolist()) <= set(np.flatnonzero(searchable).tolist())
            assert (found.lower <= scores[found.rows]).all()
            assert (found.upper >= scores[found.rows]).all()
            assert len(found.rows) == len(set(found.rows.tolist()))


def test_a_block_has_codes_once_it_is_full_and_was_searched_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stateless_rag.stores.faiss.row_blocks._CODED_FROM", 10)
    blocks = RowBlocks(DIMENSION).with_room(40)
    blocks.write(0, unit_rows_of(40))
    rows = blocks.nbytes
    query = query_of(np.arange(1.0, DIMENSION + 1), DIMENSION)
    assert query is not None
    for _ in range(100):
        blocks.candidates(query, 3, -1.0, np.ones(39, dtype=np.bool_))
    assert blocks.nbytes == rows  # what may be written to yet is not coded
    whole = np.ones(40, dtype=np.bool_)
    first = blocks.candidates(query, 3, -1.0, whole)
    assert blocks.nbytes == rows
    for _ in range(16):
        last = blocks.candidates(query, 3, -1.0, whole)
    assert blocks.nbytes == rows + 40 * DIMENSION
    assert set(first.rows.tolist()) <= set(last.rows.tolist())


@pytest.mark.parametrize("steps", STEPS)
def test_clearing_makes_those_rows_zero_and_no_others(steps: tuple[int, ...]) -> None:
    blocks, whole = filled(steps)
    start, stop = len(whole) // 3, len(whole) // 3 + len(whole) // 2
    blocks.clear(start, stop)
    whole[start:stop] = 0.0
    assert np.array_equal(blocks.take(np.arange(len(whole))), whole)


def test_growing_keeps_the_blocks_that_are_there_and_leaves_little_room() -> None:
    blocks = RowBlocks(DIMENSION)
    for needed in range(1, 20_000, 37):
        before = blocks
        blocks = blocks.with_room(needed)
        assert all(one is other for one, other in zip(before.blocks, blocks.blocks, strict=False))
        assert needed <= blocks.capacity <= max(2 * needed, needed + 4096)
    assert blocks.with_room(blocks.capacity) is blocks
    assert blocks.nbytes == blocks.capacity * DIMENSION * 4


def test_rows_without_a_direction_become_zero_across_blocks() -> None:
    blocks = RowBlocks(DIMENSION).with_room(2).with_room(4)
    rows = np.array([[0.0] * 5, [3.0, 4.0, 0, 0, 0], [np.nan] * 5, [0, 0, 0, 0, 2.0]])
    assert blocks.write(0, rows).tolist() == [False, True, False, True]
    expected = [[0] * 5, [0.6, 0.8, 0, 0, 0], [0] * 5, [0, 0, 0, 0, 1]]
    assert blocks.take(np.arange(4)) == pytest.approx(np.array(expected))
