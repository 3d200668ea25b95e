"""Checking a workspace: everything that follows from something else is computed again and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stateless_rag.caring.disabled import mend_disabled
from stateless_rag.caring.evidence import said_otherwise
from stateless_rag.caring.folded import Differences, Expected, Stored, compare, expectations, placed
from stateless_rag.caring.look import Look, Mentions, look
from stateless_rag.caring.replay import replay, replaying
from stateless_rag.kinds import entity_row_id, relation_row_id
from stateless_rag.stages.summarize import summarize
from stateless_rag.text import relation_key
from stateless_rag.types import CheckReport, Fault

if TYPE_CHECKING:
    from stateless_rag.caring.disabled import DisabledFaults
    from stateless_rag.context import Context
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import EntityMention, Extraction, RelationMention

__all__ = ["Checked", "check", "checked", "of_all"]

_EXAMPLES = 5
_REPAIR = "`stateless-rag repair` mends it"
_AGAIN = "ingest the document again from where it came, or restore a backup"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and what a repair needs of it.

    `told` are extractions that differ from what is stored, by chunk; `summaries` the descriptions that the journal
    has, by id of the row; `places` the rows that mentions must be stored with where that is not so. `false_replies`
    are digests of requests whose replies do not say what was stored.
    """

    look: Look
    faults: tuple[Fault, ...]
    told: Mapping[int, Extraction]
    false_replies: frozenset[str]
    places: Mapping[tuple[str, str | None], int | None]
    entities: Differences
    relations: Differences
    summaries: Mapping[int, str]
    unverified: int


async def check(context: Context, workspace: DuckWorkspace, *, deep: bool = False) -> CheckReport:
    """Check a revision of a workspace; nothing is changed, and no provider is called.

    With `deep`, what chunks say is compared with the replies that are kept, too.
    """
    started = context.clock.monotonic()
    found = await checked(context, workspace, deep=deep)
    return CheckReport(
        workspace=workspace.name,
        revision=found.look.revision,
        faults=found.faults,
        counts=found.look.counts,
        unverified=found.unverified,
        unused_vectors=found.look.unused_vectors,
        seconds=context.clock.monotonic() - started,
    )


async def checked(
    context: Context, workspace: DuckWorkspace, *, views: bool = True, deep: bool = True
) -> Checked:
    """Look at a revision, and tell all that is wrong with it; with `views` also of what is made of the tables, with
    `deep` also of what the journal has of chunks.
    """
    seen = await workspace.inspect(partial(look, context, views=views))
    quiet, _ = replaying(context, workspace.journal, seen.doubtful)
    (places, entities, relations), told = await asyncio.gather(
        asyncio.to_thread(_folds, context, seen, seen.mentions),
        said_otherwise(quiet, _to_extract(seen) if deep else (), seen.mentions),
    )
    told, untrue = await asyncio.to_thread(_damaged, context, seen, told)
    await mend_disabled(quiet, seen.disabled)
    false = await _digests_behind(context, workspace, seen, untrue)
    summaries, unverified = await _summaries(quiet, ((entities, seen.entities), (relations, seen.relations)))
    faults = (
        *seen.faults,
        *_document_faults(seen),
        *_disabled_faults(seen.disabled),
        *_mention_faults(told, places),
        *_reply_faults(untrue),
        *_log_faults(seen),
        *_fold_faults("entities", entities),
        *_fold_faults("relations", relations),
    )
    return Checked(seen, faults, told, false, places, entities, relations, summaries, unverified)


def _to_extract(seen: Look) -> list[Any]:
    rows = {**seen.chunks, **seen.documents.rows}
    return [row for row_id, row in rows.items() if row_id not in seen.documents.foreign]


def of_all(
    mentions: Mapping[int, Mentions], chunks: Iterable[int]
) -> tuple[list[EntityMention], list[RelationMention]]:
    """What chunks say, all together."""
    entities: list[EntityMention] = []
    relations: list[RelationMention] = []
    for chunk in chunks:
        if chunk in mentions:
            entities += mentions[chunk][0]
            relations += mentions[chunk][1]
    return entities, relations


def _damaged(
    context: Context, seen: Look, told: Mapping[int, Extraction]
) -> tuple[dict[int, Extraction], list[Extraction]]:
    """Where mentions and the journal differ, the stored folds tell which is right: they were made of the mentions.

    Returns what chunks say whose mentions are damaged, and what follows from replies that are.
    """
    if not told:
        return {}, []
    states = {row.id: row.state for row in (*seen.entities.values(), *seen.relations.values())}
    other: dict[int, Mentions] = {row_id: (list(e.entities), list(e.relations)) for row_id, e in told.items()}
    as_stored = _states(context, seen, seen.mentions)
    as_told = _states(context, seen, {**seen.mentions, **other})
    damaged: dict[int, Extraction] = {}
    untrue: list[Extraction] = []
    for row_id, extraction in told.items():
        entities, relations = seen.mentions.get(row_id, ((), ()))
        is_lost = row_id not in seen.chunks or row_id in seen.documents.restored
        is_lost |= any(m.generation != extraction.generation for m in (*entities, *relations))
        rows = _rows(
            seen, set(entities) ^ set(extraction.entities), set(relations) ^ set(extraction.relations)
        )
        better = sum(as_told.get(row) == states.get(row) for row in rows)
        if is_lost or better > sum(as_stored.get(row) == states.get(row) for row in rows):
            damaged[row_id] = extraction
        else:
            untrue.append(extraction)
    return damaged, untrue


def _states(context: Context, seen: Look, mentions: Mapping[int, Mentions]) -> dict[int, str]:
    """The folds of some mentions, by row."""
    kinds = expectations(context, seen.log, of_all(mentions, seen.chunks), seen.resolve)
    return {row_id: expected.state for kind in kinds for row_id, expected in kind.items()}


def _rows(seen: Look, entities: Iterable[EntityMention], relations: Iterable[RelationMention]) -> set[int]:
    """The rows that mentions fold into."""
    resolve = seen.resolve
    pairs = {relation_key(resolve(m.source_key), resolve(m.target_key)) for m in relations}
    return {entity_row_id(resolve(m.key)) for m in entities} | {relation_row_id(pair) for pair in pairs}


async def _digests_behind(
    context: Context, workspace: DuckWorkspace, seen: Look, untrue: Sequence[Extraction]
) -> frozenset[str]:
    """The digests of the requests that extractions follow from."""
    quiet, found = replaying(context, workspace.journal, seen.doubtful)
    ids = {extraction.chunk_id for extraction in untrue}
    await said_otherwise(quiet, [row for row in seen.chunks.values() if row.chunk.id in ids], seen.mentions)
    return frozenset(found.found)


def _folds(
    context: Context, seen: Look, mentions: Mapping[int, Mentions]
) -> tuple[dict[tuple[str, str | None], int | None], Differences, Differences]:
    resolve, merging = seen.resolve, context.settings.merging
    right = placed(seen.log, seen.placed, resolve, merging)
    wrong = {pair: row_id for pair, row_id in right.items() if seen.placed[pair] != {row_id}}
    entities, relations = expectations(context, seen.log, of_all(mentions, seen.chunks), resolve)
    ids = {expected.name: expected.id for expected in entities.values()}
    differ = partial(
        compare, context, replies=seen.replies, entity_ids=lambda key: ids.get(key) or entity_row_id(key)
    )
    return wrong, differ(entities, seen.entities), differ(relations, seen.relations)


async def _summaries(
    quiet: Context, kinds: Sequence[tuple[Differences, Mapping[int, Stored]]]
) -> tuple[dict[int, str], int]:
    """Summaries that the journal has, by row, and how many it does not have of rows that are right but for that.

    Rows that tell otherwise are put among the wrong ones.
    """
    long: list[Expected] = []
    for found, _ in kinds:
        every = [*found.unsure.values(), *(pair[0] for pair in found.wrong.values()), *found.missing.values()]
        long += [expected for expected in every if expected.told is None]

    async def summarized(expected: Expected) -> str:
        return await summarize(quiet, expected.subject, expected.texts)

    known = {expected.id: text for expected, text in await replay(long, summarized)}
    for found, stored in kinds:
        said = {id_: stored[id_].shown.description for id_ in (*found.unsure, *found.wrong)}
        for id_, text in said.items():
            if known.get(id_, text) != text and found.wrong.get(id_, (None, ""))[1] != "fold":
                expected = found.unsure[id_] if id_ in found.unsure else found.wrong[id_][0]
                found.wrong[id_] = (expected, "description")
    return known, sum(id_ not in known for found, _ in kinds for id_ in found.unsure)


# ---- faults --------------------------------------------------------------------------------------------


def _document_faults(seen: Look) -> list[Fault]:
    found, lost = seen.documents, frozenset(seen.documents.lost)
    faults = []
    for kind, where, what, ids in (
        (
            "document_text",
            "documents",
            "the text of a document is not the one that was ingested",
            found.texts,
        ),
        (
            "document_chunks",
            "chunks",
            "chunks are missing, or are not what their document says",
            found.chunks,
        ),
    ):
        mendable = [id_ for id_ in ids if id_ not in lost]
        gone = [id_ for id_ in ids if id_ in lost]
        if mendable:
            faults.append(_fault(kind, where, what, mendable))
        if gone:
            faults.append(_fault(kind, where, what, gone, advice=_AGAIN, repairable=False))
    if found.metadata:
        told = "the metadata of a document cannot be read"
        advice = "`stateless-rag repair` empties it; then ingest the document again with its metadata"
        faults.append(_fault("document_metadata", "documents", told, found.metadata, advice=advice))
    return faults


def _disabled_faults(found: DisabledFaults) -> list[Fault]:
    lost, faults = frozenset(found.lost), []
    for kind, what, ids in (
        ("disabled_text", "the text of a disabled document is not the one that was ingested", found.texts),
        (
            "disabled_chunks",
            "what is kept of a disabled document's chunks does not fit its text",
            found.chunks,
        ),
    ):
        mendable = [id_ for id_ in ids if id_ not in lost]
        gone = [id_ for id_ in ids if id_ in lost]
        if mendable:
            faults.append(_fault(kind, "disabled", what, mendable))
        if gone:
            faults.append(_fault(kind, "disabled", what, gone, advice=_AGAIN, repairable=False))
    if found.metadata:
        told = "the metadata of a disabled document cannot be read"
        advice = "`stateless-rag repair` empties it; then ingest the document again with its metadata"
        faults.append(_fault("disabled_metadata", "disabled", told, found.metadata, advice=advice))
    return faults


def _mention_faults(
    told: Mapping[int, Extraction], places: Mapping[tuple[str, str | None], int | None]
) -> list[Fault]:
    faults = []
    if told:
        ids = [extraction.chunk_id for extraction in told.values()]
        faults.append(
            _fault("mentions", "mentions", "a chunk says other things than were extracted from it", ids)
        )
    if places:
        pairs = [" — ".join(filter(None, pair)) for pair in places]
        faults.append(
            _fault(
                "mention_rows", "mentions", "a mention is stored with another row than it folds into", pairs
            )
        )
    return faults


def _reply_faults(untrue: Sequence[Extraction]) -> list[Fault]:
    told = "a reply that is kept is not what its chunk was taken to say"
    return [_fault("replies", "journal", told, [e.chunk_id for e in untrue])] if untrue else []


def _log_faults(seen: Look) -> list[Fault]:
    true = seen.true_aliases
    if dict(seen.aliases) == dict(true):
        return []
    keys = [key for key in {*true, *seen.aliases} if true.get(key) != seen.aliases.get(key)]
    return [_fault("aliases", "aliases", "an alias is not what the changes by hand say", keys)]


def _fold_faults(table: str, found: Differences) -> list[Fault]:
    one = {"entities": "an entity", "relations": "a relation"}[table]
    by_reason: dict[str, list[str]] = {}
    for expected, reason in found.wrong.values():
        by_reason.setdefault(reason, []).append(expected.name)
    faults = [
        _fault(f"{table}_{reason}", table, f"{one} has another {reason} than its mentions give", names)
        for reason, names in sorted(by_reason.items())
    ]
    if found.missing:
        names = [expected.name for expected in found.missing.values()]
        faults.append(_fault(f"missing_{table}", table, f"{one} that is mentioned is missing", names))
    if found.unfounded:
        names = [str(row.id) for row in found.unfounded.values()]
        faults.append(_fault(f"unfounded_{table}", table, f"{one} is there that nothing tells of", names))
    return faults


def _fault(
    kind: str,
    where: str,
    what: str,
    examples: Sequence[str],
    *,
    advice: str = _REPAIR,
    repairable: bool = True,
) -> Fault:
    return Fault(
        kind=kind,
        where=where,
        what=what,
        advice=advice,
        count=len(examples),
        examples=tuple(sorted(examples)[:_EXAMPLES]),
        repairable=repairable,
    )
