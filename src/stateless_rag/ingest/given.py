"""What a caller says of a document, in place of what the stages would find."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from stateless_rag.stages.extract import mentions
from stateless_rag.stages.records import ParsedReply
from stateless_rag.text import digest, document_digest, entity_key
from stateless_rag.types import Given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import ChunkRow, Claim, DocumentRow
    from stateless_rag.types import Chunk, Extraction, Records

__all__ = ["given_again", "given_extraction", "is_kept", "records_of"]

_GIVEN = "given-"
_INLINE = 500  # records of one chunk; more are made into mentions in a thread


def records_of(claim: Claim, chunk: Chunk) -> Records | None:
    """What the caller says that a chunk says; None if an extractor is to read it."""
    return None if claim.given is None else claim.given.records[chunk.ordinal]


def is_kept(context: Context, claim: Claim, chunk: Chunk, row: ChunkRow) -> bool:
    """Whether the mentions of a committed chunk with the same text still hold."""
    if row.error is not None or (row.truncated and context.renew_truncated):
        return False
    if claim.upgrade:
        return row.generation.startswith(_GIVEN) or row.generation == context.extractor.generation(context)
    records = records_of(claim, chunk)
    if records is None:
        return not row.generation.startswith(_GIVEN)
    return row.generation == _generation(records)


def given_again(claim: Claim, document: DocumentRow, rows: Sequence[ChunkRow]) -> Claim:
    """The claim to upgrade a document as it is committed now. Where its caller has cut it, or said what its chunks
    say, it stays cut like that; else it is cut anew.
    """
    cut = document.digest == document_digest(document.text, cut=True)
    given = None
    if cut or any(row.generation.startswith(_GIVEN) for row in rows):
        spans = tuple((row.chunk.start, row.chunk.stop) for row in rows)
        given = Given(spans, (None,) * len(spans), cut=cut)
    return replace(claim, text=document.text, source=document.source, metadata=document.metadata, given=given)


async def given_extraction(context: Context, chunk: Chunk, records: Records) -> Extraction:
    """The records as mentions. A relation of an entity with itself is none, and counted as "self loop"."""
    if len(records.entities) + len(records.relations) > _INLINE:
        return await asyncio.to_thread(_extraction, context, chunk, records)
    await asyncio.sleep(0)  # the event loop must have its turn
    return _extraction(context, chunk, records)


def _extraction(context: Context, chunk: Chunk, records: Records) -> Extraction:
    policy = context.settings.merging.key_policy
    loops = sum(
        entity_key(source, policy) == entity_key(target, policy) for source, target, _, _ in records.relations
    )
    parsed = ParsedReply(records.entities, records.relations, {"self loop": loops} if loops else {})
    extraction = mentions(context, chunk, _generation(records), parsed, records.weights)
    return extraction if records.error is None else replace(extraction, error=records.error)


def _generation(records: Records) -> str:
    if records.generation is not None:
        return records.generation
    weighed = [records.weights] if any(records.weights) else []
    told = json.dumps([records.entities, records.relations, *weighed], ensure_ascii=False)
    return f"{records.origin}-{digest('given', told)[:12]}"
