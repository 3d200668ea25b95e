"""Rows in memory, by id: columns with an overlay, an immutable view, and the next one at the cost of the change.

A row store would scan and decompress most of a table to find a few dozen rows that lie apart; a question needs
hundreds. Arrow columns hold them at little more than the size of their text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stateless_rag.stores.cells import Cells, with_cells
from stateless_rag.stores.ids import arrow_ids, id_array, lookup
from stateless_rag.stores.recent import Recent

if TYPE_CHECKING:
    from stateless_rag.stores.ids import Ids

__all__ = ["Codec", "ColumnView"]

Row = TypeVar("Row")
_OVERLAY = 2000  # rows that may differ from the base before a new base is made,
_OVERLAY_SHARE = 0.1  # or this share of the base if it is more
_ROW_BYTES = 1000  # of a row that is not in columns
_DECODED = 4000  # rows of the base that are kept decoded: questions on one matter meet the same again


@dataclass(frozen=True, slots=True)
class Codec(Generic[Row]):
    """Between rows and columns. `encode` makes columns of rows, `decode` a row of one value for each column."""

    encode: Callable[[Sequence[Row]], Mapping[str, Any]]
    decode: Callable[[Sequence[Any]], Row]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnView(Generic[Row]):
    """Rows of one kind at one revision. Never changes; any thread may read it.

    `_base` has one row for each of the ascending `_ids`, `_cells` are its columns to read from; `_overlay` holds rows
    that are new or changed since, and None for those that are gone. `_decoded` are rows of the base that were asked
    for lately.
    """

    codec: Codec[Row]
    _ids: Ids
    _base: pa.Table
    _cells: tuple[Cells, ...]
    _overlay: Mapping[int, Row | None] = field(default_factory=lambda: MappingProxyType({}))
    _decoded: Recent[int, Row] = field(default_factory=lambda: Recent(_DECODED))

    @classmethod
    def from_table(cls, codec: Codec[Row], ids: Ids, table: pa.Table) -> ColumnView[Row]:
        """A view of rows in any order; ids occur once."""
        order = np.argsort(ids)
        return cls(codec, ids[order], *_taken(table.cast(_wide(table.schema)), order))

    @classmethod
    def empty(cls, codec: Codec[Row]) -> ColumnView[Row]:
        """A view without rows."""
        return cls.from_table(codec, id_array(()), pa.table(dict(codec.encode([]))))

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory; those of the overlay are estimated."""
        rows = len(self._overlay) + len(self._decoded)
        return int(self._ids.nbytes) + int(self._base.nbytes) + _ROW_BYTES * rows

    def get(self, ids: Collection[int]) -> dict[int, Row]:
        """Those of the rows that exist, in the order asked for."""
        found = self._decoded.among(ids)
        if overlay := self._overlay:
            found.update((id_, overlay[id_]) for id_ in found.keys() & overlay.keys())
        missing = [id_ for id_, row in found.items() if row is None and id_ not in overlay]
        if missing:
            rows = self._read(missing)
            self._decoded.keep(rows)
            if len(rows) == len(found):
                return rows
            found.update(rows)
        return {id_: row for id_, row in found.items() if row is not None}

    def _read(self, ids: Sequence[int]) -> dict[int, Row]:
        """Those of the rows that are in the base."""
        wanted = id_array(ids)
        at = lookup(self._ids, wanted)
        here = at >= 0
        rows = at[here]
        if not len(rows):
            return {}
        columns = [column.at(rows) for column in self._cells]
        decoded = map(self.codec.decode, zip(*columns, strict=True))
        return dict(zip(wanted[here].tolist(), decoded, strict=True))

    def known(self, ids: Collection[int]) -> list[int]:
        """Those of the ids that have a row, in the order given."""
        wanted = list(ids)
        based = (lookup(self._ids, id_array(wanted)) >= 0).tolist()
        if not self._overlay:
            return [id_ for id_, there in zip(wanted, based, strict=True) if there]
        return [
            id_
            for id_, there in zip(wanted, based, strict=True)
            if (self._overlay[id_] is not None if id_ in self._overlay else there)
        ]

    def columns(self, names: Sequence[str]) -> tuple[Ids, pa.Table]:
        """All rows, in no certain order: their ids, and some of their columns."""
        base = self._base.select(list(names))
        if not self._overlay:
            return self._ids, base
        keep = np.flatnonzero(~np.isin(self._ids, id_array(self._overlay)))
        there = {id_: row for id_, row in self._overlay.items() if row is not None}
        more = pa.table(dict(self.codec.encode(list(there.values())))).select(list(names))
        table = pa.concat_tables([base.take(arrow_ids(keep)), more.cast(base.schema)])
        return np.concatenate([self._ids[keep], id_array(there)]), table

    @property
    def names(self) -> tuple[str, ...]:
        """The columns there are."""
        return tuple(self._base.column_names)

    def ids(self) -> Ids:
        """The ids of all rows, ascending."""
        if not self._overlay:
            return self._ids
        there = id_array(id_ for id_, row in self._overlay.items() if row is not None)
        return np.union1d(self._ids[~np.isin(self._ids, id_array(self._overlay))], there)

    def apply(self, changed: Mapping[int, Row], removed: Collection[int] = ()) -> ColumnView[Row]:
        """The view after rows were removed, and others added or replaced."""
        if not changed and not removed:
            return self
        overlay: dict[int, Row | None] = {**self._overlay, **dict.fromkeys(removed), **changed}
        following = ColumnView(self.codec, self._ids, self._base, self._cells, overlay, self._decoded)
        if len(overlay) > max(_OVERLAY, _OVERLAY_SHARE * len(self._ids)):
            return following._rebased()
        return following

    def _rebased(self) -> ColumnView[Row]:
        keep = np.flatnonzero(~np.isin(self._ids, id_array(self._overlay)))
        there = {id_: row for id_, row in self._overlay.items() if row is not None}
        more = pa.table(dict(self.codec.encode(list(there.values()))))
        ids = np.concatenate([self._ids[keep], id_array(there)])
        rows = np.concatenate([keep, np.arange(len(there)) + len(self._ids)])
        order = np.argsort(ids)
        table = pa.concat_tables([self._base, more.cast(self._base.schema)])
        return ColumnView(self.codec, ids[order], *_taken(table, rows[order]))


def _taken(table: pa.Table, rows: Ids) -> tuple[pa.Table, tuple[Cells, ...]]:
    """Rows of a table by number, in one piece; a column at a time, so that only one is held twice."""
    at = arrow_ids(rows)
    taken = [with_cells(pc.take(column.combine_chunks(), at)) for column in table.itercolumns()]
    return pa.Table.from_arrays([column for column, _ in taken], schema=table.schema), tuple(
        cells for _, cells in taken
    )


def _wide(schema: pa.Schema) -> pa.Schema:
    """The schema with offsets of 64 bits: a column may hold more than 2 GiB of text."""
    return pa.schema(
        [field.with_type(pa.large_string()) if field.type == pa.string() else field for field in schema]
    )
