"""One workspace: what is recorded of it, its parts, and the way into the lane of its database."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import duckdb

from stateless_rag.errors import StoreError, WorkspaceMismatch
from stateless_rag.protocols import Basis, Change, Claim, Snapshot, VectorKind
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.arriving import Arriving, Loaded, begin_loading, held_bytes
from stateless_rag.stores.duckdb.batches import DuckBatches
from stateless_rag.stores.duckdb.checking import Inspection
from stateless_rag.stores.duckdb.committing import Committer
from stateless_rag.stores.duckdb.database import Cursor, Database, Write
from stateless_rag.stores.duckdb.gate import Gate
from stateless_rag.stores.duckdb.journal import DuckJournal, settled
from stateless_rag.stores.duckdb.ledger import DuckLedger
from stateless_rag.stores.duckdb.queue import DocumentQueue
from stateless_rag.stores.duckdb.reading import Reader
from stateless_rag.stores.duckdb.record import WorkspaceRecord, schema_in, workspace_statements
from stateless_rag.stores.duckdb.reembedding import DuckReembedding
from stateless_rag.stores.duckdb.revisions import Revisions
from stateless_rag.stores.duckdb.rewriting import Rewriter
from stateless_rag.stores.duckdb.segments import Segments
from stateless_rag.stores.duckdb.snapshot import TABLES, fetch_vectors
from stateless_rag.stores.duckdb.spending import DuckSpending
from stateless_rag.stores.duckdb.status import document_list
from stateless_rag.stores.duckdb.views import View
from stateless_rag.stores.faiss.cosine import unit_rows
from stateless_rag.stores.faiss.delta_segment import Delta
from stateless_rag.types import DocumentStatus, Status, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.protocols import Vectors
    from stateless_rag.right_of_way import RightOfWay
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.faiss.segments import VectorView

__all__ = ["DuckWorkspace"]

Result = TypeVar("Result")
_LARGE = 64_000_000  # bytes of vectors from which on it pays to give back what was needed to read them


class _Made:
    """What the transaction that is open in the lane has made: tables, and changes of what is recorded."""

    def __init__(self) -> None:
        self.tables = False
        self.info: dict[str, Any] = {}


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
        self._tables = False
        self._made = _Made()
        self._gate = Gate(record.name)
        self._files = files
        self._segments = Segments(self, files, store.settings)
        self.journal = DuckJournal(self, store.clock.wall)
        self.ledger = DuckLedger(self, store.clock.wall)
        self.spending = DuckSpending(self, store.clock.wall)
        self._queue = DocumentQueue(self, store.clock.wall)
        self.batches = DuckBatches(self, self._queue.hold)
        self._revisions = Revisions(self._load())
        self._reader = Reader(self, store, self._revisions, self._gate, self._catalog)
        self._committer = Committer(self, self._revisions, self._segments, self._queue, self._catalog)
        self._rewriter = Rewriter(self, self._revisions, self._segments, self._catalog)
        self.reembedding = DuckReembedding(
            self, self._revisions, self._segments, self._catalog, store.clock.wall
        )

    def _load(self) -> View:
        """Make the view of the last revision, and the queue, from the database."""
        with self._store.reading() as cursor:
            row = cursor.execute(self._catalog["workspace"], [self._record.schema]).fetchone()
            cursor.fetchall()
            if row is None:
                raise self._gate.gone()
            self._record = WorkspaceRecord(row)
            self._tables = self._finds_tables(cursor)
            revision = self._record.revision
            view = View.load(cursor, self._sql, revision, {}) if self._tables else View(revision=revision)
            self._queue.load(cursor, exists=self._tables)
            self.batches.load(cursor, exists=self.has_batches)
        return replace(view, vectors=self._arriving(view), embedder=self._record.info.get("embedder"))

    def _finds_tables(self, cursor: Cursor) -> bool:
        """Whether the tables were made. If not, the transaction can only be rolled back."""
        try:
            cursor.execute(self._sql["probe"]).fetchall()
        except duckdb.CatalogException:  # to look them up by name would read those of all workspaces
            return False
        return True

    def _arriving(self, view: View) -> Mapping[VectorKind, VectorView]:
        """Vectors are nine tenths of all there is: who opens the workspace need not wait for them."""
        if self.dimension is None:
            return MappingProxyType({})
        loading = begin_loading(self._store.in_reader, self._load_vectors)
        self._segments.arrive(loading)
        rows = sum(len(held.ids()) for held in (view.pieces, view.entities, view.relations))
        expected = Delta.stored_bytes(rows, self.dimension)
        if expected > _LARGE:
            # After those who wait were told: what DuckDB read is not needed beside the views.
            loading.add_done_callback(lambda _: self.relieve())
        return Arriving(loading, expected)

    def _load_vectors(self, begun: Callable[[], None]) -> Loaded:
        with self._gate.kept_open(), self._store.reading() as cursor:
            # Nobody writes before the workspace is opened: what reads by then goes on reading the same revision.
            cursor.execute(self._catalog["revision"], [self._record.schema]).fetchall()
            begun()
            return self._segments.load(cursor)

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
    def has_tables(self) -> bool:
        """Whether its tables were made; they are not before the first write."""
        return self._tables

    @property
    def dimension(self) -> int | None:
        """The length of its vectors; None before the first."""
        dimension: int | None = self._record.info.get("dimension")
        return dimension

    @property
    def unit_vectors(self) -> bool:
        """Whether all of its vectors came with length one, as most embedders make them: opening is quicker then."""
        return self._record.info.get("unit_vectors") is True

    @property
    def coming_dimension(self) -> int | None:
        """As `dimension`, or that of a table made in the transaction that is open; for the lane."""
        dimension: int | None = self._made.info.get("dimension")
        return self.dimension or dimension

    @property
    def view(self) -> View:
        """What is in memory of the last committed revision."""
        return self._revisions.last

    @property
    def revision(self) -> int:
        """The last committed revision."""
        return self.view.revision

    @property
    def nbytes(self) -> int:
        """Bytes that the views of the last revision hold in memory."""
        view = self.view
        return view.nbytes + held_bytes(view.vectors)

    async def documents(self) -> list[DocumentStatus]:
        """The status of every document, by id."""
        return await self._statuses("document_list", "pending_list")

    async def statuses(self, ids: Collection[str]) -> Mapping[str, DocumentStatus]:
        found = await self._statuses("document_list_of", "pending_list_of", list(ids))
        return {status.id: status for status in found}

    async def tracked(self, tracking_id: str) -> list[DocumentStatus]:
        ids = await settled(self.in_reader(lambda: self.select("tracked", tracking_id)))
        found = await self.statuses([row[0] for row in ids])
        return [each for each in found.values() if each.tracking_id == tracking_id]

    async def _statuses(self, documents: str, pending: str, *wanted: list[str]) -> list[DocumentStatus]:
        def read() -> list[DocumentStatus]:
            # First what waits: a document that is committed between the two is in both then, not in neither.
            waiting = self.select(pending, *wanted)
            return document_list(self.select(documents, *wanted), waiting, self._queue.stage)

        found: list[DocumentStatus] = await settled(self.in_reader(read))
        return found

    async def costs(self) -> Mapping[str, Usage]:
        """Calls and tokens paid so far, by purpose."""
        usage: dict[str, Usage] = {}
        for _, purpose, _, _, _, calls, asked, said, _ in await self.ledger.costs(["purpose"]):
            usage[purpose] = usage.get(purpose, Usage()) + Usage(calls, asked, said)
        return MappingProxyType(dict(sorted(usage.items())))

    # ---- reading ---------------------------------------------------------------------------------------

    async def read(self, query: Callable[[Snapshot], Result]) -> Result:
        with self.way.question():
            return cast("Result", await settled(self.in_reader(lambda: self._reader.read(query))))

    async def read_basis(self, query: Callable[[Basis], Result]) -> Result:
        return cast("Result", await settled(self._store.in_folder(lambda: self._reader.read_basis(query))))

    async def compute(self, work: Callable[[], Result]) -> Result:
        return cast("Result", await settled(self.in_background(work)))

    @property
    def way(self) -> RightOfWay:
        """Questions have it, all work on an ingest gives it."""
        return self._store.way

    def relieve(self) -> None:
        """After a large piece of work, give memory back. Takes milliseconds. Not to be called within a transaction."""
        self._database.relieve()
        self.release_freed()

    def release_freed(self) -> None:
        """As `relieve`, but only what nobody has any more; at any time."""
        self._store.release_freed()

    def in_reader(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function in one of the store's reading threads."""
        return self._store.in_reader(function)

    def in_background(self, function: Callable[[], Result]) -> Future[Result]:
        """Run longer work in a thread apart from the readers; it keeps the workspace open until it is done."""
        self._store.hold(self)
        try:
            work = self._store.in_background(function)
        except BaseException:
            self._store.release(self)
            raise
        work.add_done_callback(lambda _: self._store.release(self))
        return work

    def select(self, statement: str, *parameters: Any, **names: str) -> list[tuple[Any, ...]]:
        """Rows of one statement in a transaction of its own; none before the first write. Blocks."""
        return self._reader.select(self._sql[statement].format(**names), list(parameters))

    def exact_vectors(self, kind: VectorKind, ids: Collection[int]) -> Mapping[int, Vectors]:
        """Vectors of rows by id, in a transaction of its own. Blocks."""
        statement = self._sql["vectors_of_rows"].format(table=TABLES[kind])
        with self._reader.transaction() as cursor:
            keys, matrix = fetch_vectors(cursor, statement, [[int(id_) for id_ in ids]])
        return dict(zip(keys.tolist(), matrix, strict=True))

    # ---- writing ---------------------------------------------------------------------------------------

    async def commit(self, change: Change) -> int:
        view: View = await settled(self.write(self._committer.write(change)))
        return view.revision

    async def rewrite(self, base: int, apply: Callable[[Cursor, int], None]) -> int:
        """Change tables otherwise than a commit does; returns the new revision. As `Rewriter.write`."""
        made = await settled(self.write(self._rewriter.write(base, apply)))
        revision: int = made.view.revision
        return revision

    async def note_charges(self) -> None:
        """Write what questions have cost so far, which else is gathered for a moment."""
        await settled(self.write(Write(self.ledger.take())))

    async def tidy(self) -> None:
        """Remove files of vectors that nothing names, once a compaction that is under way has ended."""
        await settled(self.in_background(self._segments.sweep))

    async def inspect(self, look: Callable[[Inspection], Result]) -> Result:
        """Run a function on all there is of one revision, in one transaction, in a thread of the store."""

        def inspected(cursor: Cursor, view: View) -> Result:
            place = (self._database.alias, self._record.schema)
            tables = self.has_tables
            return look(
                Inspection.of(cursor, view, self._record, self._files, self._sql, place, has_tables=tables)
            )

        return cast("Result", await settled(self.in_reader(lambda: self._reader.inspect(inspected))))

    def write(self, write: Write) -> Future[Any]:
        """Queue a write in the lane of the database."""
        self.check()
        apply, then, otherwise = write.apply, write.committed, write.abandoned

        def unless_gone(cursor: Cursor) -> Any:
            self._gate.check()
            return apply(cursor)

        def committed(result: Any) -> None:
            self._settle_made()
            if then is not None:
                then(result)

        def abandoned() -> None:
            self._made = _Made()
            if otherwise is not None:
                otherwise()

        write.apply, write.committed, write.abandoned = unless_gone, committed, abandoned
        return self._database.submit(write)

    def alone(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function in the lane, between two transactions: nothing is written to the file meanwhile.

        It keeps the workspace open until it is done.
        """
        self._store.hold(self)
        done: Future[Result] = Future()
        done.set_running_or_notify_cancel()  # so that nobody can cancel it

        def between(_: object) -> None:
            done.set_result(function())

        def ended(write: Future[Any]) -> None:
            self._store.release(self)
            if (error := write.exception()) is not None:
                done.set_exception(error)

        try:
            self.write(Write(lambda _: None, between, alone=True)).add_done_callback(ended)
        except BaseException:
            self._store.release(self)
            raise
        return done

    def ensure_tables(self, cursor: Cursor) -> None:
        """Make the tables; they are made on first write, so that an unused workspace costs nothing."""
        if not (self._tables or self._made.tables):
            cursor.execute(self._sql["create"]).fetchall()
            self._made.tables = True

    def ensure_vectors(self, cursor: Cursor, dimension: int) -> None:
        """Make the table of vectors, once their length is known."""
        known = self.coming_dimension
        if known not in (None, dimension):
            raise WorkspaceMismatch(
                f"workspace {self.name!r} holds vectors of {known} dimensions, not {dimension}; open it with "
                "the embedder it was made with"
            )
        if known is None:
            cursor.execute(self._sql["create_vectors"].format(dimension=dimension)).fetchall()
            self._made.info = {"dimension": dimension, "unit_vectors": True}
            self._write_info(cursor)

    def _settle_made(self) -> None:
        """Take note of tables that were committed."""
        self._tables = self._tables or self._made.tables
        if self._made.info:
            self._record.info = {**self._record.info, **self._made.info}
        self._made = _Made()

    def add_vectors(self, cursor: Cursor, vectors: Mapping[str, Vectors]) -> None:
        """Store those of the vectors that are not there yet."""
        known = {row[0] for row in cursor.execute(self._sql["known_vectors"], [list(vectors)]).fetchall()}
        new = {digest: vector for digest, vector in vectors.items() if digest not in known}
        if not new:
            return
        unit = self._made.info.get("unit_vectors", self.unit_vectors)
        if unit and not unit_rows(list(new.values())):
            self._made.info["unit_vectors"] = False
            self._write_info(cursor)
        self.way.give()
        rows.append(cursor, f"{self.schema}.vectors", rows.vectors_table(list(new), list(new.values())))

    @property
    def has_weights(self) -> bool:
        """Whether a mention may say what a relation weighs."""
        return self._record.info.get("has_weights") is True

    def note_weights(self, cursor: Cursor) -> None:
        """Note that a mention says so, in the transaction that is open."""
        if not self.has_weights:
            self._made.info["has_weights"] = True
            self._write_info(cursor)

    @property
    def has_batches(self) -> bool:
        """Whether there is a table of batches."""
        return self._record.info.get("has_batches") is True

    def ensure_batches(self, cursor: Cursor) -> None:
        """Make the table, with the first batch."""
        if not self.has_batches:
            cursor.execute(self._sql["create_batches"]).fetchall()
            self._made.info["has_batches"] = True
            self._write_info(cursor)

    def record_base(
        self, cursor: Cursor, kind: VectorKind, recorded: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Record which file holds the base of a kind; returns what is recorded then. For the lane."""
        bases = {name: base for name, base in self._record.info.get("bases", {}).items() if name != kind}
        if recorded is not None:
            bases[kind] = recorded
        return self._write_info(cursor, bases=bases)

    async def update_info(
        self, update: Callable[[Mapping[str, Any], bool], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """Change what is recorded, by a function of that and of whether the workspace holds anything that has
        keys. What it raises is raised here, and nothing was changed.
        """

        def apply(cursor: Cursor) -> dict[str, Any]:
            changed = dict(update(self._record.info, self._has_keys(cursor)))
            self._made.info.update(changed)
            return self._write_info(cursor)

        return cast("Mapping[str, Any]", await settled(self.write(Write(apply, alone=True))))

    def _has_keys(self, cursor: Cursor) -> bool:
        if not self._tables:
            return False
        return bool(cursor.execute(self._sql["has_keys"]).fetchall()[0][0])

    def _write_info(self, cursor: Cursor, **changes: Any) -> dict[str, Any]:
        info = {**self._record.info, **self._made.info, **changes}
        cursor.execute(self._catalog["set_info"], [json.dumps(info), self._record.schema]).fetchall()
        return info

    def publish(self, vectors: Mapping[VectorKind, VectorView]) -> None:
        """Show rebuilt segments under the same revision; only the lane may call it."""
        self._revisions.publish(vectors)

    async def forget_replies(self, purposes: Collection[str] | None) -> int:
        return await self.journal.clear(purposes)

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

    async def release(self, sequences: Collection[int]) -> None:
        self._queue.release(sequences)

    async def file_content(self, sequence: int) -> bytes | None:
        return await self._queue.file_content(sequence)

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

    async def cancel(self, ids: Collection[str] | None, tracking_id: str | None, error: str) -> Sequence[str]:
        return await self._queue.cancel(ids, tracking_id, error)

    def is_cancelled(self, sequence: int) -> bool:
        return self._queue.is_cancelled(sequence)

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

    # ---- dropping and closing --------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError if the workspace was dropped, StoreClosed if it or the store was closed."""
        self._store.check()
        self._gate.check()

    @property
    def dropped(self) -> bool:
        """Whether it was dropped, or is about to be."""
        return self._gate.dropped

    def mark_dropped(self, *, dropped: bool) -> None:
        """From now on refuse all work: a workspace that is created under the same name is another one."""
        self._gate.dropped = dropped

    def when_idle(self, function: Callable[[], None]) -> None:
        """Call the function once no read is under way, in whatever thread tells."""
        self._gate.when_idle(function)

    def collect(self) -> None:
        """Remove vectors that no row names any more; for closing. Those of pending documents were paid for."""
        if self.dimension is None or self._queue.waiting(None):
            return
        live = sum(len(view) for view in self.view.vectors.values())
        stored = self.select("count_vectors")[0][0]
        if stored > live + max(100, live // 20):
            self._database.run(lambda cursor: cursor.execute(self._sql["collect_vectors"]).fetchall())

    def close(self) -> None:
        """Carry out what was queued before, wait for reads that have begun, refuse the rest, drop the views."""
        with suppress(StoreError):  # a database that cannot be written to any more can be closed
            closing = Write(self.ledger.take(), lambda _: self._gate.close(), alone=True)
            self._database.submit(closing).result()
        self._gate.close()
        self._gate.wait()
        self._revisions.clear()
        self._segments.clear()
