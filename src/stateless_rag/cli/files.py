"""Files and folders become documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from stateless_rag.converting import SUFFIXES as CONVERTED
from stateless_rag.converting import Converter, ConvertLimits, suffix_of
from stateless_rag.errors import InvalidInput, UnreadableFile
from stateless_rag.types import Document

__all__ = ["SUFFIXES", "find_files", "kind_of", "read_documents", "source_of"]

Skip = Callable[[Path, str], None]
SUFFIXES = (
    ".md",
    ".markdown",
    ".rst",
    ".text",
    ".txt",
    ".csv",
    ".docx",
    ".epub",
    ".htm",
    ".html",
    ".ods",
    ".odt",
    ".pdf",
    ".pptx",
    ".tsv",
    ".xhtml",
    ".xlsx",
)
_LIMITS = MappingProxyType({"content": 2**32, "characters": 2**31})  # the files are those of who calls


def source_of(path: str | Path) -> str:
    """The source of a file's document: its absolute path, so that it is the same from every folder."""
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 -- keeps links, as a user names them


def find_files(paths: Sequence[Path], pass_over: Callable[[Path], None] | None = None) -> list[Path]:
    """The files named, and in the folders named those that are read, each once, in order.

    In folders, names that begin with a dot are left aside, links to folders are not followed, and what is not
    read by its name goes to `pass_over`. Raises InvalidInput for a path that does not exist.
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
            (found if _is_read(file) else passed).setdefault(source_of(file), file)
    for source, file in passed.items():
        if pass_over is not None and source not in found:
            pass_over(file)
    return list(found.values())


def kind_of(file: Path) -> str:
    """What a file that is passed over is, in a word, so that they can be counted."""
    if not file.exists():
        return "broken links"
    return file.suffix.lower() or "without a suffix" if file.is_file() else "no regular files"


def _is_read(file: Path) -> bool:
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
    """Read files one after the other, as there is room, and make texts of them; what cannot be read goes to `skip`."""
    async with Converter(ConvertLimits(**_LIMITS)) as converter:
        for file in files:
            if not file.is_file():  # reading a pipe would wait for whoever writes to it
                skip(file, "no regular file; write its text to one first")
                continue
            try:
                yield await _document(converter, file)
            except OSError as error:
                skip(file, error.strerror or str(error))
            except UnreadableFile as error:
                skip(file, str(error).removeprefix(f"{_named(file)} is ").removeprefix(f"{_named(file)} "))


async def _document(converter: Converter, file: Path) -> Document:
    content = await asyncio.to_thread(file.read_bytes)
    source = source_of(file)
    if not content.strip():
        return Document(content.decode("ascii", "replace"), source=source)
    found = await converter.convert(content, _named(file))
    return await asyncio.to_thread(lambda: Document(found.text, source=source, metadata=found.metadata))


def _named(file: Path) -> str:
    """The name that says what a file is; one whose suffix says nothing is a text."""
    return file.name if suffix_of(file.name) in CONVERTED else f"{file.name}.txt"
