"""What a commit is computed from, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from stateless_rag.text import chunk_row_id

if TYPE_CHECKING:
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.protocols.providers import Vectors
    from stateless_rag.types import (
        Chunk,
        Curation,
        Entity,
        EntityMention,
        Extraction,
        File,
        Given,
        Relation,
        RelationMention,
    )

__all__ = [
    "ALIASES",
    "CURATIONS",
    "Basis",
    "Change",
    "ChunkRow",
    "Claim",
    "DisabledRow",
    "DocumentRow",
    "EntityRow",
    "RelationRow",
]

ALIASES = 0
"""Stands for the aliases among the ids that a commit read or touched."""
CURATIONS = 1
"""Stands for the log of curations among them: for who adds to it, not for who only folds with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """A committed document. `digest` depends on the text alone."""

    id: str
    source: str | None
    metadata: Mapping[str, Any]
    text: str
    digest: str
    chunks: int
    tracking_id: str | None
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """A committed chunk: the generation of its extraction, and the digest under which its vector is kept.

    `error` is what kept it from being extracted (in a document that was accepted although partial). `truncated`:
    a reply was cut off by the token limit, so that what the rest of it would have said is missing.
    """

    id: int
    chunk: Chunk
    generation: str
    vector: str
    error: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisabledRow:
    """A committed document that is disabled: its chunks with what they say, which is in no fold meanwhile."""

    document: DocumentRow
    chunks: tuple[tuple[Chunk, Extraction], ...]

    def chunk_rows(self) -> list[ChunkRow]:
        """Its chunks like those of others; they have no vector."""
        return [
            ChunkRow(
                id=chunk_row_id(chunk.id),
                chunk=chunk,
                generation=extraction.generation,
                vector="",
                error=extraction.error,
                truncated=extraction.truncated,
            )
            for chunk, extraction in self.chunks
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRow:
    """A committed entity. `state` is its fold as JSON, `vector` the digest under which its vector is kept."""

    id: int
    entity: Entity
    state: str
    vector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRow:
    """A committed relation between the entities `left` and `right` (ids, in the order of the pair's keys)."""

    id: int
    left: int
    right: int
    relation: Relation
    state: str
    vector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A document accepted but not committed, claimed by one worker until it commits, fails or lets go.

    `given` is what its caller says of it instead of the stages. With `upgrade` it is there already, and is to be
    extracted again as it is committed then, whatever was said of it here; older submissions stay. `file` is one whose
    text is not known yet.
    """

    sequence: int
    document_id: str
    source: str | None
    metadata: Mapping[str, Any]
    text: str
    tracking_id: str
    attempts: int = 0
    errors: tuple[Mapping[str, Any], ...] = ()
    given: Given | None = None
    file: File | None = None
    upgrade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """All that one commit changes; rows replace those of the same id.

    `base` is the revision it was computed from and `reads` the ids of the entities and relations whose folds it
    read: if another commit changed one of them since, the commit is refused with CommitConflict, and so it is if
    the aliases or one of its documents changed. `moved` are kept chunks whose place in the document changed.
    Mentions come with the id of the entity or relation they fold into (None for a relation of an entity with
    itself, and where it was deleted by hand); stored mentions under the raw keys in `remention` are replaced by
    those given. `vectors` holds the vector of each digest that a row here names and no row did before, but for
    those in the journal. `curation` is the change by hand that this commit is; it touches all that it reads.
    `aliases` maps raw keys to the key they stand for from now on because of it, or None. `hidden` are ids of
    entities and relations that were deleted by hand and that mentions here tell of: these are touched, too. The
    submissions in `requires` must still be pending (CommitConflict if not); those in `done` are pending no more.
    `merging` are the settings that its keys and folds were made with, of those that a workspace keeps for good:
    if the workspace was given others since, the commit is refused with WorkspaceMismatch. `embedder` is the model
    that its vectors are made by: if the workspace was changed to another one since, the commit is refused with
    CommitConflict, or WorkspaceMismatch where the other is not at hand (`Reembedding.following`). `disabled` are
    documents that are laid aside from now on, or their next version; `removed_disabled` are such no more.
    """

    base: int
    reads: frozenset[int] = frozenset()
    documents: tuple[DocumentRow, ...] = ()
    removed_documents: tuple[str, ...] = ()
    chunks: tuple[ChunkRow, ...] = ()
    moved: tuple[ChunkRow, ...] = ()
    removed_chunks: tuple[int, ...] = ()
    entity_mentions: tuple[tuple[int | None, EntityMention], ...] = ()
    relation_mentions: tuple[tuple[int | None, RelationMention], ...] = ()
    entities: tuple[EntityRow, ...] = ()
    removed_entities: tuple[int, ...] = ()
    relations: tuple[RelationRow, ...] = ()
    removed_relations: tuple[int, ...] = ()
    vectors: Mapping[str, Vectors]
    requires: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    curation: Curation | None = None
    aliases: Mapping[str, str | None] | None = None
    remention: frozenset[str] = frozenset()
    hidden: frozenset[int] = frozenset()
    embedder: str | None = None
    disabled: tuple[DisabledRow, ...] = ()
    removed_disabled: tuple[str, ...] = ()
    merging: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Basis(Protocol):
    """What a commit is computed from: one revision, read like a `Snapshot`, in the form it is stored in."""

    @property
    def revision(self) -> int:
        """The number of commits before it."""

    def aliases(self) -> Mapping[str, str]:
        """Raw keys and the keys they stand for."""

    def curations(self) -> CurationLog:
        """All changes by hand."""

    def entity_labels(self) -> tuple[Sequence[int], Sequence[str], Sequence[str]]:
        """All entities: ids, names and types, in no certain order."""

    def near_entities(self, top_k: int, least: float) -> Callable[[], Sequence[tuple[int, int, float]]]:
        """Work that finds pairs of entities whose vectors are near: for each its `top_k` nearest of a cosine of
        `least` or more. It reads this revision wherever and whenever it is done.
        """

    def edges(self, entity_ids: Sequence[int]) -> Mapping[int, Sequence[tuple[int, int]]]:
        """For each entity its relations as (relation id, id of the other end), by relation id."""

    def document_rows(self, ids: Collection[str]) -> Mapping[str, DocumentRow]:
        """Committed documents."""

    def disabled_rows(self, ids: Collection[str]) -> Mapping[str, DisabledRow]:
        """Committed documents that are disabled."""

    def chunk_rows(self, document_ids: Collection[str]) -> Sequence[ChunkRow]:
        """All chunks of the documents, in order."""

    def mentions_in(
        self, chunk_ids: Collection[int]
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """All mentions of the chunks."""

    def mentions_of(self, ids: Collection[int]) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """All mentions that fold into the entities and relations."""

    def mentions_under(
        self, raw_keys: Collection[str]
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """All mentions of the raw keys, and of relations with such an end."""

    def entity_rows(self, ids: Collection[int]) -> Mapping[int, EntityRow]:
        """Entities with their folds."""

    def relation_rows(self, ids: Collection[int]) -> Mapping[int, RelationRow]:
        """Relations with their folds."""

    def vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """Stored vectors."""
