"""Rows in blocks are the rows of one matrix, and none of them ever moves."""

from __future__ import annotations

import numpy as np
import pytest

from stateless_rag.stores.faiss.cosine import normalize_into, products_of, query_of
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


@pytest.mark.parametrize("steps", STEPS)
def test_rows_and_products_are_those_of_one_matrix(steps: tuple[int, ...]) -> None:
    blocks, whole = filled(steps)
    chosen = np.random.default_rng(1).integers(0, len(whole), 2 * len(whole))
    assert np.array_equal(blocks.take(chosen), whole[chosen])
    query = query_of(np.arange(1.0, DIMENSION + 1), DIMENSION)
    assert query is not None
    for count in (0, 1, len(whole) // 2, len(whole)):
        assert np.array_equal(blocks.products(query, count), products_of(whole[:count], query))


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
