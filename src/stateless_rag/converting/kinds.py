"""What a file is: by the suffix of its name, and by how it begins. The two must agree."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from types import MappingProxyType

from stateless_rag.errors import UnreadableFile

__all__ = ["SUFFIXES", "kind_of", "suffix_of"]

_PACKED = MappingProxyType(
    {
        ".docx": "docx",
        ".epub": "epub",
        ".ods": "ods",
        ".odt": "odt",
        ".pptx": "pptx",
        ".xlsx": "xlsx",
    }
)
_TEXTS = (
    ".adoc",
    ".bat",
    ".c",
    ".cc",
    ".cfg",
    ".conf",
    ".cpp",
    ".cs",
    ".css",
    ".csv",
    ".go",
    ".h",
    ".hpp",
    ".ini",
    ".java",
    ".js",
    ".json",
    ".jsonl",
    ".jsx",
    ".kt",
    ".less",
    ".log",
    ".lua",
    ".markdown",
    ".md",
    ".mdx",
    ".org",
    ".php",
    ".pl",
    ".properties",
    ".py",
    ".r",
    ".rb",
    ".rs",
    ".rst",
    ".scala",
    ".scss",
    ".sh",
    ".sql",
    ".srt",
    ".swift",
    ".tex",
    ".text",
    ".toml",
    ".ts",
    ".tsv",
    ".tsx",
    ".txt",
    ".vtt",
    ".xml",
    ".yaml",
    ".yml",
)
SUFFIXES = tuple(sorted((*_TEXTS, *_PACKED, ".htm", ".html", ".pdf", ".xhtml")))

_HTML = frozenset({".htm", ".html", ".xhtml"})
_PDF = re.compile(rb"%PDF-\d")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OTHERS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"{\\rtf", "an RTF file; save it as .docx"),
)
_LOOKED_AT = 1024  # bytes that may come before the mark of a PDF


def suffix_of(name: str) -> str:
    """The last suffix of a file's name, in lower case."""
    return PurePosixPath(name).suffix.lower()


def kind_of(name: str, content: bytes) -> str:
    """What a file is: "text", "html", "pdf", "docx", … Cheap: looks at its beginning alone.

    Raises UnreadableFile for a suffix that cannot be read, contents of another kind than the suffix says, a file that
    is encrypted as a whole, and an empty one.
    """
    suffix = suffix_of(name)
    if suffix not in SUFFIXES:
        kinds = " ".join(SUFFIXES)
        raise UnreadableFile(f"{name}: unsupported file type. Supported types: {kinds}", "unsupported")
    if not content:
        raise UnreadableFile(f"{name} is empty", "empty")
    found = _found(name, content)
    if suffix == ".pdf":
        wanted = "pdf"
    elif suffix in _PACKED:
        wanted = "zip"
    else:
        wanted = "text"
    if found != wanted:
        raise UnreadableFile(
            f"{name} is {_SAID.get(found, found)} by its contents, not what its name says; name it for what it is",
            "mismatch",
        )
    return "html" if suffix in _HTML else _PACKED.get(suffix, wanted)


_SAID = MappingProxyType(
    {"zip": "a ZIP archive or Office file", "pdf": "a PDF file", "text": "a text or unknown"}
)


def _found(name: str, content: bytes) -> str:
    if content.startswith(_OLE):
        if _ENCRYPTED_PACKAGE in content:
            raise UnreadableFile(f"{name} is encrypted; remove its password, and send it again", "encrypted")
        return "an old Office file (save it as .docx, .xlsx or .pptx)"
    if content.startswith(_ZIP):
        return "zip"
    if _PDF.search(content, 0, _LOOKED_AT) is not None and (
        content.startswith(b"%PDF-") or b"\0" in content[:_LOOKED_AT] or b"obj" in content[:_LOOKED_AT]
    ):
        return "pdf"
    return next((said for mark, said in _OTHERS if content.startswith(mark)), "text")
