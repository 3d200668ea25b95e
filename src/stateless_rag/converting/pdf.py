"""PDF, by PDFium: the text of each page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from stateless_rag.converting.limits import ConvertLimits

__all__ = ["pdf_text"]

_PASSWORD = 4  # FPDF_ERR_PASSWORD
_BROKEN_WORD = re.compile(r"[\ufffe\x02]\s*")  # how PDFium tells a hyphen at the end of a line
_LINE_ENDS = re.compile(r"[ \t]*\r?\n")
_MOST_PAGES = 20_000


def pdf_text(name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text, and its metadata: title, author, and where each page begins."""
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        document = PdfDocument(content)
    except PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD or "assword" in str(error):
            told = f"{name} is encrypted; remove its password, and send it again"
            raise UnreadableFile(told, "encrypted") from error
        raise UnreadableFile(f"{name} is damaged or cut off: {error}", "damaged") from error
    count = len(document)
    if count > _MOST_PAGES:
        raise UnreadableFile(f"{name} has {count} pages; at most {_MOST_PAGES} are read", "too_large")
    pieces: list[str] = []
    starts: list[int] = []
    length = 0
    for number in range(count):
        text = _page(name, document, number)
        starts.append(length)
        pieces.append(text)
        length += len(text) + 2
        if length > limits.characters:
            raise UnreadableFile(f"{name} has more than {limits.characters:,} characters", "too_large")
    if not any(piece.strip() for piece in pieces):
        told = f"{name} has no text in its {count} pages, only images perhaps; have them read by OCR first"
        raise UnreadableFile(told, "empty")
    facts = document.get_metadata_dict(skip_empty=True)
    named = {"title": facts.get("Title"), "author": facts.get("Author")}
    return "\n\n".join(pieces), {**named, "pages": starts}


def _page(name: str, document: Any, number: int) -> str:
    from pypdfium2 import PdfiumError

    try:
        page = document[number]
        try:
            found = page.get_textpage()
            text: str = found.get_text_bounded()
            found.close()
        finally:
            page.close()
    except PdfiumError as error:
        raise UnreadableFile(f"{name} is damaged on page {number + 1}: {error}", "damaged") from error
    return _LINE_ENDS.sub("\n", _BROKEN_WORD.sub("", text)).strip()
