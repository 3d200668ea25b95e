"""What operations did and cost, and how a workspace and its documents stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.types.documents import Status

if TYPE_CHECKING:
    from stateless_rag.types.answers import Answer, Retrieval
    from stateless_rag.types.care import EraseReport

__all__ = [
    "ChunkError",
    "DeleteReport",
    "DocumentReport",
    "DocumentStatus",
    "EnableReport",
    "Event",
    "InsertReport",
    "OpenWorkspace",
    "ReembedReport",
    "Usage",
    "UsageByPurpose",
    "WorkspaceInfo",
]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkError:
    """A chunk that could not be extracted: which, why, and in how many attempts at its document.

    Each attempt asks the provider as often as `CallSettings.attempts` allows.
    """

    chunk_id: str
    ordinal: int
    error: str
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReport:
    """What became of one document of an insert.

    `chunks` counts the document's chunks; `entities` and `relations` count what this run extracted from them, so
    nothing where the text did not change. `unchanged` is true if the same text was there already (nothing was
    paid). `stale` is true if an older
    version still answers because the new one failed. `warnings` counts what was left out of the LLM's replies,
    by reason; "empty" is a document without text. `truncated` has the ordinals of the chunks of which this run
    got a reply that the token limit cut off: what was said up to there counts, and
    `Engine.retry(truncated=True)` asks again.
    """

    id: str
    source: str | None
    status: Status
    chunks: int = 0
    entities: int = 0
    relations: int = 0
    errors: tuple[ChunkError, ...] = ()
    error: str | None = None
    warnings: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    unchanged: bool = False
    stale: bool = False
    truncated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertReport:
    """What an insert did: one entry per document in the order given, costs, and wall time.

    `paused` says which budget was used up: documents that are pending for that wait for `Engine.resume`.
    """

    tracking_id: str
    documents: tuple[DocumentReport, ...]
    usage: UsageByPurpose
    seconds: float
    revision: int
    paused: str | None = None

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
    """What a delete did. `missing` are ids that were not there; `erased` tells what else went, if that was asked."""

    deleted: tuple[str, ...]
    missing: tuple[str, ...]
    entities_removed: int
    entities_changed: int
    relations_removed: int
    relations_changed: int
    usage: UsageByPurpose
    seconds: float
    revision: int
    erased: EraseReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableReport:
    """What enabling documents, or disabling them, did: which changed, which stood so already, and which are not there
    (or not committed yet).
    """

    enabled: bool
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    missing: tuple[str, ...]
    entities_removed: int
    entities_changed: int
    relations_removed: int
    relations_changed: int
    usage: UsageByPurpose
    seconds: float
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReembedReport:
    """What a change to another embedder did: how many rows have its vectors, and the calls that this took.

    `cut` counts chunks of which the embedder takes only the beginning. `changed` is false if the workspace had
    this embedder already.
    """

    embedder: str
    dimension: int | None
    chunks: int
    entities: int
    relations: int
    cut: int
    changed: bool
    usage: UsageByPurpose
    seconds: float
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStatus:
    """A document's row in listings. `stale` as in `DocumentReport`.

    `truncated` has the ordinals of its chunks of which the LLM's reply was cut off, as far as is committed.
    A document that is not `enabled` is in the graph and in no answer, as if it were deleted (`Engine.disable`).
    """

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
    truncated: tuple[int, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A step of an operation, for progress bars and logs.

    `kind` is one of: accepted, unchanged, chunked, extracted (a chunk), merging (all chunks are extracted; comes
    again if the commit has to be repeated), committed, failed, paused (a budget is used up), deleted, disabled,
    enabled, finished. `done` and `total` count chunks of the document for chunked, extracted and merging, documents
    otherwise; `total` is None while the input is still being read.

    Of a change to another embedder: embedding (`done` and `total` count rows) and reembedded, with the report.

    Of a question: keywords, searching, summarizing, reranking, answering (each when the step begins), retrieved and
    answered, which carry what was found and the answer. `trace_id` tells questions asked at the same time apart.
    """

    kind: str
    workspace: str
    document_id: str | None = None
    done: int = 0
    total: int | None = None
    message: str = ""
    report: InsertReport | DocumentReport | ReembedReport | Retrieval | Answer | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceInfo:
    """What a workspace holds and was made with. `bytes` is what it takes on disk, as near as can be told.

    `documents` counts those that are disabled, too, which `disabled` are; the other counts are without them.
    `reembedding` names the embedder that a change has begun to which is not complete (`Engine.reembed`).
    """

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
    disabled: int = 0
    reembedding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWorkspace:
    """A workspace that a pool keeps open: by how many it is leased, the bytes it holds in memory, and for how
    many seconds nobody has leased it.
    """

    name: str
    leases: int
    memory: int
    idle: float
