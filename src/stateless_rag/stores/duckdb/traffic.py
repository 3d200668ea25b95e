"""Counts who uses a DuckDB instance, and gives moments in which nobody does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Traffic"]


class Traffic:
    """Any thread may use it. Whoever uses the instance within a use of its own is counted twice."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._halted = False

    @contextmanager
    def using(self) -> Iterator[None]:
        """Use the instance; a halt that has begun is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: not self._halted)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextmanager
    def halted(self, patience: float) -> Iterator[bool]:
        """Keep everybody out; tells whether that succeeded within `patience` seconds. Else nobody is kept out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._halted)
            self._halted = True
            alone = self._changed.wait_for(lambda: not self._users, patience)
            if not alone:
                self._resume()
        try:
            yield alone
        finally:
            if alone:
                with self._changed:
                    self._resume()

    def _resume(self) -> None:
        self._halted = False
        self._changed.notify_all()
