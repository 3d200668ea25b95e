"""One DuckDB file: readers with a transaction each, and one lane through which all writes go."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import duckdb

from stateless_rag.errors import StoreClosed, StoreError

__all__ = ["Database", "Write", "store_error"]

Cursor = duckdb.DuckDBPyConnection
# A failed write of the log comes as an error of the transaction.
_FAILED_WRITE = re.compile("Could not write|No space|File too large|Read-only", re.IGNORECASE)

_RELIEVED = 4  # transactions: asking how much memory is held takes a third of a millisecond


def store_error(error: duckdb.Error, doing: str) -> StoreError:
    """A driver's error as ours."""
    hint = ""
    text = str(error)
    if isinstance(error, duckdb.IOException) or _FAILED_WRITE.search(text):
        hint = "; is the disk full or read-only? What was committed before is safe"
    elif isinstance(error, duckdb.FatalException) or "invalidated" in text:
        hint = "; close the store and open it again: it recovers to the last commit"
    elif isinstance(error, duckdb.ConnectionException):
        return StoreClosed(f"the store is closed ({doing})")
    return StoreError(f"{doing} failed: {text.splitlines()[0] if text else error!r}{hint}")


@dataclass(eq=False)
class Write:
    """A write in the lane.

    `apply` runs inside a transaction and may run again in another one if the first is rolled back. It may refuse
    by raising one of our errors before it has executed a statement that changes anything. `committed` runs after
    the commit, still in the lane; `abandoned` after a rollback. `alone` keeps others out of the transaction.
    `patience`: so many seconds it may wait for others to share its transaction, if nothing else is to be written.
    """

    apply: Callable[[Cursor], Any]
    committed: Callable[[Any], None] | None = None
    abandoned: Callable[[], None] | None = None
    alone: bool = False
    patience: float = 0.0
    future: Future[Any] = field(default_factory=Future)


class Database:
    """An attached database file. Writes are carried out one after the other, in the order in which they come;
    those that wait while one is carried out share the next transaction (group commit).
    """

    def __init__(
        self,
        cursors: Callable[[], Cursor],
        give_back: Callable[[Cursor], None],
        executor: Executor,
        alias: str,
        using: Callable[[], AbstractContextManager[None]] = nullcontext,
        relieve: Callable[[], None] = lambda: None,
    ) -> None:
        """`using` is entered for each transaction, `relieve` called now and then between two of them."""
        self.alias = alias
        self._using = using
        self._relieve = relieve
        self._carried = 0
        self._cursors = cursors
        self._give_back = give_back
        self._executor = executor
        self._lock = threading.Lock()
        self._queue: list[Write] = []
        self._hurry = threading.Event()
        self._running = False
        self._cursor: Cursor | None = None

    @property
    def quoted(self) -> str:
        """The database's name for use in SQL."""
        return f'"{self.alias}"'

    def submit(self, write: Write) -> Future[Any]:
        """Queue a write; its future tells the value that `apply` returned, once it is durable."""
        with self._lock:
            self._queue.append(write)
            if not write.patience:
                self.hurry()
            start = not self._running
            self._running = True
        if start:
            try:
                self._executor.submit(self._drain)
            except RuntimeError as error:
                with self._lock:
                    self._running = False
                    refused, self._queue = self._queue, []
                for other in refused:  # that came meanwhile, and count on this thread
                    if other is not write:
                        _settle(other.future, error=StoreClosed("the store is closed"))
                raise StoreClosed("the store is closed") from error
        return write.future

    def hurry(self) -> None:
        """Let no write be patient that waits now."""
        self._hurry.set()

    def run(self, apply: Callable[[Cursor], Any]) -> Any:
        """Carry out a write and wait for it; for threads of the store's own and for closing."""
        return self.submit(Write(apply)).result()

    def relieve(self) -> None:
        """Let go of what is kept in memory without need; not to be called within a transaction."""
        self._relieve()

    def close(self) -> None:
        """Give the writer's connection back; call it when nothing is queued."""
        if self._cursor is not None:
            self._give_back(self._cursor)
            self._cursor = None

    def _drain(self) -> None:
        while True:
            with self._lock:
                patience = min((write.patience for write in self._queue), default=0.0)
            self._hurry.wait(patience)
            with self._lock:
                self._hurry.clear()
                batch, self._queue = self._queue, []
                if not batch:
                    self._running = False
                    return
            for group in _groups(batch):
                self._carry_out(group)
                self._carried += 1
                if self._carried % _RELIEVED == 0:
                    self.relieve()

    def _carry_out(self, group: list[Write]) -> None:
        try:
            results = self._transaction(group)
        except Exception as error:  # noqa: BLE001 -- the lane goes on whatever happens; who waits is told
            failure = self._abandon(group) or error
            if len(group) > 1:
                for write in group:
                    self._carry_out([write])
                return
            _settle(group[0].future, error=_ours(failure))
            return
        for write, result in zip(group, results, strict=True):
            try:
                if write.committed is not None:
                    write.committed(result)
            except Exception as error:  # noqa: BLE001 -- as above
                _settle(write.future, error=_ours(error))
            else:
                _settle(write.future, result=result)

    @staticmethod
    def _abandon(group: list[Write]) -> Exception | None:
        """Tell the writes that they were rolled back; the error of one that could not cope with it."""
        failure = None
        for write in group:
            try:
                if write.abandoned is not None:
                    write.abandoned()
            except Exception as error:  # noqa: BLE001 -- as above
                failure = error
        return failure

    def _transaction(self, group: list[Write]) -> list[Any]:
        with self._using():
            return self._carried_out(group)

    def _carried_out(self, group: list[Write]) -> list[Any]:
        if self._cursor is None:
            self._cursor = self._cursors()
        cursor = self._cursor
        cursor.begin()
        try:
            results = [write.apply(cursor) for write in group]
            cursor.commit()
        except BaseException:
            # After a failed statement COMMIT would report success having rolled back.
            _rollback(cursor)
            raise
        return results


@contextmanager
def reading(cursor: Cursor) -> Iterator[Cursor]:
    """A transaction that only reads."""
    cursor.begin()
    try:
        yield cursor
    finally:
        _rollback(cursor)


def _rollback(cursor: Cursor) -> None:
    try:
        cursor.rollback()
    except duckdb.Error:
        # The failed COMMIT has ended the transaction already.
        return


def _groups(batch: list[Write]) -> Iterator[list[Write]]:
    group: list[Write] = []
    for write in batch:
        if write.alone:
            if group:
                yield group
            yield [write]
            group = []
        else:
            group.append(write)
    if group:
        yield group


def _ours(error: Exception) -> Exception:
    if not isinstance(error, duckdb.Error):
        return error
    ours = store_error(error, "writing to the store")
    ours.__cause__ = error
    return ours


def _settle(future: Future[Any], *, result: Any = None, error: BaseException | None = None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
