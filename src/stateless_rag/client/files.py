"""Files that come from a server: written beside their place, and moved there when they are whole."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from stateless_rag.client.wire import Wire

__all__ = ["downloaded", "local_path"]


async def downloaded(
    wire: Wire, path: str, target: Path, *, overwrite: bool = True, **params: Any
) -> Mapping[str, str]:
    """What a server has at a path, in a file that is there as a whole or not at all; the answer's headers.

    Raises InvalidInput for a place where no file can be written, or, without `overwrite`, where one is.
    """
    part, number = await asyncio.to_thread(_part_of, target, overwrite=overwrite)
    try:
        with os.fdopen(number, "wb") as file:
            headers = await wire.download(path, file, **params)
        await asyncio.to_thread(part.replace, target)
    except BaseException:
        os.unlink(part)  # noqa: PTH108 -- at once, whatever is being cancelled
        raise
    return headers


def local_path(path: str | Path) -> Path:
    """A path as its user means it."""
    return Path(path).expanduser().absolute()


def _part_of(target: Path, *, overwrite: bool) -> tuple[Path, int]:
    """A new file beside the one that is to be, and its number."""
    if target.is_dir():
        raise InvalidInput(f"{str(target)!r} is a folder; name a file in it")
    if not overwrite and target.exists():
        raise InvalidInput(
            f"{target} is there already; choose another name, or replace it (overwrite, --overwrite)"
        )
    try:
        number, name = tempfile.mkstemp(".part", f".{target.name}-", target.parent)
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no folder {str(target.parent)!r}; make it first") from error
    return Path(name), number
