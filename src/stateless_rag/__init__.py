"""A stateless GraphRAG engine: documents in, answers with references out.

Each public name is loaded from its module when it is first asked for, so importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
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
        WorkFailed,
        WorkspaceMismatch,
        WorkspaceNotFound,
    )
    from stateless_rag.limits import Limits
    from stateless_rag.prompts import Prompts
    from stateless_rag.providers import (
        CooccurrenceExtractor,
        FastEmbedder,
        HashingEmbedder,
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
        DeleteReport,
        Document,
        DocumentReport,
        DocumentStatus,
        Entity,
        EntityMention,
        Event,
        Extraction,
        GraphDelta,
        InsertReport,
        Keywords,
        Message,
        OpenWorkspace,
        Passage,
        Reference,
        Relation,
        RelationMention,
        Retrieval,
        Status,
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
    "DeadlineExceeded",
    "DeleteReport",
    "Document",
    "DocumentReport",
    "DocumentStatus",
    "Engine",
    "Entity",
    "EntityMention",
    "Event",
    "ExtractSettings",
    "Extraction",
    "FastEmbedder",
    "GraphDelta",
    "HashingEmbedder",
    "IngestSettings",
    "InsertReport",
    "InvalidDocument",
    "InvalidInput",
    "InvalidReply",
    "InvalidWorkspaceName",
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
    "Reference",
    "Relation",
    "RelationMention",
    "Retrieval",
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
    "Usage",
    "WorkFailed",
    "WorkspaceInfo",
    "WorkspaceMismatch",
    "WorkspaceNotFound",
    "Workspaces",
    "__version__",
]

_HOMES = MappingProxyType(
    {
        "context": (
            "Clock",
            "Context",
        ),
        "engine": ("Engine",),
        "errors": (
            "CommitConflict",
            "DeadlineExceeded",
            "InvalidDocument",
            "InvalidInput",
            "InvalidReply",
            "InvalidWorkspaceName",
            "Overloaded",
            "ProviderError",
            "ProviderRateLimited",
            "ProviderRejected",
            "ProviderTimeout",
            "ProviderUnavailable",
            "StatelessRagError",
            "StoreClosed",
            "StoreCorrupt",
            "StoreError",
            "StoreLocked",
            "StreamAbandoned",
            "WorkFailed",
            "WorkspaceMismatch",
            "WorkspaceNotFound",
        ),
        "limits": ("Limits",),
        "prompts": ("Prompts",),
        "providers": (
            "CooccurrenceExtractor",
            "FastEmbedder",
            "HashingEmbedder",
            "O200kTokenizer",
            "OpenAIEmbedder",
            "OpenAILLM",
        ),
        "settings": (
            "CallSettings",
            "ChunkSettings",
            "ExtractSettings",
            "IngestSettings",
            "MergeSettings",
            "QueryOptions",
            "Settings",
            "StoreSettings",
        ),
        "stores.duckdb.store": ("Store",),
        "types": (
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
            "OpenWorkspace",
            "Passage",
            "Reference",
            "Relation",
            "RelationMention",
            "Retrieval",
            "Status",
            "Usage",
            "WorkspaceInfo",
        ),
        "workspaces": ("Workspaces",),
    }
)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("stateless-rag")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
