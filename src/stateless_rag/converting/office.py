"""Word, PowerPoint, Excel and OpenDocument files."""

from __future__ import annotations

import io
import posixpath
import re
from typing import TYPE_CHECKING, Any

from stateless_rag.converting.html import html_text
from stateless_rag.converting.markup import nodes
from stateless_rag.converting.zips import Archive
from stateless_rag.errors import UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stateless_rag.converting.limits import ConvertLimits

__all__ = ["docx_text", "odt_text", "pptx_text", "sheets_text"]

_NUMBER = re.compile(r"(\d+)\.xml\Z")
_XML = (".xml", ".rels")
_MOST_ROWS = 2_000_000


def _require(archive: Archive, path: str, kind: str) -> None:
    if path not in archive.names:
        raise UnreadableFile(f"{archive.name} is no {kind} file; name it for what it is", "mismatch")


def _refuse_entities(archive: Archive) -> None:
    """The parsers of others may expand entities; a file of Office has none."""
    for path in archive.text_parts(_XML):
        content = archive.read(path)
        if (
            b"<!DOCTYPE" in content
            or b"<!ENTITY" in content
            or content.startswith((b"\xff\xfe", b"\xfe\xff"))
        ):
            told = f"{archive.name} defines a document type or entities in {path}; that is refused"
            raise UnreadableFile(told, "bomb")


def _facts(archive: Archive, path: str) -> dict[str, Any]:
    """Title and author, as the file's properties tell them."""
    if path not in archive.names:
        return {}
    found: dict[str, str] = {}
    tag = ""
    for kind, value, _ in nodes(archive.name, archive.read(path)):
        if kind == "start":
            tag = value
        elif kind == "end":
            tag = ""
        elif tag in ("title", "creator"):
            found[tag] = found.get(tag, "") + value
    return {"title": found.get("title"), "author": found.get("creator")}


# ---- Word ----------------------------------------------------------------------------------------------


def docx_text(name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text of a Word file, and its metadata."""
    import mammoth

    archive = Archive(name, content, limits)
    _require(archive, "word/document.xml", "Word")
    _refuse_entities(archive)
    made = mammoth.convert_to_html(
        io.BytesIO(content),
        convert_image=lambda _: [],
        include_embedded_style_map=False,
        external_file_access=False,
    )
    text, _ = html_text(name, made.value)
    return text, _facts(archive, "docProps/core.xml")


# ---- PowerPoint ----------------------------------------------------------------------------------------


def pptx_text(name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text of a presentation, slide after slide with its notes, and its metadata."""
    archive = Archive(name, content, limits)
    _require(archive, "ppt/presentation.xml", "PowerPoint")
    slides = list(_slides(archive))
    parts = []
    for number, path in enumerate(slides, 1):
        lines = list(_paragraphs(nodes(name, archive.read(path))))
        notes = [
            line
            for target in _related(archive, path, "notesSlide")
            for line in _paragraphs(nodes(name, archive.read(target)))
            if line != str(number)
        ]
        told = [f"## Slide {number}", *lines, *(["Notes:", *notes] if notes else [])]
        parts.append("\n".join(told))
    return "\n\n".join(parts), {**_facts(archive, "docProps/core.xml"), "slides": len(slides)}


def _slides(archive: Archive) -> Iterator[str]:
    """The parts of the slides, in the order in which they are shown."""
    targets = _relations(archive, "ppt/presentation.xml")
    for kind, tag, attributes in nodes(archive.name, archive.read("ppt/presentation.xml")):
        if kind == "start" and tag == "sldId":
            target = targets.get(attributes.get("r:id", ""))
            if target is not None and target[1] in archive.names:
                yield target[1]


def _relations(archive: Archive, path: str) -> dict[str, tuple[str, str]]:
    """What a part names by relations: kind and part, by id. Those outside the file are left out."""
    folder, file = posixpath.split(path)
    listed = f"{folder}/_rels/{file}.rels"
    found: dict[str, tuple[str, str]] = {}
    if listed not in archive.names:
        return found
    for kind, tag, attributes in nodes(archive.name, archive.read(listed)):
        if kind == "start" and tag == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "")
            whole = target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target)
            said = attributes.get("Type", "").rpartition("/")[2]
            found[attributes.get("Id", "")] = said, posixpath.normpath(whole)
    return found


def _related(archive: Archive, path: str, kind: str) -> list[str]:
    return [
        part for said, part in _relations(archive, path).values() if said == kind and part in archive.names
    ]


def _paragraphs(found: Iterable[tuple[str, str, dict[str, str]]]) -> Iterator[str]:
    """The paragraphs of a slide; cells of a table in one line."""
    line: list[str] = []
    row: list[str] | None = None
    inside = False
    for kind, value, _ in found:
        if kind == "text":
            if inside:
                line.append(value)
        elif value == "t":
            inside = kind == "start"
        elif value in ("br", "tab") and kind == "start":
            line.append(" ")
        elif value == "tr":
            if kind == "end" and row:
                yield " | ".join(row)
            row = [] if kind == "start" else None
        elif value == "p" and kind == "end":
            text = " ".join("".join(line).split())
            line = []
            if text and row is not None:
                row.append(text)
            elif text:
                yield text


# ---- Excel and OpenDocument tables ---------------------------------------------------------------------


def sheets_text(name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text of a workbook: a heading for each sheet, a line for each row, and its metadata."""
    from python_calamine import CalamineError, CalamineWorkbook

    archive = Archive(name, content, limits)
    excel = "xl/workbook.xml" in archive.names
    if not excel:
        _require(archive, "content.xml", "Excel or OpenDocument")
    _refuse_entities(archive)
    parts: list[str] = []
    length = rows = 0
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        for sheet in book.sheet_names:
            lines = [f"## {sheet}"]
            for row in book.get_sheet_by_name(sheet).iter_rows():
                line = _row(row)
                rows += 1
                if line:
                    lines.append(line)
                    length += len(line) + 1
                if length > limits.characters or rows > _MOST_ROWS:
                    raise UnreadableFile(f"{name} has too many cells", "too_large")
            if len(lines) > 1:
                parts.append("\n".join(lines))
        names = list(book.sheet_names)
    except CalamineError as error:
        raise UnreadableFile(f"{name} is damaged: {error}", "damaged") from error
    facts = _facts(archive, "docProps/core.xml" if excel else "meta.xml")
    return "\n\n".join(parts), {**facts, "sheets": names}


def _row(cells: Iterable[Any]) -> str:
    told = [" ".join(_cell(cell).split()) for cell in cells]
    while told and not told[-1]:
        told.pop()
    return " | ".join(told)


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


# ---- OpenDocument texts --------------------------------------------------------------------------------


def odt_text(name: str, content: bytes, limits: ConvertLimits) -> tuple[str, dict[str, Any]]:
    """The text of an OpenDocument text, and its metadata."""
    archive = Archive(name, content, limits)
    _require(archive, "content.xml", "OpenDocument")
    if b"encryption-data" in _manifest(archive):
        raise UnreadableFile(f"{name} is encrypted; remove its password, and send it again", "encrypted")
    return "\n".join(_odt_lines(name, archive.read("content.xml"))).strip(), _facts(archive, "meta.xml")


def _manifest(archive: Archive) -> bytes:
    path = "META-INF/manifest.xml"
    return archive.read(path) if path in archive.names else b""


def _odt_lines(name: str, content: bytes) -> Iterator[str]:
    line: list[str] = []
    row: list[str] | None = None
    level = depth = items = 0
    for kind, value, attributes in nodes(name, content):
        if kind == "text":
            if depth:
                line.append(value)
        elif value in ("p", "h"):
            depth += 1 if kind == "start" else -1
            if kind == "start":
                level = min(6, int(attributes.get("outline-level", "1") or "1")) if value == "h" else 0
                continue
            text, line = " ".join("".join(line).split()), []
            if row is not None:
                row.append(text)
            elif text:
                yield "#" * level + " " * bool(level) + "- " * bool(items and not level) + text
                yield from [] if items else [""]
        elif value in ("s", "tab", "line-break") and kind == "start":
            line.append(" ")
        elif value == "list-item":
            items += 1 if kind == "start" else -1
        elif value == "table-row":
            if kind == "end" and row:
                yield " | ".join(row)
            row = [] if kind == "start" else None
