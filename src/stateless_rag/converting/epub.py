"""EPUB: the chapters of a book, in the order in which they are read."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from stateless_rag.converting.html import html_text
from stateless_rag.converting.markup import nodes
from stateless_rag.converting.zips import Archive
from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from stateless_rag.converting.limits import ConvertLimits

__all__ = ["epub_text"]

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html")


def epub_text(name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text of a book, and its metadata."""
    archive = Archive(name, content, limits)
    if _CONTAINER not in archive.names:
        raise UnreadableFile(f"{name} is no EPUB file; name it for what it is", "mismatch")
    package = _package(archive)
    items, spine, facts = _contents(name, archive.read(package))
    folder = posixpath.dirname(package)
    locked = _locked(archive)
    parts: list[str] = []
    length = 0
    for id_ in spine:
        path, kind = items.get(id_, ("", ""))
        path = posixpath.normpath(posixpath.join(folder, unquote(path)))
        if kind not in _PAGES or path not in archive.names:
            continue
        if path in locked:
            raise UnreadableFile(f"{name} is encrypted (DRM); a copy without is needed", "encrypted")
        text, _ = html_text(name, archive.read(path))
        length += len(text)
        if length > limits.characters:
            raise UnreadableFile(f"{name} has more than {limits.characters:,} characters", "too_large")
        if text:
            parts.append(text)
    return "\n\n".join(parts), facts


def _package(archive: Archive) -> str:
    for kind, tag, attributes in nodes(archive.name, archive.read(_CONTAINER)):
        if kind == "start" and tag == "rootfile" and attributes.get("full-path") in archive.names:
            return attributes["full-path"]
    raise UnreadableFile(f"{archive.name} does not say where its contents are; it is damaged", "damaged")


def _contents(name: str, package: bytes) -> tuple[dict[str, tuple[str, str]], list[str], dict[str, Any]]:
    """The files by id, with their media types; the order in which they are read; title and author."""
    items: dict[str, tuple[str, str]] = {}
    spine: list[str] = []
    facts: dict[str, str] = {}
    inside = ""
    for kind, value, attributes in nodes(name, package):
        if kind == "start" and value == "item":
            items[attributes.get("id", "")] = attributes.get("href", ""), attributes.get("media-type", "")
        elif kind == "start" and value == "itemref":
            spine.append(attributes.get("idref", ""))
        elif kind == "start":
            inside = value if value in ("title", "creator") and value not in facts else ""
        elif kind == "end":
            inside = ""
        elif inside:
            facts[inside] = facts.get(inside, "") + value
    return items, spine, {"title": facts.get("title"), "author": facts.get("creator")}


def _locked(archive: Archive) -> frozenset[str]:
    """The files that are encrypted; fonts often are, which hinders nobody."""
    if _ENCRYPTION not in archive.names:
        return frozenset()
    return frozenset(
        unquote(attributes.get("URI", ""))
        for kind, tag, attributes in nodes(archive.name, archive.read(_ENCRYPTION))
        if kind == "start" and tag == "CipherReference"
    )
