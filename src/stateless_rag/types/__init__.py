"""The frozen values that flow through the stages, in the words of docs/architecture.md."""

from __future__ import annotations

from stateless_rag.types.answers import (
    Answer,
    Keywords,
    Message,
    Mode,
    Passage,
    Retrieval,
)
from stateless_rag.types.care import (
    BackupReport,
    CheckReport,
    CompactReport,
    EraseReport,
    Fault,
    RepairReport,
)
from stateless_rag.types.citations import (
    Citation,
    Quote,
    Reference,
    Unsupported,
)
from stateless_rag.types.costs import (
    CostRow,
    CostsBy,
    Estimate,
    Price,
    Prices,
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
from stateless_rag.types.duplicates import Duplicate
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
    EnableReport,
    Event,
    InsertReport,
    OpenWorkspace,
    ReembedReport,
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
    "BackupReport",
    "CheckReport",
    "Chunk",
    "ChunkError",
    "Citation",
    "CompactReport",
    "CostRow",
    "CostsBy",
    "Curated",
    "Curation",
    "DeleteReport",
    "Document",
    "DocumentContents",
    "DocumentPage",
    "DocumentReport",
    "DocumentStatus",
    "Dropped",
    "Duplicate",
    "Edge",
    "EnableReport",
    "Entity",
    "EntityMention",
    "EraseReport",
    "Estimate",
    "Event",
    "Expected",
    "Explanation",
    "ExportFormat",
    "ExportKind",
    "ExportReport",
    "ExportRow",
    "Extraction",
    "Fault",
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
    "Price",
    "Prices",
    "Quote",
    "Reason",
    "Records",
    "ReembedReport",
    "Reference",
    "Relation",
    "RelationMention",
    "RepairReport",
    "Retrieval",
    "Seed",
    "Status",
    "Step",
    "Subgraph",
    "Trace",
    "Unsupported",
    "Usage",
    "UsageByPurpose",
    "WorkspaceInfo",
]
