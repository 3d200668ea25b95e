"""Files that are sent: their names, and the documents they become."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from stateless_rag.converting import SUFFIXES, suffix_of
from stateless_rag.errors import InvalidInput
from stateless_rag.types import FileDocument

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile

    from stateless_rag.converting import Converter
    from stateless_rag.types import Document

    IdOf = Callable[[str], str]

__all__ = ["checked_name", "file_document", "weight"]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\:\ud800-\udfff\ufffe\uffff]")
_HINT = re.compile(r"(?P<stem>.+)\.\[(?P<hint>[^\]]*)\](?P<suffix>\.[^.\[\]]+)\Z")
_HINTS = re.compile(r"(?:(?:legacy|native)(?:-|\Z))?[iteFRVP!]*(?:\([^()]*\))?\Z")


def checked_name(name: str | None) -> str:
    """A file's name without a hint of how to parse it. Raises InvalidInput for one that is no plain name."""
    if not name or name != name.strip() or name in (".", "..") or _UNSAFE.search(name) or len(name) > 255:
        raise InvalidInput("Unsafe filename detected")
    hinted = _HINT.match(name)
    if hinted is not None:
        if not _HINTS.match(hinted["hint"]):
            raise InvalidInput(f"the file name says [{hinted['hint']}], which names no parser and no options")
        name = hinted["stem"] + hinted["suffix"]
    if suffix_of(name) not in SUFFIXES:
        raise InvalidInput(f"Unsupported file type. Supported types: {', '.join(SUFFIXES)}")
    return name


async def file_document(
    converter: Converter, file: UploadFile, most: int, id_of: IdOf | None = None
) -> Document:
    """A file that was sent, as a document. Raises UnreadableFile for what is refused without reading it."""
    name = checked_name(file.filename)
    content = await file.read(most + 1 if most else -1)
    return await converter.document(content, name, document_id=None if id_of is None else id_of(name))


def weight(document: Document) -> int:
    """How many characters a document counts for; a file, before it is read, for its bytes."""
    return len(document.content) if isinstance(document, FileDocument) else len(document.text)
