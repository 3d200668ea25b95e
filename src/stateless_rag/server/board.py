"""What the workspaces of a server are doing: told by their engines, kept for a while, passed on to who listens."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stateless_rag.types import Event

if TYPE_CHECKING:
    from stateless_rag.protocols import Observer
    from stateless_rag.server.metrics import Metrics

__all__ = ["CLOSING", "Board", "Job"]

CLOSING = "closing"

_LINES = 1000
_WORKSPACES = 4096  # of which something is kept
_QUEUED = 1000  # events that a slow listener may be behind
_SHOWN = 4096
_STEPS = frozenset(
    {"accepted", "unchanged", "chunked", "merging", "committed", "failed", "deleted", "finished"}
)


@dataclass(slots=True)
class Job:
    """What a workspace was told to do last: when it began, how many documents came and were settled, its messages."""

    started: float | None = None
    documents: int = 0
    settled: int = 0
    cancelled: bool = False
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))


class Board:
    """Jobs and listeners by workspace. Belongs to one event loop."""

    def __init__(self, metrics: Metrics, wall: Callable[[], float]) -> None:
        self._metrics = metrics
        self._wall = wall
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._listeners: dict[str, set[asyncio.Queue[Event]]] = {}
        self._closed = False

    def job(self, workspace: str) -> Job:
        """What a workspace is doing, or did last."""
        job = self._jobs.setdefault(workspace, Job())
        self._jobs.move_to_end(workspace)
        while len(self._jobs) > _WORKSPACES:
            self._jobs.popitem(last=False)
        return job

    def begin(self, workspace: str, documents: int, message: str) -> None:
        """A job begins, or gets more to do."""
        job = self.job(workspace)
        if job.started is None:
            self._jobs[workspace] = job = Job(started=self._wall())
        job.documents += documents
        self.say(workspace, message)

    def end(self, workspace: str) -> None:
        """Nothing is left to do."""
        self.job(workspace).started = None

    def forget(self, workspace: str) -> None:
        """The workspace is gone."""
        self._jobs.pop(workspace, None)

    def say(self, workspace: str, message: str) -> None:
        """Add a message to the workspace's history."""
        at = datetime.fromtimestamp(self._wall(), UTC)
        self.job(workspace).lines.append(f"{at:%Y-%m-%d %H:%M:%S} {message}"[:_SHOWN])

    def observer(self, workspace: str) -> Observer:
        """What the engines of a workspace tell."""

        def note(event: Event) -> None:
            self._metrics.note(event)
            self._keep(workspace, event)
            for queue in self._listeners.get(workspace, ()):
                _put(queue, event)

        return note

    def close(self) -> None:
        """Tell who listens, and who will, that nothing comes any more: an event of kind "closing"."""
        self._closed = True
        for workspace, queues in self._listeners.items():
            for queue in queues:
                _put(queue, Event(kind=CLOSING, workspace=workspace))

    def _keep(self, workspace: str, event: Event) -> None:
        if event.kind not in _STEPS:
            return
        if event.kind in ("committed", "failed"):
            self.job(workspace).settled += 1
        about = f" {event.document_id}" if event.document_id else ""
        told = f": {event.message}" if event.message else ""
        self.say(workspace, f"{event.kind}{about}{told}")

    @asynccontextmanager
    async def listening(self, workspace: str) -> AsyncGenerator[asyncio.Queue[Event]]:
        """What is told of a workspace from now on. Who is slow misses the oldest."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUED)
        listeners = self._listeners.setdefault(workspace, set())
        listeners.add(queue)
        if self._closed:
            _put(queue, Event(kind=CLOSING, workspace=workspace))
        try:
            yield queue
        finally:
            listeners.discard(queue)
            if not listeners:
                self._listeners.pop(workspace, None)


def _put(queue: asyncio.Queue[Event], event: Event) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
