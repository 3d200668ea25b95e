"""What a workspace has paid for, by model: read from the ledger once somebody needs it, and counted from then on."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["DuckSpending"]

_DAY = 86_400.0
Counter = dict[tuple[str, bool], Usage]
"""What was paid, by model and by whether it was in a batch file."""


class DuckSpending:
    """Implements `Spending` for one workspace; all engines on it count here."""

    def __init__(self, workspace: DuckWorkspace, wall: Callable[[], float]) -> None:
        self._workspace = workspace
        self._wall = wall
        self._lock = threading.Lock()
        self._loaded = False
        self._waiting: Counter = {}
        self._day = ""
        self._ever: Counter = {}
        self._today: Counter = {}

    @property
    def recorded(self) -> Mapping[str, Any] | None:
        """The budget that is recorded with the workspace."""
        recorded: Mapping[str, Any] | None = self._workspace.record.info.get("budget")
        return recorded

    def now(self) -> float:
        """The time by which the ledger is written."""
        return self._wall()

    def tomorrow(self) -> float:
        """The next midnight of UTC."""
        return (math.floor(self._wall() / _DAY) + 1) * _DAY

    async def load(self) -> None:
        """Read the ledger, unless that was done."""
        if not self._loaded:
            # In the lane, so that nothing is written between what is read and what counts as not written yet.
            await settled(self._workspace.write(Write(self._read, alone=True)))

    def _read(self, cursor: Cursor) -> None:
        rows = self._workspace.ledger.all_paid(cursor)
        with self._lock:
            if self._loaded:  # by another loop
                return
            self._turn()
            for model, _, _, _, day, calls, asked, said, _, batch in rows:
                used, key = Usage(calls, asked, said), (model, batch is not None)
                _add(self._ever, key, used)
                if day == self._day:
                    _add(self._today, key, used)
            for key, used in self._waiting.items():
                _add(self._ever, key, used)
                _add(self._today, key, used)
            self._waiting = {}
            self._loaded = True

    def add(self, model: str, usage: Usage, *, batch: bool = False) -> None:
        """Count calls that will go into the ledger: before they are written, and `written` is told of them then."""
        if not usage.calls:
            return
        with self._lock:
            if self._loaded:
                self._turn()
                _add(self._ever, (model, batch), usage)
                _add(self._today, (model, batch), usage)
            else:
                _add(self._waiting, (model, batch), usage)

    def written(self, model: str, usage: Usage, *, batch: bool = False) -> None:
        """Take note that calls are in the ledger now; told by the writer."""
        if not usage.calls:
            return
        with self._lock:
            if not self._loaded:
                less = Usage(-usage.calls, -usage.prompt_tokens, -usage.completion_tokens)
                _add(self._waiting, (model, batch), less)

    def spent(self, *, today: bool) -> Mapping[tuple[str, bool], Usage]:
        """What was paid by model, in batch files and otherwise, ever or today."""
        with self._lock:
            self._turn()
            return dict(self._today if today else self._ever)

    def _turn(self) -> None:
        """Begin a new day, if it is one."""
        day = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%d")
        if day != self._day:
            self._day, self._today = day, {}


def _add(counter: Counter, key: tuple[str, bool], used: Usage) -> None:
    counter[key] = counter.get(key, Usage()) + used
