"""A look at one revision: what is read of it in one transaction, and what of it is found to be wrong there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stateless_rag.caring.disabled import DisabledFaults, look_at_disabled
from stateless_rag.caring.evidence import DocumentFaults, StoredDocument, look_at
from stateless_rag.caring.folded import Stored
from stateless_rag.protocols import ChunkRow
from stateless_rag.stages.merge import resolver
from stateless_rag.stores.duckdb import rows
from stateless_rag.types import EntityMention, RelationMention

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.stores.duckdb.checking import Inspection
    from stateless_rag.types import Fault

__all__ = ["Look", "Mentions", "look"]

Mentions = tuple[list[EntityMention], list[RelationMention]]
RawPair = tuple[str, str | None]
_DOCUMENTS = 512  # read at a time


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one revision. Rows that are there more than once stand for themselves once here.

    `faults` are those that need no knowledge of how rows come about. `placed` has, for the raw keys of mentions, the
    ids of rows that they are stored with. `orphans` are ids of documents that are missing and of which there are
    chunks, `missing_vectors` digests that rows name, `doubtful` digests of requests that have two
    replies. `disabled` tells of documents that are laid aside.
    """

    revision: int
    faults: Sequence[Fault]
    counts: Mapping[str, int]
    unused_vectors: int
    log: CurationLog
    aliases: Mapping[str, str]
    documents: DocumentFaults
    document_ids: frozenset[str]
    chunks: Mapping[int, ChunkRow]
    mentions: Mapping[int, Mentions]
    placed: Mapping[RawPair, frozenset[int | None]]
    entities: Mapping[int, Stored]
    relations: Mapping[int, Stored]
    replies: frozenset[str]
    orphans: frozenset[str]
    missing_vectors: frozenset[str]
    doubtful: frozenset[str]
    disabled: DisabledFaults

    @property
    def true_aliases(self) -> Mapping[str, str]:
        """The aliases that follow from the log; those that are older than logs are only in their table."""
        return self.log.aliases

    @property
    def resolve(self) -> Callable[[str], str]:
        """Follows the aliases."""
        return resolver(self.true_aliases)


def look(context: Context, inspection: Inspection, *, views: bool = True) -> Look:
    """Read a workspace. Blocks; takes a second for some thousand chunks. Without `views`, tables alone count."""
    select = inspection.select
    policy = inspection.record.info.get("key_policy", "casefold")
    faults = [*inspection.row_faults(), *(inspection.view_faults(policy) if views else ())]
    documents, chunks, ids = _documents(context, inspection)
    mentions, placed = _mentions(inspection.rows("dump_mentions"))
    missing = select("missing_vectors") if inspection.has_vectors else []
    return Look(
        revision=inspection.view.revision,
        faults=faults,
        counts=inspection.counts(),
        unused_vectors=inspection.unused_vectors(),
        log=inspection.view.curations,
        aliases=dict(select("aliases")),
        documents=documents,
        document_ids=ids,
        chunks=chunks,
        mentions=mentions,
        placed=placed,
        entities={row.id: row for row in map(_entity, inspection.rows("entity_rows"))},
        relations={row.id: row for row in map(_relation, inspection.rows("relation_rows"))},
        replies=frozenset(row[0].strip() for row in select("replies")),
        orphans=frozenset(row[0] for row in select("orphans")),
        missing_vectors=frozenset(row[0] for row in missing),
        doubtful=frozenset(row[0] for row in select("replies_at_odds")),
        disabled=look_at_disabled(context, inspection.rows("disabled_rows")),
    )


def _documents(
    context: Context, inspection: Inspection
) -> tuple[DocumentFaults, dict[int, ChunkRow], frozenset[str]]:
    faults, found = DocumentFaults(), dict[int, ChunkRow]()
    ids = [row[0] for row in inspection.select("document_ids")]
    for start in range(0, len(ids), _DOCUMENTS):
        some = ids[start : start + _DOCUMENTS]
        # The newest of two rows of one document comes last.
        documents = {row[0]: StoredDocument(*row) for row in inspection.select("documents", some)}
        of_each: dict[str, dict[int, ChunkRow]] = {}
        for row in map(rows.chunk_row, inspection.rows("chunk_rows", some)):
            of_each.setdefault(row.chunk.document_id, {}).setdefault(row.id, row)
        look_at(
            context, documents.values(), {id_: list(own.values()) for id_, own in of_each.items()}, faults
        )
        found.update({row_id: row for own in of_each.values() for row_id, row in own.items()})
    return faults, found, frozenset(ids)


def _mentions(
    found: Sequence[Sequence[Any]],
) -> tuple[dict[int, Mentions], dict[RawPair, frozenset[int | None]]]:
    by_chunk: dict[int, list[Sequence[Any]]] = {}
    placed: dict[RawPair, set[int | None]] = {}
    for row in found:
        placed.setdefault((row[3], row[4]), set()).add(row[0])
        by_chunk.setdefault(row[1], []).append(row[1:])
    read: dict[int, Mentions] = {}
    for chunk, own in by_chunk.items():
        entities, relations = rows.mentions(own)
        read[chunk] = (list(dict.fromkeys(entities)), list(dict.fromkeys(relations)))
    return read, {pair: frozenset(ids) for pair, ids in placed.items()}


def _entity(row: Sequence[Any]) -> Stored:
    made = rows.entity_row(row)
    return Stored(made.id, made.entity, made.state, made.vector)


def _relation(row: Sequence[Any]) -> Stored:
    made = rows.relation_row(row)
    return Stored(made.id, made.relation, made.state, made.vector, (made.left, made.right))
