"""(j) What smaller codes of vectors save, and what they lose: memory, and recall@10 against exact search."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from bench.meter import percentile
from bench.runs import OURS, Run, Scale
from bench.workloads import Bench, Workload
from stateless_rag.stores.faiss.codes import BaseType
from stateless_rag.stores.faiss.cosine import query_of
from stateless_rag.stores.faiss.segments import VectorIndex, VectorView

__all__ = ["WORKLOAD"]

_NAME = "codes"
_DIMENSION = 384
_QUESTIONS = 100
_TOP_K = 10
_TOPICS = 200
_SPREAD = 0.7  # of a vector around its topic, whose length is 1: neighbours are near, and many


async def _measure(bench: Bench) -> Mapping[str, float]:
    """`variant` is `StoreSettings.base_type`. Recall of the codes by themselves, and of what a search gives, which
    scores its candidates again with the vectors as they are.
    """
    vectors, asked = _vectors(bench.run.size)
    kind = next(each for each in get_args(BaseType) if each == bench.run.variant)
    index = VectorIndex.from_rows(np.arange(len(vectors)), vectors, unit=True, base_type=kind, base_rows=1)
    view = index.compact(lambda ids: dict(zip(ids, vectors[list(ids)], strict=True)))
    by_codes, by_search, times = 0, 0, []
    for question in asked:
        nearest = set(np.argsort(-(vectors @ question), kind="stable")[:_TOP_K].tolist())
        by_codes += len(nearest.intersection(_by_codes(view, question)))
        started = time.perf_counter()
        hits = view.search(
            question, _TOP_K, rescore=lambda ids: dict(zip(ids, vectors[list(ids)], strict=True))
        )
        times.append((time.perf_counter() - started) * 1000)
        by_search += len(nearest & {hit.id for hit in hits})
    return {
        "vectors_mib": view.nbytes / (1 << 20),
        "codes_recall": by_codes / (_TOP_K * len(asked)),
        "recall": by_search / (_TOP_K * len(asked)),
        "p50": percentile(times, 0.5),
    }


def _by_codes(view: VectorView, question: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[int]:
    """What the base alone finds, by rough products."""
    query = query_of(question, _DIMENSION)
    assert view.base is not None and query is not None
    positions = view.base.segment.codes.nearest(query, _TOP_K, None).rows
    found: list[int] = view.base.segment.ids[positions].tolist()
    return found


def _vectors(count: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], ...]:
    """Vectors around topics, and questions drawn as they are; all of length 1."""
    random = np.random.default_rng(7)
    topics = random.standard_normal((_TOPICS, _DIMENSION), dtype=np.float32) / np.sqrt(_DIMENSION)
    rows = topics[random.integers(0, _TOPICS, count + _QUESTIONS)]
    rows += _SPREAD / np.sqrt(_DIMENSION) * random.standard_normal(rows.shape, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[:count], rows[count:]


def _plan(scale: Scale) -> Sequence[Run]:
    size = 20_000 if scale == "quick" else 100_000
    return [
        Run(workload=_NAME, arm=OURS, corpus="vectors", size=size, variant=kind, limit=60)
        for kind in get_args(BaseType)
    ]


WORKLOAD = Workload(name=_NAME, plan=_plan, measure=_measure)
