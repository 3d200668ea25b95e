"""The revisions of a workspace that are held in memory: which can be read, and which can be committed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.errors import CommitConflict
from stateless_rag.protocols import ALIASES, CURATIONS, Change, VectorKind
from stateless_rag.stores.duckdb.views import View
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.text import stable_id

if TYPE_CHECKING:
    from stateless_rag.stores.faiss.segments import VectorView
    from stateless_rag.stores.ids import Ids

__all__ = ["Revisions"]

_REMEMBERED = 256


class Revisions:
    """The view of the last committed revision, and of the one that a commit is making.

    Any thread may look; only the lane of the database, and who opens or closes the workspace, changes them.
    """

    def __init__(self, view: View) -> None:
        self._last = view
        self._views: dict[int, View] = {view.revision: view}
        self._touched: deque[tuple[int, Ids]] = deque(maxlen=_REMEMBERED)
        self._forgotten = view.revision

    @property
    def last(self) -> View:
        """The view of the last committed revision."""
        return self._last

    def view(self, revision: int) -> View | None:
        """The view of a revision that was read in the database; None if it is not in memory."""
        return self._views.get(revision)

    def refuse_conflicts(self, change: Change) -> None:
        """Raise CommitConflict if a later commit touched what the change was computed from, or may have."""
        if change.base == self._last.revision:
            return
        if change.base < self._forgotten:
            raise CommitConflict(f"revision {change.base} is too old to commit on; read again")
        for revision, touched in self._touched:
            if revision > change.base and (lookup(touched, id_array(change.reads)) >= 0).any():
                raise CommitConflict(f"revision {revision} changed what was read at revision {change.base}")
        if len(self._touched) == self._touched.maxlen and self._touched[0][0] > change.base + 1:
            raise CommitConflict(f"revision {change.base} is too old to commit on; read again")

    def prepare(self, view: View, change: Change) -> None:
        """Hold the view that a change makes, before it is committed.

        Readers may see the new revision in the database as soon as it is committed.
        """
        view.indexes.advance(view)
        self._touched.append((view.revision, _touched(change)))
        self._views[view.revision] = view

    def committed(self, view: View) -> None:
        """A view that was prepared is the last."""
        self._last = view
        view.indexes.settle(view)
        view.partitions.settle(view)
        # A reader that looked up the revision before reads it again; one that has the view keeps it.
        for revision in [revision for revision in self._views if revision < view.revision]:
            del self._views[revision]

    def replaced(self, view: View) -> None:
        """As `committed`, where anything may have changed: nothing can be committed on what was before."""
        self.committed(view)
        self._touched.clear()
        self._forgotten = view.revision

    def abandoned(self) -> None:
        """Forget what was prepared: it was rolled back."""
        while self._touched and self._touched[-1][0] > self._last.revision:
            self._touched.pop()
        self._views.pop(self._last.revision + 1, None)

    def publish(self, vectors: Mapping[VectorKind, VectorView]) -> None:
        """Show rebuilt segments under the same revision."""
        self._last = replace(self._last, vectors=vectors)
        self._views[self._last.revision] = self._last

    def clear(self) -> None:
        """Free the memory of all views."""
        self._last = View(revision=self._last.revision)
        self._views.clear()
        self._touched.clear()


def _touched(change: Change) -> Ids:
    """Ids of what a change touches, ascending: as an array, since many changes are remembered."""
    ids: set[int] = set()
    ids.update(change.removed_entities, change.removed_relations)
    ids.update(row.id for row in change.entities)
    ids.update(row.id for row in change.relations)
    ids.update(stable_id("document", row.id) for row in change.documents)
    ids.update(stable_id("document", id_) for id_ in (*change.removed_documents, *change.removed_disabled))
    ids.update(stable_id("document", row.document.id) for row in change.disabled)
    ids.update(change.hidden)
    if change.aliases:
        ids.add(ALIASES)
    if change.curation is not None:
        ids.add(CURATIONS)
        ids.update(change.reads)
    return np.sort(id_array(ids))
