"""From what a folder holds to documents of this engine: chunks found in their texts, with what they say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.errors import InvalidDocument
from stateless_rag.interop.evidence import evidence_of
from stateless_rag.interop.lightrag_folder import GRAPH_FILE
from stateless_rag.text import clean_text
from stateless_rag.types import Document, Given, GivenDocument, Records, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.interop.evidence import Evidence
    from stateless_rag.interop.folder import Folder, FolderChunk, FolderDocument
    from stateless_rag.interop.problems import Problems
    from stateless_rag.text import KeyPolicy

__all__ = ["Plan", "plan_import"]

_BREAK = "\n\n"
_LOST = "\ufffd"  # at the edges of chunks that were cut inside a character

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be brought in: documents that are done, those that wait, and those that failed, with why.

    `by_hand`, among the done, lists what was written into the graph by hand.
    """

    done: tuple[GivenDocument, ...]
    pending: tuple[Document, ...]
    failed: tuple[tuple[Document, str], ...]
    by_hand: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class _Cut:
    """A document's text, and for each chunk of it (a span) the ids that the folder has for it."""

    text: str
    spans: Mapping[Span, Sequence[str]]


def plan_import(folder: Folder, policy: KeyPolicy, problems: Problems) -> Plan:
    """The documents to bring in. Those that were not done are to be extracted again, from their text alone."""
    chunks: dict[str, list[FolderChunk]] = {}
    for chunk in folder.chunks:
        chunks.setdefault(chunk.document_id, []).append(chunk)
    cuts: dict[str, _Cut] = {}
    pending: list[Document] = []
    failed: list[tuple[Document, str]] = []
    for document in folder.documents:
        own = sorted(chunks.get(document.id, ()), key=lambda chunk: chunk.order)
        if document.status is Status.PROCESSED and (own or not (document.text or "").strip()):
            cuts[document.id] = _cut(document, own, problems)
        elif document.text is not None and (made := _document(document, document.text, problems)) is not None:
            if document.status is Status.PROCESSED:
                problems.add("kv_store_text_chunks.json", "a document without its chunks waits", document.id)
            if document.status is Status.FAILED:
                failed.append((made, document.error or "failed before it was imported"))
            else:
                pending.append(made)
    taken = {id_ for cut in cuts.values() for ids in cut.spans.values() for id_ in ids}
    evidence = evidence_of(folder, taken, policy, problems)
    done = [
        made
        for document in folder.documents
        if document.id in cuts
        and (made := _given(document, cuts[document.id], evidence.records, problems)) is not None
    ]
    by_hand = list(_lines(evidence.by_hand))
    if by_hand:
        done.append(_listing(f"{folder.path}/{GRAPH_FILE}", by_hand))
    return Plan(
        done=tuple(done),
        pending=tuple(pending),
        failed=tuple(failed),
        by_hand=len(by_hand),
        evidence=evidence,
    )


# ---- chunks in texts -----------------------------------------------------------------------------------


def _cut(document: FolderDocument, chunks: Sequence[FolderChunk], problems: Problems) -> _Cut:
    """Where the chunks lie in their document; what is not found there is put at its end."""
    text = "" if document.text is None else clean_text(document.text)
    spans: dict[Span, list[str]] = {}
    lost: list[FolderChunk] = []
    begin = 0
    for chunk in chunks:
        span = _found(text, chunk.text, begin) if text else None
        if span is None:
            lost.append(chunk)
        else:
            spans.setdefault(span, []).append(chunk.id)
            begin = span[0] + 1
    for chunk in lost:
        if document.text is not None:
            problems.add(
                "kv_store_text_chunks.json",
                "a chunk that is not in its document's text was put at the end of it",
                chunk.id,
            )
        start = len(text) + len(_BREAK) if text else 0
        text = f"{text}{_BREAK}{chunk.text}" if text else chunk.text
        spans[start, len(text)] = [chunk.id]
    return _Cut(text, dict(sorted(spans.items())))


def _found(text: str, piece: str, begin: int) -> Span | None:
    """Where a piece lies, first from `begin` on; also if only its white space or its edges differ."""
    for form in dict.fromkeys((piece, piece.strip().strip(_LOST).strip())):
        if form:
            at = text.find(form, begin)
            at = text.find(form) if at < 0 else at
            if at >= 0:
                return at, at + len(form)
    words = piece.strip(_LOST).split()
    if not words:
        return None
    match = re.search(r"\s+".join(map(re.escape, words)), text)
    return None if match is None else match.span()


# ---- documents -----------------------------------------------------------------------------------------


def _document(document: FolderDocument, text: str, problems: Problems) -> Document | None:
    try:
        return Document(text, id=document.id, source=document.source, metadata=document.metadata)
    except InvalidDocument as error:
        problems.add("kv_store_full_docs.json", f"a document is left out ({error})", document.id)
        return None


def _given(
    document: FolderDocument, cut: _Cut, records: Mapping[str, Records], problems: Problems
) -> GivenDocument | None:
    known = _document(document, cut.text, problems)
    if known is None:
        return None
    told = tuple(_together(records.get(id_, Records()) for id_ in ids) for ids in cut.spans.values())
    return GivenDocument(
        known.text,
        id=known.id,
        source=known.source,
        metadata=known.metadata,
        given=Given(tuple(cut.spans), told),
    )


def _together(records: Iterable[Records]) -> Records:
    """What several chunks with one span say."""
    each = list(records)
    return Records(
        tuple(dict.fromkeys(row for one in each for row in one.entities)),
        tuple(dict.fromkeys(row for one in each for row in one.relations)),
        "imported",
    )


# ---- what was written by hand --------------------------------------------------------------------------


def _lines(by_hand: Records) -> Iterator[tuple[str, Records]]:
    """A line of text for each value that was written by hand, and the value."""
    for name, type_, text in by_hand.entities:
        head = f"{name} ({type_})" if type_ else name
        yield f"{head}: {text}" if text else head, Records(entities=((name, type_, text),))
    for source, target, words, text in by_hand.relations:
        head = f"{source} – {target}" + (f" ({', '.join(words)})" if words else "")
        yield f"{head}: {text}" if text else head, Records(relations=((source, target, words, text),))


def _listing(source: str, lines: Sequence[tuple[str, Records]]) -> GivenDocument:
    """A document with a chunk for each value; its source is the graph's file."""
    spans = []
    start = 0
    for line, _ in lines:
        spans.append((start, start + len(line)))
        start += len(line) + len(_BREAK)
    text = _BREAK.join(line for line, _ in lines)
    told = tuple(_together([records]) for _, records in lines)
    return GivenDocument(text, source=source, given=Given(tuple(spans), told))
