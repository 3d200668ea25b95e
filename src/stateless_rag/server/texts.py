"""What files say: texts in UTF-8, told by the suffixes of their names."""

from __future__ import annotations

import asyncio
import re
from pathlib import PurePosixPath

from stateless_rag.errors import InvalidInput

__all__ = ["SUFFIXES", "checked_name", "text_of"]

SUFFIXES = (
    ".bat",
    ".c",
    ".conf",
    ".cpp",
    ".css",
    ".csv",
    ".go",
    ".h",
    ".hpp",
    ".htm",
    ".html",
    ".ini",
    ".java",
    ".js",
    ".json",
    ".jsonl",
    ".less",
    ".log",
    ".md",
    ".mdx",
    ".php",
    ".properties",
    ".py",
    ".rb",
    ".rst",
    ".rs",
    ".scss",
    ".sh",
    ".sql",
    ".swift",
    ".tex",
    ".toml",
    ".ts",
    ".tsv",
    ".txt",
    ".xml",
    ".yaml",
    ".yml",
)
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
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"Unsupported file type. Supported types: {', '.join(SUFFIXES)}")
    return name


async def text_of(name: str, body: bytes) -> str:
    """The text of a file. Raises InvalidInput for one that is empty or no UTF-8."""
    try:
        text = await asyncio.to_thread(body.decode, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name} is not UTF-8 ({error.reason} at byte {error.start}); convert it first"
        ) from error
    if not text.strip():
        raise InvalidInput(f"{name} has no text in it")
    return text
