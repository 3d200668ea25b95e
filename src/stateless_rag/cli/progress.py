"""Progress of an ingest and of an evaluation: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

    from stateless_rag.types import Event

__all__ = ["IngestProgress", "QuestionProgress", "RowProgress"]

_SECONDS_BETWEEN_LINES = 5.0
_WINDOW = 30.0  # seconds over which speed is measured
_SHORTEST = 2.0  # seconds; below, what the first calls took says little


class _Rate(ProgressColumn):
    """Steps per second, as measured lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


class Pace:
    """How fast chunks are extracted, and how long those that are left will take.

    What an earlier run has extracted already counts as done, but not as speed. Times are seconds.
    """

    def __init__(self, documents: int | None) -> None:
        self.documents = documents
        self.done = self.total = 0
        self._known = 0
        self._seen: dict[str, tuple[int, int]] = {}
        self._samples: deque[tuple[float, int]] = deque()

    def count(self, id_: str, done: int, total: int, *, known: bool, now: float) -> None:
        """Note how many of a document's chunks are done; `known` ones cost nothing."""
        done_before, total_before = self._seen.get(id_, (0, 0))
        self._seen[id_] = (done, total)
        self.done += done - done_before
        self.total += total - total_before
        self._known += (done - done_before) if known else 0
        self._samples.append((now, self.done - self._known))
        while now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()

    def chunks_of(self, id_: str) -> int:
        """How many chunks a document has, as far as is known."""
        return self._seen.get(id_, (0, 0))[1]

    def rate(self) -> float:
        """Chunks extracted per second, lately; 0 while too little is known."""
        if not self._samples:
            return 0.0
        (begun, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - begun) if ended - begun >= _SHORTEST else 0.0

    def left(self) -> float | None:
        """Seconds until all chunks are extracted: those of documents that were not cut yet will be as many as
        of those that were. None while it is not known how many documents will come, or how fast it goes.
        """
        rate = self.rate()
        if self.documents is None or not rate:
            return None
        to_come = max(0, self.documents - len(self._seen)) * (self.total - self._known) / len(self._seen)
        return (self.total - self.done + to_come) / rate


class _Shown:
    """Bars on a terminal, elsewhere a line now and then; with `quiet` nothing but on a terminal."""

    def __init__(
        self, console: Console, *columns: ProgressColumn, quiet: bool, clock: Callable[[], float]
    ) -> None:
        self._console = console
        self._lines = not console.is_terminal and not quiet
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._clock = clock
        self._told = clock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the bars as they are; a terminal shows those of one progress at a time."""
        self._bars.stop()

    def _tell(self, line: Callable[[], str], now: float) -> None:
        """Print a line, if it is time for one."""
        if self._lines and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            self._console.print(line())


class IngestProgress(_Shown):
    """Shows events of an ingest: how many chunks are extracted and documents done, how fast, for how long yet.

    `documents` is how many will come, where that is known.
    """

    def __init__(
        self,
        console: Console,
        documents: int | None,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        columns = (
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}", style="dim"),
            TextColumn("{task.fields[note]}", style="yellow"),
        )
        super().__init__(console, *columns, quiet=quiet, clock=clock)
        self._chunk_bar = self._bars.add_task("chunks", total=None, note="", pace="", visible=False)
        self._document_bar = self._bars.add_task("documents", total=documents, note="", pace="")
        self._pace = Pace(documents)
        self._counts = {"committed": 0, "failed": 0, "unchanged": 0}

    def expect(self, documents: int) -> None:
        """Say how many documents will come, once that is known."""
        self._pace.documents = documents

    def __call__(self, event: Event) -> None:
        """Show one event."""
        id_, now = event.document_id or "", self._clock()
        if event.kind in ("chunked", "extracted"):
            self._pace.count(id_, event.done, event.total or 0, known=event.kind == "chunked", now=now)
        elif event.kind in self._counts:
            chunks = self._pace.chunks_of(id_)
            self._pace.count(id_, chunks, chunks, known=True, now=now)
            self._counts[event.kind] += 1
            if event.total is not None:
                self._pace.documents = event.total
        self._show(now)

    def _show(self, now: float) -> None:
        pace, settled = self._pace, sum(self._counts.values())
        speed = ", ".join(self._speed())
        self._bars.update(
            self._chunk_bar, completed=pace.done, total=pace.total, visible=bool(pace.total), pace=speed
        )
        note = ", ".join(self._notes())
        self._bars.update(self._document_bar, completed=settled, total=pace.documents, note=note)
        self._tell(lambda: self._line(settled), now)

    def _line(self, settled: int) -> str:
        pace = self._pace
        of = "" if pace.documents is None else f" of {pace.documents:,}"
        parts = [f"{settled:,}{of} documents"]
        if pace.total:
            parts += [f"{pace.done:,} of {pace.total:,} chunks", *self._speed()]
        return ", ".join([*parts, *self._notes()])

    def _speed(self) -> list[str]:
        pace = self._pace
        if pace.total and pace.done == pace.total:
            return ["embedding and writing"]
        rate, left = pace.rate(), pace.left()
        told = [f"{rate:.1f} chunks/s"] if rate else []
        return told if left is None else [*told, f"about {_duration(left)} left"]

    def _notes(self) -> list[str]:
        return [f"{self._counts[kind]:,} {kind}" for kind in ("unchanged", "failed") if self._counts[kind]]


def _duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> _duration(40.2), _duration(600), _duration(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Counted(_Shown):
    """One bar that counts, with speed and the time that is left."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        columns = (
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        super().__init__(console, *columns, quiet=quiet, clock=time.monotonic)
        self._bar: TaskID | None = None

    def _count(self, what: str, done: int, total: int | None, line: Callable[[], str]) -> None:
        if self._bar is None:
            self._bars.start()
            self._bar = self._bars.add_task(what, total=total)
        self._bars.update(self._bar, description=what, completed=done, total=total)
        self._tell(line, self._clock())


class QuestionProgress(_Counted):
    """Shows how many questions each arm of an evaluation has answered."""

    def __enter__(self) -> Self:
        return self  # the bar comes with the first answer, after that of the ingest

    def __call__(self, arm: str, done: int, total: int) -> None:
        """Show that an arm has answered so many of its questions."""
        self._count(arm, done, total, lambda: f"{arm}: {done} of {total} questions")


class RowProgress(_Counted):
    """Shows how many rows have the vectors of another embedder."""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "embedding":
            done, total = event.done, event.total
            self._count("embedding", done, total, lambda: f"{done:,} of {total or 0:,} rows embedded")
