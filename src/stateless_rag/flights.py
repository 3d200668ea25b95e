"""Single flight: among those who want the same thing at the same time, one leads and the others wait.

Works across event loops and threads, without a lock: every step that must be indivisible is one operation of
a dict, a set or a list, so it may also happen while the collector of cycles closes a coroutine.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["Flights"]


class Flights:
    """The flights of one journal that are under way, by digest.

    Leading promises nothing about the outcome: whoever waited looks in the journal, and leads in turn if
    nothing is there because the leader failed or was cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}
        self._calls: set[object] = set()

    @contextmanager
    def lead(self, digests: Iterable[str]) -> Iterator[set[str]]:
        """Lead those of the digests that nobody leads, without waiting, until the block ends.

        Gives the digests that are led; `land` some of them and take them out of the set to end them early.
        Wait for others only after the block, else two callers may wait for each other.
        """
        led: set[str] = set()
        flight = _Flight()
        try:
            for digest in digests:
                if self._flights.setdefault(digest, flight) is flight:
                    led.add(digest)
            yield led
        finally:
            self.land(led)

    def land(self, led: set[str], digests: Iterable[str] | None = None) -> None:
        """End those of the `led` flights that are named (all of them by default), and wake who waits."""
        landed = led.copy() if digests is None else led.intersection(digests)
        led -= landed
        for flight in {self._flights.pop(digest) for digest in landed}:
            flight.wake(landed)

    async def wait(self, digest: str) -> None:
        """Return when nobody leads the digest, at once if that is so now."""
        flight = self._flights.get(digest)
        if flight is None:
            return
        future = flight.waiter(digest)
        # May have landed between being found and the note of who waits, with nobody left to wake us.
        if self._flights.get(digest) is flight:
            await future

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call of a provider is under way, until the block ends: what it brings may come at any moment."""
        call = object()
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return len(self._calls)

    def __len__(self) -> int:
        return len(self._flights)


class _Flight:
    """What one caller leads, and who waits for some of it: one for all of its digests, of which there are many."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[tuple[str, asyncio.Future[None]]] = []

    def waiter(self, digest: str) -> asyncio.Future[None]:
        """What to await until the digest has landed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((digest, future))
        return future

    def wake(self, landed: AbstractSet[str]) -> None:
        """Wake who waits for one of the digests; the others stay, and so do those that were woken before."""
        for digest, future in self._waiters[:]:
            if digest in landed:
                with suppress(RuntimeError):  # the waiter's loop was closed
                    future.get_loop().call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
