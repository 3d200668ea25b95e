"""A stateless GraphRAG engine: documents in, answers with references out.

Each public name is loaded from its module when it is first asked for, so importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.context import Clock, Context
    from stateless_rag.converting import Converted, Converter, ConvertLimits
    from stateless_rag.engine import Engine
    from stateless_rag.errors import (
        BudgetExhausted,
        CommitConflict,
        DeadlineExceeded,
        InvalidDocument,
        InvalidInput,
        InvalidReply,
        InvalidWorkspaceName,
        Overloaded,
        ProviderError,
        ProviderRateLimited,
        ProviderRejected,
        ProviderTimeout,
        ProviderUnavailable,
        ServerError,
        StatelessRagError,
        StoreClosed,
        StoreCorrupt,
        StoreError,
        StoreLocked,
        StreamAbandoned,
        UnreadableFile,
        WorkCancelled,
        WorkFailed,
        WorkspaceMismatch,
        WorkspaceNotFound,
    )
    from stateless_rag.limits import Limits
    from stateless_rag.prompts import Prompts
    from stateless_rag.providers import (
        AbsentEmbedder,
        CooccurrenceExtractor,
        FastEmbedder,
        FastReranker,
        HashingEmbedder,
        HTTPReranker,
        O200kTokenizer,
        OpenAIEmbedder,
        OpenAILLM,
    )
    from stateless_rag.settings import (
        CallSettings,
        ChunkSettings,
        CommunitySettings,
        ExtractSettings,
        IngestSettings,
        MergeSettings,
        QueryOptions,
        Settings,
        StoreSettings,
        WalkSettings,
    )
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.types import (
        Answer,
        BackupReport,
        BatchInfo,
        BatchReport,
        Budget,
        BudgetStatus,
        CheckReport,
        Chunk,
        ChunkError,
        Citation,
        Community,
        CompactReport,
        CostRow,
        Curated,
        Curation,
        DeleteReport,
        Document,
        DocumentReport,
        DocumentStatus,
        Dropped,
        Duplicate,
        Edge,
        EnableReport,
        Entity,
        EntityMention,
        EraseReport,
        Estimate,
        Event,
        Expected,
        Explanation,
        ExportReport,
        Extraction,
        Fault,
        FileDocument,
        GraphDelta,
        InsertReport,
        JsonlReport,
        Keywords,
        Message,
        OpenWorkspace,
        Passage,
        Price,
        Quote,
        Reason,
        ReembedReport,
        Reference,
        Relation,
        RelationMention,
        RepairReport,
        Retrieval,
        Seed,
        Status,
        Theme,
        Trace,
        Unsupported,
        Usage,
        WorkspaceInfo,
    )
    from stateless_rag.workspace_settings import WorkspaceSettings
    from stateless_rag.workspaces import Workspaces

    __version__: str

__all__ = [
    "AbsentEmbedder",
    "Answer",
    "BackupReport",
    "BatchInfo",
    "BatchReport",
    "Budget",
    "BudgetExhausted",
    "BudgetStatus",
    "CallSettings",
    "CheckReport",
    "Chunk",
    "ChunkError",
    "ChunkSettings",
    "Citation",
    "Clock",
    "CommitConflict",
    "Community",
    "CommunitySettings",
    "CompactReport",
    "Context",
    "ConvertLimits",
    "Converted",
    "Converter",
    "CooccurrenceExtractor",
    "CostRow",
    "Curated",
    "Curation",
    "DeadlineExceeded",
    "DeleteReport",
    "Document",
    "DocumentReport",
    "DocumentStatus",
    "Dropped",
    "Duplicate",
    "Edge",
    "EnableReport",
    "Engine",
    "Entity",
    "EntityMention",
    "EraseReport",
    "Estimate",
    "Event",
    "Expected",
    "Explanation",
    "ExportReport",
    "ExtractSettings",
    "Extraction",
    "FastEmbedder",
    "FastReranker",
    "Fault",
    "FileDocument",
    "GraphDelta",
    "HTTPReranker",
    "HashingEmbedder",
    "IngestSettings",
    "InsertReport",
    "InvalidDocument",
    "InvalidInput",
    "InvalidReply",
    "InvalidWorkspaceName",
    "JsonlReport",
    "Keywords",
    "Limits",
    "MergeSettings",
    "Message",
    "O200kTokenizer",
    "OpenAIEmbedder",
    "OpenAILLM",
    "OpenWorkspace",
    "Overloaded",
    "Passage",
    "Price",
    "Prompts",
    "ProviderError",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderTimeout",
    "ProviderUnavailable",
    "QueryOptions",
    "Quote",
    "Reason",
    "ReembedReport",
    "Reference",
    "Relation",
    "RelationMention",
    "RepairReport",
    "Retrieval",
    "Seed",
    "ServerError",
    "Settings",
    "StatelessRagError",
    "Status",
    "Store",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "StoreSettings",
    "StreamAbandoned",
    "Theme",
    "Trace",
    "UnreadableFile",
    "Unsupported",
    "Usage",
    "WalkSettings",
    "WorkCancelled",
    "WorkFailed",
    "WorkspaceInfo",
    "WorkspaceMismatch",
    "WorkspaceNotFound",
    "WorkspaceSettings",
    "Workspaces",
    "__version__",
]

# Modules whose public names are the package's, light ones first: they are looked through in this order.
_HOMES = (
    "errors",
    "settings",
    "types",
    "context",
    "limits",
    "prompts",
    "workspace_settings",
    "converting",
    "providers",
    "engine",
    "workspaces",
    "stores.duckdb.store",
)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("stateless-rag")
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"{__name__}.{home}")
            if name in module.__all__:
                return getattr(module, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
