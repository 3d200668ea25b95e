"""The journal: what was paid for is durable before it counts as returned.

Entries that arrive while a write is under way are flushed together by the next one; look-ups are gathered in
the same way. Vectors are kept under the digest of their text, once, for the journal and for search alike.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import StoreError, WorkspaceMismatch
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


class DuckJournal:
    """Implements `Journal` for one workspace."""

    def __init__(self, workspace: DuckWorkspace, wall: Callable[[], float]) -> None:
        self._workspace = workspace
        self._wall = wall
        self._lock = threading.Lock()
        self._entries: list[tuple[JournalEntry, float]] = []
        self._flush: Future[Any] | None = None
        self._wanted: dict[str, Future[LLMReply | None]] = {}
        self._looking = False
        # Hashes of the digests of all replies, once one was asked for: most that are asked for are new.
        self._known: set[int] = set()
        self._learned = False
        self.flights = Flights()

    # ---- replies ---------------------------------------------------------------------------------------

    async def put(self, entry: JournalEntry) -> None:
        await settled(self._append(entry))

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

    def _append(self, entry: JournalEntry) -> Future[Any]:
        with self._lock:
            batch, begun = self._entries, self._flush
            flush = begun or self._workspace.write(
                Write(lambda cursor: self._write(cursor, batch), lambda _: self._written(batch))
            )
            self._flush = flush
            batch.append((entry, self._wall()))
        if begun is None:  # also if the write comes to nothing before it has begun
            flush.add_done_callback(lambda _: self._close(batch))
        return flush

    def _close(self, batch: list[tuple[JournalEntry, float]]) -> None:
        """From here on entries go to another batch."""
        with self._lock:
            if self._entries is batch:
                self._entries = []
                self._flush = None

    def _written(self, batch: list[tuple[JournalEntry, float]]) -> None:
        with self._lock:
            self._known.update(hash(entry.digest) for entry, _ in batch)

    def _write(self, cursor: Cursor, batch: list[tuple[JournalEntry, float]]) -> None:
        self._close(batch)
        self._workspace.ensure_tables(cursor)
        entries = [entry for entry, _ in batch]
        append(
            cursor,
            f"{self._workspace.schema}.journal",
            {
                "digest": [entry.digest for entry in entries],
                "purpose": [entry.purpose for entry in entries],
                "model": [entry.model for entry in entries],
                "reply": [entry.reply.text for entry in entries],
                "truncated": [entry.reply.truncated for entry in entries],
                "calls": [entry.usage.calls for entry in entries],
                "prompt_tokens": [entry.usage.prompt_tokens for entry in entries],
                "completion_tokens": [entry.usage.completion_tokens for entry in entries],
                "paid_at": [at for _, at in batch],
            },
        )

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
            raise WorkspaceMismatch(
                f"workspace {self._workspace.name!r} holds vectors of {self._workspace.dimension} dimensions, "
                f"the embedder {model!r} made {dimension}; open the workspace with the embedder it was made with"
            )
        await settled(
            self._workspace.write(
                Write(lambda cursor: self._write_vectors(cursor, vectors, entry_usage, model))
            )
        )

    def _write_vectors(
        self, cursor: Cursor, vectors: Mapping[str, Vectors], usage: Usage, model: str
    ) -> None:
        self._workspace.ensure_tables(cursor)
        self._workspace.ensure_vectors(cursor, len(next(iter(vectors.values()))))
        self._workspace.add_vectors(cursor, vectors)
        append(
            cursor,
            f"{self._workspace.schema}.journal",
            {
                "digest": [""],
                "purpose": ["embed"],
                "model": [model],
                "truncated": [False],
                "calls": [usage.calls],
                "prompt_tokens": [usage.prompt_tokens],
                "completion_tokens": [usage.completion_tokens],
                "paid_at": [self._wall()],
            },
        )
