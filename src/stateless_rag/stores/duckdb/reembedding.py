"""Another embedder's vectors, gathered beside those that are searched, and the switch from one to the other.

They lie in a table of their own, `coming`, and what is gathered there outlives a crash. The switch is one commit:
rows name the new vectors, the table takes the place of the old one, the record names the new embedder.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stateless_rag.errors import CommitConflict, InvalidReply, StoreError
from stateless_rag.flights import Flights
from stateless_rag.protocols import Change, VectorKind
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.rows import append, vectors_table
from stateless_rag.stores.duckdb.snapshot import TABLES
from stateless_rag.stores.faiss.cosine import unit_rows

if TYPE_CHECKING:
    from stateless_rag.protocols import Embedder, JournalEntry, LLMReply, Vectors
    from stateless_rag.protocols.reembedding import Named
    from stateless_rag.stores.duckdb.revisions import Revisions
    from stateless_rag.stores.duckdb.segments import Segments
    from stateless_rag.stores.duckdb.views import View
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.stores.faiss.segments import VectorIndex
    from stateless_rag.stores.ids import Ids
    from stateless_rag.types import Usage

__all__ = ["ComingVectors", "DuckReembedding"]


@dataclass(frozen=True, slots=True)
class _Switched:
    """What a switch has made: the record, the segments and the view of the new revision."""

    info: dict[str, Any]
    indexes: dict[VectorKind, VectorIndex]
    view: View


class DuckReembedding:
    """Implements `Reembedding`: what a workspace knows of its change to another embedder.

    `embedder` is the one that this process has changed to last: whoever works with an earlier one goes on with it.
    While `holds_commits`, commits are refused with CommitConflict, so that what is left to embed comes to an end.
    """

    def __init__(
        self,
        workspace: DuckWorkspace,
        revisions: Revisions,
        segments: Segments,
        catalog: Mapping[str, str],
        wall: Callable[[], float],
    ) -> None:
        self._workspace = workspace
        self._revisions = revisions
        self._segments = segments
        self._catalog = catalog
        self._wall = wall
        self._busy = threading.Lock()
        self.embedder: Embedder | None = None
        self.holds_commits = False

    def following(self, embedder: Embedder) -> Embedder:
        """The embedder to go on with: the one given, or that to which the workspace was changed meanwhile."""
        changed = self.embedder
        if changed is None or not self._is_current(changed.model) or self._is_current(embedder.model):
            return embedder
        return changed

    def was_changed_from(self, model: str) -> bool:
        """Whether who works with a model can go on with the embedder that took its place."""
        changed = self.embedder
        return changed is not None and self._is_current(changed.model) and not self._is_current(model)

    def _is_current(self, model: str) -> bool:
        return self._workspace.record.info.get("embedder") in (None, model)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from re-embedding the same workspace. Raises StoreError if somebody does already."""
        if not self._busy.acquire(blocking=False):
            raise StoreError(
                f"workspace {self._workspace.name!r} is being re-embedded already; wait for that to end"
            )
        try:
            yield
        finally:
            self.holds_commits = False
            self._busy.release()

    async def begin(self, embedder: Embedder) -> ComingVectors:
        """Gather vectors of an embedder; those that were gathered of it before are there still."""
        coming = ComingVectors(self._workspace, embedder.model, self._catalog, self._wall)
        await settled(self._workspace.write(Write(coming.prepare, coming.prepared, alone=True)))
        return coming

    async def give_up(self) -> bool:
        """Forget the vectors that were gathered; whether there were any."""
        if self._workspace.record.info.get("reembedding") is None:
            return False

        def apply(cursor: Cursor) -> dict[str, Any]:
            cursor.execute(self._workspace.sql["drop_coming"]).fetchall()
            return _recorded(self._workspace, cursor, self._catalog, reembedding=None)

        def done(info: dict[str, Any]) -> None:
            self._workspace.record.info = info

        await settled(self._workspace.write(Write(apply, done, alone=True)))
        return True

    async def hold_commits(self) -> None:
        """From now on no commit is carried out, until `alone` ends; those that have begun are through."""
        self.holds_commits = True
        await settled(self._workspace.write(Write(lambda _: None, alone=True)))

    def ids(self) -> tuple[int, Mapping[VectorKind, Ids]]:
        """The last revision, and the ids of all rows that have vectors in it."""
        view = self._workspace.view
        return view.revision, {kind: vectors.ids() for kind, vectors in view.vectors.items()}

    async def switch(self, embedder: Embedder, base: int, named: Named) -> int:
        """Let all rows name the vectors that were gathered, in one commit; returns its revision.

        Raises CommitConflict if `base` is not the last revision any more, StoreError if a vector is missing; then
        nothing was changed.
        """

        def committed(switched: _Switched) -> None:
            self._workspace.record.info = switched.info
            self._workspace.record.revision = switched.view.revision
            self.embedder = embedder
            self._segments.replace(switched.indexes, switched.info)
            self._revisions.committed(switched.view)
            self._segments.compact_if_needed()

        write = Write(
            lambda cursor: self._apply(cursor, embedder.model, base, named),
            committed,
            self._revisions.abandoned,
            alone=True,
        )
        switched: _Switched = await settled(self._workspace.write(write))
        return switched.view.revision

    def _apply(self, cursor: Cursor, model: str, base: int, named: Named) -> _Switched:
        workspace, view = self._workspace, self._revisions.last
        begun: dict[str, Any] = workspace.record.info["reembedding"]
        dimension, unit = begun["dimension"], begun["unit"]
        if view.revision != base:
            raise CommitConflict(f"revision {view.revision} came after {base}; look again what is missing")
        workspace.ensure_tables(cursor)
        self._name(cursor, named, base + 1)
        cursor.execute(workspace.sql["drop_vectors"]).fetchall()
        if dimension is None:
            cursor.execute(workspace.sql["drop_coming"]).fetchall()
        else:
            self._require_all(cursor)
            cursor.execute(workspace.sql["rename_coming"]).fetchall()
        facts = {"dimension": dimension, "unit_vectors": unit, "bases": None}
        info = _recorded(workspace, cursor, self._catalog, embedder=model, reembedding=None, **facts)
        cursor.execute(self._catalog["set_revision"], [base + 1, workspace.record.schema]).fetchall()
        indexes: dict[VectorKind, VectorIndex] = {}
        if dimension is not None:
            indexes = self._segments.rebuilt(cursor, dimension, unit=unit)
        vectors = MappingProxyType({kind: index.view for kind, index in indexes.items()})
        following = replace(view, revision=base + 1, vectors=vectors, embedder=model)
        self._revisions.prepare(following, Change(base=base, vectors={}))
        return _Switched(info, indexes, following)

    def _name(self, cursor: Cursor, named: Named, revision: int) -> None:
        for kind, (ids, digests) in named.items():
            if len(ids):
                incoming = {"id": np.asarray(ids, np.int64), "digest": pa.array(digests, pa.string())}
                cursor.register("incoming", pa.table(incoming))
                statement = self._workspace.sql["name_vectors"].format(table=TABLES[kind])
                cursor.execute(statement, [revision]).fetchall()
                cursor.unregister("incoming")

    def _require_all(self, cursor: Cursor) -> None:
        missing = cursor.execute(self._workspace.sql["count_not_coming"]).fetchall()[0][0]
        if missing:
            raise StoreError(
                f"{missing} rows of workspace {self._workspace.name!r} have no vector of the new embedder; "
                "re-embed it again: what was paid for is there"
            )


class ComingVectors:
    """Implements `Journal` for the vectors of another embedder; replies are none of its business."""

    def __init__(
        self, workspace: DuckWorkspace, model: str, catalog: Mapping[str, str], wall: Callable[[], float]
    ) -> None:
        self._workspace = workspace
        self._model = model
        self._catalog = catalog
        self._wall = wall
        self.flights = Flights()
        self.dimension: int | None = None
        self.unit = True

    def prepare(self, cursor: Cursor) -> dict[str, Any]:
        """See what was gathered before; what is of another embedder is forgotten. For the lane."""
        workspace = self._workspace
        workspace.ensure_tables(cursor)
        place = [workspace.database.alias, workspace.record.schema]
        there = cursor.execute(workspace.sql["coming_exists"], place).fetchall()[0][0]
        begun: dict[str, Any] | None = workspace.record.info.get("reembedding")
        if not there or begun is None or begun["embedder"] != self._model:
            cursor.execute(workspace.sql["drop_coming"]).fetchall()
            begun = {"embedder": self._model, "dimension": None, "unit": True}
        return _recorded(workspace, cursor, self._catalog, reembedding=begun)

    def prepared(self, info: dict[str, Any]) -> None:
        """After what is recorded was committed."""
        self._workspace.record.info = info
        begun = info["reembedding"]
        self.dimension, self.unit = begun["dimension"], begun["unit"]

    async def get(self, digest: str) -> LLMReply | None:
        return await self._workspace.journal.get(digest)

    async def put(self, entry: JournalEntry) -> None:
        await self._workspace.journal.put(entry)

    async def missing(self, digests: Collection[str]) -> set[str]:
        """Those of the digests whose vector is not there yet."""
        return set(digests) - {row[0] for row in await self._found("known_coming", digests)}

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        found = await self._found("coming", digests)
        return {digest: np.asarray(vector, dtype=np.float32) for digest, vector in found}

    async def _found(self, statement: str, digests: Collection[str]) -> list[tuple[Any, ...]]:
        if self.dimension is None:
            return []
        wanted = list(digests)
        reading = self._workspace.in_reader(lambda: self._workspace.select(statement, wanted))
        found: list[tuple[Any, ...]] = await settled(reading)
        return found

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        dimension = len(next(iter(vectors.values())))
        unit = self.unit and bool(unit_rows(list(vectors.values())))
        new_facts = (dimension, unit) != (self.dimension, self.unit)

        def apply(cursor: Cursor) -> dict[str, Any]:
            if self.dimension not in (None, dimension):
                raise InvalidReply(
                    f"{model} gave vectors of {dimension} dimensions where {self.dimension} were expected."
                )
            self._append(cursor, vectors, dimension)
            append(cursor, f"{self._workspace.schema}.journal", _paid(model, entry_usage, self._wall()))
            if not new_facts:
                return self._workspace.record.info
            begun = {"embedder": self._model, "dimension": dimension, "unit": unit and self.unit}
            return _recorded(self._workspace, cursor, self._catalog, reembedding=begun)

        def done(recorded: dict[str, Any]) -> None:
            self._workspace.spending.written(model, entry_usage)
            if new_facts:
                self.prepared(recorded)

        # Alone where the record changes: what others record in the same transaction would be overwritten.
        self._workspace.spending.add(model, entry_usage)
        await settled(self._workspace.write(Write(apply, done, alone=new_facts)))

    def _append(self, cursor: Cursor, vectors: Mapping[str, Vectors], dimension: int) -> None:
        sql = self._workspace.sql
        cursor.execute(sql["create_coming"].format(dimension=dimension)).fetchall()
        known = {row[0] for row in cursor.execute(sql["known_coming"], [list(vectors)]).fetchall()}
        new = {digest: vector for digest, vector in vectors.items() if digest not in known}
        if new:
            append(cursor, f"{self._workspace.schema}.coming", vectors_table(list(new), list(new.values())))


def _paid(model: str, usage: Usage, at: float) -> dict[str, list[Any]]:
    """Columns of `journal`: a call of the embedder."""
    return {
        "digest": [""],
        "purpose": ["embed"],
        "model": [model],
        "truncated": [False],
        "calls": [usage.calls],
        "prompt_tokens": [usage.prompt_tokens],
        "completion_tokens": [usage.completion_tokens],
        "paid_at": [at],
    }


def _recorded(
    workspace: DuckWorkspace, cursor: Cursor, catalog: Mapping[str, str], **changes: Any
) -> dict[str, Any]:
    """Write what is recorded of a workspace with some changes, None for what is no more; returns it."""
    info = {name: value for name, value in {**workspace.record.info, **changes}.items() if value is not None}
    cursor.execute(catalog["set_info"], [json.dumps(info), workspace.record.schema]).fetchall()
    return info
