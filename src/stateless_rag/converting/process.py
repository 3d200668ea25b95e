"""A worker process, as its parent sees it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from stateless_rag.converting.limits import Converted, ConvertLimits
from stateless_rag.converting.worker import read_frame, write_frame
from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["WorkerProcess"]

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from stateless_rag.converting.worker import main; main(sys.argv[2])"
)
_HEADER = 2**22
_PATIENCE = 5.0  # seconds for a process that was killed to be gone


class WorkerProcess:
    """A process that reads one file at a time. `convert` blocks; `kill` may be called from any thread.

    It gets the limits, the module path and nothing of the environment; other files that the parent has open stay
    closed to it, and so do the terminal's signals.
    """

    def __init__(self, limits: ConvertLimits) -> None:
        self._limits = limits
        self.files = 0
        self._late = False
        told = [
            sys.executable,
            "-I",
            "-X",
            "utf8",
            "-c",
            _START,
            json.dumps(sys.path),
            json.dumps(limits.to_json()),
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                told,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            told_error = f"the process that reads files cannot be started: {error}"
            raise UnreadableFile(told_error, "unavailable") from error

    @property
    def usable(self) -> bool:
        """Whether it may be given another file."""
        return self._process.poll() is None and self.files < self._limits.files

    def convert(self, kind: str, name: str, content: bytes) -> Converted:
        """Have a file read. Raises UnreadableFile; after "too_long" and "crashed" the process is gone."""
        self.files += 1
        timer = threading.Timer(self._limits.seconds, self._stop_late)
        timer.daemon = True
        timer.start()
        try:
            answer, text = self._ask({"kind": kind, "name": name}, content)
        except (OSError, ValueError):
            answer, text = None, None
        finally:
            timer.cancel()
        if answer is None or text is None:
            raise self._died(name)
        if "error" in answer:
            raise UnreadableFile(answer["error"], answer["reason"])
        return Converted(text=text.decode("utf-8"), kind=kind, metadata=answer["metadata"])

    def _ask(self, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any] | None, bytes | None]:
        source, target = _pipe(self._process.stdout), _pipe(self._process.stdin)
        write_frame(target, json.dumps(header).encode())
        write_frame(target, content)
        head = read_frame(source, _HEADER)
        text = None if head is None else read_frame(source, 4 * self._limits.characters)
        return None if head is None else json.loads(head), text

    def _died(self, name: str) -> UnreadableFile:
        self.kill()
        code = self._process.returncode
        if self._late or code == -signal.SIGXCPU:
            told = f"{name} takes longer to read than a file may ({self._limits.seconds:g} seconds)"
            return UnreadableFile(told, "too_long")
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        told = f"{name} crashed what reads it ({how}), or takes too much memory; it may be damaged"
        return UnreadableFile(told, "crashed")

    def _stop_late(self) -> None:
        self._late = True
        self.stop()

    def stop(self) -> None:
        """End it now; who waits for it is told."""
        self._process.kill()

    def kill(self) -> None:
        """End it now, and wait until it is gone."""
        self._process.kill()
        self._process.wait(_PATIENCE)

    def close(self) -> None:
        """End it, and let go of the pipes; to be called when nobody waits for it any more."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # what was left to be written to it


def _pipe(pipe: IO[bytes] | None) -> BinaryIO:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe  # type: ignore[return-value]  # pipes are binary
