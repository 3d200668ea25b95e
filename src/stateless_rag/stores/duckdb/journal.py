"""The journal: what was paid for is durable before it counts as returned.

Entries and vectors that arrive while a write is under way are flushed together by the next one, since a statement
costs more than many rows; look-ups are gathered in the same way. Vectors are kept under the digest of their text,
once, for the journal and for search alike.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stateless_rag.errors import CommitConflict, StoreError, WorkspaceMismatch
from stateless_rag.flights import Flights
from stateless_rag.protocols import JournalEntry, LLMReply
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.rows import append
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from stateless_rag.protocols import Vectors
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["DuckJournal", "settled"]


async def settled(future: Future[Any]) -> Any:
    """Wait for a future of the store. Cancelling the wait does not cancel the write."""
    waiter = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiter)
    except asyncio.CancelledError:
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


@dataclass(slots=True, eq=False)
class _Batch:
    """What one write will flush: paid replies, or paid vectors of one dimension, and when they came."""

    dimension: int
    flush: Future[Any]
    entries: list[tuple[JournalEntry, float]] = field(default_factory=list)
    vectors: dict[str, Vectors] = field(default_factory=dict)
    paid: list[tuple[str, Usage, float, int]] = field(default_factory=list)


_REPLIES = 0  # the dimension under which replies are gathered
# Seconds in which calls that are under way may come to share a flush. Replies are needed to go on with a chunk; while
# vectors are kept there are others to be embedded.
_REPLIES_WAIT, _VECTORS_WAIT = 0.005, 0.02


class DuckJournal:
    """Implements `Journal` for one workspace."""

    def __init__(self, workspace: DuckWorkspace, wall: Callable[[], float]) -> None:
        self._workspace = workspace
        self._wall = wall
        # Opening a batch in a store that closes may close another one in this thread.
        self._lock = threading.RLock()
        self._open: dict[int, _Batch] = {}
        self._wanted: dict[str, Future[LLMReply | None]] = {}
        self._looking = False
        # Hashes of the digests of all replies, once one was asked for: most that are asked for are new.
        self._known: set[int] = set()
        self._learned = False
        self.flights = Flights()

    # ---- replies ---------------------------------------------------------------------------------------

    async def put(self, entry: JournalEntry) -> None:
        at = self._wall()
        self._workspace.spending.add(entry.model, entry.usage, batch=entry.batch is not None)
        flush = self._gather(_REPLIES, lambda batch: batch.entries.append((entry, at)))
        if not entry.usage.calls:  # for a question, which waits for nobody
            self._workspace.database.hurry()
        await settled(flush)

    async def get(self, digest: str) -> LLMReply | None:
        if self._learned and hash(digest) not in self._known:
            return None
        with self._lock:
            future = self._wanted.get(digest)
            if future is None:
                future = self._wanted[digest] = Future()
            start = not self._looking
            self._looking = True
        if start:
            try:
                self._workspace.in_reader(self._look_up)
            except StoreError as error:
                self._refuse(error)
        reply: LLMReply | None = await settled(future)
        return reply

    def _gather(self, dimension: int, add: Callable[[_Batch], None]) -> Future[Any]:
        """Add to the batch that the next write flushes; its future."""
        with self._lock:
            batch, begun = self._open.get(dimension), True
            if batch is None:
                batch, begun = self._opened(dimension), False
            add(batch)
        if not self.flights.calls:
            self._workspace.database.hurry()
        if not begun:  # also if the write comes to nothing before it has begun
            batch.flush.add_done_callback(lambda _: self._close(batch))
        return batch.flush

    def _opened(self, dimension: int) -> _Batch:
        # The write waits for the lock before it looks at what it is to flush.
        patience = _VECTORS_WAIT if dimension else _REPLIES_WAIT
        write = Write(
            lambda cursor: self._write(cursor, batch), lambda _: self._written(batch), patience=patience
        )
        batch = _Batch(dimension, write.future)
        self._workspace.write(write)
        self._open[dimension] = batch
        return batch

    def _close(self, batch: _Batch) -> None:
        """From here on entries go to another batch."""
        with self._lock:
            if self._open.get(batch.dimension) is batch:
                del self._open[batch.dimension]

    def _written(self, batch: _Batch) -> None:
        with self._lock:
            self._known.update(hash(entry.digest) for entry, _ in batch.entries)
        for entry, _ in batch.entries:
            self._workspace.spending.written(entry.model, entry.usage, batch=entry.batch is not None)
        for model, usage, _, _ in batch.paid:
            self._workspace.spending.written(model, usage)

    def _write(self, cursor: Cursor, batch: _Batch) -> None:
        self._close(batch)
        self._workspace.ensure_tables(cursor)
        if batch.vectors:
            self._workspace.ensure_vectors(cursor, batch.dimension)
            self._workspace.add_vectors(cursor, batch.vectors)
        journal = f"{self._workspace.schema}.journal"
        append(cursor, journal, _replies(batch.entries) if batch.entries else _embeddings(batch.paid))

    async def clear(self, purposes: Collection[str] | None) -> int:
        """Drop the replies to calls of some purposes, or all; what they cost stays in the ledger. How many it were."""
        wanted = None if purposes is None else list(purposes)
        dropped: int = await settled(
            self._workspace.write(
                Write(lambda cursor: self._clear(cursor, wanted), lambda _: self._forget(), alone=True)
            )
        )
        return dropped

    def _clear(self, cursor: Cursor, purposes: list[str] | None) -> int:
        if not self._workspace.has_tables:
            return 0
        sql, among = self._workspace.sql, [purposes is None, purposes or []]
        (count,) = cursor.execute(sql["count_replies"], among).fetchall()[0]
        if count:
            cursor.execute(sql["sum_up_replies"], among).fetchall()
            cursor.execute(sql["drop_replies"], among).fetchall()
        return int(count)

    def _forget(self) -> None:
        with self._lock:
            self._known.clear()
            self._learned = False

    def _look_up(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, {}
                if not wanted:
                    self._looking = False
                    return
            try:
                if not self._learned:
                    self._learn()
                found = self._replies(list(wanted))
            except Exception as error:  # noqa: BLE001 -- whatever it is, who waits is told
                for future in wanted.values():
                    future.set_exception(error)
                continue
            for digest, future in wanted.items():
                future.set_result(found.get(digest))

    def _replies(self, digests: list[str]) -> dict[str, LLMReply]:
        return {
            row[0]: LLMReply(text=row[1], prompt_tokens=row[2], completion_tokens=row[3], truncated=row[4])
            for row in self._workspace.select("journal", digests)
        }

    def _learn(self) -> None:
        digests = self._workspace.select("journaled")
        with self._lock:  # what was written since is in the set already
            self._known.update(hash(row[0]) for row in digests)
            self._learned = True

    def _refuse(self, error: StoreError) -> None:
        """No thread can look: tell all who wait, and let the next one try again."""
        with self._lock:
            wanted, self._wanted = self._wanted, {}
            self._looking = False
        for future in wanted.values():
            future.set_exception(error)

    # ---- vectors ---------------------------------------------------------------------------------------

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        return await self._workspace.read_basis(lambda basis: basis.vectors(digests))

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        dimension = len(next(iter(vectors.values())))
        if self._workspace.dimension not in (None, dimension):
            raise self._do_not_fit(model, dimension)
        at = self._wall()

        def add(batch: _Batch) -> None:
            batch.vectors.update(vectors)
            batch.paid.append((model, entry_usage, at, len(vectors)))

        self._workspace.spending.add(model, entry_usage)
        try:
            await settled(self._gather(dimension, add))
        except WorkspaceMismatch as error:  # those of another embedder were put before them
            raise self._do_not_fit(model, dimension) from error

    def _do_not_fit(self, model: str, dimension: int) -> StoreError:
        told = (
            f"workspace {self._workspace.name!r} holds vectors of {self._workspace.dimension} dimensions, "
            f"the embedder {model!r} made {dimension}"
        )
        if self._workspace.reembedding.was_changed_from(model):
            return CommitConflict(f"{told}: it was re-embedded meanwhile; try again")
        return WorkspaceMismatch(f"{told}; open the workspace with the embedder it was made with")


def _replies(entries: Sequence[tuple[JournalEntry, float]]) -> dict[str, Any]:
    """Columns of `journal`: LLM calls."""
    return {
        "digest": [entry.digest for entry, _ in entries],
        "purpose": [entry.purpose for entry, _ in entries],
        "model": [entry.model for entry, _ in entries],
        "reply": [entry.reply.text for entry, _ in entries],
        "truncated": [entry.reply.truncated for entry, _ in entries],
        "document": [entry.document for entry, _ in entries],
        "batch": pa.array([entry.batch for entry, _ in entries], pa.string()),
        **_costs([(entry.usage, at) for entry, at in entries]),
    }


def _embeddings(paid: Sequence[tuple[str, Usage, float, int]]) -> dict[str, list[Any]]:
    """Columns of `journal`: calls of the embedder, whose vectors lie in their own table."""
    return {
        "digest": [""] * len(paid),
        "purpose": ["embed"] * len(paid),
        "model": [model for model, _, _, _ in paid],
        "truncated": [False] * len(paid),
        "texts": [texts for _, _, _, texts in paid],
        **_costs([(usage, at) for _, usage, at, _ in paid]),
    }


def _costs(paid: Sequence[tuple[Usage, float]]) -> dict[str, list[Any]]:
    return {
        "calls": [usage.calls for usage, _ in paid],
        "prompt_tokens": [usage.prompt_tokens for usage, _ in paid],
        "completion_tokens": [usage.completion_tokens for usage, _ in paid],
        "paid_at": [at for _, at in paid],
    }
