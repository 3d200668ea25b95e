"""Scans of the input folder: files that lie there are taken in, and moved aside."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import stat
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.errors import StatelessRagError
from stateless_rag.interop.lightrag.documents import document_id_of
from stateless_rag.server.problems import Refused
from stateless_rag.server.texts import checked_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stateless_rag.server.asked import Asked
    from stateless_rag.types import Document

    Accept = Callable[[Asked, Sequence[Document], str], Awaitable[str]]

__all__ = ["ScanJob", "Scans", "track_id"]

_JOBS = 128
_SAMPLES = 20
_AFTERWARDS = "__parsed__"


def track_id(kind: str, at: float) -> str:
    """A tracking id as clients of LightRAG know it."""
    return f"{kind}_{datetime.fromtimestamp(at, UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"


@dataclass(slots=True)
class ScanJob:
    """What a scan has come to."""

    workspace: str
    created_at: float
    updated_at: float
    status: Literal["running", "completed", "failed", "cancelled"] = "running"
    counts: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)
    version: int = 0
    message: str = ""

    def note(self, at: float, count: str, kind: str | None = None, sample: str = "") -> None:
        """Count something, and keep an example of it."""
        self.counts[count] += 1
        self.version += 1
        self.updated_at = at
        if kind is not None:
            self.samples.setdefault(kind, []).append(sample)

    def told(self, name: str) -> dict[str, Any]:
        """The job as clients of LightRAG know it."""
        samples = {
            kind: {
                "items": items[:_SAMPLES],
                "truncated": len(items) > _SAMPLES,
                "dropped": max(0, len(items) - _SAMPLES),
            }
            for kind, items in (
                (kind, self.samples.get(kind, [])) for kind in ("processed", "warning", "error")
            )
        }
        return {
            "track_id": name,
            "status": self.status,
            "counts": dict(self.counts),
            "counters_dropped": 0,
            "samples": samples,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "version": self.version,
            "message": self.message,
        }


class Scans:
    """The scans of one application; one at a time for each workspace."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, ScanJob] = OrderedDict()
        self._running: dict[str, asyncio.Task[None]] = {}

    def job(self, workspace: str, name: str) -> ScanJob:
        """A scan by its tracking id. Raises Refused (404)."""
        job = self._jobs.get(name)
        if job is None or job.workspace != workspace:
            raise Refused(404, f"Scan job {name} not found")
        return job

    def start(self, asked: Asked, accept: Accept) -> str | None:
        """Begin a scan; returns its tracking id, or None if there is one already."""
        if asked.workspace in self._running:
            return None
        now = asked.service.wall()
        name = track_id("scan", now)
        job = self._jobs[name] = ScanJob(asked.workspace, now, now)
        while len(self._jobs) > _JOBS:
            self._jobs.popitem(last=False)
        task = asyncio.create_task(self._run(asked, accept, name, job))
        self._running[asked.workspace] = task
        task.add_done_callback(lambda _: self._running.pop(asked.workspace, None))
        return name

    def running(self, workspace: str) -> bool:
        """Whether a workspace is being scanned."""
        return workspace in self._running

    async def close(self) -> None:
        """End all that run."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, asked: Asked, accept: Accept, name: str, job: ScanJob) -> None:
        try:
            for path in await asyncio.to_thread(_files, _folder(asked)):
                await _take(asked, accept, name, job, path)
            if job.counts["discovered"]:
                asked.service.ingestion.retry(asked.workspace)
            await asked.service.ingestion.idle(asked.workspace)
            job.status = "completed"
        except asyncio.CancelledError:
            job.status = "cancelled"
            raise
        except (StatelessRagError, OSError, Refused) as error:
            job.status, job.message = "failed", type(error).__name__
            logging.getLogger("stateless_rag.server").warning("scan %s: %s", name, error)
        job.updated_at = asked.service.wall()


async def _take(asked: Asked, accept: Accept, name: str, job: ScanJob, path: Path) -> None:
    """Take one file in, and move it aside."""
    now = asked.service.wall()
    job.note(now, "discovered")
    try:
        source = checked_name(path.name)
        content = await asyncio.to_thread(_content, path, asked.service.settings.max_upload or 2**40)
        document = await asked.service.converter.document(content, source, document_id=document_id_of(source))
        await accept(asked, [document], name)
    except (StatelessRagError, Refused, OSError) as error:
        job.note(now, "errors", "error", f"{path.name}: {error}")
        return
    await asyncio.to_thread(_move, path)
    job.note(now, "processed", "processed", path.name)


def _folder(asked: Asked) -> Path | None:
    settings = asked.service.settings
    if settings.input_dir is None:
        return None
    folder = Path(settings.input_dir).expanduser()
    return folder if asked.workspace == settings.default_workspace else folder / asked.workspace


def _files(folder: Path | None) -> list[Path]:
    """The files of a folder, links left out."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())


def _content(path: Path, most: int) -> bytes:
    """A file's contents. Raises OSError for what became a link, Refused (413) for more than `most` bytes."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path.name} is no regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise Refused(413, f"{path.name} is too large")
    return content


def _move(path: Path) -> None:
    aside = path.parent / _AFTERWARDS
    aside.mkdir(exist_ok=True)
    path.replace(aside / path.name)
