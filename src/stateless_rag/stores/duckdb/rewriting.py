"""Changes of tables that no commit makes: everything that is held in memory is made anew after one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import CommitConflict
from stateless_rag.protocols import Change, VectorKind
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.views import View

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.revisions import Revisions
    from stateless_rag.stores.duckdb.segments import Segments
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.stores.faiss.segments import VectorIndex

__all__ = ["Rewriter"]


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """What a rewrite has made: the record, the segments and the view of the new revision."""

    info: dict[str, Any]
    indexes: dict[VectorKind, VectorIndex]
    view: View


class Rewriter:
    """Turns changes of tables into writes; all that it does happens in the lane of the database."""

    def __init__(
        self,
        workspace: DuckWorkspace,
        revisions: Revisions,
        segments: Segments,
        catalog: Mapping[str, str],
    ) -> None:
        self._workspace = workspace
        self._revisions = revisions
        self._segments = segments
        self._catalog = catalog

    def write(self, base: int, apply: Callable[[Cursor, int], None]) -> Write:
        """The write that makes a new revision of what `apply` leaves, given a cursor and the number of it.

        Views and segments are made anew from the tables, and what others compute from an earlier revision is
        refused. Raises CommitConflict if `base` is not the last revision any more; then nothing was changed.
        """
        return Write(
            lambda cursor: self._apply(cursor, base, apply),
            self._committed,
            self._revisions.abandoned,
            alone=True,
        )

    def _apply(self, cursor: Cursor, base: int, apply: Callable[[Cursor, int], None]) -> _Rewritten:
        workspace, last = self._workspace, self._revisions.last
        if last.revision != base:
            raise CommitConflict(f"revision {last.revision} came after {base}; look again")
        workspace.ensure_tables(cursor)
        apply(cursor, base + 1)
        # Files of base segments hold what may be gone now.
        info = {key: value for key, value in workspace.record.info.items() if key != "bases"}
        schema = workspace.record.schema
        cursor.execute(self._catalog["set_info"], [json.dumps(info), schema]).fetchall()
        cursor.execute(self._catalog["set_revision"], [base + 1, schema]).fetchall()
        indexes: dict[VectorKind, VectorIndex] = {}
        if workspace.dimension is not None:
            indexes = self._segments.rebuilt(cursor, workspace.dimension, unit=workspace.unit_vectors)
        vectors = MappingProxyType({kind: index.view for kind, index in indexes.items()})
        view = View.load(cursor, workspace.sql, base + 1, vectors)
        view = replace(view, embedder=last.embedder)
        self._revisions.prepare(view, Change(base=base, vectors={}))
        return _Rewritten(info, indexes, view)

    def _committed(self, made: _Rewritten) -> None:
        self._workspace.record.info = made.info
        self._workspace.record.revision = made.view.revision
        self._segments.replace(made.indexes, made.info)
        self._revisions.replaced(made.view)
        self._segments.compact_if_needed()
