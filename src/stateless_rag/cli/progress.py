"""Progress of an ingest and of an evaluation: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
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

__all__ = ["IngestProgress", "QuestionProgress"]

_SETTLED = frozenset({"committed", "failed", "unchanged"})
_SECONDS_BETWEEN_LINES = 5.0


class _Rate(ProgressColumn):
    """Steps per second, as measured lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


class IngestProgress:
    """Shows events of an ingest: how many chunks are extracted and documents done, how fast, for how long yet.

    `documents` is how many will come, where that is known. With `quiet` nothing is shown but on a terminal.
    """

    def __init__(self, console: Console, documents: int | None, *, quiet: bool = False) -> None:
        self._console = console
        self._lines = not console.is_terminal and not quiet
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="yellow"),
            console=console,
            disable=not console.is_terminal,
        )
        self._chunk_bar = self._bars.add_task("chunks", total=None, note="")
        self._document_bar = self._bars.add_task("documents", total=documents, note="")
        self._documents = documents
        self._settled = self._failed = 0
        self._chunks: dict[str, tuple[int, int]] = {}
        self._done = self._total = 0
        self._started = self._told = time.monotonic()

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

    def __call__(self, event: Event) -> None:
        """Show one event."""
        id_ = event.document_id or ""
        if event.kind in ("chunked", "extracted"):
            self._count(id_, event.done, event.total or 0)
        elif event.kind in _SETTLED:
            _, total = self._chunks.get(id_, (0, 0))
            self._count(id_, total, total)
            self._settled += 1
            self._failed += event.kind == "failed"
        self._show()

    def _count(self, id_: str, done: int, total: int) -> None:
        done_before, total_before = self._chunks.get(id_, (0, 0))
        self._chunks[id_] = (done, total)
        self._done += done - done_before
        self._total += total - total_before

    def _show(self) -> None:
        note = f"{self._failed} failed" if self._failed else ""
        self._bars.update(self._chunk_bar, completed=self._done, total=self._total)
        self._bars.update(self._document_bar, completed=self._settled, note=note)
        now = time.monotonic()
        if self._lines and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            self._console.print(self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        of = "" if self._documents is None else f" of {self._documents}"
        parts = [f"{self._settled}{of} documents, {self._done} of {self._total} chunks"]
        rate = self._done / seconds
        parts.append(f"{rate:.1f} chunks/s")
        if rate and self._total > self._done:
            parts.append(f"about {(self._total - self._done) / rate:.0f} s left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts)


class QuestionProgress:
    """Shows how many questions each arm of an evaluation has answered.

    With `quiet` nothing is shown but on a terminal.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._lines = not console.is_terminal and not quiet
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, arm: str, done: int, total: int) -> None:
        """Show that an arm has answered so many of its questions."""
        if self._bar is None:
            self._bars.start()
            self._bar = self._bars.add_task(arm, total=total)
        self._bars.update(self._bar, description=arm, completed=done, total=total)
        now = time.monotonic()
        if self._lines and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            self._console.print(f"{arm}: {done} of {total} questions")
