"""Chunk: the first stage. A document becomes spans that an extractor reads one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from stateless_rag.checks import instance
from stateless_rag.chunking.content import content_spans
from stateless_rag.chunking.strategies import function_spans, recursive_spans, separator_spans, token_windows
from stateless_rag.errors import InvalidInput
from stateless_rag.text import digest
from stateless_rag.types import Chunk, Document

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Tokenizer
    from stateless_rag.settings import ChunkSettings

__all__ = ["chunk", "chunk_at", "document_id"]

Span = tuple[int, int]

_PREFIX = "chunk-"
# A text of this many characters per token allowed is hardly one chunk; counting it first would be wasted.
_CHARACTERS_PER_TOKEN = 6


# ---- documents -----------------------------------------------------------------------------------------


def document_id(document: Document) -> str:
    """The document's id: the given one, else from its source, else from its text."""
    if document.id is not None:
        return document.id
    if document.source is not None:
        return "doc-" + digest("source", document.source)
    return "doc-" + digest("text", document.text)


# ---- the stage -----------------------------------------------------------------------------------------


def chunk(context: Context, document: Document) -> list[Chunk]:
    """Cut a document by `context.settings.chunking`, in order of start.

    A chunk is text without white space around it, and at most `max_tokens` long, and no longer than the
    embedder takes; only a single character of more tokens stays whole. Every character that is not white
    space is in some chunk (but the separators of the strategy "separator"; a function decides for itself). A
    text without any such character has no chunks. The id follows from the document's id, the chunk's text,
    and how many chunks before it have the same text.

    Raises InvalidInput for a piece above `max_tokens` under
    `separator_only`, and for what a chunk function returns that is not in the text.
    """
    instance("document", document, kind=Document)
    settings = context.settings.chunking
    limits = [limit for limit in (settings.max_tokens, context.embedder.max_tokens) if limit is not None]
    text = document.text
    begin = len(text) - len(text.lstrip())
    body = text.strip()
    if not body:
        return []
    spans = _spans(body if settings.function is None else text, settings, context.tokenizer, min(limits))
    shift = begin if settings.function is None else 0
    return _chunks(document, [(start + shift, stop + shift, tokens) for start, stop, tokens in spans])


def chunk_at(context: Context, document: Document, spans: Sequence[Span]) -> list[Chunk]:
    """The chunks of a document that its caller has cut, ids as `chunk` gives them."""
    count = context.tokenizer.count
    text = document.text
    return _chunks(document, [(start, stop, count(text[start:stop])) for start, stop in spans])


def _chunks(document: Document, spans: Iterable[tuple[int, int, int]]) -> list[Chunk]:
    """Chunks from start, stop and tokens of each."""
    text, owner = document.text, document_id(document)
    seen: dict[str, int] = {}
    chunks = []
    for ordinal, (start, stop, tokens) in enumerate(spans):
        own = text[start:stop]
        own_digest = digest("chunk", own)
        occurrence = seen[own_digest] = seen.get(own_digest, -1) + 1
        chunks.append(
            Chunk(
                id=_PREFIX + digest(owner, own_digest, str(occurrence))[:16],
                document_id=owner,
                ordinal=ordinal,
                start=start,
                stop=stop,
                text=own,
                tokens=tokens,
                digest=own_digest,
            )
        )
    return chunks


def _spans(
    text: str, settings: ChunkSettings, tokenizer: Tokenizer, limit: int
) -> list[tuple[int, int, int]]:
    """Start, stop and tokens of every chunk, in order of start."""
    if settings.function is not None:
        spans = [span for span in function_spans(text, settings.function) if _trim(text, *span)]
        return sorted({piece: None for span in spans for piece in _fit(text, *span, tokenizer, limit)})
    if settings.strategy != "separator" and len(text) <= _CHARACTERS_PER_TOKEN * limit:
        tokens = tokenizer.count(text)
        if tokens <= limit:
            return [(0, len(text), tokens)]
    found = [
        piece
        for span in _strategy_spans(text, settings, tokenizer, limit)
        if _trim(text, *span)
        for piece in _fit(text, *span, tokenizer, limit)
    ]
    return _without_contained(found)


def _strategy_spans(text: str, settings: ChunkSettings, tokenizer: Tokenizer, limit: int) -> Sequence[Span]:
    size, overlap = settings.max_tokens, settings.overlap_tokens
    if settings.strategy == "tokens":
        return token_windows(text, tokenizer, size, overlap)
    if settings.strategy == "recursive":
        return recursive_spans(text, tokenizer, size, overlap, settings.separators)
    if settings.strategy == "separator":
        return list(_separated(text, settings, tokenizer))
    return content_spans(text, tokenizer, limit)


def _separated(text: str, settings: ChunkSettings, tokenizer: Tokenizer) -> Iterator[Span]:
    size = settings.max_tokens
    for start, stop in separator_spans(text, settings.separator):
        piece = text[start:stop]
        tokens = tokenizer.count(piece.strip())
        if tokens <= size:
            yield start, stop
        elif settings.separator_only:
            raise InvalidInput(
                f"the piece at {start}:{stop} has {tokens} tokens, max_tokens is {size}: "
                f"{piece.strip():.60}…; allow cutting it (separator_only=False) or raise max_tokens"
            )
        else:
            for one, other in token_windows(piece, tokenizer, size, settings.overlap_tokens):
                yield start + one, start + other


def _trim(text: str, start: int, stop: int) -> Span | None:
    """The span without white space around it; None if nothing is left."""
    piece = text[start:stop]
    inner = piece.strip()
    start += len(piece) - len(piece.lstrip())
    return (start, start + len(inner)) if inner else None


def _fit(
    text: str, start: int, stop: int, tokenizer: Tokenizer, limit: int
) -> Iterator[tuple[int, int, int]]:
    """The span without white space around it, with its tokens; cut by content if it is too long."""
    trimmed = _trim(text, start, stop)
    if trimmed is None:
        return
    start, stop = trimmed
    piece = text[start:stop]
    tokens = tokenizer.count(piece)
    parts: Sequence[Span] = ()
    # Parts are measured where they stand; alone they may have more tokens, and need a lower limit.
    allowed = limit
    while tokens > limit and len(piece) > 1 and len(parts) < 2 and allowed > 0:
        parts = content_spans(piece, tokenizer, allowed)
        allowed = allowed * 3 // 4
    if len(parts) < 2:
        yield start, stop, tokens
        return
    for one, other in parts:
        yield from _fit(text, start + one, start + other, tokenizer, limit)


def _without_contained(pieces: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Leave out what a neighbour contains: the tail of an overlap."""
    kept: list[tuple[int, int, int]] = []
    for piece in sorted(pieces):
        if kept and kept[-1][0] == piece[0]:
            kept.pop()
        if not kept or piece[1] > kept[-1][1]:
            kept.append(piece)
    return kept
