"""A stateless GraphRAG engine: documents in, answers with references out.

Each public name is loaded from its module when it is first asked for, so importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.context import Clock, Context
    from stateless_rag.engine import Engine
    from stateless_rag.errors import (
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
        StatelessRagError,
        StoreClosed,
        StoreCorrupt,
        StoreError,
        StoreLocked,
        StreamAbandoned,
        WorkCancelled,
        WorkFailed,
        WorkspaceMismatch,
        WorkspaceNotFound,
    )
    from stateless_rag.limits import Limits
    from stateless_rag.prompts import Prompts
    from stateless_rag.providers import (
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
        ExtractSettings,
        IngestSettings,
        MergeSettings,
        QueryOptions,
        Settings,
        StoreSettings,
    )
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.types import (
        Answer,
        Chunk,
        ChunkError,
        Curated,
        Curation,
        DeleteReport,
        Document,
        DocumentReport,
        DocumentStatus,
        Dropped,
        Edge,
        Entity,
        EntityMention,
        Event,
        Expected,
        Explanation,
        ExportReport,
        Extraction,
        GraphDelta,
        InsertReport,
        JsonlReport,
        Keywords,
        Message,
        OpenWorkspace,
        Passage,
        Reason,
        Reference,
        Relation,
        RelationMention,
        Retrieval,
        Seed,
        Status,
        Trace,
        Usage,
        WorkspaceInfo,
    )
    from stateless_rag.workspaces import Workspaces

    __version__: str

__all__ = [
    "Answer",
    "CallSettings",
    "Chunk",
    "ChunkError",
    "ChunkSettings",
    "Clock",
    "CommitConflict",
    "Context",
    "CooccurrenceExtractor",
    "Curated",
    "Curation",
    "DeadlineExceeded",
    "DeleteReport",
    "Document",
    "DocumentReport",
    "DocumentStatus",
    "Dropped",
    "Edge",
    "Engine",
    "Entity",
    "EntityMention",
    "Event",
    "Expected",
    "Explanation",
    "ExportReport",
    "ExtractSettings",
    "Extraction",
    "FastEmbedder",
    "FastReranker",
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
    "Prompts",
    "ProviderError",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderTimeout",
    "ProviderUnavailable",
    "QueryOptions",
    "Reason",
    "Reference",
    "Relation",
    "RelationMention",
    "Retrieval",
    "Seed",
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
    "Trace",
    "Usage",
    "WorkCancelled",
    "WorkFailed",
    "WorkspaceInfo",
    "WorkspaceMismatch",
    "WorkspaceNotFound",
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
