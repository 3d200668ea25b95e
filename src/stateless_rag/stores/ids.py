"""Row ids, signed 64-bit, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

__all__ = ["distinct", "id_array", "lookup"]


def id_array(ids: Iterable[int]) -> Ids:
    """Ids as an array, in the order given."""
    if isinstance(ids, np.ndarray):
        return np.asarray(ids, dtype=np.int64)
    return np.fromiter(ids, dtype=np.int64)


def distinct(ids: Ids) -> Ids:
    """Each id once, ascending: as `numpy.unique`, which takes several times as long for a few hundred."""
    ids = np.sort(ids)
    first = np.ones(len(ids), dtype=np.bool_)
    first[1:] = ids[1:] != ids[:-1]
    return ids[first]


def lookup(ordered: Ids, ids: Ids) -> Ids:
    """For each of `ids` its position in the ascending array `ordered`, or -1."""
    if len(ordered) == 0:
        return np.full(len(ids), -1, dtype=np.int64)
    at = np.searchsorted(ordered, ids)
    at[at == len(ordered)] = 0
    return np.where(ordered[at] == ids, at, -1)
