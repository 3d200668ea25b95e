"""The ledger: what was paid, in the journal's rows.

What builds the workspace is journaled call by call. What questions cost is gathered and written together with the
next rows of the journal, a quarter of a second later at most, so that no question waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import StoreError
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.rows import append

if TYPE_CHECKING:
    from stateless_rag.protocols import Charge
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["DuckLedger"]

_DELAY = 0.25  # seconds in which charges are gathered
_MANY = 256  # charges that are not gathered any longer


class DuckLedger:
    """What one workspace has paid for. Implements `Ledger`."""

    def __init__(self, workspace: DuckWorkspace, wall: Callable[[], float]) -> None:
        self._workspace = workspace
        self._wall = wall
        self._lock = threading.Lock()
        self._charges: list[tuple[Charge, float]] = []
        self._flushing: Future[Any] | None = None

    # ---- writing ---------------------------------------------------------------------------------------

    def charge(self, charges: Sequence[Charge]) -> None:
        """Take note of what was paid and is not journaled; never waits. For the thread of an event loop."""
        if not charges:
            return
        at = self._wall()
        for charge in charges:
            self._workspace.spending.add(charge.model, charge.usage)
        with self._lock:
            begin = not self._charges
            self._charges.extend((charge, at) for charge in charges)
            many = len(self._charges) >= _MANY
        if many:
            self._flush()
        elif begin:
            asyncio.get_running_loop().call_later(_DELAY, self._flush)

    def take(self) -> Callable[[Cursor], None]:
        """Take what was gathered; gives what writes it, in whatever transaction is open then."""
        with self._lock:
            charges, self._charges = self._charges, []
        told = list(charges)

        def write(cursor: Cursor) -> None:
            if charges:
                self._workspace.ensure_tables(cursor)
                append(cursor, f"{self._workspace.schema}.journal", _columns(charges))
            while told:  # once, also if the transaction is carried out again
                charge, _ = told.pop()
                self._workspace.spending.written(charge.model, charge.usage)

        return write

    def _flush(self) -> None:
        """Queue a write, if anything is left to be written: a workspace that closes has written it itself."""
        if self._charges:
            with suppress(StoreError):
                self._workspace.check()
                self._flushing = self._workspace.write(Write(self.take()))

    # ---- reading ---------------------------------------------------------------------------------------

    async def costs(
        self, by: Collection[str] = (), *, since: float | None = None, until: float | None = None
    ) -> Sequence[tuple[Any, ...]]:
        """Model, purpose, document, query, day (None but for those in `by`), calls, prompt and completion tokens and
        embedded texts, summed up, of what was paid from `since` and before `until` (seconds since 1970).
        """
        return [row[:-1] for row in await self.batched_costs(by, since=since, until=until)]

    async def batched_costs(
        self, by: Collection[str] = (), *, since: float | None = None, until: float | None = None
    ) -> Sequence[tuple[Any, ...]]:
        """As `costs`, with the batch that it was paid in at the end of each row; None if that was none."""
        if self._charges:
            await settled(self._workspace.write(Write(self.take())))
        elif (flushing := self._flushing) is not None and not flushing.done():
            await settled(flushing)
        wanted = [name in by for name in ("purpose", "document", "query", "day")]
        return await self._select("ledger", *wanted, since, until)

    def all_paid(self, cursor: Cursor) -> Sequence[tuple[Any, ...]]:
        """What `batched_costs` gives by day and batch, but for what was not written yet; for the lane."""
        if not self._workspace.has_tables:
            return []
        wanted = [False, False, False, True, None, None]
        return cursor.execute(self._workspace.sql["ledger"], wanted).fetchall()

    async def paid(self, models: Collection[str]) -> Sequence[tuple[str, str, int, int, int]]:
        """Purpose, model, calls, prompt tokens and completion tokens of what models were paid for."""
        return await self._select("paid_by_model", list(models))

    async def replies(self, model: str, limit: int) -> Sequence[tuple[str, int]]:
        """The newest replies of a model that are kept, with the tokens that its provider counted."""
        return await self._select("newest_replies", model, limit)

    async def extracted(self, generation: str) -> tuple[int, int]:
        """How many chunks of a generation there are, and their tokens."""
        found = await self._select("extracted_tokens", generation)
        return (int(found[0][0]), int(found[0][1])) if found else (0, 0)

    async def _select(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        workspace = self._workspace
        found: list[tuple[Any, ...]] = await settled(
            workspace.in_reader(lambda: workspace.select(statement, *parameters))
        )
        return found


def _columns(charges: Sequence[tuple[Charge, float]]) -> Mapping[str, list[Any]]:
    return {
        "digest": [""] * len(charges),
        "purpose": [charge.purpose for charge, _ in charges],
        "model": [charge.model for charge, _ in charges],
        "truncated": [False] * len(charges),
        "calls": [charge.usage.calls for charge, _ in charges],
        "prompt_tokens": [charge.usage.prompt_tokens for charge, _ in charges],
        "completion_tokens": [charge.usage.completion_tokens for charge, _ in charges],
        "paid_at": [at for _, at in charges],
        "query": [charge.query for charge, _ in charges],
        "texts": [charge.texts for charge, _ in charges],
        "document": [charge.document for charge, _ in charges],
    }
