"""Whether a workspace is still there for who wants to work on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stateless_rag.errors import StoreClosed, StoreError

__all__ = ["Gate"]


class Gate:
    """Lets work in until the workspace is dropped or closed; closing waits for reads that have begun."""

    def __init__(self, name: str) -> None:
        self.dropped = False
        self._name = name
        self._closed = False
        self._reads = 0
        self._then: list[Callable[[], None]] = []
        self._changed = threading.Condition()

    def check(self) -> None:
        """Raise StoreError if the workspace was dropped, StoreClosed if it was closed."""
        if self.dropped:
            raise self.gone()
        if self._closed:
            raise StoreClosed(f"workspace {self._name!r} was closed by all that used it; open it again")

    def gone(self) -> StoreError:
        """The error that tells of a dropped workspace."""
        return StoreError(f"workspace {self._name!r} was dropped; open an engine on a new one")

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """A read, with transactions or without: closing waits for its end. Not to be nested."""
        with self._changed:
            self.check()
            self._reads += 1
        try:
            yield
        finally:
            with self._changed:
                self._reads -= 1
                self._changed.notify_all()
                then: list[Callable[[], None]] = []
                if not self._reads:
                    then, self._then = self._then, then
            for function in then:
                function()

    def when_idle(self, function: Callable[[], None]) -> None:
        """Call the function once no read is under way: here, or in the thread that ends the last one."""
        with self._changed:
            if self._reads:
                self._then.append(function)
                return
        function()

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._changed:
            self._closed = True

    def wait(self) -> None:
        """Return when no read is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._reads)
