"""Pairs of rows that are near each other, without comparing each with each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stateless_rag.stores.faiss.segments import VectorView

__all__ = ["near_pairs"]

_EXACT = 4096  # rows that are compared with all others: 0.1 s
_PROBES = 8
_BLOCK = 2048
_SAMPLE = 40  # rows per cell that k-means learns from


def near_pairs(view: VectorView, top_k: int, least: float) -> list[tuple[int, int, float]]:
    """For each row its `top_k` nearest others of a cosine of `least` or more: ids, the lower first, and the cosine.

    Above some thousands of rows they are looked for in the cells next to the row alone (IVF with √n cells, so about
    n·√n products): a few neighbours are missed. Each pair once, by ids. Blocking.
    """
    import faiss

    ids = view.ids()
    if len(ids) < 2 or top_k < 1:
        return []
    rows = np.array(view.rows_of(ids), dtype=np.float32, order="C")
    faiss.normalize_L2(rows)
    index: Any
    if len(rows) <= _EXACT:
        index = faiss.IndexFlatIP(rows.shape[1])
    else:
        cells = int(np.sqrt(len(rows)))
        quantizer = faiss.IndexFlatIP(rows.shape[1])
        index = faiss.IndexIVFFlat(quantizer, rows.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = _PROBES
        index.cp.max_points_per_centroid = _SAMPLE
        index.train(rows)
    index.add(rows)
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(rows), _BLOCK):
        scores, places = index.search(rows[start : start + _BLOCK], top_k + 1)
        wanted = (places >= 0) & (scores >= least)
        for row, column in zip(*np.nonzero(wanted), strict=True):
            one, other = int(ids[start + row]), int(ids[places[row, column]])
            if one != other:
                found[min(one, other), max(one, other)] = round(min(1.0, float(scores[row, column])), 6)
    return [(*pair, score) for pair, score in sorted(found.items())]
