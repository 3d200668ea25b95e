"""Ctrl-C where no command is running: while modules are loaded, and when all is said already."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["leave_at_once", "leaving_at_once", "raising"]

_CODE = 130  # 128 + SIGINT, as shells tell of programs that end by it


def leave_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- as `signal` calls it
    """End the process with one line: there is nothing that would have to be put away."""
    os.write(2, b"\nInterrupted.\n")
    os._exit(_CODE)


def leaving_at_once() -> None:
    """Let Ctrl-C end the process at once, unless whoever started it wants it ignored or sees to it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave_at_once)


@contextmanager
def raising() -> Iterator[None]:
    """Within the block Ctrl-C raises KeyboardInterrupt, as an event loop expects it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not leave_at_once:
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, before)
