"""Carrying out a commit: refuse what conflicts, write the rows, and make the view that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from stateless_rag.errors import CommitConflict, WorkspaceMismatch
from stateless_rag.protocols import Change, ChunkRow, EntityRow, RelationRow, VectorKind
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.aside import write_disabled
from stateless_rag.stores.duckdb.curations import write_curation
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.snapshot import TABLES

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.queue import DocumentQueue
    from stateless_rag.stores.duckdb.revisions import Revisions
    from stateless_rag.stores.duckdb.segments import Segments
    from stateless_rag.stores.duckdb.views import View
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["Committer"]

_LARGE = 1000  # rows: what a smaller commit frees is not worth the milliseconds


class Committer:
    """Turns changes into writes; all that it does happens in the lane of the database."""

    def __init__(
        self,
        workspace: DuckWorkspace,
        revisions: Revisions,
        segments: Segments,
        queue: DocumentQueue,
        catalog: Mapping[str, str],
    ) -> None:
        self._workspace = workspace
        self._revisions = revisions
        self._segments = segments
        self._queue = queue
        self._catalog = catalog

    def write(self, change: Change) -> Write:
        """The write that commits a change; its future tells the view of the new revision."""
        return Write(
            lambda cursor: self._apply(cursor, change),
            lambda view: self._committed(view, change),
            self._abandoned,
            alone=True,
        )

    def _apply(self, cursor: Cursor, change: Change) -> View:
        if not all(map(self._queue.is_pending, change.requires)):
            raise CommitConflict("a document was withdrawn while it was being ingested")
        self._refuse_other_settings(change)
        self._refuse_other_vectors(change)
        self._revisions.refuse_conflicts(change)
        if _is_large(change):
            self._workspace.release_freed()  # what folding and embedding took, before the rows take as much
        workspace, view = self._workspace, self._revisions.last
        revision = view.revision + 1
        workspace.ensure_tables(cursor)
        if change.vectors:
            workspace.ensure_vectors(cursor, len(next(iter(change.vectors.values()))))
            workspace.add_vectors(cursor, change.vectors)
        replaced = _there(view, rows.Replaced.named_by(change))
        if any(mention.weight for _, mention in change.relation_mentions):
            workspace.note_weights(cursor)
        embedded = self._unchanged_vectors(cursor, change, replaced)
        pause = workspace.way.give
        pause()
        rows.write_change(
            cursor, workspace.sql, workspace.schema, change, embedded, revision, replaced, pause
        )
        pause()
        write_disabled(cursor, workspace.sql, workspace.schema, change)
        if change.curation is not None:
            write_curation(cursor, workspace.sql, workspace.schema, view.curations, change.curation)
        cursor.execute(self._catalog["set_revision"], [revision, workspace.record.schema]).fetchall()
        vectors = self._segments.advance(cursor, view.vectors, change, embedded)
        pause()
        following = view.following(cursor, workspace.sql, change, vectors)
        pause()
        self._revisions.prepare(following, change)
        return following

    def _refuse_other_settings(self, change: Change) -> None:
        info = self._workspace.record.info
        for name, value in change.merging.items():
            if info.get(name, value) != value:
                raise WorkspaceMismatch(
                    f"{name} of workspace {self._workspace.name!r} was set to {info[name]!r} while something was "
                    f"computed with {value!r}; do it again (documents are still pending: resume)"
                )

    def _refuse_other_vectors(self, change: Change) -> None:
        workspace, made_by = self._workspace, self._revisions.last.embedder
        if workspace.reembedding.holds_commits:
            raise CommitConflict(
                f"workspace {workspace.name!r} is about to change to another embedder; try again"
            )
        if None in (change.embedder, made_by) or change.embedder == made_by:
            return
        told = f"workspace {workspace.name!r} was re-embedded with {made_by!r}, this was done with {change.embedder!r}"
        if workspace.reembedding.was_changed_from(change.embedder or ""):
            raise CommitConflict(f"{told}; try again")
        raise WorkspaceMismatch(f"{told}; open it with that one")

    def _committed(self, view: View, change: Change) -> None:
        self._revisions.committed(view)
        self._workspace.record.revision = view.revision
        self._queue.finished(change.done)
        if _is_large(change):
            # Nobody reads as yet: folds, and a compaction, will.
            self._workspace.relieve()
        self._segments.compact_if_needed()

    def _abandoned(self) -> None:
        self._revisions.abandoned()
        self._segments.restore(self._revisions.last.vectors)

    def _unchanged_vectors(self, cursor: Cursor, change: Change, replaced: rows.Replaced) -> dict[int, int]:
        """Rows of the change that keep their vector, with the revision in which it was stored."""
        embedded: dict[int, int] = {}
        chunks = self._revisions.last.pieces.known([row.id for row in (*change.chunks, *change.moved)])
        looked_for: tuple[
            tuple[VectorKind, Iterable[EntityRow | RelationRow | ChunkRow], Sequence[int]], ...
        ] = (
            ("entity", change.entities, replaced.entities),
            ("relation", change.relations, replaced.relations),
            ("chunk", (*change.chunks, *change.moved), chunks),
        )
        for kind, changed, there in looked_for:
            if there:
                now = {row.id: row.vector for row in changed}
                statement = self._workspace.sql["embedded_of"].format(table=TABLES[kind])
                stored = cursor.execute(statement, [there]).fetchall()
                embedded.update({id_: revision for id_, vector, revision in stored if now.get(id_) == vector})
        return embedded


def _there(view: View, named: rows.Replaced) -> rows.Replaced:
    """Those of the rows that the view holds."""
    known = set(view.sources.known(sources := list(map(rows.source_id, named.documents))))
    return rows.Replaced(
        documents=[id_ for id_, source in zip(named.documents, sources, strict=True) if source in known],
        entities=view.entities.known(named.entities),
        relations=view.relations.known(named.relations),
    )


def _is_large(change: Change) -> bool:
    return len(change.entities) + len(change.relations) + len(change.chunks) >= _LARGE
