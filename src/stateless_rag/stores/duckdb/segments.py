"""The vector segments of one workspace: loaded on open, advanced by each commit, compacted in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.errors import CommitConflict, StoreError
from stateless_rag.protocols import Change, VectorKind
from stateless_rag.stores.duckdb.arriving import Loaded, arrived
from stateless_rag.stores.duckdb.database import Write
from stateless_rag.stores.duckdb.snapshot import TABLES, fetch_vectors
from stateless_rag.stores.faiss.base_file import (
    read_base,
    rows_path,
    with_rows,
    write_base,
    write_rows,
)
from stateless_rag.stores.faiss.cosine import stacked
from stateless_rag.stores.faiss.segments import VectorIndex, VectorView

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from stateless_rag.protocols import Vectors
    from stateless_rag.settings import StoreSettings
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.stores.faiss.base_segment import Base
    from stateless_rag.stores.ids import Ids

__all__ = ["Segments"]

Views = Mapping[VectorKind, VectorView]
_SUFFIXES = frozenset({".base", ".rows", ".tmp"})
_SLICE = 1024  # rows: a matrix of all that a large commit adds would double what they take


class Segments:
    """Base and delta for chunks, entities and relations. Only the lane of the database writes."""

    def __init__(self, workspace: DuckWorkspace, files: Path, settings: StoreSettings) -> None:
        self._workspace = workspace
        self._files = files
        self._settings = settings
        self._held: dict[VectorKind, VectorIndex] | Future[Loaded] = {}
        self._busy = threading.Lock()

    def load(self, cursor: Cursor) -> Loaded:
        """What the database holds, which `await_` takes. A base file that does not match what is recorded is thrown
        away.
        """
        self._sweep(self._workspace.record.info)
        bases: dict[str, Any] = self._workspace.record.info.get("bases", {})
        indexes = {kind: self._load(cursor, kind, bases.get(kind)) for kind in TABLES}
        return Loaded(indexes, _views(indexes))

    def arrive(self, loading: Future[Loaded]) -> None:
        """Go on with what is being loaded; who writes, or compacts, waits for it."""
        self._held = loading

    @property
    def _indexes(self) -> dict[VectorKind, VectorIndex]:
        if not isinstance(self._held, dict):
            self._held = arrived(self._held).indexes
        return self._held

    def advance(self, cursor: Cursor, views: Views, change: Change, embedded: Mapping[int, int]) -> Views:
        """Views with the vectors of a change, and without those of removed rows."""
        dimension = self._workspace.coming_dimension
        if dimension is None:
            return views
        for kind in TABLES:
            if kind not in self._indexes:
                self._indexes[kind] = self._index(dimension)
        named: tuple[tuple[VectorKind, Mapping[int, str], tuple[int, ...]], ...] = (
            ("chunk", {row.id: row.vector for row in change.chunks}, change.removed_chunks),
            ("entity", {row.id: row.vector for row in change.entities}, change.removed_entities),
            ("relation", {row.id: row.vector for row in change.relations}, change.removed_relations),
        )
        for kind, digests, removed in named:
            new = {id_: digest for id_, digest in digests.items() if id_ not in embedded}
            # A row that is replaced by one with the same vector is in neither.
            gone = [id_ for id_ in removed if id_ not in digests]
            if gone:
                self._indexes[kind].apply(None, gone)
            for some in _slices(new):
                self._workspace.way.give()
                vectors = self._vectors(cursor, some, change.vectors)
                self._indexes[kind].apply((list(some), vectors))
        return _views(self._indexes)

    def restore(self, views: Views) -> None:
        """Go back to the committed views: what was advanced since was rolled back, or failed half-way."""
        self._held = {kind: index for kind, index in self._indexes.items() if kind in views}
        for kind, index in self._indexes.items():
            index.restore(views[kind])

    def sweep(self) -> None:
        """Remove files that nothing names. Not while a compaction is under way."""
        self._sweep(self._workspace.record.info)

    def clear(self) -> None:
        """Free the memory; for closing."""
        self._held = {}

    def compact_if_needed(self) -> None:
        """Start a compaction in a thread of the store, unless one is under way."""
        if any(index.needs_compaction() for index in self._indexes.values()) and self._busy.acquire(
            blocking=False
        ):
            try:
                self._workspace.in_background(self._compact)
            except StoreError:
                self._busy.release()

    # ---- loading ---------------------------------------------------------------------------------------

    def _index(self, dimension: int) -> VectorIndex:
        return VectorIndex(dimension, base_rows=self._settings.base_rows, base_type=self._settings.base_type)

    def _load(self, cursor: Cursor, kind: VectorKind, recorded: dict[str, Any] | None) -> VectorIndex:
        dimension = self._workspace.dimension
        assert dimension is not None  # noqa: S101 -- load is called once there are vectors
        sql = self._workspace.sql
        base = None
        if recorded is not None:
            path = self._files / recorded["file"]
            base = read_base(path, recorded["checksum"], dimension, recorded["count"])
        since = recorded["revision"] if base is not None and recorded is not None else -1
        statement = sql["rows_with_vectors"].format(table=TABLES[kind])
        ids, matrix = _once(*fetch_vectors(cursor, statement, [since]))
        gone = _outdated(cursor, sql["embedded"].format(table=TABLES[kind]), base, since)
        return VectorIndex.from_rows(
            ids,
            matrix.reshape(-1, dimension),
            base=base,
            removed=gone,
            unit=self._workspace.unit_vectors,
            base_rows=self._settings.base_rows,
            base_type=self._settings.base_type,
        )

    def rebuilt(self, cursor: Cursor, dimension: int, *, unit: bool) -> dict[VectorKind, VectorIndex]:
        """Segments of all that the tables hold now, which need not be what is searched."""
        indexes: dict[VectorKind, VectorIndex] = {}
        for kind, table in TABLES.items():
            statement = self._workspace.sql["rows_with_vectors"].format(table=table)
            ids, matrix = _once(*fetch_vectors(cursor, statement, [-1]))
            indexes[kind] = VectorIndex.from_rows(
                ids,
                matrix.reshape(-1, dimension),
                unit=unit,
                base_rows=self._settings.base_rows,
                base_type=self._settings.base_type,
            )
        return indexes

    def replace(self, indexes: dict[VectorKind, VectorIndex], info: Mapping[str, Any]) -> None:
        """Search other segments from now on. Files of the former ones go, as `info` names them no more."""
        self._held = dict(indexes)
        self._sweep(info)

    def _vectors(self, cursor: Cursor, digests: Mapping[int, str], given: Mapping[str, Vectors]) -> Vectors:
        stored = [digest for digest in digests.values() if digest not in given]
        found = dict(given)
        if stored:
            keys, matrix = fetch_vectors(cursor, self._workspace.sql["vectors"], [stored])
            found.update(zip(keys.tolist(), matrix, strict=True))
        if not all(digest in found for digest in digests.values()):
            raise CommitConflict("vectors that this commit counts on were erased in the meantime")
        return stacked([found[digest] for digest in digests.values()])

    # ---- compaction ------------------------------------------------------------------------------------

    def _compact(self) -> None:
        try:
            for kind, index in list(self._indexes.items()):
                if index.needs_compaction():
                    self._compact_one(kind, index)
                    self._workspace.release_freed()
        finally:
            self._busy.release()

    def _compact_one(self, kind: VectorKind, index: VectorIndex) -> None:
        # What is committed: the index may hold rows of a commit that is rolled back yet.
        committed = self._workspace.view
        revision, view = committed.revision, committed.vectors.get(kind)
        if view is None:
            return
        name = f"{kind}-{revision}.base"
        self._files.mkdir(parents=True, exist_ok=True)
        base = self._build(kind, index, view, self._files / name)
        recorded = None
        if base is not None:
            checksum = write_base(self._files / name, base)
            recorded = {"file": name, "checksum": checksum, "revision": revision, "count": len(base)}
            base = with_rows(base, self._files / name)
        self._workspace.write(
            Write(
                lambda cursor: self._record(cursor, index, kind, recorded),
                lambda info: self._install(index, base, view, info),
                alone=True,
            )
        ).result()

    def _record(
        self, cursor: Cursor, index: VectorIndex, kind: VectorKind, recorded: dict[str, Any] | None
    ) -> dict[str, Any]:
        if index not in self._indexes.values():  # made of vectors that another embedder's took the place of
            return self._workspace.record.info
        return self._workspace.record_base(cursor, kind, recorded)

    def _build(self, kind: VectorKind, index: VectorIndex, view: VectorView, path: Path) -> Base | None:
        def exact(ids: Sequence[int]) -> Mapping[int, Vectors]:
            return self._workspace.exact_vectors(kind, ids)

        if self._settings.base_type == "float32" or len(view) < self._settings.base_rows:
            return index.build_base(view, exact)
        with write_rows(path) as keep:
            return index.build_base(view, exact, keep)

    def _install(self, index: VectorIndex, base: Base | None, view: VectorView, info: dict[str, Any]) -> None:
        self._workspace.record.info = info
        if index not in self._indexes.values():
            return  # reloaded in the meantime: the next open reads the file
        index.install(base, view)
        self._workspace.publish(_views(self._indexes))
        self._sweep(info)

    def _sweep(self, info: Mapping[str, Any]) -> None:
        """Remove the files that nothing names: of earlier bases, and what a compaction that died has left."""
        known = {self._files / entry["file"] for entry in info.get("bases", {}).values()}
        known |= {rows_path(path) for path in known}
        for path in self._files.glob("*"):
            if path not in known and path.suffix in _SUFFIXES:
                with suppress(OSError):  # some systems keep a file that is mapped
                    path.unlink()


def _views(indexes: Mapping[VectorKind, VectorIndex]) -> Views:
    return MappingProxyType({kind: index.view for kind, index in indexes.items()})


def _once(ids: Ids, matrix: Vectors) -> tuple[Ids, Vectors]:
    """The first row of each id: a damaged table must not keep a workspace from being opened, and repaired."""
    distinct, first = np.unique(ids, return_index=True)
    return (ids, matrix) if len(distinct) == len(ids) else (ids[first], matrix[first])


def _slices(digests: Mapping[int, str]) -> Iterator[Mapping[int, str]]:
    items = iter(digests.items())
    while some := dict(islice(items, _SLICE)):
        yield some


def _outdated(cursor: Cursor, statement: str, base: Base | None, since: int) -> Any:
    """Ids in the base whose row is gone or was embedded anew since."""
    if base is None:
        return ()
    table = cursor.sql(statement).to_arrow_table()
    ids, embedded = table.column(0).to_numpy(), table.column(1).to_numpy()
    return np.setdiff1d(base.ids, ids[embedded <= since])
