"""Batches of requests that a provider holds: what was asked, durable before it is handed over.

The texts of requests are not kept here, only under which digests of the journal the replies belong, and for which
documents. A table is made with the first batch.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.flights import Flights
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.rows import append

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateless_rag.protocols import JournalEntry
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import BatchStatus

__all__ = ["BatchRecord", "DuckBatches", "Held"]

_ALONE = "batches"

Stage = Literal["prepared", "submitted", "collected", "done"]


@dataclass(frozen=True, slots=True)
class Held:
    """One request of a batch: what it is for, for which documents, and how many bytes it has."""

    purpose: str
    documents: tuple[str, ...]
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A row of `batches`. `holds` are the requests by digest that are still to be answered.

    `stage` is "prepared" before it is known to be at the provider, "submitted" after that, "collected" when its
    replies are in the journal, and "done" when its files are gone, too.
    """

    name: str
    provider: str | None = None
    model: str
    stage: Stage = "prepared"
    status: BatchStatus = "prepared"
    requests: int
    done: int = 0
    replies: int = 0
    error: str | None = None
    made_at: float
    holds: Mapping[str, Held] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether replies may still come."""
        return self.stage in ("prepared", "submitted")

    @property
    def documents(self) -> set[str]:
        """The documents that its requests are for."""
        return {id_ for held in self.holds.values() for id_ in held.documents}


class DuckBatches:
    """The batches of one workspace. `hold` is told which documents wait for one, whenever that changes."""

    def __init__(self, workspace: DuckWorkspace, hold: Callable[[Collection[str]], None]) -> None:
        self._workspace = workspace
        self._hold = hold
        self._flights = Flights()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep others, on whatever event loop, from submitting and collecting meanwhile."""
        while True:
            with self._flights.lead((_ALONE,)) as led:
                if led:
                    yield
                    return
            await self._flights.wait(_ALONE)

    def load(self, cursor: Cursor, *, exists: bool) -> None:
        """Find out which documents wait for a batch."""
        if exists:
            self._hold(_waiting(_records(cursor.execute(self._workspace.sql["batches"]).fetchall())))

    async def all(self) -> list[BatchRecord]:
        """All batches there have been, oldest first."""
        if not self._workspace.has_batches:
            return []
        rows = await settled(self._workspace.in_reader(lambda: self._workspace.select("batches")))
        return list(_records(rows))

    async def refresh(self) -> None:
        """Find out anew which documents wait, after the table was changed by other hands."""
        self._hold(_waiting(await self.all()))

    async def add(self, record: BatchRecord) -> None:
        """Keep a batch that is about to be submitted."""

        def apply(cursor: Cursor) -> set[str]:
            self._workspace.ensure_tables(cursor)
            self._workspace.ensure_batches(cursor)
            append(cursor, f"{self._workspace.schema}.batches", _columns(record))
            return self._held(cursor)

        await self._write(apply)

    async def change(self, record: BatchRecord, **changes: Any) -> BatchRecord:
        """Note how far a batch is. Once it is no longer open, what it held is forgotten."""
        changed = replace(record, **changes)
        if not changed.is_open:
            changed = replace(changed, holds={})

        def apply(cursor: Cursor) -> set[str] | None:
            values = [getattr(changed, name) for name in ("provider", "stage", "status", "done", "replies")]
            sql = self._workspace.sql
            cursor.execute(sql["change_batch"], [*values, changed.error, changed.name]).fetchall()
            if changed.is_open == record.is_open:
                return None
            cursor.execute(sql["hold_in_batch"], ["{}", changed.name]).fetchall()
            return self._held(cursor)

        await self._write(apply)
        return changed

    async def remove(self, record: BatchRecord) -> None:
        """Forget a batch that never was at the provider."""

        def apply(cursor: Cursor) -> set[str]:
            cursor.execute(self._workspace.sql["remove_batch"], [record.name]).fetchall()
            return self._held(cursor)

        await self._write(apply)

    async def share(self, documents: Mapping[str, Collection[str]]) -> None:
        """Note that further documents wait for requests, by digest, that open batches hold."""

        def apply(cursor: Cursor) -> set[str]:
            for record in _records(cursor.execute(self._workspace.sql["batches"]).fetchall()):
                more = documents.keys() & record.holds.keys()
                if more and record.is_open:
                    told = json.dumps(_told(_with(record.holds, documents, more)), ensure_ascii=False)
                    cursor.execute(self._workspace.sql["hold_in_batch"], [told, record.name]).fetchall()
            return self._held(cursor)

        if documents:
            await self._write(apply)

    async def paid(self, record: BatchRecord) -> dict[str, bool]:
        """The digests of the requests of a batch that are in the ledger already, and whether with a reply."""
        rows = await settled(
            self._workspace.in_reader(lambda: self._workspace.select("batch_answered", record.name))
        )
        return dict(rows)

    async def charge(self, entries: Sequence[JournalEntry], at: float) -> None:
        """Keep what replies cost that are there already or of no use, not the replies."""
        for entry in entries:
            self._workspace.spending.add(entry.model, entry.usage, batch=entry.batch is not None)
        if entries:
            table = f"{self._workspace.schema}.journal"
            columns = _charges(entries, at)

            def written(_: object) -> None:
                for entry in entries:
                    self._workspace.spending.written(entry.model, entry.usage, batch=entry.batch is not None)

            write = Write(lambda cursor: append(cursor, table, columns), written)
            await settled(self._workspace.write(write))

    def erase(self, cursor: Cursor, ids: Collection[str]) -> None:
        """Forget, in the transaction that is open, what batches hold for documents: replies are not kept then."""
        if not self._workspace.has_batches:
            return
        gone = set(ids)
        for record in _records(cursor.execute(self._workspace.sql["batches"]).fetchall()):
            if not gone.isdisjoint(record.documents):
                told = json.dumps(_told(_without(record.holds, gone)), ensure_ascii=False)
                cursor.execute(self._workspace.sql["hold_in_batch"], [told, record.name]).fetchall()

    def _held(self, cursor: Cursor) -> set[str]:
        return _waiting(_records(cursor.execute(self._workspace.sql["batches"]).fetchall()))

    async def _write(self, apply: Callable[[Cursor], set[str] | None]) -> None:
        await settled(self._workspace.write(Write(apply, self._committed)))

    def _committed(self, waiting: set[str] | None) -> None:
        if waiting is not None:
            self._hold(waiting)


def _waiting(records: Iterable[BatchRecord]) -> set[str]:
    return {id_ for record in records if record.is_open for id_ in record.documents}


def _without(holds: Mapping[str, Held], gone: set[str]) -> dict[str, Held]:
    left = {}
    for digest, held in holds.items():
        documents = tuple(id_ for id_ in held.documents if id_ not in gone)
        if documents:
            left[digest] = replace(held, documents=documents)
    return left


def _with(
    holds: Mapping[str, Held], documents: Mapping[str, Collection[str]], more: Collection[str]
) -> dict[str, Held]:
    joined = {
        digest: replace(
            holds[digest],
            documents=tuple(dict.fromkeys((*holds[digest].documents, *sorted(documents[digest])))),
        )
        for digest in more
    }
    return {**holds, **joined}


def _records(rows: Iterable[Sequence[Any]]) -> list[BatchRecord]:
    return [
        BatchRecord(
            name=row[0],
            provider=row[1],
            model=row[2],
            stage=row[3],
            status=row[4],
            requests=row[5],
            done=row[6],
            replies=row[7],
            error=row[8],
            made_at=row[9],
            holds={
                digest: Held(purpose, tuple(documents), size)
                for digest, (purpose, documents, size) in json.loads(row[10]).items()
            },
        )
        for row in rows
    ]


def _told(holds: Mapping[str, Held]) -> dict[str, Any]:
    return {digest: [held.purpose, held.documents, held.bytes] for digest, held in holds.items()}


def _columns(record: BatchRecord) -> dict[str, list[Any]]:
    return {
        "name": [record.name],
        "provider": [record.provider],
        "model": [record.model],
        "stage": [record.stage],
        "status": [record.status],
        "requests": [record.requests],
        "done": [record.done],
        "replies": [record.replies],
        "error": [record.error],
        "made_at": [record.made_at],
        "holds": [json.dumps(_told(record.holds), ensure_ascii=False)],
    }


def _charges(entries: Sequence[JournalEntry], at: float) -> dict[str, list[Any]]:
    """Columns of `journal`: rows with a digest, for `answered`, and without a reply."""
    return {
        "digest": [entry.digest for entry in entries],
        "purpose": [entry.purpose for entry in entries],
        "model": [entry.model for entry in entries],
        "truncated": [False] * len(entries),
        "calls": [entry.usage.calls for entry in entries],
        "prompt_tokens": [entry.usage.prompt_tokens for entry in entries],
        "completion_tokens": [entry.usage.completion_tokens for entry in entries],
        "paid_at": [at] * len(entries),
        "document": [entry.document for entry in entries],
        "batch": [entry.batch for entry in entries],
    }
