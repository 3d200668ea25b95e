"""Row ids, signed 64-bit, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

__all__ = ["arrow_ids", "distinct", "id_array", "lookup", "ranges", "spans"]


def id_array(ids: Iterable[int]) -> Ids:
    """Ids as an array, in the order given."""
    if isinstance(ids, np.ndarray):
        return np.asarray(ids, dtype=np.int64)
    return np.fromiter(ids, dtype=np.int64)


def arrow_ids(ids: Ids) -> pa.Int64Array:
    """Ids for Arrow, which share the memory of the array.

    `pyarrow.array` would import `numpy.ma` to see whether any are masked: 15 ms of the first opening in a process.
    """
    return pa.Int64Array.from_buffers(pa.int64(), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])


def distinct(ids: Ids) -> Ids:
    """Each id once, ascending: as `numpy.unique`, which takes several times as long for a few hundred."""
    ids = np.sort(ids)
    first = np.ones(len(ids), dtype=np.bool_)
    first[1:] = ids[1:] != ids[:-1]
    return ids[first]


def ranges(starts: Ids, stops: Ids) -> tuple[Ids, Ids]:
    """All numbers from each start up to its stop, one range behind the other, and which range each belongs to.

    >>> [array.tolist() for array in ranges(id_array([5, 0]), id_array([7, 3]))]
    [[0, 0, 1, 1, 1], [5, 6, 0, 1, 2]]
    """
    lengths = stops - starts
    return np.repeat(np.arange(len(lengths)), lengths), spans(starts, lengths)


def spans(starts: Ids, lengths: Ids) -> Ids:
    """So many numbers from each start on, one range behind the other."""
    ends = np.cumsum(lengths)
    numbers = np.repeat(starts - ends + lengths, lengths)
    numbers += np.arange(len(numbers))
    return numbers


def lookup(ordered: Ids, ids: Ids) -> Ids:
    """For each of `ids` its position in the ascending array `ordered`, or -1."""
    if len(ordered) == 0:
        return np.full(len(ids), -1, dtype=np.int64)
    at = ordered.searchsorted(ids)
    at[at == len(ordered)] = 0
    return np.where(ordered[at] == ids, at, -1)
