"""LightRAG's class and what belongs to it, so that a script written for LightRAG runs by changing one import.

    from stateless_rag.interop.lightrag import EmbeddingFunc, LightRAG, QueryParam

Only the names and the shapes are LightRAG's; docs/coming-from-lightrag.md says what is different.
"""

from __future__ import annotations

from stateless_rag.interop.lightrag.errors import (
    ChunkTokenLimitExceededError,
    EmptyQueryError,
    EmptyTruncatedResponseError,
    IndexFlushError,
    NotSupported,
    PipelineBackpressureError,
    PipelineCancelledException,
    RAGQueryTooShortError,
    RecoveryAnchorMissingError,
    StorageNotInitializedError,
    VectorStorageConsistencyError,
)
from stateless_rag.interop.lightrag.facade import LightRAG
from stateless_rag.interop.lightrag.options import RoleLLMConfig
from stateless_rag.interop.lightrag.parameters import QueryParam
from stateless_rag.interop.lightrag.providers import EmbeddingFunc
from stateless_rag.interop.lightrag.results import (
    DeletionResult,
    DocProcessingStatus,
    DocStatus,
    KnowledgeGraph,
    KnowledgeGraphEdge,
    KnowledgeGraphNode,
    QueryResult,
)

__all__ = [
    "ChunkTokenLimitExceededError",
    "DeletionResult",
    "DocProcessingStatus",
    "DocStatus",
    "EmbeddingFunc",
    "EmptyQueryError",
    "EmptyTruncatedResponseError",
    "IndexFlushError",
    "KnowledgeGraph",
    "KnowledgeGraphEdge",
    "KnowledgeGraphNode",
    "LightRAG",
    "NotSupported",
    "PipelineBackpressureError",
    "PipelineCancelledException",
    "QueryParam",
    "QueryResult",
    "RAGQueryTooShortError",
    "RecoveryAnchorMissingError",
    "RoleLLMConfig",
    "StorageNotInitializedError",
    "VectorStorageConsistencyError",
]
