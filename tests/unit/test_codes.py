"""Whatever the dimension, and so whatever kernel FAISS takes, scores lie between the bounds that codes give."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from stateless_rag.stores.faiss.codes import BaseType, Coder, Codes, step_of
from stateless_rag.stores.faiss.cosine import normalize_into, query_of, scores_of

WIDEST: dict[BaseType, float] = {"int8": 0.2, "float16": 2e-3, "float32": 2e-4}


def rows_of(shape: str, count: int, dimension: int) -> np.ndarray:
    """Rows of length one, the first of them zero."""
    rows = np.random.default_rng(dimension).standard_normal((count, dimension)).astype(np.float32)
    if shape == "few values":
        rows[np.abs(rows) < 1] = 0.0
    elif shape == "one large":
        rows[:, 0] = 20.0
    rows[0] = 0.0
    scaled = np.empty_like(rows)
    normalize_into(rows, scaled)
    return scaled


def codes_of(kind: BaseType, rows: np.ndarray) -> Codes:
    coder = Coder(kind, rows.shape[1], step_of(kind, (rows[:100], rows[100:])))
    coder.add(rows[:70])
    coder.add(rows[70:])
    return coder.codes()


@pytest.mark.parametrize("kind", get_args(BaseType))
@pytest.mark.parametrize("shape", ["dense", "few values", "one large"])
@pytest.mark.parametrize("dimension", [1, 3, 8, 16, 24, 32, 48, 64, 100, 384, 1024])
def test_scores_lie_between_the_bounds(kind: BaseType, shape: str, dimension: int) -> None:
    rows = rows_of(shape, 700, dimension)
    codes = codes_of(kind, rows)
    everything = np.arange(len(rows))
    assert len(codes) == len(rows)
    assert np.linalg.norm(codes.rows(everything) - rows, axis=1).max() <= codes.error * (1 + 1e-6)
    for asked in (rows[5], np.arange(1.0, dimension + 1), np.eye(1, dimension)[0], -rows[7]):
        query = query_of(asked, dimension)
        if query is None:
            continue
        scores = scores_of(rows, query)
        found = codes.nearest(query, len(rows), None)
        assert sorted(found.rows.tolist()) == everything.tolist()
        assert (found.lower <= scores[found.rows]).all()
        assert (found.upper >= scores[found.rows]).all()
        assert (found.upper - found.lower).max() < WIDEST[kind]
        some = everything % 3 == 1
        bitmap = np.packbits(some, bitorder="little")
        ranked = [row for row in np.argsort(-scores, kind="stable").tolist() if some[row]]
        chosen = codes.candidates(query, 5, -1.0, np.empty(0, np.float32), bitmap).rows.tolist()
        assert set(ranked[:5]) <= set(chosen)
        assert some[chosen].all()


def test_rows_that_are_all_zero_have_codes() -> None:
    codes = codes_of("int8", np.zeros((200, 4), dtype=np.float32))
    assert (codes.error, codes.step) == (0.0, 1.0)
    assert not codes.rows(np.arange(3)).any()
