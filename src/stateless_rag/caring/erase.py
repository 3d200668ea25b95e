"""Erasing documents: also what was kept of them only to save money, so that no byte of them is left in any file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stateless_rag.caring.evidence import said_otherwise
from stateless_rag.caring.replay import replay, replaying
from stateless_rag.caring.themes import summaries_left
from stateless_rag.changes import delete_documents
from stateless_rag.errors import CommitConflict
from stateless_rag.kinds import Entities, Relations, entity_row_id
from stateless_rag.protocols import ChunkRow
from stateless_rag.stages.chunk import chunk as cut
from stateless_rag.stages.summarize import joined, summarize
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.checking import erasing
from stateless_rag.text import chunk_row_id, relation_key
from stateless_rag.types import Document, EraseReport

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.stores.duckdb.checking import Inspection
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import CompactReport, DeleteReport

__all__ = ["erase_documents", "erased"]

_CONFLICTS = 50
_PAUSE = 0.02  # seconds, growing by as much with each conflict


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a workspace: the chunks to come back to, texts that were summarised, and names by hand."""

    revision: int
    chunks: Sequence[ChunkRow]
    pending: Sequence[Document]
    summarized: Sequence[tuple[str, tuple[str, ...]]]
    curations: tuple[int, ...]


async def erase_documents(context: Context, workspace: DuckWorkspace, ids: Sequence[str]) -> DeleteReport:
    """Delete documents, and everything that was kept of them; the file that they lay in is still to be rewritten.

    Replies of the LLM are kept where something that is left would ask for them again. What is being ingested of the
    documents is stopped first.
    """
    await _stop(context, workspace, ids)
    report = await delete_documents(context, workspace, ids)
    sleep = context.clock.sleep or asyncio.sleep
    for attempt in range(1, _CONFLICTS + 1):
        try:
            async with workspace.batches.alone():
                gone, revision = await _scrub(context, workspace, ids)
        except CommitConflict:
            if attempt == _CONFLICTS:
                raise
            await sleep(_PAUSE * attempt)
        else:
            break
    await workspace.tidy()
    return replace(report, erased=gone, revision=revision)


def erased(report: DeleteReport, compacted: CompactReport) -> DeleteReport:
    """The report of an erasure, once the file was rewritten."""
    assert report.erased is not None  # noqa: S101 -- made by `erase_documents`
    return replace(report, erased=replace(report.erased, compacted=compacted))


async def _stop(context: Context, workspace: DuckWorkspace, ids: Sequence[str]) -> None:
    """Let nobody work on the documents any more: what comes back from the LLM would be kept again."""
    sleep = context.clock.sleep or asyncio.sleep
    await workspace.cancel(ids, None, "erased")
    while any(workspace.stage(n) is not None for found in workspace.waiting(ids).values() for n in found):
        await sleep(_PAUSE)


async def _scrub(context: Context, workspace: DuckWorkspace, ids: Sequence[str]) -> tuple[EraseReport, int]:
    now = context.clock.wall()
    left = await workspace.inspect(partial(_left, context))
    wanted = await _wanted_again(context, workspace, left)
    keep = sorted(wanted | await summaries_left(context, workspace))
    counted: dict[str, Any] = {}

    def apply(cursor: Cursor, _: int) -> None:
        has = workspace.dimension is not None
        counted.update(erasing(cursor, workspace.schema, keep, now, has_vectors=has))
        workspace.batches.erase(cursor, ids)

    revision = await workspace.rewrite(left.revision, apply)
    return EraseReport(
        replies=counted["replies"], vectors=counted["vectors"], curations=left.curations
    ), revision


# ---- what is left --------------------------------------------------------------------------------------


def _left(context: Context, inspection: Inspection) -> _Left:
    log, merging = inspection.view.curations, context.settings.merging
    entities, relations = Entities(merging), Relations(merging)
    summarized: list[tuple[str, tuple[str, ...]]] = []
    for row in map(rows.entity_row, inspection.rows("entity_rows")):
        key = row.entity.key
        fold = entities.load(key, row.state)
        if joined(context, fold.texts) is None:
            summarized.append((entities.subject(fold, log.entity(key)), fold.texts))
    for other in map(rows.relation_row, inspection.rows("relation_rows")):
        pair = relation_key(other.relation.source_key, other.relation.target_key)
        bond = relations.load(pair, other.state)
        if joined(context, bond.texts) is None:
            summarized.append((relations.subject(bond, log.relation(pair)), bond.texts))
    chunks = [rows.chunk_row(row) for row in inspection.rows("chunk_rows")]
    submitted = [Document(row[1], id=row[0]) for row in inspection.select("pending_texts")]
    untold = _untold(log, inspection)
    return _Left(inspection.view.revision, chunks, submitted, summarized, untold)


def _untold(log: CurationLog, inspection: Inspection) -> tuple[int, ...]:
    """Numbers of changes by hand of which a name is that of nothing that a document tells of."""
    keys = {key for entry in log.entries for key in entry.keys}
    found = inspection.view.entities.get([entity_row_id(log.resolve(key)) for key in keys])
    told = {entity.key for entity in found.values() if entity.weight}
    untold = {key for key in keys if log.resolve(key) not in told}
    return tuple(entry.number for entry in log.entries if untold.intersection(entry.keys))


async def _wanted_again(context: Context, workspace: DuckWorkspace, left: _Left) -> frozenset[str]:
    """The digests of kept replies that extraction and summaries of what is left would ask for."""
    quiet, found = replaying(context, workspace.journal)
    pending = await asyncio.to_thread(_pieces, context, left.pending)
    await said_otherwise(quiet, [*left.chunks, *pending], {})

    async def summarized(item: tuple[str, tuple[str, ...]]) -> str:
        return await summarize(quiet, *item)

    await replay(left.summarized, summarized)
    return frozenset(found.found)


def _pieces(context: Context, documents: Sequence[Document]) -> list[ChunkRow]:
    return [
        ChunkRow(id=chunk_row_id(piece.id), chunk=piece, generation="", vector="")
        for document in documents
        for piece in cut(context, document)
    ]
