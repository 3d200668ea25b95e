"""Reading a workspace: from memory where that is enough, else in a transaction that sees the same revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.errors import StoreError
from stateless_rag.stores.duckdb.snapshot import DuckSnapshot, Outrun

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.gate import Gate
    from stateless_rag.stores.duckdb.revisions import Revisions
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.stores.duckdb.views import View
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["Reader"]

Result = TypeVar("Result")
_ATTEMPTS = 1000


class Reader:
    """Runs functions on snapshots. Blocks: its methods are called in the store's reading threads."""

    def __init__(
        self,
        workspace: DuckWorkspace,
        store: Store,
        revisions: Revisions,
        gate: Gate,
        catalog: Mapping[str, str],
    ) -> None:
        self._workspace = workspace
        self._store = store
        self._revisions = revisions
        self._gate = gate
        self._catalog = catalog

    def read(self, query: Callable[[DuckSnapshot], Result]) -> Result:
        """Run a function on the last revision; a transaction is begun for what is not in memory."""
        with self._gate.kept_open():
            view, has = self._revisions.last, self._has()
            with ExitStack() as held:

                def transaction() -> Cursor:
                    cursor = held.enter_context(self._store.reading())
                    if self._committed_revision(cursor) != view.revision:
                        raise Outrun
                    return cursor

                with suppress(Outrun):
                    return query(self._snapshot(transaction, view, has))
            return self._in_transaction(query)

    def read_basis(self, query: Callable[[DuckSnapshot], Result]) -> Result:
        """Run a function on the revision that a transaction, begun first, sees."""
        with self._gate.kept_open():
            return self._in_transaction(query)

    def inspect(self, look: Callable[[Cursor, View], Result]) -> Result:
        """Run a function on a transaction and the view of the revision that it sees."""
        with self._gate.kept_open():
            return self._on_view(lambda cursor, view, _: look(cursor, view))

    def select(self, statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        """Rows of one statement in a transaction of its own; none before the first write."""
        self._gate.check()
        if not self._workspace.has_tables:
            return []
        with self.transaction() as cursor:
            return cursor.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A transaction that only reads; the workspace is not closed before it ends."""
        with self._gate.kept_open(), self._store.reading() as cursor:
            yield cursor

    def _in_transaction(self, query: Callable[[DuckSnapshot], Result]) -> Result:
        return self._on_view(
            lambda cursor, view, has: query(self._snapshot(partial(_same, cursor), view, has))
        )

    def _on_view(self, query: Callable[[Cursor, View, tuple[bool, bool]], Result]) -> Result:
        for _ in range(_ATTEMPTS):
            has = self._has()
            with self._store.reading() as cursor:
                view = self._revisions.view(self._committed_revision(cursor))
                if view is not None:
                    return query(cursor, view, has)
        raise StoreError(f"workspace {self._workspace.name!r} changes faster than it can be read")

    def _committed_revision(self, cursor: Cursor) -> int:
        found = cursor.execute(self._catalog["revision"], [self._workspace.record.schema]).fetchall()
        if not found:
            raise self._gate.gone()
        revision: int = found[0][0]
        return revision

    def _has(self) -> tuple[bool, bool]:
        """Whether there are tables, and vectors; asked before a transaction begins, which then sees them too."""
        return self._workspace.has_tables, self._workspace.dimension is not None

    def _snapshot(
        self, transaction: Callable[[], Cursor], view: View, has: tuple[bool, bool]
    ) -> DuckSnapshot:
        policy = self._workspace.record.info.get("key_policy", "casefold")
        weights = self._workspace.has_weights
        return DuckSnapshot(
            transaction, self._workspace.sql, view, policy, tables=has[0], vectors=has[1], weights=weights
        )


def _same(cursor: Cursor) -> Cursor:
    return cursor
