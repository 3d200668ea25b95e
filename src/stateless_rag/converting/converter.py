"""Files become text in processes that can be killed: a few of them, used again and again."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from stateless_rag.checks import instance, text
from stateless_rag.converting.kinds import kind_of
from stateless_rag.converting.limits import Converted, ConvertLimits
from stateless_rag.converting.plain import certain
from stateless_rag.converting.process import WorkerProcess
from stateless_rag.errors import InvalidInput, StoreClosed, UnreadableFile
from stateless_rag.types import Document, FileDocument

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Converter", "convert"]


class Converter:
    """Makes text of files. Thread-safe, bound to no event loop; one may serve any number of engines.

    What must be parsed goes to one of `limits.workers` processes, which are started when they are needed. A file that
    crashes one, or takes too long, fails alone. Texts in UTF-8 need no process. Close it, or use it as an async context
    manager; then its processes end at once.
    """

    def __init__(self, limits: ConvertLimits | None = None) -> None:
        self._limits = instance("limits", limits or ConvertLimits(), kind=ConvertLimits)
        self._threads = ThreadPoolExecutor(self._limits.workers, "stateless-rag-convert")
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._reaper: threading.Timer | None = None
        self._closed = False

    def check(self, content: bytes, name: str) -> str:
        """What a file is, such as "pdf". Cheap. Raises UnreadableFile for what is refused without reading it."""
        if len(content) > self._limits.content:
            told = f"{name} is too large: {len(content):,} bytes, at most {self._limits.content:,} are read"
            raise UnreadableFile(told, "too_large")
        return kind_of(name, content)

    async def document(self, content: bytes, name: str, *, document_id: str | None = None) -> Document:
        """What is to be submitted for a file: the document of a text in UTF-8, else a FileDocument, to be read later.

        The name is the source. Raises UnreadableFile for what is refused without reading it.
        """
        found = await self._at_once(self.check(content, name), content, name)
        if found is None:
            return FileDocument(content=content, name=name, id=document_id, source=name)
        return await asyncio.to_thread(lambda: Document(found.text, id=document_id, source=name))

    async def _at_once(self, kind: str, content: bytes, name: str) -> Converted | None:
        """A text in UTF-8; None for what has to be read by a process."""
        if kind != "text" or (found := await asyncio.to_thread(certain, name, content)) is None:
            return None
        if not found.strip():
            raise UnreadableFile(f"{name} has no text in it", "empty")
        if len(found) > self._limits.characters:
            raise UnreadableFile(f"{name} has more than {self._limits.characters:,} characters", "too_large")
        return Converted(text=found, kind=kind)

    async def convert(self, content: bytes, name: str) -> Converted:
        """Make text of a file, whose name says what it is.

        Raises UnreadableFile, with a `reason`, for what cannot be read. Cancelling ends the process that reads it.
        """
        instance("content", content, kind=bytes)
        kind = self.check(content, text("name", name))
        found = await self._at_once(kind, content, name)
        if found is not None:
            return found
        job = _Job()
        try:
            future = self._threads.submit(self._run, job, kind, name, content)
        except RuntimeError as error:
            raise _closed() from error
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            job.cancel()
            raise

    def _run(self, job: _Job, kind: str, name: str, content: bytes) -> Converted:
        """In a thread."""
        worker = self._take()
        try:
            job.begin(worker)
            return worker.convert(kind, name, content)
        finally:
            job.end()
            self._give_back(worker)

    def _take(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._reaper is not None:
                self._reaper.cancel()
                self._reaper = None
            worker = self._idle.pop() if self._idle else None
            if worker is not None:
                self._busy.add(worker)
        if worker is not None and worker.usable:
            return worker
        if worker is not None:
            self._end(worker)
        worker = WorkerProcess(self._limits)
        with self._lock:
            self._busy.add(worker)
        self._check_open(worker)
        return worker

    def _check_open(self, worker: WorkerProcess) -> None:
        """`stop` may have come while the process was started, and have missed it."""
        if self._closed:
            self._end(worker)
            raise _closed()

    def _end(self, worker: WorkerProcess) -> None:
        worker.close()
        with self._lock:
            self._busy.discard(worker)

    def _give_back(self, worker: WorkerProcess) -> None:
        if not worker.usable:
            self._end(worker)
            return
        with self._lock:
            self._busy.discard(worker)
            kept = not self._closed
            if kept:
                self._idle.append(worker)
                if not self._busy and self._reaper is None:
                    self._reaper = threading.Timer(self._limits.idle, self._reap)
                    self._reaper.daemon = True
                    self._reaper.start()
        if not kept:
            worker.close()

    def _reap(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            self._reaper = None
        for worker in idle:
            worker.close()

    def stop(self) -> None:
        """End all processes; files that are being read fail. Does not block for long."""
        with self._lock:
            self._closed = True
            busy, idle = list(self._busy), self._idle
            self._idle = []
            if self._reaper is not None:
                self._reaper.cancel()
        for worker in busy:
            worker.stop()
        for worker in idle:
            worker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def close(self) -> None:
        """As `stop`. May be called twice."""
        await asyncio.to_thread(self.stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Job:
    """One file: who reads it, so that it can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._cancelled = False

    def begin(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._worker = worker
            if self._cancelled:
                worker.stop()

    def end(self) -> None:
        with self._lock:
            self._worker = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._worker is not None:
                self._worker.stop()


def _closed() -> StoreClosed:
    return StoreClosed("the converter is closed; make another one")


async def convert(
    file: bytes | str | Path, name: str | None = None, *, limits: ConvertLimits | None = None
) -> Converted:
    """Make text of one file, of which the path or the contents are given; contents need a `name`.

    For many files use a `Converter`, which keeps its processes. Raises UnreadableFile for what cannot be read,
    InvalidInput for contents without a name, OSError for a path that cannot be read.
    """
    if isinstance(file, bytes):
        if name is None:
            raise InvalidInput("contents need a name, whose suffix says what they are")
        content = file
    else:
        content = await asyncio.to_thread(Path(file).read_bytes)
    async with Converter(limits) as converter:
        return await converter.convert(content, name or Path(str(file)).name)
