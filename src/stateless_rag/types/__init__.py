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
from stateless_rag.types.curations import (
    Curated,
    Curation,
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
from stateless_rag.types.exports import (
    ExportFormat,
    ExportKind,
    ExportReport,
    ExportRow,
    JsonlReport,
)
from stateless_rag.types.given import (
    Given,
    GivenDocument,
    Records,
)
from stateless_rag.types.listings import (
    DocumentContents,
    DocumentPage,
    Neighbour,
    Subgraph,
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
from stateless_rag.types.traces import (
    Dropped,
    Edge,
    Expected,
    Explanation,
    Reason,
    Seed,
    Step,
    Trace,
)

__all__ = [
    "Answer",
    "Chunk",
    "ChunkError",
    "Curated",
    "Curation",
    "DeleteReport",
    "Document",
    "DocumentContents",
    "DocumentPage",
    "DocumentReport",
    "DocumentStatus",
    "Dropped",
    "Edge",
    "Entity",
    "EntityMention",
    "Event",
    "Expected",
    "Explanation",
    "ExportFormat",
    "ExportKind",
    "ExportReport",
    "ExportRow",
    "Extraction",
    "Given",
    "GivenDocument",
    "GraphDelta",
    "InsertReport",
    "JsonlReport",
    "Keywords",
    "Message",
    "Mode",
    "Neighbour",
    "OpenWorkspace",
    "Passage",
    "Reason",
    "Records",
    "Reference",
    "Relation",
    "RelationMention",
    "Retrieval",
    "Seed",
    "Status",
    "Step",
    "Subgraph",
    "Trace",
    "Usage",
    "UsageByPurpose",
    "WorkspaceInfo",
]
