"""Files and folders become documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path

from stateless_rag.errors import InvalidInput
from stateless_rag.types import Document

__all__ = ["SUFFIXES", "find_files", "read_documents", "source_of"]

SUFFIXES = (".md", ".markdown", ".rst", ".text", ".txt")


def source_of(path: str | Path) -> str:
    """The source of a file's document: its absolute path, so that it is the same from every folder."""
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 -- keeps links, as a user names them


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the text files in the folders named, each once, in order.

    In folders, names that begin with a dot are passed over, and links to folders are not followed. Raises
    InvalidInput for a path that does not exist.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"there is no file or folder {str(path)!r}; check the path")
        for file in _below(path) if path.is_dir() else [path]:
            found.setdefault(source_of(file), file)
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _below(entry)
        elif entry.suffix.lower() in SUFFIXES and entry.is_file():
            yield entry


async def read_documents(
    files: Sequence[Path], skip: Callable[[Path, str], None]
) -> AsyncGenerator[Document]:
    """Read files one after the other, as there is room; those that hold no UTF-8 text go to `skip`."""
    for file in files:
        try:
            text = (await asyncio.to_thread(file.read_bytes)).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            skip(file, f"not UTF-8 text (byte {error.start}); convert it first")
            continue
        except OSError as error:
            skip(file, error.strerror or str(error))
            continue
        if "\0" in text:
            skip(file, "a binary file")
            continue
        yield Document(text, source=source_of(file))
