"""The lane of writes when no thread can be had for it."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any, NoReturn

import pytest

from stateless_rag.errors import StoreClosed
from stateless_rag.stores.duckdb.database import Database, Write


class ShutDown(Executor):
    """Refuses work, and while it does so somebody else queues a write."""

    def __init__(self) -> None:
        self.database: Database
        self.late: Future[Any] | None = None

    def submit(self, *_: Any, **__: Any) -> NoReturn:
        if self.late is None:
            self.late = self.database.submit(Write(lambda _: None))
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_a_write_queued_while_the_lane_ends_is_told() -> None:
    executor = ShutDown()
    executor.database = database = Database(lambda: NotImplemented, lambda _: None, executor, "root")
    for _ in range(2):
        with pytest.raises(StoreClosed):
            database.submit(Write(lambda _: None))
    assert executor.late is not None
    with pytest.raises(StoreClosed):
        executor.late.result(0)
