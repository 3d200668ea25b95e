"""Documents, chunks and mentions: what is damaged of the evidence, and what of it follows from the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stateless_rag.calls import vector_digest
from stateless_rag.caring.replay import replay
from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import ChunkRow
from stateless_rag.stages.chunk import chunk as cut
from stateless_rag.stages.embed import chunk_text
from stateless_rag.stages.extract import CooccurrenceExtractor, LLMExtractor
from stateless_rag.text import chunk_row_id, digest, document_digest
from stateless_rag.types import Chunk, Document

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.types import EntityMention, Extraction, RelationMention

    Mentions = tuple[Sequence[EntityMention], Sequence[RelationMention]]

__all__ = ["DocumentFaults", "StoredDocument", "look_at", "said_otherwise"]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A row of `documents`, unread."""

    id: str
    metadata: str
    text: str
    digest: str
    chunks: int
    source: str | None


@dataclass(slots=True)
class DocumentFaults:
    """What is wrong with documents and their chunks, and the rows that mend it.

    `texts`, `counts` and `chunks` name documents by what is wrong with them. `lost` are those of which something is
    gone that does not follow from the rest. `foreign` are ids of chunks that do not belong to their document.
    """

    texts: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    documents: dict[str, StoredDocument] = field(default_factory=dict)
    rows: dict[int, ChunkRow] = field(default_factory=dict)
    foreign: list[int] = field(default_factory=list)
    restored: set[int] = field(default_factory=set)


def look_at(
    context: Context,
    documents: Iterable[StoredDocument],
    chunks: Mapping[str, Sequence[ChunkRow]],
    faults: DocumentFaults,
) -> None:
    """Check documents against their digests, and chunks against the documents; what is wrong is added to `faults`."""
    for document in documents:
        _look_at(context, document, chunks.get(document.id, ()), faults)


def _look_at(
    context: Context, document: StoredDocument, rows: Sequence[ChunkRow], faults: DocumentFaults
) -> None:
    try:
        readable = isinstance(json.loads(document.metadata), dict)
    except ValueError:
        readable = False
    if not readable:
        faults.metadata.append(document.id)
        document = replace(document, metadata="{}")
        faults.documents[document.id] = document
    if document.digest not in _digests(document.text):
        faults.texts.append(document.id)
        text = _mended(document, rows)
        if text is None:
            faults.lost.append(document.id)
            return
        document = replace(document, text=text)
        faults.documents[document.id] = document
    wrong = [row for row in rows if row != _true_row(context, document, row)]
    whole = [row.chunk.ordinal for row in rows] == list(range(document.chunks))
    if not wrong and whole and _ids(rows) == [row.chunk.id for row in rows]:
        return
    faults.chunks.append(document.id)
    _mend_chunks(context, document, rows, faults)


def _digests(text: str) -> tuple[str, str]:
    return document_digest(text), document_digest(text, cut=True)


def _mended(document: StoredDocument, rows: Sequence[ChunkRow]) -> str | None:
    """The text with what its chunks say put in; None if that is not the text that it was."""
    text = document.text
    for row in sorted(rows, key=lambda row: row.chunk.start):
        piece = row.chunk
        if digest("chunk", piece.text) == piece.digest and piece.stop - piece.start == len(piece.text):
            text = text[: piece.start].ljust(piece.start) + piece.text + text[piece.stop :]
    return text if document.digest in _digests(text) else None


def _true_row(context: Context, document: StoredDocument, row: ChunkRow) -> ChunkRow:
    """The row, if its document and its place in it are right."""
    text = document.text[row.chunk.start : row.chunk.stop]
    tokens = context.tokenizer.count(text)
    piece = replace(row.chunk, text=text, tokens=tokens, digest=digest("chunk", text))
    return replace(row, chunk=piece, vector=_vector(context, piece))


def _vector(context: Context, piece: Chunk) -> str:
    return vector_digest(context.embedder.model, chunk_text(context, piece.text, piece.tokens))


def _ids(rows: Sequence[ChunkRow]) -> list[str]:
    """The ids that follow from the chunks of a document, in their order."""
    seen: dict[str, int] = {}
    ids = []
    for row in rows:
        occurrence = seen[row.chunk.digest] = seen.get(row.chunk.digest, -1) + 1
        name = digest(row.chunk.document_id, row.chunk.digest, str(occurrence))[:16]
        ids.append(f"chunk-{name}")
    return ids


def _mend_chunks(
    context: Context, document: StoredDocument, rows: Sequence[ChunkRow], faults: DocumentFaults
) -> None:
    """Cut the document again: if that gives the sound chunks there are, it gives those that are missing, too."""
    known = {row.id: row for row in rows}
    true = {chunk_row_id(piece.id): piece for piece in _cut_again(context, document)}
    sound = {row.id for row in rows if _is_sound(context, document, row, len(rows))}
    if not true or not sound <= true.keys():
        _mend_in_place(context, document, rows, faults)
        return
    for row_id, piece in true.items():
        row = known.get(row_id)
        generation = "" if row is None else row.generation
        made = ChunkRow(
            id=row_id,
            chunk=piece,
            generation=generation,
            vector=_vector(context, piece),
            error=None if row is None else row.error,
        )
        if row != made:
            faults.rows[row_id] = made
        if row is None:
            faults.restored.add(row_id)
    faults.foreign += [row_id for row_id in known if row_id not in true]
    if document.chunks != len(true):
        faults.documents[document.id] = replace(document, chunks=len(true))


def _is_sound(context: Context, document: StoredDocument, row: ChunkRow, occurrences: int) -> bool:
    """Whether a chunk is what its document says, and its id one that follows from that."""
    names = (digest(document.id, row.chunk.digest, str(number))[:16] for number in range(occurrences))
    return row == _true_row(context, document, row) and row.chunk.id in {f"chunk-{name}" for name in names}


def _cut_again(context: Context, document: StoredDocument) -> Sequence[Chunk]:
    if document.digest == document_digest(document.text, cut=True):  # by its caller
        return ()
    try:
        return cut(context, Document(document.text, id=document.id))
    except InvalidInput:  # settings under which it cannot be cut are not those it was cut with
        return ()


def _mend_in_place(
    context: Context, document: StoredDocument, rows: Sequence[ChunkRow], faults: DocumentFaults
) -> None:
    """Where somebody else has cut the document: what follows from the place of each chunk."""
    made = [_true_row(context, document, row) for row in rows]
    whole = [row.chunk.ordinal for row in rows] == list(range(document.chunks))
    if not whole or _ids(made) != [row.chunk.id for row in rows]:
        faults.lost.append(document.id)
        return
    for row, true in zip(rows, made, strict=True):
        if row != true:
            faults.rows[true.id] = true


# ---- what chunks say -----------------------------------------------------------------------------------


async def said_otherwise(
    context: Context, chunks: Iterable[ChunkRow], mentions: Mapping[int, Mentions]
) -> dict[int, Extraction]:
    """By chunk, what it says where that follows from the journal and is not what is stored.

    `context` replays: only chunks whose replies are kept are looked at, and those that the built-in extractor has
    read. A chunk without a generation is one whose row was lost.
    """
    extractor = context.extractor
    if not isinstance(extractor, LLMExtractor | CooccurrenceExtractor):
        return {}  # somebody else's may ask whom it likes
    generation = extractor.generation(context)
    wanted = [row for row in chunks if row.generation in ("", generation) and row.error is None]

    async def extracted(row: ChunkRow) -> Extraction:
        return await extractor.extract(context, row.chunk)

    found: dict[int, Extraction] = {}
    for row, extraction in await replay(wanted, extracted):
        entities, relations = mentions.get(row.id, ((), ()))
        same = set(extraction.entities) == set(entities) and set(extraction.relations) == set(relations)
        if not same or not row.generation:
            found[row.id] = extraction
    return found
