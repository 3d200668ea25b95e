"""Limits: how many calls of each kind of provider may run at once, for any number of engines together.

Waiting is a queue for each priority; a query's calls go ahead of ingestion's. Inside a queue the workspaces
that wait take turns (round robin), and inside a workspace the first to come is the first to go.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from contextlib import AbstractAsyncContextManager
from enum import Enum, IntEnum
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Literal

from stateless_rag.checks import whole
from stateless_rag.errors import DeadlineExceeded, InvalidInput, Overloaded
from stateless_rag.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateless_rag.right_of_way import RightOfWay

__all__ = ["Kind", "Limits", "Priority"]

Kind = Literal["llm", "embedder", "reranker"]

_SHORTEST_RETRY = 0.1
_LONGEST_RETRY = 60.0
_UNMEASURED_RETRY = 1.0
_SMOOTHING = 0.2
_IN_A_ROW = 8  # queries that go ahead of ingestion before one of its calls has its turn


class Priority(IntEnum):
    """Who goes first. All that wait for a query go ahead of all that wait for ingestion, up to eight in a row: a crowd
    that asks without end must not keep documents from ever being taken in.

    Summaries wait with the chunks: going ahead, they would make commits smaller and cost a third more calls.
    """

    QUERY = 0
    INGEST = 1


class Limits:
    """Bounds the calls per kind of provider: `llm`, `embedder` and `reranker` calls at once.

    Instances may be shared by engines on any number of event loops and threads; the bounds then hold for all
    of them together. At most `queue` ingestion calls wait in each workspace, and at most `queue` query calls
    in all; more raise `Overloaded`. `clock` (seconds) measures how fast slots come free.

    Raises `InvalidInput` for a bound below 1.
    """

    def __init__(
        self,
        *,
        llm: int = 16,
        embedder: int = 8,
        reranker: int = 4,
        queue: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        bounds = {"llm": llm, "embedder": embedder, "reranker": reranker, "queue": queue}
        for name, value in bounds.items():
            whole(name, value, least=1)
        self._turns = Turns()
        self._pools = MappingProxyType(
            {
                "llm": _Pool("llm", llm, queue, clock),
                "embedder": _Pool("embedder", embedder, queue, clock),
                "reranker": _Pool("reranker", reranker, queue, clock),
            }
        )

    def slot(
        self,
        kind: Kind,
        *,
        workspace: str,
        priority: Priority,
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> AbstractAsyncContextManager[None]:
        """Hold one slot for the length of an `async with`; waits until it is this caller's turn.

        With a slot free and nobody waiting, entering does not suspend. `deadline` is a reading of `clock`.
        Raises `DeadlineExceeded` if it passes before the slot is granted, `Overloaded` if the queue is full.
        """
        return _Slot(self._pool(kind), _Ticket(workspace, priority), deadline, clock)

    async def turn(self, priority: Priority, way: RightOfWay) -> None:
        """Wait until the event loop has time for the next step of this kind of work.

        A query's steps never wait. Those of ingestion, of all workspaces together, go one in each round of the loop:
        however many replies come in at once, what else runs on it is not held up for longer than a step takes.
        """
        if priority is not Priority.QUERY:
            await self._turns.take(way)

    def in_use(self, kind: Kind) -> int:
        """How many slots are held now."""
        return self._pool(kind).in_use

    def waiting(self, kind: Kind) -> int:
        """How many callers wait for a slot now."""
        return self._pool(kind).waiting

    def capacity(self, kind: Kind) -> int:
        """How many slots there are."""
        return self._pool(kind).capacity

    def _pool(self, kind: Kind) -> _Pool:
        pool = self._pools.get(kind)
        if pool is None:
            raise InvalidInput(f"No limit is called {kind!r}; there are {', '.join(self._pools)}.")
        return pool


class _State(Enum):
    NEW = "new"
    WAITING = "waiting"
    HOLDING = "holding"
    GONE = "gone"


class _Ticket:
    """One caller's claim. `future` is true when a slot was granted, false when the deadline passed."""

    __slots__ = ("future", "loop", "priority", "state", "thread", "workspace")

    def __init__(self, workspace: str, priority: Priority) -> None:
        self.workspace = workspace
        self.priority = priority
        self.state = _State.NEW
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.future: asyncio.Future[bool] | None = None

    def grant(self) -> None:
        """Tell whoever waits, from any thread. Raises RuntimeError if the loop was closed."""
        if self.thread == threading.get_ident():
            self.wake(True)  # a round of the loop earlier, in which a slot would be idle
        else:
            self.loop.call_soon_threadsafe(self.wake, True)

    def wake(self, granted: bool) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(granted)


class _Slot(AbstractAsyncContextManager[None]):
    def __init__(
        self, pool: _Pool, ticket: _Ticket, deadline: float | None, clock: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._ticket = ticket
        self._deadline = deadline
        self._clock = clock

    async def __aenter__(self) -> None:
        left = None if self._deadline is None else self._deadline - self._clock()
        if left is not None and left <= 0:
            raise DeadlineExceeded(f"The deadline passed before a call of the {self._pool.kind} was begun.")
        future = self._pool.enter(self._ticket)
        if future is None:
            return
        timer = None if left is None else self._ticket.loop.call_later(left, self._ticket.wake, False)
        granted = False
        try:
            granted = await future
        finally:
            if timer is not None:
                timer.cancel()
            if not granted:  # also when cancelled: a slot granted meanwhile goes to the next
                self._pool.leave(self._ticket)
        if not granted:
            raise DeadlineExceeded(
                f"No {self._pool.kind} slot came free before the deadline: {self._pool.in_use} of "
                f"{self._pool.capacity} in use, {self._pool.waiting} waiting. Allow more time or more slots."
            )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.leave(self._ticket)


class _Queue:
    """Tickets of one priority: a ring of workspaces, each with its line. Every operation is O(1)."""

    def __init__(self) -> None:
        self.lines: OrderedDict[str, OrderedDict[_Ticket, None]] = OrderedDict()
        self.length = 0
        self._served = ""

    def push(self, ticket: _Ticket) -> None:
        self.lines.setdefault(ticket.workspace, OrderedDict())[ticket] = None
        self.length += 1

    def pop(self) -> _Ticket:
        if self._served in self.lines:  # only now, so that who came meanwhile is before it
            self.lines.move_to_end(self._served)
        self._served, line = next(iter(self.lines.items()))
        ticket = next(iter(line))
        self.remove(ticket)
        return ticket

    def remove(self, ticket: _Ticket) -> None:
        line = self.lines[ticket.workspace]
        del line[ticket]
        self.length -= 1
        if not line:
            del self.lines[ticket.workspace]


class _Pool:
    """The slots of one kind. While a slot is free nobody waits."""

    def __init__(self, kind: str, capacity: int, bound: int, clock: Callable[[], float]) -> None:
        self.kind = kind
        self.capacity = capacity
        self.in_use = 0
        self._bound = bound
        self._queues = tuple(_Queue() for _ in Priority)
        self._passed = 0  # queries that went ahead of ingestion since one of its calls had a slot
        self._held: dict[asyncio.AbstractEventLoop, int] = {}
        self._lock = threading.Lock()
        self._leaving: deque[_Ticket] = deque()
        self._pace = _Pace(clock)

    @property
    def waiting(self) -> int:
        return sum(queue.length for queue in self._queues)

    def enter(self, ticket: _Ticket) -> asyncio.Future[bool] | None:
        """None if the ticket has a slot now, else what to await."""
        try:
            with self._lock:
                if self.in_use >= self.capacity:
                    self._reclaim()
                if self.in_use < self.capacity:
                    self._hold(ticket)
                    return None
                self._check_room(ticket)
                if not self.waiting:
                    self._pace.start()
                ticket.state = _State.WAITING
                ticket.future = ticket.loop.create_future()
                self._queues[ticket.priority].push(ticket)
                return ticket.future
        finally:
            self._settle()

    def leave(self, ticket: _Ticket) -> None:
        """Give back a slot or a place in the queue.

        Never blocks: the collector of cycles may close a coroutine, and so come here, in a thread that holds
        the lock. Whoever holds the lock does the work then.
        """
        self._leaving.append(ticket)
        self._settle()

    def _settle(self) -> None:
        while self._leaving and self._lock.acquire(blocking=False):
            try:
                while self._leaving:
                    self._let_go(self._leaving.popleft())
            finally:
                self._lock.release()

    def _let_go(self, ticket: _Ticket) -> None:
        if ticket.state is _State.WAITING:
            self._queues[ticket.priority].remove(ticket)
        elif ticket.state is _State.HOLDING and ticket.loop in self._held:
            self._free(ticket.loop)
            if self.waiting:
                self._pace.tick()
            self._grant()
        ticket.state = _State.GONE

    def _grant(self) -> None:
        while self.in_use < self.capacity and self.waiting:
            ticket = self._next()
            self._hold(ticket)
            try:
                ticket.grant()
            except RuntimeError:  # its loop was closed: nobody is there to take the slot
                ticket.state = _State.GONE
                self._free(ticket.loop)

    def _next(self) -> _Ticket:
        queries, ingestion = self._queues[Priority.QUERY], self._queues[Priority.INGEST]
        if ingestion.length and (not queries.length or self._passed >= _IN_A_ROW):
            self._passed = 0
            return ingestion.pop()
        self._passed += 1 if ingestion.length else 0
        return queries.pop()

    def _hold(self, ticket: _Ticket) -> None:
        ticket.state = _State.HOLDING
        self._held[ticket.loop] = self._held.get(ticket.loop, 0) + 1
        self.in_use += 1

    def _free(self, loop: asyncio.AbstractEventLoop) -> None:
        self.in_use -= 1
        self._held[loop] -= 1
        if not self._held[loop]:
            del self._held[loop]

    def _reclaim(self) -> None:
        """Take back what is held by loops that were closed without finishing their tasks."""
        for loop in [loop for loop in self._held if loop.is_closed()]:
            self.in_use -= self._held.pop(loop)
        self._grant()

    def _check_room(self, ticket: _Ticket) -> None:
        queue = self._queues[ticket.priority]
        if ticket.priority is Priority.QUERY:
            ahead, whose = queue.length, "queries"
        else:
            ahead, whose = len(queue.lines.get(ticket.workspace, ())), f"workspace {ticket.workspace!r}"
        if ahead >= self._bound:
            seconds = self._pace.time_for(self.waiting)
            raise Overloaded(
                f"{ahead} calls of {whose} wait for one of {self.capacity} {self.kind} slots already; "
                f"try again in {seconds:.1f} s.",
                seconds,
            )


class _Pace:
    """The recent time between two slots coming free while somebody waits: a moving average, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0.0
        self._interval: float | None = None

    def start(self) -> None:
        self._last = self._clock()

    def tick(self) -> None:
        now = self._clock()
        interval = max(0.0, now - self._last)
        self._last = now
        if self._interval is None:
            self._interval = interval
        else:
            self._interval += _SMOOTHING * (interval - self._interval)

    def time_for(self, count: int) -> float:
        seconds = _UNMEASURED_RETRY if self._interval is None else count * self._interval
        return min(max(seconds, _SHORTEST_RETRY), _LONGEST_RETRY)
