"""Turns: the steps that ingestion makes on an event loop go a few at a time, and hold up nothing else that runs there.

Replies come back in droves: the journal writes many in one go, and who waited for them would all run in one round of
the loop. A hundred steps of a millisecond are a tenth of a second in which no question is begun or answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateless_rag.right_of_way import RightOfWay

__all__ = ["Turns"]

_SLICE = 0.005  # seconds of the processor after which no further step is begun in a round of the loop
_SHARE = 0.5  # of what all else took in the round before, if that is more: so that endless questions do not starve it
_MOST = 64
_POLL = 0.001


@dataclass(slots=True)
class _Round:
    """A loop on which turns are taken: how many each round has, how many of this one are left, and were begun.

    Those in `waiting` wait for one; those in `returned` had one when the time was up, and come first in the next round.
    """

    ended: float  # the round before
    first: float = 0.0  # when the first step of this round was begun
    slice: float = _SLICE
    size: int = 1
    left: int = 1
    begun: int = 0
    ways: set[RightOfWay] = field(default_factory=set)
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    returned: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """Grants turns in each round of an event loop until five milliseconds, or half of what all else takes, are over.

    First come, first served; none while a question has the right of way. A turn is nothing that is held: it only says
    that now is the time for the next step, up to the next `await`. Any number of loops may use it; `clock` tells the
    seconds that the thread which asks has had of the processor.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._rounds: dict[
            asyncio.AbstractEventLoop, _Round
        ] = {}  # of loops on which turns are taken just now

    async def take(self, way: RightOfWay) -> None:
        """Return when it is this caller's turn: at once if this round of the loop has one left."""
        loop = asyncio.get_running_loop()
        now = self._rounds.get(loop)
        if now is None:
            for closed in [each for each in list(self._rounds) if each.is_closed()]:
                self._rounds.pop(closed, None)
            now = self._rounds[loop] = _Round(self._clock())
            loop.call_soon(self._next, loop)
        now.ways.add(way)
        if now.left and not now.waiting and not way.is_taken() and self._is_time(now):
            now.left -= 1
            now.begun += 1
            return
        line = now.waiting
        while True:
            turn = loop.create_future()
            line.append(turn)
            await turn
            if self._is_time(now):
                now.begun += 1
                return
            line = now.returned

    def waiting(self) -> int:
        """How many wait for a turn now, on all loops."""
        return sum(len(each.waiting) + len(each.returned) for each in list(self._rounds.values()))

    def _is_time(self, now: _Round) -> bool:
        """Whether a step may be begun: one is in every round, whatever else takes its time."""
        if not now.begun:
            now.first = self._clock()
            return True
        return self._clock() - now.first <= now.slice

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._rounds[loop]
        if any(way.is_taken() for way in now.ways):
            loop.call_later(_POLL, self._next, loop)
            return
        now.waiting.extendleft(reversed(now.returned))
        now.returned.clear()
        if now.left == now.size and not now.waiting:
            del self._rounds[loop]  # nobody took any
            return
        ended = self._clock()
        spent = ended - now.first if now.begun else 0.0
        if spent > now.slice:
            now.size = max(1, now.size // 2)
        elif not now.left and spent < now.slice / 2:
            now.size = min(_MOST, now.size * 2)
        now.slice = max(_SLICE, _SHARE * (ended - now.ended - spent))
        now.ended, now.left, now.begun = ended, now.size, 0
        while now.waiting and now.left:
            turn = now.waiting.popleft()
            if not turn.done():  # cancelled: who comes next has the turn
                turn.set_result(None)
                now.left -= 1
        loop.call_soon(self._next, loop)
