"""Files become text: PDF, Word, PowerPoint, Excel, EPUB, OpenDocument, HTML, and texts in any encoding.

What parses a file runs in a process of its own, which is bounded and can be killed: see `Converter`.
"""

from __future__ import annotations

from stateless_rag.converting.converter import Converter, convert
from stateless_rag.converting.kinds import SUFFIXES, kind_of, suffix_of
from stateless_rag.converting.limits import Converted, ConvertLimits
from stateless_rag.converting.pages import page_at

__all__ = [
    "SUFFIXES",
    "ConvertLimits",
    "Converted",
    "Converter",
    "convert",
    "kind_of",
    "page_at",
    "suffix_of",
]
