"""What every question does."""

from typing import Any

import numpy as np
import pytest

from stateless_rag.stores.faiss.segments import VectorIndex
from stateless_rag.stores.graph import GraphView

_DIMENSION = 384


def _vectors(rows: int) -> Any:
    vectors = np.random.default_rng(7).standard_normal((rows, _DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [1_000, 10_000, 100_000])
def test_search(benchmark: Any, rows: int) -> None:
    """Below 20,000 rows in the delta, above in a base segment."""
    vectors = _vectors(rows)
    index = VectorIndex.from_rows(np.arange(rows), vectors)
    view = index.compact() if index.needs_compaction() else index.view
    hits = benchmark(view.search, vectors[17], 40)
    assert hits[0].id == 17


def test_neighbours(benchmark: Any) -> None:
    """Forty seeds among 100,000 entities."""
    random = np.random.default_rng(7)
    relations = np.arange(150_000)
    left, right = random.integers(0, 100_000, (2, len(relations)))
    view = GraphView.from_arrays(relations, left, right)
    edges = benchmark(view.edges, left[:40].tolist())
    assert all(edges.values())
