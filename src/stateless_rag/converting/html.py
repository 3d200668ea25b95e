"""HTML becomes text: headings, lists and tables as Markdown has them, scripts and styles left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stateless_rag.converting.plain import decoded

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["html_text"]

_DROPPED = frozenset(
    (
        "script",
        "style",
        "noscript",
        "template",
        "head",
        "iframe",
        "object",
        "svg",
        "math",
        "canvas",
        "audio",
        "video",
        "select",
        "button",
    )
)
_BLOCKS = frozenset(
    (
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "ul",
    )
)
_CELLS = frozenset({"td", "th"})
_HEADINGS = frozenset(f"h{level}" for level in range(1, 7))
_SPACES = re.compile(r"[ \t\r\n\f]+")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"^<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


def html_text(name: str, content: bytes | str) -> tuple[str, str | None]:
    """The text and the title of an HTML or XHTML document, in whatever encoding it says or has."""
    from selectolax.lexbor import LexborHTMLParser

    source = content if isinstance(content, str) else decoded(name, content, hint=_declared(content))
    tree = LexborHTMLParser(source)
    found = tree.css_first("title")
    title = None if found is None else _SPACES.sub(" ", found.text()).strip()
    text = Writer()
    if tree.root is not None:
        _walk(tree.root, text)
    return text.text(), title or None


def _declared(content: bytes) -> str | None:
    head = content[:2048]
    found = _XML_ENCODING.search(head) or _CHARSET.search(head)
    return None if found is None else found[1].decode("ascii")


class Writer:
    """Text that grows: pieces of lines, and breaks between blocks."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._breaks = 0
        self.verbatim = 0
        self.cells = 0

    def add(self, text: str) -> None:
        """Text within a block."""
        if self.verbatim:
            first, *rest = text.split("\n")
            self._put(first)
            for each in rest:
                self.end(1)
                self._put(each)
            return
        text = _SPACES.sub(" ", text)
        self._put(text if self._line else text.lstrip(" "))

    def _put(self, text: str) -> None:
        if text:
            if self._breaks and self._lines:
                self._lines.extend([""] * (self._breaks - 1))
            self._breaks = 0
            self._line.append(text)

    def end(self, breaks: int = 2) -> None:
        """The end of a line (1) or of a block (2); in a table's cell, a space."""
        if self.cells:
            if self._line:
                self._line.append(" ")
            return
        line = "".join(self._line)
        if line.strip():
            self._lines.append(line.rstrip())
            self._breaks = breaks
        else:
            self._breaks = max(self._breaks, breaks) if self._lines else 0
        self._line = []

    def end_row(self) -> None:
        """The end of a table's row."""
        line = _SPACES.sub(" ", "".join(self._line)).strip(" ").removesuffix("|").rstrip()
        self._line = [line] if line.strip("| ") or self.cells else []
        self.end(1)

    def text(self) -> str:
        """All of it."""
        self.end()
        return "\n".join(self._lines).strip("\n")


def _walk(root: LexborNode, text: Writer) -> None:
    """Without recursion: documents may be nested as deep as they like."""
    node: LexborNode | None = root
    while node is not None:
        tag = node.tag or ""
        if tag == "-text":
            text.add(node.text_content or "")
        elif tag not in _DROPPED:
            _open(tag, text)
            below = node.child
            if below is not None:
                node = below
                continue
            _close(tag, text)
        while node is not None and node != root and node.next is None:
            node = node.parent
            if node is not None:
                _close(node.tag or "", text)
        node = None if node is None or node == root else node.next


def _open(tag: str, text: Writer) -> None:
    if tag == "br":
        text.end(1)
    elif tag == "li":
        text.end(1)
        text.add("- ")
    elif tag in _HEADINGS:
        text.end()
        text.add("#" * int(tag[1]) + " ")
    elif tag == "tr":
        text.end(1)
    elif tag in _CELLS:
        text.cells += 1
    elif tag in _BLOCKS:
        text.end()
        text.verbatim += tag == "pre"


def _close(tag: str, text: Writer) -> None:
    if tag in _CELLS:
        text.cells -= 1
        text.add(" | ")
    elif tag == "tr":
        text.end_row()
    elif tag == "li":
        text.end(1)
    elif tag in _HEADINGS or tag in _BLOCKS:
        text.end()
        text.verbatim -= tag == "pre"
