"""Repairing a workspace: what follows from something else is written again, first the evidence, then the folds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stateless_rag.calls import vector_digest
from stateless_rag.caring.check import Checked, checked
from stateless_rag.caring.folded import Expected, Stored, placed, row_of
from stateless_rag.completing import completed
from stateless_rag.context import Meter
from stateless_rag.errors import CommitConflict
from stateless_rag.kinds import entity_row_id
from stateless_rag.protocols import Change, ChunkRow, EntityRow, RelationRow
from stateless_rag.stages.embed import chunk_text, entity_text, relation_text
from stateless_rag.stages.summarize import summarize
from stateless_rag.stores.duckdb import rows
from stateless_rag.stores.duckdb.aside import write_disabled
from stateless_rag.stores.duckdb.checking import mending
from stateless_rag.types import Entity, RepairReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stateless_rag.context import Context
    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import Extraction

__all__ = ["repair"]

_ROUNDS = (
    4  # one for the evidence, one for the folds, and again for what only the second has brought to light
)
_CONFLICTS = 50
_PAUSE = 0.02  # seconds, growing by as much with each conflict
_BY_ROWS = frozenset({"aliases", "replies"})  # kinds of faults that are mended by rows that were found out
_KEPT = frozenset(
    {"values", "ends", "tokens", "vector"}
)  # what can be wrong with a row whose description is right


async def repair(context: Context, workspace: DuckWorkspace) -> RepairReport:
    """Mend what a check finds, as far as it follows from what is there.

    Vectors that are missing are embedded again, and a summary that the journal does not have is paid for. Every step
    is all or nothing, and others may work meanwhile. Raises ProviderError if a provider fails.
    """
    started, meter = context.clock.monotonic(), Meter()
    context = context.derive(meter=meter, journal=workspace.journal)
    first = found = await checked(context, workspace)
    for _ in range(_ROUNDS):
        if not any(fault.repairable for fault in found.faults):
            break
        await _round(context, workspace, found)
        # Files and what is in memory have just been made anew.
        found = await checked(context, workspace, views=False)
    orphans = [id_ for id_ in first.look.orphans if id_ not in found.look.document_ids]
    lost = {*orphans, *found.look.documents.lost, *first.look.documents.metadata}
    lost |= {*found.look.disabled.lost, *first.look.disabled.metadata}
    return RepairReport(
        workspace=workspace.name,
        revision=found.look.revision,
        found=first.faults,
        left=found.faults,
        lost=tuple(sorted(lost)),
        usage=meter.totals(),
        seconds=context.clock.monotonic() - started,
    )


async def _round(context: Context, workspace: DuckWorkspace, found: Checked) -> None:
    """Mend the evidence, if it is damaged, else the folds. Again, if a commit came between."""
    sleep = context.clock.sleep or asyncio.sleep
    for attempt in range(1, _CONFLICTS + 1):
        try:
            if _is_evidence_damaged(found):
                await workspace.rewrite(found.look.revision, _evidence(context, workspace, found))
            else:
                change = await _change(context, workspace, found)
                await workspace.rewrite(found.look.revision, _folds(workspace, change))
        except CommitConflict:
            if attempt == _CONFLICTS:
                raise
            await sleep(_PAUSE * attempt)
            found = await checked(context, workspace, views=False)
        else:
            return


def _is_evidence_damaged(found: Checked) -> bool:
    documents = found.look.documents
    mendable = any(mending(fault.kind, "", 0) for fault in found.faults)
    told = (
        found.told
        or found.false_replies
        or found.places
        or dict(found.look.aliases) != dict(found.look.true_aliases)
    )
    aside = found.look.disabled.rows
    return bool(mendable or told or aside or documents.rows or documents.documents or documents.foreign)


# ---- the evidence --------------------------------------------------------------------------------------


def _evidence(context: Context, workspace: DuckWorkspace, found: Checked) -> Callable[[Cursor, int], None]:
    kinds = [fault.kind for fault in found.faults]
    first = [kind for kind in kinds if kind.startswith("duplicate_")]
    change = _told(context, found)

    def apply(cursor: Cursor, revision: int) -> None:
        def mend(names: Iterable[str]) -> None:
            for name in names:
                if name in _BY_ROWS:
                    continue
                for statement in mending(name, workspace.schema, revision - 1):
                    cursor.execute(statement).fetchall()

        mend(first)
        _write_documents(cursor, workspace, found)
        rows.write_change(cursor, workspace.sql, workspace.schema, change, {}, revision)
        write_disabled(cursor, workspace.sql, workspace.schema, change)
        # What a chunk says that was missing is no orphan any more.
        mend(kind for kind in kinds if kind not in first)
        _write_places(cursor, workspace, found)
        _write_aliases(cursor, workspace, found)
        if found.false_replies:
            for statement in mending("replies", workspace.schema, 0):
                cursor.execute(statement, [list(found.false_replies)]).fetchall()

    return apply


def _told(context: Context, found: Checked) -> Change:
    """The chunks that are to be written, and the mentions of those whose mentions are."""
    look, told = found.look, found.told
    log, merging = look.log, context.settings.merging
    pairs: set[tuple[str, str | None]] = {
        (mention.key, None) for extraction in told.values() for mention in extraction.entities
    }
    pairs |= {(m.source_key, m.target_key) for extraction in told.values() for m in extraction.relations}
    places = placed(log, pairs, look.resolve, merging)
    chunks = {row_id: row for row_id, row in look.documents.rows.items() if _generation(found, row_id, row)}
    moved = tuple(replace(row, generation=_generation(found, row_id, row)) for row_id, row in chunks.items())
    return Change(
        base=look.revision,
        moved=moved,
        removed_chunks=tuple(look.documents.foreign),
        disabled=tuple(look.disabled.rows.values()),
        entity_mentions=tuple((places[m.key, None], m) for e in told.values() for m in e.entities),
        relation_mentions=tuple(
            (places[m.source_key, m.target_key], m) for e in told.values() for m in e.relations
        ),
        vectors={},
    )


def _generation(found: Checked, row_id: int, row: ChunkRow) -> str:
    """That of a chunk's extraction; "" for one that was lost and of which nobody knows what it says."""
    if row.generation:
        return row.generation
    extraction: Extraction | None = found.told.get(row_id)
    if extraction is not None:
        return extraction.generation
    entities, relations = found.look.mentions.get(row_id, ((), ()))
    generations = {mention.generation for mention in (*entities, *relations)}
    return generations.pop() if len(generations) == 1 else ""


def _write_documents(cursor: Cursor, workspace: DuckWorkspace, found: Checked) -> None:
    documents = list(found.look.documents.documents.values())
    columns = {
        "id": pa.array([document.id for document in documents], pa.string()),
        "metadata": pa.array([document.metadata for document in documents], pa.string()),
        "text": pa.array([document.text for document in documents], pa.string()),
        "chunks": pa.array([document.chunks for document in documents], pa.int32()),
    }
    _from_incoming(cursor, workspace, "mended_documents", columns)
    if found.told:
        cursor.execute(workspace.sql["remove_mentions"], [list(found.told)]).fetchall()


def _write_places(cursor: Cursor, workspace: DuckWorkspace, found: Checked) -> None:
    pairs = list(found.places)
    columns = {
        "source_key": pa.array([source for source, _ in pairs], pa.string()),
        "target_key": pa.array([target for _, target in pairs], pa.string()),
        "id": pa.array(list(found.places.values()), pa.int64()),
    }
    _from_incoming(cursor, workspace, "place_mentions", columns)


def _write_aliases(cursor: Cursor, workspace: DuckWorkspace, found: Checked) -> None:
    true = found.look.true_aliases
    if dict(found.look.aliases) != dict(true):
        for statement in mending("aliases", workspace.schema, 0):
            cursor.execute(statement).fetchall()
        columns = {
            "key": pa.array(list(true), pa.string()),
            "target": pa.array(list(true.values()), pa.string()),
        }
        rows.append(cursor, f"{workspace.schema}.aliases", columns)


def _from_incoming(cursor: Cursor, workspace: DuckWorkspace, name: str, columns: Mapping[str, Any]) -> None:
    """Run a statement that mends rows by a table `incoming`, if there is any row in it."""
    incoming = pa.table(dict(columns))
    if incoming.num_rows:
        cursor.register("incoming", incoming)
        for statement in mending(name, workspace.schema, 0):
            cursor.execute(statement).fetchall()
        cursor.unregister("incoming")


# ---- the folds -----------------------------------------------------------------------------------------


async def _change(context: Context, workspace: DuckWorkspace, found: Checked) -> Change:
    """All rows that must be written again, with their tokens; their vectors are in the journal then."""
    texts: dict[str, str] = {}

    def named(text: str) -> str:
        key = vector_digest(context.embedder.model, text)
        texts[key] = text
        return key

    entities: list[EntityRow] = []
    relations: list[RelationRow] = []
    for expected, stored, reason in _wanted(found):
        description = await _description(context, found, expected, stored, reason)
        row = row_of(context, expected, description, named, entity_row_id)
        if isinstance(row, EntityRow):
            entities.append(row)
        else:
            relations.append(row)
    change = Change(
        base=found.look.revision,
        entities=tuple(entities),
        removed_entities=tuple(found.entities.unfounded),
        relations=tuple(relations),
        removed_relations=tuple(found.relations.unfounded),
        vectors={},
    )
    texts.update(await asyncio.to_thread(_without_vectors, context, found))
    if workspace.dimension is not None:
        known = await workspace.journal.get_vectors(list(texts))
        texts = {key: text for key, text in texts.items() if key not in known}
    return await completed(context, change, texts)


def _wanted(found: Checked) -> list[tuple[Expected, Stored | None, str]]:
    wanted: list[tuple[Expected, Stored | None, str]] = []
    for differences, stored in (
        (found.entities, found.look.entities),
        (found.relations, found.look.relations),
    ):
        wanted += [(expected, stored[id_], reason) for id_, (expected, reason) in differences.wrong.items()]
        wanted += [(expected, None, "") for expected in differences.missing.values()]
    return wanted


async def _description(
    context: Context, found: Checked, expected: Expected, stored: Stored | None, reason: str
) -> str:
    if stored is not None and reason in _KEPT:
        return stored.shown.description
    if expected.told is not None:
        return expected.told
    if expected.id in found.summaries:
        return found.summaries[expected.id]
    return await summarize(context, expected.subject, expected.texts)


def _without_vectors(context: Context, found: Checked) -> dict[str, str]:
    """Texts of rows whose vector is missing, by digest."""
    look, missing = found.look, found.look.missing_vectors
    texts: dict[str, str] = {}
    if not missing:
        return texts
    for chunk in look.chunks.values():
        if chunk.vector in missing:
            texts[chunk.vector] = chunk_text(context, chunk.chunk.text, chunk.chunk.tokens)
    everything: Sequence[Stored] = [*look.entities.values(), *look.relations.values()]
    for row in everything:
        if row.vector in missing:
            shown = row.shown
            text = entity_text(context, shown) if isinstance(shown, Entity) else relation_text(context, shown)
            texts[row.vector] = text
    return {key: text for key, text in texts.items() if key == vector_digest(context.embedder.model, text)}


def _folds(workspace: DuckWorkspace, change: Change) -> Callable[[Cursor, int], None]:
    def apply(cursor: Cursor, revision: int) -> None:
        rows.write_change(cursor, workspace.sql, workspace.schema, change, {}, revision)

    return apply
