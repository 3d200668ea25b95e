"""From documents with their extractions to one commit: fold what changed, describe it, embed it, store it.

A commit is computed from a revision, without holding a lock or a transaction while providers are called. If
another commit changed what it read in the meantime, it is computed again; by then the journal knows every
summary and vector, so nothing is paid twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from stateless_rag.aside import laid_aside, updated_aside
from stateless_rag.attempts import together
from stateless_rag.calls import vector_digest
from stateless_rag.completing import completed
from stateless_rag.errors import CommitConflict
from stateless_rag.folding import Changed, Folding, fold_changes, fold_curation
from stateless_rag.protocols import (
    Basis,
    Change,
    ChunkRow,
    Claim,
    DisabledRow,
    DocumentRow,
    EntityRow,
    RelationRow,
)
from stateless_rag.stages.embed import chunk_text, entity_text, relation_text
from stateless_rag.stages.merge import present_entity, present_relation
from stateless_rag.stages.summarize import joined, summarize
from stateless_rag.text import chunk_row_id, document_digest, stable_id
from stateless_rag.workspace_settings import FIXED

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

    from stateless_rag.context import Context
    from stateless_rag.protocols import Workspace
    from stateless_rag.types import Chunk, Curation, Extraction

__all__ = ["Batch", "Committed", "Draft", "Outdated", "Ready", "commit"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds between two tries; the first is doubled until the longest


class Outdated(CommitConflict):
    """Chunks that a document wanted to keep are gone: it must be prepared again. `document_ids` names them."""

    def __init__(self, document_ids: Sequence[str]) -> None:
        super().__init__(f"documents {list(document_ids)} were deleted while they were being updated")
        self.document_ids = tuple(document_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A document whose chunks are all extracted. Chunks without an extraction are kept from its last version."""

    claim: Claim
    chunks: tuple[Chunk, ...]
    extractions: Mapping[str, Extraction]
    done: tuple[int, ...] = ()


Draft = Callable[[Basis], "Curation | None"]
"""A change by hand, once it is known what there is: its entry with the next number, None if nothing changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one commit is to change: documents that come, go, are disabled or enabled.

    One with a `curation` changes nothing else.
    """

    ready: tuple[Ready, ...] = ()
    removed: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    curation: Draft | None = None
    done: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a commit did. `removed_documents` were deleted or disabled, `added_documents` came or were enabled."""

    revision: int
    withdrawn: tuple[int, ...]
    removed_documents: tuple[str, ...]
    added_documents: tuple[str, ...]
    entities_changed: int
    entities_removed: int
    relations_changed: int
    relations_removed: int
    curation: Curation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What changes, before it is described and embedded."""

    base: int
    reads: frozenset[int]
    folding: Folding
    documents: tuple[DocumentRow, ...]
    removed_documents: tuple[str, ...]
    chunks: tuple[tuple[Chunk, Extraction], ...]
    moved: tuple[ChunkRow, ...]
    removed_chunks: tuple[int, ...]
    disabled: tuple[DisabledRow, ...] = ()
    removed_disabled: tuple[str, ...] = ()
    curation: Curation | None = None

    @property
    def empty(self) -> bool:
        documents = self.documents or self.removed_documents or self.disabled or self.removed_disabled
        return not (documents or self.folding.touched or self.curation)


async def commit(context: Context, workspace: Workspace, batch: Batch) -> Committed:
    """Commit a batch, without documents that were withdrawn (deleted) in the meantime.
    Raises ProviderError if a summary or an embedding fails, and Outdated if a document must be prepared again;
    then nothing was changed.
    """
    return await _attempts(context)(_attempt, context, workspace, batch)


def _attempts(context: Context) -> AsyncRetrying:
    """Once more after each conflict, at growing random intervals, so that two writers do not chase each other."""
    from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

    return AsyncRetrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, CommitConflict) and not isinstance(error, Outdated)
        ),
        wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
        sleep=context.clock.sleep or asyncio.sleep,
        reraise=True,
    )


async def _attempt(context: Context, workspace: Workspace, batch: Batch) -> Committed:
    context = context.derive(embedder=workspace.reembedding.following(context.embedder))
    withdrawn = tuple(r.claim.sequence for r in batch.ready if not workspace.is_pending(r.claim.sequence))
    batch = replace(batch, ready=tuple(r for r in batch.ready if r.claim.sequence not in withdrawn))
    plan = await workspace.read_basis(partial(_plan, context, batch, context.clock.wall()))
    committed = _committed(plan, withdrawn)
    if plan.empty:
        return committed
    described = await asyncio.to_thread(_at_once, context, plan)
    if None in described:
        change = await _while_summarised(context, plan, batch, described)
    else:
        change, texts = await asyncio.to_thread(_change, context, plan, batch, described)
        del plan  # with a large document there is not room for the folds and what follows from them
        change = await completed(context, change, texts)
        del texts
    return replace(committed, revision=await workspace.commit(change))


def _committed(plan: _Plan, withdrawn: tuple[int, ...]) -> Committed:
    folding = plan.folding
    return Committed(
        revision=plan.base,
        withdrawn=withdrawn,
        removed_documents=tuple(dict.fromkeys((*plan.removed_documents, *plan.removed_disabled))),
        added_documents=tuple(row.id for row in plan.documents),
        entities_changed=len(folding.entities),
        entities_removed=len(folding.removed_entities),
        relations_changed=len(folding.relations),
        relations_removed=len(folding.removed_relations),
        curation=plan.curation,
    )


# ---- what changes --------------------------------------------------------------------------------------


def _plan(context: Context, batch: Batch, now: float, basis: Basis) -> _Plan:
    documents = _documents(batch, now, basis)
    curation = None if batch.curation is None else batch.curation(basis)
    merging = context.settings.merging
    if curation is None:
        added = [extraction for _, extraction in documents.chunks]
        folding = fold_changes(basis, merging, added, documents.removed_chunks, context.way.give)
    else:
        folding = fold_curation(basis, merging, curation)
    return _Plan(
        base=basis.revision,
        reads=folding.reads | {stable_id("document", id_) for id_ in documents.ids},
        folding=folding,
        documents=tuple(documents.rows),
        removed_documents=documents.removed,
        chunks=tuple(documents.chunks),
        moved=tuple(documents.moved),
        removed_chunks=tuple(sorted(documents.removed_chunks)),
        disabled=tuple(documents.disabled),
        removed_disabled=documents.removed_disabled,
        curation=curation,
    )


@dataclass(slots=True, kw_only=True)
class _Documents:
    """What happens to documents and chunks; `ids` are those of all documents that were looked at."""

    ids: tuple[str, ...]
    removed: tuple[str, ...]
    removed_chunks: set[int]
    removed_disabled: tuple[str, ...]
    rows: list[DocumentRow] = field(default_factory=list)
    chunks: list[tuple[Chunk, Extraction]] = field(default_factory=list)
    moved: list[ChunkRow] = field(default_factory=list)
    disabled: list[DisabledRow] = field(default_factory=list)


def _documents(batch: Batch, now: float, basis: Basis) -> _Documents:
    """Raises Outdated if chunks that were to be kept are gone."""
    ids = (*(r.claim.document_id for r in batch.ready), *batch.removed, *batch.disabled, *batch.enabled)
    committed, aside = basis.document_rows(ids), basis.disabled_rows(ids)
    old: dict[str, dict[int, ChunkRow]] = {}
    for row in basis.chunk_rows(ids):
        old.setdefault(row.chunk.document_id, {})[row.id] = row
    removed = tuple(id_ for id_ in (*batch.removed, *batch.disabled) if id_ in committed)
    found = _Documents(
        ids=ids,
        removed=removed,
        removed_chunks={id_ for document in removed for id_ in old.get(document, ())},
        removed_disabled=tuple(id_ for id_ in (*batch.removed, *batch.enabled) if id_ in aside),
    )
    outdated: list[str] = []
    for ready in batch.ready:
        id_, document = ready.claim.document_id, _document_row(ready, now)
        taken = (
            _add(found, ready, document, old.get(id_, {}))
            if id_ not in aside
            else _add_aside(found, ready, document, aside[id_])
        )
        if not taken:
            outdated.append(id_)
    if outdated:
        raise Outdated(outdated)
    for id_ in batch.enabled:
        if id_ in aside:
            found.rows.append(aside[id_].document)
            found.chunks.extend(aside[id_].chunks)
    found.disabled += laid_aside(basis, [committed[i] for i in batch.disabled if i in committed], old)
    return found


def _add(found: _Documents, ready: Ready, document: DocumentRow, before: Mapping[int, ChunkRow]) -> bool:
    """A new document or a new version; whether the rows that it keeps are there."""
    kept = _kept(ready, before)
    if kept is None:
        return False
    found.rows.append(document)
    found.removed_chunks.update(before.keys() - kept.keys())
    found.moved.extend(row for row in kept.values() if row.chunk != before[row.id].chunk)
    found.chunks.extend((c, ready.extractions[c.id]) for c in ready.chunks if c.id in ready.extractions)
    return True


def _add_aside(found: _Documents, ready: Ready, document: DocumentRow, before: DisabledRow) -> bool:
    """A new version of a document that is disabled, as this is then."""
    row = updated_aside(before, document, ready.chunks, ready.extractions)
    if row is None:
        return False
    found.disabled.append(row)
    return True


def _kept(ready: Ready, before: Mapping[int, ChunkRow]) -> dict[int, ChunkRow] | None:
    """The rows that stay, where they are now; None if one that should stay is gone."""
    kept: dict[int, ChunkRow] = {}
    for chunk in ready.chunks:
        if chunk.id not in ready.extractions:
            row = before.get(chunk_row_id(chunk.id))
            if row is None:
                return None
            kept[row.id] = replace(row, chunk=chunk)
    return kept


def _document_row(ready: Ready, now: float) -> DocumentRow:
    claim = ready.claim
    return DocumentRow(
        id=claim.document_id,
        source=claim.source,
        metadata=claim.metadata,
        text=claim.text,
        digest=document_digest(claim.text, cut=claim.given is not None and claim.given.cut),
        chunks=len(ready.chunks),
        tracking_id=claim.tracking_id,
        updated_at=now,
    )


# ---- describe and embed --------------------------------------------------------------------------------


def _change(
    context: Context, plan: _Plan, batch: Batch, described: Sequence[str | None]
) -> tuple[Change, Mapping[str, str]]:
    """The change without vectors and tokens, and the texts to embed for it, by digest. `described` has entities
    first, then relations; those that are not described are left out. Long for a large batch, so it is run in a thread.
    """
    folding, model = plan.folding, context.embedder.model
    texts: dict[str, str] = {}

    def named(text: str) -> str:
        context.way.give()
        key = vector_digest(model, text)
        texts[key] = text
        return key

    shown = len(folding.entities)
    chunks = _chunk_rows(context, plan, named)
    entities = _entity_rows(context, folding, described[:shown], named)
    relations = _relation_rows(context, folding, described[shown:], named)
    for vector in folding.stored_vectors:
        texts.pop(vector, None)
    change = Change(
        base=plan.base,
        reads=plan.reads,
        documents=plan.documents,
        removed_documents=plan.removed_documents,
        chunks=chunks,
        moved=plan.moved,
        removed_chunks=plan.removed_chunks,
        disabled=plan.disabled,
        removed_disabled=plan.removed_disabled,
        entity_mentions=folding.entity_mentions,
        relation_mentions=folding.relation_mentions,
        entities=entities,
        removed_entities=folding.removed_entities,
        relations=relations,
        removed_relations=folding.removed_relations,
        vectors={},
        requires=tuple(ready.claim.sequence for ready in batch.ready),
        done=(*batch.done, *(n for ready in batch.ready for n in ready.done)),
        curation=plan.curation,
        aliases=folding.aliases,
        remention=folding.remention,
        hidden=folding.hidden,
        embedder=model,
        merging={name: getattr(context.settings.merging, name) for name in FIXED},
    )
    return change, texts


def _chunk_rows(context: Context, plan: _Plan, named: Callable[[str], str]) -> tuple[ChunkRow, ...]:
    """The rows of new chunks; `named` takes a text to embed and gives its digest, here and below."""
    return tuple(
        ChunkRow(
            id=chunk_row_id(chunk.id),
            chunk=chunk,
            generation=extraction.generation,
            vector=named(chunk_text(context, chunk.text, chunk.tokens)),
            error=extraction.error,
            truncated=extraction.truncated,
        )
        for chunk, extraction in plan.chunks
    )


def _entity_rows(
    context: Context, folding: Folding, descriptions: Sequence[str | None], named: Callable[[str], str]
) -> tuple[EntityRow, ...]:
    rows = []
    for change, description in zip(folding.entities, descriptions, strict=True):
        if description is not None:
            entity = present_entity(change.fold, description, by_hand=change.by_hand)
            vector = named(entity_text(context, entity))
            rows.append(EntityRow(id=change.id, entity=entity, state=change.state, vector=vector))
    return tuple(rows)


def _relation_rows(
    context: Context, folding: Folding, descriptions: Sequence[str | None], named: Callable[[str], str]
) -> tuple[RelationRow, ...]:
    rows = []
    for change, description in zip(folding.relations, descriptions, strict=True):
        if description is not None:
            relation = present_relation(change.fold, description, by_hand=change.by_hand)
            row = RelationRow(
                id=change.id,
                left=folding.entity_id(change.fold.left),
                right=folding.entity_id(change.fold.right),
                relation=relation,
                state=change.state,
                vector=named(relation_text(context, relation)),
            )
            rows.append(row)
    return tuple(rows)


def _at_once(context: Context, plan: _Plan) -> list[str | None]:
    """The descriptions of entities, then relations: kept ones as they are, short lists joined, None for long ones."""
    found: list[str | None] = []
    changes: list[Changed[Any, Any]] = [*plan.folding.entities, *plan.folding.relations]
    for change in changes:
        context.way.give()
        known = change.description
        found.append(joined(context, change.fold.texts) if known is None else known)
    return found


async def _while_summarised(
    context: Context, plan: _Plan, batch: Batch, described: Sequence[str | None]
) -> Change:
    """The change, where descriptions are missing that the LLM has to write: all the others are embedded meanwhile."""
    changes: list[Changed[Any, Any]] = [*plan.folding.entities, *plan.folding.relations]
    remaining = iter([position for position, text in enumerate(described) if text is None])
    summaries: list[str | None] = [None] * len(changes)
    others: list[Change] = []

    async def embed() -> None:
        others.append(
            await completed(context, *await asyncio.to_thread(_change, context, plan, batch, described))
        )

    async def write() -> None:
        for position in remaining:
            change = changes[position]
            summaries[position] = await summarize(context, change.subject, change.fold.texts)

    # Enough to keep the slots full; as many tasks as summaries would fill the queue of the limits.
    writers = min(described.count(None), 2 * context.limits.capacity("llm"))
    jobs = iter((embed, *repeat(write, writers)))

    async def job() -> None:
        await next(jobs)()

    await together(job, 1 + writers)
    without_chunks = replace(plan, chunks=())
    late = await completed(
        context, *await asyncio.to_thread(_change, context, without_chunks, batch, summaries)
    )
    return replace(
        others[0],
        entities=others[0].entities + late.entities,
        relations=others[0].relations + late.relations,
        vectors={**others[0].vectors, **late.vectors},
    )
