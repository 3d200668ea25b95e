"""What every question does."""

from typing import Any

import numpy as np
import pytest
import rustworkx

from stateless_rag.retrieval.walk import walk
from stateless_rag.stores.faiss.segments import VectorIndex
from stateless_rag.stores.graph import GraphView
from stateless_rag.stores.links import Links, LinksBase

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


# ---- personalised PageRank: the walk of the engine, a sparse matrix, rustworkx -----------------------------

_PER_CHUNK = 10
_SEEDS = 27


def _links(entities: int) -> tuple[Links, Any]:
    """Entities and chunks that tell of ten each, and where a walk begins: 27 places, as a question's does."""
    random = np.random.default_rng(7)
    chunks = np.arange(entities // _PER_CHUNK) + 10_000_000
    relations = np.arange(entities) + 20_000_000
    near = random.integers(1, 20, entities)
    ends = (np.arange(entities), (np.arange(entities) + near) % entities)
    told = (np.arange(2 * entities) % entities, chunks[random.integers(0, len(chunks), 2 * entities)])
    links = Links(LinksBase.of((relations, *ends), told, chunks, {}))
    mass = np.zeros(len(links))
    mass[random.choice(entities, _SEEDS, replace=False)] = 1.0
    return links, mass


def _best(links: Links, shares: Any) -> list[int]:
    """The ten chunks with the greatest shares."""
    chunks = np.flatnonzero(links.is_chunk(np.arange(len(links))))
    order = np.lexsort((chunks, -shares[chunks].round(6)))[:10]
    found: list[int] = links.ids(chunks[order]).tolist()
    return found


@pytest.mark.parametrize("entities", [6_000, 100_000])
def test_pagerank_by_pushing(benchmark: Any, entities: int) -> None:
    """What the engine does: mass is pushed on only where enough of it lies."""
    links, mass = _links(entities)
    shares = benchmark(walk, links, mass)
    assert list(shares)[:5]


@pytest.mark.parametrize("entities", [6_000, 100_000])
def test_pagerank_by_a_sparse_matrix(benchmark: Any, entities: int) -> None:
    """The same ten rounds over the whole matrix, which is made beforehand."""
    sparse = pytest.importorskip("scipy.sparse")
    links, mass = _links(entities)
    edges = links.edges(np.arange(len(links)))
    strength = np.bincount(edges.owners, edges.weights, len(links))[edges.owners]
    size = (len(links), len(links))
    matrix = sparse.csr_array((edges.weights / strength, (edges.targets, edges.owners)), size)

    def ranked() -> Any:
        left, ended = mass / mass.sum(), np.zeros(len(mass))
        for _ in range(10):
            ended += 0.5 * left
            left = 0.5 * (matrix @ left)
        return ended + 0.5 * left

    shares = benchmark(ranked)
    assert set(_best(links, shares)[:3]) <= set(list(walk(links, mass))[:10])


@pytest.mark.parametrize("entities", [6_000, 100_000])
def test_pagerank_by_rustworkx(benchmark: Any, entities: int) -> None:
    """`rustworkx.pagerank` on a graph that is made beforehand."""
    links, mass = _links(entities)
    edges = links.edges(np.arange(len(links)))
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(len(links)))
    graph.add_edges_from(
        list(zip(edges.owners.tolist(), edges.targets.tolist(), edges.weights.tolist(), strict=True))
    )
    begin = {at: mass[at] / mass.sum() for at in np.flatnonzero(mass).tolist()}

    def ranked() -> Any:
        tolerance = 1e-4 / len(links)  # it is multiplied by the number of nodes
        return rustworkx.pagerank(
            graph, alpha=0.5, weight_fn=float, personalization=begin, nstart=begin, tol=tolerance
        )

    found = benchmark.pedantic(ranked, rounds=3)
    shares = np.array([found[at] for at in range(len(links))])
    assert set(_best(links, shares)[:3]) <= set(list(walk(links, mass))[:10])
