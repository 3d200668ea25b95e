"""Files that are there as a whole or not at all."""

from __future__ import annotations

import asyncio
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from stateless_rag.types import ExportRow

__all__ = ["Writer", "in_thread", "new_file"]

Result = TypeVar("Result")


class Writer(ABC):
    """Writes rows in one format."""

    @abstractmethod
    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write some rows more."""

    def finish(self, end: ExportRow) -> None:  # noqa: B027 -- most formats have no end
        """Write what comes last; `end` tells of the whole."""

    def abandon(self) -> None:  # noqa: B027 -- most hold nothing
        """Let go of what was begun: the file is thrown away."""


async def in_thread(function: Callable[[], Result]) -> Result:
    """As `asyncio.to_thread`, but does not leave the thread behind when it is cancelled."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()
        raise


@asynccontextmanager
async def new_file(path: Path) -> AsyncIterator[IO[bytes]]:
    """A file to write into. It is given its name at the end of the block, in place of an older one of that name;
    if the block raises or is cancelled, nothing of it is left. Raises InvalidInput for a path where no file can be
    made, and OSError if the disk is full or fails.
    """
    unfinished = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.part")
    file = await in_thread(lambda: _opened(path, unfinished))
    try:
        yield file
        await in_thread(lambda: _settle(file, unfinished, path))
    except BaseException:
        await in_thread(lambda: _forget(file, unfinished))
        raise


def _opened(path: Path, unfinished: Path) -> IO[bytes]:
    if path.is_dir():
        raise InvalidInput(f"path is {str(path)!r}, which is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise InvalidInput(
            f"path is {str(path)!r}, but there is no folder {str(path.parent)!r}; make it first"
        )
    return unfinished.open("xb")


def _forget(file: IO[bytes], unfinished: Path) -> None:
    with suppress(OSError):  # closing writes what is left in the buffer, for which there may be no room
        file.close()
    unfinished.unlink(missing_ok=True)


def _settle(file: IO[bytes], unfinished: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
