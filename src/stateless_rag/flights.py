"""Single flight: among those who want the same thing at the same time, one leads and the others wait.

Works across event loops and threads, without a lock: every step that must be indivisible is one operation of
a dict or a deque, so it may also happen while the collector of cycles closes a coroutine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Flights"]


class Flights:
    """The flights of one journal that are under way, by digest.

    Leading promises nothing about the outcome: whoever waited looks in the journal, and leads in turn if
    nothing is there because the leader failed or was cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    @contextmanager
    def lead(self, digests: Iterable[str]) -> Iterator[set[str]]:
        """Lead those of the digests that nobody leads, without waiting, until the block ends.

        Gives the digests that are led; `land` some of them and take them out of the set to end them early.
        Wait for others only after the block, else two callers may wait for each other.
        """
        led: set[str] = set()
        try:
            for digest in digests:
                flight = _Flight()
                if self._flights.setdefault(digest, flight) is flight:
                    led.add(digest)
            yield led
        finally:
            self.land(led)

    def land(self, led: set[str], digests: Iterable[str] | None = None) -> None:
        """End those of the `led` flights that are named (all of them by default), and wake who waits."""
        for digest in [digest for digest in (led if digests is None else digests) if digest in led]:
            led.discard(digest)
            self._land(digest)

    async def wait(self, digest: str) -> None:
        """Return when nobody leads the digest, at once if that is so now."""
        flight = self._flights.get(digest)
        if flight is not None:
            await flight.wait()

    def __len__(self) -> int:
        return len(self._flights)

    def _land(self, digest: str) -> None:
        self._flights.pop(digest).land()


class _Flight:
    __slots__ = ("_landed", "_waiters")

    def __init__(self) -> None:
        self._landed = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        if self._landed:  # may have landed between being found and the append, with nobody left to wake us
            return
        await future

    def land(self) -> None:
        self._landed = True
        while self._waiters:
            future = self._waiters.popleft()
            with suppress(RuntimeError):  # the waiter's loop was closed
                future.get_loop().call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
