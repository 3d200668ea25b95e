"""Documents that are disabled: what is damaged of them, and what of it follows from the rest.

Of such a document there is a row with its text, and what its chunks say, each with its place and its digest. Nothing
is folded of it, so that nothing else tells what it says but the replies that are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stateless_rag.caring.replay import replay
from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import DisabledRow
from stateless_rag.stages.chunk import chunk as cut
from stateless_rag.stages.extract import CooccurrenceExtractor, LLMExtractor
from stateless_rag.stores.duckdb.aside import disabled_row
from stateless_rag.text import digest, document_digest
from stateless_rag.types import Chunk, Document

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.types import Extraction

__all__ = ["DisabledFaults", "look_at_disabled", "mend_disabled"]


@dataclass(slots=True)
class DisabledFaults:
    """What is wrong with documents that are disabled, by their ids, and the rows that mend it.

    `cut_again` are those of which some chunks have to be read again: the row as far as it is known, and its chunks.
    """

    texts: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    rows: dict[str, DisabledRow] = field(default_factory=dict)
    cut_again: list[tuple[DisabledRow, Sequence[Chunk]]] = field(default_factory=list)


def look_at_disabled(context: Context, stored: Iterable[Sequence[Any]]) -> DisabledFaults:
    """Check rows of `disabled`, unread, against their digests."""
    faults = DisabledFaults()
    for row in {row[0]: row for row in stored}.values():
        _look_at(context, row, faults)
    return faults


def _look_at(context: Context, stored: Sequence[Any], faults: DisabledFaults) -> None:
    id_, metadata, text, told = stored[0], stored[2], stored[3], stored[4]
    readable = _is_object(metadata)
    row, whole = _read([*stored[:2], metadata if readable else "{}", *stored[3:]])
    if told not in (document_digest(text), document_digest(text, cut=True)):
        faults.texts.append(id_)
        faults.lost.append(id_)
        return
    if not readable:
        faults.metadata.append(id_)
        faults.rows[id_] = row
    if whole and _is_whole(context, row):
        return
    faults.chunks.append(id_)
    pieces = _cut_again(context, row)
    sound = {piece.id for piece, _ in row.chunks if piece == _true(context, row, piece)}
    if pieces and sound <= {piece.id for piece in pieces}:
        faults.cut_again.append((row, pieces))
    else:
        faults.lost.append(id_)


def _is_object(metadata: str) -> bool:
    try:
        return isinstance(json.loads(metadata), dict)
    except ValueError:
        return False


def _read(stored: Sequence[Any]) -> tuple[DisabledRow, bool]:
    """The row, and whether what its chunks say can be read."""
    try:
        return disabled_row(stored), True
    except (ValueError, TypeError, KeyError, IndexError):
        return disabled_row([*stored[:8], "[]"]), False


def _true(context: Context, row: DisabledRow, piece: Chunk) -> Chunk:
    text = row.document.text[piece.start : piece.stop]
    return replace(piece, text=text, digest=digest("chunk", text), tokens=context.tokenizer.count(text))


def _is_whole(context: Context, row: DisabledRow) -> bool:
    pieces = [piece for piece, _ in row.chunks]
    if [piece.ordinal for piece in pieces] != list(range(row.document.chunks)):
        return False
    return all(piece == _true(context, row, piece) for piece in pieces)


def _cut_again(context: Context, row: DisabledRow) -> Sequence[Chunk]:
    """The chunks that follow from the text; none where its caller has cut it."""
    document = row.document
    if document.digest == document_digest(document.text, cut=True):
        return ()
    try:
        return cut(context, Document(document.text, id=document.id))
    except InvalidInput:  # settings under which it cannot be cut are not those it was cut with
        return ()


async def mend_disabled(quiet: Context, faults: DisabledFaults) -> None:
    """Add the rows of documents that were cut again: what a chunk said is known still, or follows from the journal.

    `quiet` replays. Documents of which a chunk is not known any more are lost.
    """
    for row, pieces in faults.cut_again:
        known: Mapping[str, Extraction] = {extraction.chunk_id: extraction for _, extraction in row.chunks}
        missing = [piece for piece in pieces if piece.id not in known]
        found = {**known, **{e.chunk_id: e for _, e in await _replayed(quiet, missing)}}
        if any(piece.id not in found for piece in pieces):
            faults.lost.append(row.document.id)
            faults.rows.pop(row.document.id, None)
            continue
        faults.rows[row.document.id] = DisabledRow(
            document=replace(row.document, chunks=len(pieces)),
            chunks=tuple((piece, found[piece.id]) for piece in pieces),
        )


async def _replayed(quiet: Context, pieces: Sequence[Chunk]) -> Sequence[tuple[Chunk, Extraction]]:
    extractor = quiet.extractor
    if not pieces or not isinstance(extractor, LLMExtractor | CooccurrenceExtractor):
        return ()  # somebody else's may ask whom it likes

    async def extracted(piece: Chunk) -> Extraction:
        return await extractor.extract(quiet, piece)

    return list(await replay(pieces, extracted))
