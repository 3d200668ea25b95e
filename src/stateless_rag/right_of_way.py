"""Right of way: threads that work on an ingest stop for a moment while a question is being looked up.

Python runs one thread at a time and shares it out in slices of milliseconds. A question that takes ten of them would
take a hundred beside threads that fold, count and write, for it hands the interpreter over at every read of a vector.
Those threads can wait: who asks cannot.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RightOfWay"]

_LONGEST = 0.05  # seconds that work is held up at a time
_THEN = 0.5  # times as long it goes on afterwards, whoever asks


class RightOfWay:
    """Questions have it, and work on an ingest gives it: for as long as one is under way. For half as long the work
    then goes on, whoever asks: questions without end take two thirds of the time, and keep no document out.

    Any number of threads and event loops may use it.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._clear = threading.Event()
        self._clear.set()
        self._asking = 0
        self._since = 0.0  # when the first of the questions under way came
        self._free_until = 0.0  # until when work goes on in spite of them

    @contextmanager
    def question(self) -> Iterator[None]:
        """Have the right of way until the block ends."""
        with self._lock:
            self._asking += 1
            if self._asking == 1:
                self._since = self._clock()
                self._clear.clear()
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    now = self._clock()
                    self._free_until = max(self._free_until, now + _THEN * self._held_for(now))
                    self._clear.set()

    def is_taken(self) -> bool:
        """Whether work has to wait just now."""
        return self._asking > 0 and self._seconds_left() > 0.0

    def give(self) -> None:
        """Let questions go first. Blocks; called between two steps of long work, while it holds nothing they need."""
        while self._asking and (seconds := self._seconds_left()) > 0.0:
            self._clear.wait(seconds)

    def _seconds_left(self) -> float:
        """For how long work may still be held up; nothing while it goes on."""
        with self._lock:
            now = self._clock()
            if now - max(self._since, self._free_until) >= _LONGEST:
                self._free_until = now + _THEN * _LONGEST
            return 0.0 if now < self._free_until else _LONGEST - self._held_for(now)

    def _held_for(self, now: float) -> float:
        return min(_LONGEST, max(0.0, now - max(self._since, self._free_until)))
