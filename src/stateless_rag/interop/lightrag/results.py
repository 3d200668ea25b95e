"""What the methods return, in LightRAG's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

__all__ = [
    "DeletionResult",
    "DocProcessingStatus",
    "DocStatus",
    "KnowledgeGraph",
    "KnowledgeGraphEdge",
    "KnowledgeGraphNode",
    "QueryResult",
]


class DocStatus(StrEnum):
    """Where a document stands. `parsing`, `analyzing` and `preprocessed` do not occur here."""

    PENDING = "pending"
    PARSING = "parsing"
    ANALYZING = "analyzing"
    PROCESSING = "processing"
    PREPROCESSED = "preprocessed"
    PROCESSED = "processed"
    FAILED = "failed"


@dataclass
class DocProcessingStatus:
    """A document's row. Times are ISO 8601 in UTC; `created_at` is that of the last change.

    `content_summary`, `content_hash` and `chunks_list` are those of what is committed: empty, or None, before.
    """

    content_summary: str
    content_length: int
    file_path: str
    status: DocStatus
    created_at: str
    updated_at: str
    track_id: str | None = None
    chunks_count: int | None = None
    chunks_list: list[str] = field(default_factory=list)
    error_msg: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    content_hash: str | None = None
    multimodal_processed: bool | None = None


@dataclass
class DeletionResult:
    """What a deletion came to. `status_code` is what HTTP would answer: 200, 404, 500.

    `doc_id` is what was to be deleted, also if that is an entity, or a relation as "one -> other".
    """

    status: Literal["success", "not_found", "not_allowed", "fail"]
    doc_id: str
    message: str
    status_code: int = 200
    file_path: str | None = None


@dataclass
class QueryResult:
    """An answer: `content`, or a `response_iterator` where it is streamed; `raw_data` is that of a data query."""

    content: str | None = None
    response_iterator: AsyncIterator[str] | None = None
    raw_data: dict[str, Any] | None = None
    is_streaming: bool = False
    llm_generated: bool = True

    @property
    def reference_list(self) -> list[dict[str, str]]:
        """The references of the data."""
        data: dict[str, Any] = (self.raw_data or {}).get("data", {})
        references: list[dict[str, str]] = data.get("references", [])
        return references

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the data."""
        found: dict[str, Any] = (self.raw_data or {}).get("metadata", {})
        return found


@dataclass
class KnowledgeGraphNode:
    """An entity: `id` and the only label are its name."""

    id: str
    labels: list[str]
    properties: dict[str, Any]


@dataclass
class KnowledgeGraphEdge:
    """A relation, in the direction in which it was stated."""

    id: str
    type: str | None
    source: str
    target: str
    properties: dict[str, Any]


@dataclass
class KnowledgeGraph:
    """A part of the graph. `is_truncated`: there was no room for more nodes."""

    nodes: list[KnowledgeGraphNode] = field(default_factory=list)
    edges: list[KnowledgeGraphEdge] = field(default_factory=list)
    is_truncated: bool = False

    def model_dump(self) -> dict[str, Any]:
        """All of it as dicts and lists."""
        return asdict(self)
