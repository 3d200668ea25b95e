"""One workspace: its in-memory views, its commits, its queue of documents."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from stateless_rag.errors import CommitConflict, StoreClosed, StoreError, WorkspaceMismatch
from stateless_rag.protocols import Basis, Change, Claim, Snapshot, VectorKind
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.database import Cursor, Database, Write
from stateless_rag.stores.duckdb.journal import DuckJournal, settled
from stateless_rag.stores.duckdb.queue import DocumentQueue
from stateless_rag.stores.duckdb.segments import Segments
from stateless_rag.stores.duckdb.snapshot import TABLES, DuckSnapshot, Outrun, fetch_vectors
from stateless_rag.stores.duckdb.status import document_list
from stateless_rag.stores.duckdb.views import View
from stateless_rag.text import stable_id
from stateless_rag.types import DocumentStatus, Status, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.protocols import Vectors
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.faiss.segments import VectorView

__all__ = ["DuckWorkspace", "WorkspaceRecord", "workspace_statements"]

Result = TypeVar("Result")
ALIASES = 0
"""Stands for the aliases among the ids that a commit read or touched."""


class WorkspaceRecord:
    """A row of the catalog."""

    def __init__(self, row: Sequence[Any]) -> None:
        self.name: str = row[0]
        self.schema: str = row[1]
        self.placement: str = row[2]
        self.revision: int = row[3]
        self.created_at: float = row[4]
        self.info: dict[str, Any] = json.loads(row[5])


class _Made:
    """Tables made in the transaction that is open in the lane."""

    def __init__(self) -> None:
        self.tables = False
        self.dimension: int | None = None

    def settle(self, workspace: DuckWorkspace) -> None:
        if self.tables or self.dimension is not None:
            workspace.made(tables=self.tables, dimension=self.dimension)
            self.tables, self.dimension = False, None


class DuckWorkspace:
    """Implements `Workspace`. Made by `Store.workspace`; one for each name, shared by all engines on it."""

    def __init__(self, store: Store, database: Database, record: WorkspaceRecord, files: Path) -> None:
        self._store = store
        self._database = database
        self._record = record
        self.schema = schema_in(database, record)
        self._sql = workspace_statements(store.workspace_sql, database, record)
        self._catalog = MappingProxyType(
            {name: text.replace("{db}", database.quoted) for name, text in store.catalog_sql.items()}
        )
        self._lock = threading.Lock()
        self._tables = False
        self._dropped = False
        self._closed = False
        self._reads = 0
        self._read = threading.Condition()
        self._made = _Made()
        self._files = files
        self._segments = Segments(self, files, store.settings)
        self._view = View(revision=record.revision)
        self._views: dict[int, View] = {record.revision: self._view}
        self._touched: deque[tuple[int, frozenset[int]]] = deque(maxlen=256)
        self._forgotten = record.revision
        self.journal = DuckJournal(self, store.clock.wall)
        self._queue = DocumentQueue(self, store.clock.wall)
        self._load()

    # ---- what it is ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def record(self) -> WorkspaceRecord:
        """Its row of the catalog, with all that is recorded about it."""
        return self._record

    @property
    def database(self) -> Database:
        """The file it lies in."""
        return self._database

    @property
    def sql(self) -> Mapping[str, str]:
        """The statements on it."""
        return self._sql

    @property
    def dimension(self) -> int | None:
        """The length of its vectors; None before the first."""
        dimension: int | None = self._record.info.get("dimension")
        return dimension

    @property
    def coming_dimension(self) -> int | None:
        """As `dimension`, or that of a table made in the transaction that is open; for the lane."""
        return self.dimension or self._made.dimension

    @property
    def revision(self) -> int:
        """The last committed revision."""
        return self._view.revision

    def info(self, **changes: Any) -> Future[Any]:
        """Record facts about the workspace in the catalog."""

        def apply(cursor: Cursor) -> dict[str, Any]:
            info = {**self._record.info, **changes}
            cursor.execute(self._catalog["set_info"], [json.dumps(info), self._record.schema]).fetchall()
            return info

        def committed(info: dict[str, Any]) -> None:
            self._record.info = info

        return self.write(Write(apply, committed, alone=True))

    async def documents(self) -> list[DocumentStatus]:
        """The status of every document, by id."""
        found: list[DocumentStatus] = await settled(self.in_reader(self._documents))
        return found

    def _documents(self) -> list[DocumentStatus]:
        return document_list(self.select("document_list"), self.select("pending_list"), self._queue.stage)

    async def costs(self) -> Mapping[str, Usage]:
        """Calls and tokens paid so far, by purpose."""
        found = await settled(self.in_reader(lambda: self.select("costs")))
        return MappingProxyType({row[0]: Usage(row[1], row[2], row[3]) for row in found})

    def mark_dropped(self, *, dropped: bool) -> None:
        """From now on refuse all work: a workspace that is created under the same name is another one."""
        self._dropped = dropped

    def check(self) -> None:
        """Raise StoreError if the workspace was dropped, StoreClosed if it or the store was closed."""
        self._store.check()
        self._refuse_if_gone()

    def _refuse_if_gone(self) -> None:
        if self._dropped:
            raise self._gone()
        if self._closed:
            raise StoreClosed(f"workspace {self.name!r} was closed by all that used it; open it again")

    def _gone(self) -> StoreError:
        return StoreError(f"workspace {self.name!r} was dropped; open an engine on a new one")

    # ---- reading ---------------------------------------------------------------------------------------

    async def read(self, query: Callable[[Snapshot], Result]) -> Result:
        return cast("Result", await settled(self.in_reader(lambda: self._keeping_open(self._viewing, query))))

    async def read_basis(self, query: Callable[[Basis], Result]) -> Result:
        return cast("Result", await settled(self.in_reader(lambda: self._keeping_open(self._reading, query))))

    def in_reader(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function in one of the store's reading threads."""
        return self._store.in_reader(function)

    def in_background(self, function: Callable[[], Result]) -> Future[Result]:
        """As `in_reader`, for longer work, which keeps the workspace open until it is done."""
        self._store.hold(self)
        try:
            work = self.in_reader(function)
        except BaseException:
            self._store.release(self)
            raise
        work.add_done_callback(lambda _: self._store.release(self))
        return work

    def select(self, statement: str, *parameters: Any, **names: str) -> list[tuple[Any, ...]]:
        """Rows of one statement in a transaction of its own; none before the first write. Blocks."""
        self._refuse_if_gone()
        if not self._tables:
            return []
        with self._transaction() as cursor:
            return cursor.execute(self._sql[statement].format(**names), list(parameters)).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        """A transaction that only reads; the workspace is not closed before it ends."""
        with self._kept_open(), self._store.reading() as cursor:
            yield cursor

    @contextmanager
    def _kept_open(self) -> Iterator[None]:
        """A read, with transactions or without: closing waits for its end. Not to be nested."""
        with self._read:
            self._refuse_if_gone()
            self._reads += 1
        try:
            yield
        finally:
            with self._read:
                self._reads -= 1
                self._read.notify_all()

    def _keeping_open(self, read: Callable[[Callable[[Any], Result]], Result], query: Any) -> Result:
        with self._kept_open():
            return read(query)

    def _viewing(self, query: Callable[[Any], Result]) -> Result:
        view, has = self._view, self._has()
        with ExitStack() as held:

            def transaction() -> Cursor:
                cursor = held.enter_context(self._store.reading())
                if self._committed_revision(cursor) != view.revision:
                    raise Outrun
                return cursor

            with suppress(Outrun):
                return query(self._snapshot(transaction, view, has))
        return self._reading(query)

    def _reading(self, query: Callable[[Any], Result]) -> Result:
        for _ in range(1000):
            has = self._has()
            with self._store.reading() as cursor:
                view = self._views.get(self._committed_revision(cursor))
                if view is not None:
                    return query(self._snapshot(partial(_same, cursor), view, has))
        raise StoreError(f"workspace {self.name!r} changes faster than it can be read")

    def _committed_revision(self, cursor: Cursor) -> int:
        found = cursor.execute(self._catalog["revision"], [self._record.schema]).fetchall()
        if not found:
            raise self._gone()
        revision: int = found[0][0]
        return revision

    def _has(self) -> tuple[bool, bool]:
        """Whether there are tables, and vectors; asked before a transaction begins, which then sees them too."""
        return self._tables, self.dimension is not None

    def _snapshot(
        self, transaction: Callable[[], Cursor], view: View, has: tuple[bool, bool]
    ) -> DuckSnapshot:
        policy = self._record.info.get("key_policy", "casefold")
        return DuckSnapshot(transaction, self._sql, view, policy, tables=has[0], vectors=has[1])

    # ---- writing ---------------------------------------------------------------------------------------

    def write(self, write: Write) -> Future[Any]:
        """Queue a write in the lane of the database."""
        self.check()
        apply, then, otherwise = write.apply, write.committed, write.abandoned

        def unless_gone(cursor: Cursor) -> Any:
            self._refuse_if_gone()
            return apply(cursor)

        def committed(result: Any) -> None:
            self._made.settle(self)
            if then is not None:
                then(result)

        def abandoned() -> None:
            self._made = _Made()
            if otherwise is not None:
                otherwise()

        write.apply, write.committed, write.abandoned = unless_gone, committed, abandoned
        return self._database.submit(write)

    def ensure_tables(self, cursor: Cursor) -> None:
        """Make the tables; they are made on first write, so that an unused workspace costs nothing."""
        if not (self._tables or self._made.tables):
            cursor.execute(self._sql["create"]).fetchall()
            self._made.tables = True

    def ensure_vectors(self, cursor: Cursor, dimension: int) -> None:
        """Make the table of vectors, once their length is known."""
        known = self.dimension or self._made.dimension
        if known not in (None, dimension):
            raise WorkspaceMismatch(
                f"workspace {self.name!r} holds vectors of {known} dimensions, not {dimension}; open it with "
                "the embedder it was made with"
            )
        if known is None:
            cursor.execute(self._sql["create_vectors"].format(dimension=dimension)).fetchall()
            info = json.dumps({**self._record.info, "dimension": dimension})
            cursor.execute(self._catalog["set_info"], [info, self._record.schema]).fetchall()
            self._made.dimension = dimension

    def made(self, *, tables: bool, dimension: int | None) -> None:
        """Take note of tables that were committed."""
        self._tables = self._tables or tables
        if dimension is not None:
            self._record.info = {**self._record.info, "dimension": dimension}

    def add_vectors(self, cursor: Cursor, vectors: Mapping[str, Vectors]) -> None:
        """Store those of the vectors that are not there yet."""
        known = {row[0] for row in cursor.execute(self._sql["known_vectors"], [list(vectors)]).fetchall()}
        new = {digest: vector for digest, vector in vectors.items() if digest not in known}
        if new:
            rows.append(cursor, f"{self.schema}.vectors", rows.vectors_table(list(new), list(new.values())))

    async def commit(self, change: Change) -> int:
        write = Write(
            lambda cursor: self._apply(cursor, change),
            lambda view: self._committed(view, change),
            self._abandoned,
            alone=True,
        )
        view: View = await settled(self.write(write))
        return view.revision

    def _apply(self, cursor: Cursor, change: Change) -> View:
        view = self._view
        self._refuse_conflicts(view, change)
        revision = view.revision + 1
        self.ensure_tables(cursor)
        if change.vectors:
            self.ensure_vectors(cursor, len(next(iter(change.vectors.values()))))
            self.add_vectors(cursor, change.vectors)
        embedded = self._unchanged_vectors(cursor, change)
        rows.write_change(cursor, self._sql, self.schema, change, embedded, revision)
        cursor.execute(self._catalog["set_revision"], [revision, self._record.schema]).fetchall()
        vectors = self._segments.advance(cursor, view.vectors, change, embedded)
        following = view.following(cursor, self._sql, change, vectors)
        self._touched.append((revision, _touched(change)))
        # Readers may see the new revision in the database as soon as it is committed.
        self._views[revision] = following
        return following

    def _committed(self, view: View, change: Change) -> None:
        self._view = view
        self._record.revision = view.revision
        for revision in [revision for revision in self._views if revision < view.revision - 8]:
            del self._views[revision]
        self._queue.finished(change.done)
        self._segments.compact_if_needed()

    def _abandoned(self) -> None:
        while self._touched and self._touched[-1][0] > self._view.revision:
            self._touched.pop()
        self._views.pop(self._view.revision + 1, None)
        self._segments.restore(self._view.vectors)

    def _refuse_conflicts(self, view: View, change: Change) -> None:
        if not all(map(self._queue.is_pending, change.requires)):
            raise CommitConflict("a document was withdrawn while it was being ingested")
        if change.base == view.revision:
            return
        if change.base < self._forgotten:
            raise CommitConflict(f"revision {change.base} is too old to commit on; read again")
        for revision, touched in self._touched:
            if revision > change.base and not touched.isdisjoint(change.reads):
                raise CommitConflict(f"revision {revision} changed what was read at revision {change.base}")
        if len(self._touched) == self._touched.maxlen and self._touched[0][0] > change.base + 1:
            raise CommitConflict(f"revision {change.base} is too old to commit on; read again")

    def _unchanged_vectors(self, cursor: Cursor, change: Change) -> dict[int, int]:
        """Rows of the change that keep their vector, with the revision in which it was stored."""
        embedded: dict[int, int] = {}
        replaced: tuple[tuple[VectorKind, Mapping[int, str]], ...] = (
            ("entity", {row.id: row.vector for row in change.entities}),
            ("relation", {row.id: row.vector for row in change.relations}),
            ("chunk", {row.id: row.vector for row in (*change.chunks, *change.moved)}),
        )
        for kind, now in replaced:
            if now:
                statement = self._sql["embedded_of"].format(table=TABLES[kind])
                stored = cursor.execute(statement, [list(now)]).fetchall()
                embedded.update({id_: revision for id_, vector, revision in stored if now[id_] == vector})
        return embedded

    # ---- the queue -------------------------------------------------------------------------------------

    async def submit(
        self, claims: Sequence[Claim], *, claimed: bool
    ) -> tuple[Sequence[Claim], Sequence[Claim]]:
        return await self._queue.submit(claims, claimed=claimed)

    async def claim(
        self,
        limit: int,
        *,
        ids: Collection[str] | None = None,
        tracking_id: str | None = None,
        failed: bool,
        tried: Collection[int] = (),
    ) -> Sequence[Claim]:
        return await self._queue.claim(limit, ids=ids, tracking_id=tracking_id, failed=failed, tried=tried)

    async def statuses(self, ids: Collection[str]) -> Mapping[str, DocumentStatus]:
        wanted = list(ids)
        found: list[DocumentStatus] = await settled(
            self.in_reader(
                lambda: document_list(
                    self.select("document_list_of", wanted),
                    self.select("pending_list_of", wanted),
                    self._queue.stage,
                )
            )
        )
        return {status.id: status for status in found}

    async def release(self, sequences: Collection[int]) -> None:
        self._queue.release(sequences)

    async def fail(self, claim: Claim, errors: Sequence[Mapping[str, Any]]) -> None:
        await self._queue.fail(claim, errors)

    async def withdraw(self, sequences: Collection[int]) -> None:
        await self._queue.withdraw(sequences)

    def superseded(self, claim: Claim) -> Sequence[int]:
        return self._queue.superseded(claim)

    def advance(self, sequences: Collection[int], stage: Status) -> None:
        self._queue.advance(sequences, stage)

    def stage(self, sequence: int) -> Status | None:
        """How far a submission is that somebody works on."""
        return self._queue.stage(sequence)

    def is_pending(self, sequence: int) -> bool:
        return self._queue.is_pending(sequence)

    def unfinished(self, tracking_id: str) -> Collection[int]:
        return self._queue.unfinished(tracking_id)

    def waiting(self, ids: Collection[str] | None = None) -> Mapping[str, Sequence[int]]:
        return self._queue.waiting(ids)

    @property
    def claimable(self) -> int:
        """How many documents are pending, have not failed, and are worked on by nobody."""
        return self._queue.claimable

    @property
    def claimed(self) -> int:
        """How many documents are being worked on."""
        return self._queue.claimed

    # ---- opening and closing ---------------------------------------------------------------------------

    def _load(self) -> None:
        """Make the views from the database."""
        with self._store.reading() as cursor:
            row = cursor.execute(self._catalog["workspace"], [self._record.schema]).fetchone()
            cursor.fetchall()
            if row is None:
                raise self._gone()
            self._record = WorkspaceRecord(row)
            found = cursor.execute(
                self._sql["has_tables"], [self._database.alias, self._record.schema]
            ).fetchall()
            self._tables = found[0][0] > 0
            vectors = self._segments.load(cursor) if self.dimension is not None else MappingProxyType({})
            revision = self._record.revision
            if self._tables:
                view = View.load(cursor, self._sql, revision, vectors)
            else:
                view = View(revision=revision, vectors=vectors)
            self._queue.load(cursor, exists=self._tables)
        self._view = view
        self._views[self._record.revision] = self._view
        self._forgotten = self._record.revision

    def publish(self, vectors: Mapping[VectorKind, Any]) -> None:
        """Show rebuilt segments under the same revision; only the lane may call it."""
        view = self._view
        self._view = replace(view, vectors=vectors)
        self._views[view.revision] = self._view

    def committed_view(self, kind: VectorKind) -> tuple[int, VectorView | None]:
        """The last committed revision, and its vectors of a kind."""
        view = self._view
        return view.revision, view.vectors.get(kind)

    def record_base(
        self, cursor: Cursor, kind: VectorKind, recorded: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Record which file holds the base of a kind; returns what is recorded then. For the lane."""
        bases = {name: base for name, base in self._record.info.get("bases", {}).items() if name != kind}
        if recorded is not None:
            bases[kind] = recorded
        info = {**self._record.info, "bases": bases}
        cursor.execute(self._catalog["set_info"], [json.dumps(info), self._record.schema]).fetchall()
        return info

    def exact_vectors(self, kind: VectorKind, ids: Collection[int]) -> Mapping[int, Vectors]:
        """Vectors of rows by id, in a transaction of its own. Blocks."""
        statement = self._sql["vectors_of_rows"].format(table=TABLES[kind])
        with self._transaction() as cursor:
            keys, matrix = fetch_vectors(cursor, statement, [[int(id_) for id_ in ids]])
        return dict(zip(keys.tolist(), matrix, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes that the views of the last revision hold in memory."""
        view = self._view
        return view.nbytes + sum(vectors.nbytes for vectors in view.vectors.values())

    def close(self) -> None:
        """Carry out what was queued before, wait for reads that have begun, refuse the rest, drop the views."""

        def closed(_: Any) -> None:
            with self._read:
                self._closed = True

        with suppress(StoreError):  # a database that cannot be written to any more can be closed
            self._database.submit(Write(lambda _: None, closed, alone=True)).result()
        closed(None)
        with self._read:
            self._read.wait_for(lambda: not self._reads)
        self._view = View(revision=self._view.revision)
        self._views.clear()
        self._touched.clear()
        self._segments = Segments(self, self._files, self._store.settings)

    def collect(self) -> None:
        """Remove vectors that no row names any more; for closing. Those of pending documents were paid for."""
        if self.dimension is None or self._queue.waiting(None):
            return
        live = sum(len(view) for view in self._view.vectors.values())
        stored = self.select("count_vectors")[0][0]
        if stored > live + max(100, live // 20):
            self._database.run(lambda cursor: cursor.execute(self._sql["collect_vectors"]).fetchall())


def schema_in(database: Database, record: WorkspaceRecord) -> str:
    """The quoted name of a workspace's schema."""
    return f'{database.quoted}."{record.schema}"'


def workspace_statements(
    sql: Mapping[str, str], database: Database, record: WorkspaceRecord
) -> Mapping[str, str]:
    """The statements on a workspace."""
    schema = schema_in(database, record)
    return MappingProxyType({name: text.replace("{w}", schema) for name, text in sql.items()})


def _same(cursor: Cursor) -> Cursor:
    return cursor


def _touched(change: Change) -> frozenset[int]:
    ids: set[int] = set()
    ids.update(change.removed_entities, change.removed_relations)
    ids.update(row.id for row in change.entities)
    ids.update(row.id for row in change.relations)
    ids.update(stable_id("document", row.id) for row in change.documents)
    ids.update(stable_id("document", id_) for id_ in change.removed_documents)
    if change.aliases:
        ids.add(ALIASES)
    return frozenset(ids)
