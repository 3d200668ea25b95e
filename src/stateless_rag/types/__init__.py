"""The frozen values that flow through the stages, in the words of docs/architecture.md."""

from __future__ import annotations

from stateless_rag.types.answers import (
    Answer,
    Keywords,
    Message,
    Mode,
    Passage,
    Reference,
    Retrieval,
)
from stateless_rag.types.documents import (
    Chunk,
    Document,
    Status,
)
from stateless_rag.types.evidence import (
    Entity,
    EntityMention,
    Extraction,
    GraphDelta,
    Relation,
    RelationMention,
)
from stateless_rag.types.reports import (
    ChunkError,
    DeleteReport,
    DocumentReport,
    DocumentStatus,
    Event,
    InsertReport,
    OpenWorkspace,
    Usage,
    UsageByPurpose,
    WorkspaceInfo,
)

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
