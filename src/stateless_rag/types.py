"""The frozen values that flow through the stages, in the words of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from stateless_rag.checks import choice, each_field, identifier, json_object, optional, text
from stateless_rag.errors import InvalidDocument

__all__ = [
    "Answer",
    "Chunk",
    "ChunkError",
    "DeleteReport",
    "Document",
    "DocumentReport",
    "DocumentStatus",
    "Entity",
    "EntityMention",
    "Event",
    "Extraction",
    "GraphDelta",
    "InsertReport",
    "Keywords",
    "Message",
    "Mode",
    "OpenWorkspace",
    "Passage",
    "Reference",
    "Relation",
    "RelationMention",
    "Retrieval",
    "Status",
    "Usage",
    "UsageByPurpose",
    "WorkspaceInfo",
]

Mode = Literal["naive", "local", "global", "hybrid", "mix", "bypass"]
NOTHING: Mapping[str, Any] = MappingProxyType({})
_ROLES = ("user", "assistant", "system")
_SOURCE_LIMIT = 4096


# ---- documents and chunks ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be known.

    `id` identifies it; without one it follows from `source` (a path or URL), else from the text.
    `metadata` is free, must be JSON, and can be filtered by. Strings are cleaned
    (`stateless_rag.text.clean_text`, so offsets in the text stay valid), an empty source counts as none, and
    metadata is copied, its tuples as lists.

    Raises InvalidDocument, naming the value, for a text that is no string, an id that is blank, longer than
    512 characters or has control characters in it, a source longer than 4096, and metadata that is not JSON.
    """

    text: str
    id: str | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)
    metadata: Mapping[str, Any] = field(default_factory=lambda: NOTHING, kw_only=True)

    def __post_init__(self) -> None:
        each_field(self, text, "text", error=InvalidDocument)
        each_field(self, optional, "id", check=identifier, error=InvalidDocument)
        each_field(self, optional, "source", check=text, most=_SOURCE_LIMIT, error=InvalidDocument)
        each_field(self, json_object, "metadata", error=InvalidDocument)
        if self.source == "":
            object.__setattr__(self, "source", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A span of a document: `document.text[start:stop] == text`, offsets in code points.

    `id` follows from the document's id and the chunk's text, so an unchanged chunk keeps its id when the
    document around it changes. `digest` depends on the text alone.
    """

    id: str
    document_id: str
    ordinal: int
    start: int
    stop: int
    text: str
    tokens: int
    digest: str


class Status(StrEnum):
    """Where a document stands: waiting; being cut and extracted; on its way into the graph; there; or failed."""

    PENDING = "pending"
    EXTRACTING = "extracting"
    MERGING = "merging"
    PROCESSED = "processed"
    FAILED = "failed"


# ---- evidence ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class EntityMention:
    """What one chunk says about one entity. All fields together are its identity.

    `key` is the raw key (`stateless_rag.text.entity_key` of `name`). A mention that a relation implies (the
    extractor named the endpoint in a relation only) has the type "" and the relation's description.
    """

    chunk_id: str
    generation: str
    key: str
    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True, order=True)
class RelationMention:
    """What one chunk says about one relation, in the direction in which it was stated."""

    chunk_id: str
    generation: str
    source_key: str
    target_key: str
    source: str
    target: str
    keywords: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class GraphDelta:
    """The mentions that a set of chunks adds. Both ends of every relation are mentioned by the same chunk."""

    entities: frozenset[EntityMention] = frozenset()
    relations: frozenset[RelationMention] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What an extractor found in one chunk, or the error that kept it from finding anything.

    `warnings` counts records of the reply that could not be used, by reason.
    """

    chunk_id: str
    generation: str
    entities: tuple[EntityMention, ...] = ()
    relations: tuple[RelationMention, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    error: str | None = None


# ---- the graph -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """The fold of all mentions of one entity. `weight` is the number of chunks that mention it.

    `tokens` are those of its line in a context; 0 if they were not counted.
    """

    key: str
    name: str
    type: str
    description: str
    weight: int
    tokens: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """The fold of all mentions of one relation.

    `source` and `target` are the entities' display names in the direction stated most often; the relation is
    identified by the unordered pair `source_key`, `target_key`. `weight` is the number of chunks that state it,
    `tokens` those of its line in a context; 0 if they were not counted.
    """

    source_key: str
    target_key: str
    source: str
    target: str
    keywords: tuple[str, ...]
    description: str
    weight: int
    tokens: int = field(default=0, compare=False, repr=False)


# ---- what calls cost -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """Provider calls and their tokens. `cached` counts answers taken from the journal instead of paid for."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached + other.cached,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens


UsageByPurpose = Mapping[str, Usage]


# ---- reports of the write path -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkError:
    """A chunk that could not be extracted: which, why, and how often it was tried."""

    chunk_id: str
    ordinal: int
    error: str
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReport:
    """What became of one document of an insert.

    `unchanged` is true if the same text was there already (nothing was paid). `stale` is true if an older
    version still answers because the new one failed. `warnings` counts what was left out of the LLM's replies,
    by reason ("truncated": a reply was cut off by the token limit); "empty" is a document without text.
    """

    id: str
    source: str | None
    status: Status
    chunks: int = 0
    entities: int = 0
    relations: int = 0
    errors: tuple[ChunkError, ...] = ()
    error: str | None = None
    warnings: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    unchanged: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertReport:
    """What an insert did: one entry per document in the order given, costs, and wall time."""

    tracking_id: str
    documents: tuple[DocumentReport, ...]
    usage: UsageByPurpose
    seconds: float
    revision: int

    @property
    def counts(self) -> Mapping[Status, int]:
        """Documents per status."""
        counts: dict[Status, int] = {}
        for document in self.documents:
            counts[document.status] = counts.get(document.status, 0) + 1
        return counts

    @property
    def failed(self) -> tuple[DocumentReport, ...]:
        """The documents that are not whole; `Engine.resume` tries them again."""
        return tuple(document for document in self.documents if document.status is Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteReport:
    """What a delete did. `missing` are ids that were not there."""

    deleted: tuple[str, ...]
    missing: tuple[str, ...]
    entities_removed: int
    entities_changed: int
    relations_removed: int
    relations_changed: int
    usage: UsageByPurpose
    seconds: float
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStatus:
    """A document's row in listings. `stale` as in `DocumentReport`."""

    id: str
    source: str | None
    status: Status
    metadata: Mapping[str, Any]
    chunks: int
    characters: int
    tracking_id: str | None
    updated_at: float
    error: str | None = None
    errors: tuple[ChunkError, ...] = ()
    attempts: int = 0
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A step of an operation, for progress bars and logs.

    `kind` is one of: accepted, unchanged, chunked, extracted (a chunk), merging (all chunks are extracted; comes
    again if the commit has to be repeated), committed, failed, deleted, finished. `done` and `total` count chunks
    of the document for chunked, extracted and merging, documents otherwise; `total` is None while the input is
    still being read.
    """

    kind: str
    workspace: str
    document_id: str | None = None
    done: int = 0
    total: int | None = None
    message: str = ""
    report: InsertReport | DocumentReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceInfo:
    """What a workspace holds and was made with. `bytes` is what it takes on disk, as near as can be told."""

    name: str
    placement: Literal["root", "own"]
    revision: int
    documents: Mapping[Status, int]
    chunks: int
    entities: int
    relations: int
    generations: Mapping[str, int]
    embedder: str | None
    dimension: int | None
    tokenizer: str | None
    key_policy: str
    format_version: int
    bytes: int
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWorkspace:
    """A workspace that a pool keeps open: by how many it is leased, the bytes it holds in memory, and for how
    many seconds nobody has leased it.
    """

    name: str
    leases: int
    memory: int
    idle: float


# ---- the read path -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is "user", "assistant" or "system"."""

    role: str
    content: str

    def __post_init__(self) -> None:
        each_field(self, choice, "role", among=_ROLES)
        each_field(self, text, "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """What a question is about: themes (`high_level`) and concrete names and terms (`low_level`)."""

    high_level: tuple[str, ...] = ()
    low_level: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a part of an answer rests on: a span of a document. `number` is how the answer cites it: [1]."""

    number: int
    document_id: str
    source: str | None
    chunk_id: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk that was found. `found_by` names what led to it.

    `score` follows the rank, higher for better: the reranker's score, and without a reranker 1 for the first
    passage, 1/2 for the second, and so on. `similarity` is the cosine of question and passage; it does not
    follow the rank where entities and relations lead to passages too, and is None where no vectors were
    compared.
    """

    chunk_id: str
    document_id: str
    source: str | None
    ordinal: int
    start: int
    stop: int
    text: str
    tokens: int
    score: float
    similarity: float | None = None
    found_by: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What was found for a question, without an LLM having answered it.

    `entities` and `relations` are ranked, best first, and cut to their budgets; `passages` are ranked and cut
    to theirs, and `references` cite them in the same order. `context` is the text an LLM would be given.
    `found` counts what each step had before the budgets cut it. `degraded` names steps that fell back.
    """

    question: str
    mode: Mode
    revision: int
    keywords: Keywords
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    passages: tuple[Passage, ...]
    references: tuple[Reference, ...]
    context: str
    found: Mapping[str, int]
    usage: UsageByPurpose
    timings: Mapping[str, float]
    degraded: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing at all was found."""
        return not (self.entities or self.relations or self.passages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and what it rests on.

    `text` is the LLM's; without an LLM it is the best passages, cited; with `only_context` the context; with
    `only_prompt` the prompt; with nothing found, a sentence that says so, and `no_context` is true. `timings`
    are milliseconds per step.
    """

    text: str
    references: tuple[Reference, ...]
    context: str
    retrieval: Retrieval
    usage: UsageByPurpose
    timings: Mapping[str, float]
    no_context: bool = False
    truncated: bool = False
    degraded: tuple[str, ...] = ()

    def replace(self, **changes: Any) -> Answer:
        """A copy with some fields changed."""
        return replace(self, **changes)
