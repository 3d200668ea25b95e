"""A file's text, by its kind. Runs in the worker: whatever a parser does, nothing but that process is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateless_rag.converting.html import html_text
from stateless_rag.converting.plain import decoded
from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from stateless_rag.converting.limits import ConvertLimits

__all__ = ["read"]

_LONGEST_FACT = 1000


def read(kind: str, name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text of a file of a kind, and its metadata. Raises UnreadableFile."""
    text, facts = _text(kind, name, content, limits)
    if not text.strip():
        raise UnreadableFile(f"{name} has no text in it", "empty")
    if len(text) > limits.characters:
        raise UnreadableFile(f"{name} has more than {limits.characters:,} characters", "too_large")
    cleaned = {
        key: " ".join(value.split())[:_LONGEST_FACT] if isinstance(value, str) else value
        for key, value in facts.items()
    }
    known = {} if kind == "text" else {"kind": kind}
    return text, {**known, **{key: value for key, value in cleaned.items() if value not in (None, "")}}


def _text(kind: str, name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    try:
        if kind == "text":
            return decoded(name, content), {}
        if kind == "html":
            text, title = html_text(name, content)
            return text, {"title": title}
        return _packed(kind, name, content, limits)
    except ImportError as error:
        told = f"{name} cannot be read without {error.name}: pip install 'stateless-rag[convert]'"
        raise UnreadableFile(told, "unavailable") from error


def _packed(kind: str, name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    if kind == "pdf":
        from stateless_rag.converting.pdf import pdf_text

        return pdf_text(name, content, limits)
    if kind == "epub":
        from stateless_rag.converting.epub import epub_text

        return epub_text(name, content, limits)
    from stateless_rag.converting import office

    if kind == "docx":
        return office.docx_text(name, content, limits)
    if kind == "pptx":
        return office.pptx_text(name, content, limits)
    if kind == "odt":
        return office.odt_text(name, content, limits)
    return office.sheets_text(name, content, limits)
