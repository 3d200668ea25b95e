"""Files and folders become documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path

from stateless_rag.errors import InvalidInput
from stateless_rag.types import Document

__all__ = ["SUFFIXES", "find_files", "kind_of", "read_documents", "source_of"]

Skip = Callable[[Path, str], None]
SUFFIXES = (".md", ".markdown", ".rst", ".text", ".txt")


def source_of(path: str | Path) -> str:
    """The source of a file's document: its absolute path, so that it is the same from every folder."""
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 -- keeps links, as a user names them


def find_files(paths: Sequence[Path], pass_over: Callable[[Path], None] | None = None) -> list[Path]:
    """The files named, and the text files in the folders named, each once, in order.

    In folders, names that begin with a dot are left aside, links to folders are not followed, and what is no
    text file by its name goes to `pass_over`. Raises InvalidInput for a path that does not exist.
    """
    found: dict[str, Path] = {}
    passed: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"there is no file or folder {str(path)!r}; check the path")
        if not path.is_dir():
            found.setdefault(source_of(path), path)
            continue
        for file in _below(path):
            (found if _is_text(file) else passed).setdefault(source_of(file), file)
    for source, file in passed.items():
        if pass_over is not None and source not in found:
            pass_over(file)
    return list(found.values())


def kind_of(file: Path) -> str:
    """What a file that is passed over is, in a word, so that they can be counted."""
    if not file.exists():
        return "broken links"
    return file.suffix.lower() or "without a suffix" if file.is_file() else "no regular files"


def _is_text(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.is_file()


def _below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield entry
        elif not entry.is_symlink():
            yield from _below(entry)


async def read_documents(files: Sequence[Path], skip: Skip) -> AsyncGenerator[Document]:
    """Read files one after the other, as there is room; those that hold no UTF-8 text go to `skip`."""
    for file in files:
        if not file.is_file():  # reading a pipe would wait for whoever writes to it
            skip(file, "no regular file; write its text to one first")
            continue
        try:
            content = await asyncio.to_thread(file.read_bytes)
        except OSError as error:
            skip(file, error.strerror or str(error))
            continue
        if content.startswith(b"%PDF-"):
            skip(file, "a PDF file; convert it to text first")
            continue
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            skip(file, f"not UTF-8 text (byte {error.start}); convert it first")
            continue
        if "\0" in text:
            skip(file, "a binary file")
            continue
        yield Document(text, source=source_of(file))
