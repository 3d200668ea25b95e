"""One process owns a root. The lock lasts as long as the file description that holds it: it cannot go stale."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from stateless_rag.errors import StoreClosed, StoreError, StoreLocked

__all__ = ["RootLock"]


class RootLock:
    """`flock` on a file of its own, holding pid, host and start time for whoever is refused.

    DuckDB's own POSIX lock is lost silently when its owner opens and closes the file by other means, or forks.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "lock"
        self._pid = os.getpid()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"cannot open {self._path}: {error.strerror}; choose a folder that can be written to"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._holder()
            os.close(self._file)
            raise StoreLocked(
                f"{root} is in use by {holder}. One process owns a root: share one Store inside a process; "
                "between processes run the server, or keep the workspaces in PostgreSQL",
                holder,
            ) from error
        os.ftruncate(self._file, 0)
        note = {"pid": self._pid, "host": socket.gethostname(), "since": time.strftime("%FT%T%z")}
        os.pwrite(self._file, json.dumps(note).encode(), 0)

    def check(self) -> None:
        """Refuse to work in a process that has inherited the lock by a fork."""
        if os.getpid() != self._pid:
            raise StoreClosed(
                f"this store belongs to process {self._pid}; a fork cannot use it: open stores after forking"
            )

    def release(self) -> None:
        """Let another process have the root."""
        if os.getpid() == self._pid:
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def _holder(self) -> str:
        try:
            note = json.loads(os.pread(self._file, 4096, 0))
        except ValueError:
            return "another process"
        return f"process {note.get('pid')} on {note.get('host')} since {note.get('since')}"
