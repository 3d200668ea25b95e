"""The errors that LightRAG's callers know by name, each in its place in the tree of `stateless_rag.errors`.

EmptyQueryError, RAGQueryTooShortError, ChunkTokenLimitExceededError, PipelineBackpressureError and
StorageNotInitializedError are raised, and NotSupported for what there is nothing for here. The others never are:
what they tell of cannot happen, or is a ProviderError here. They are there so that `except` clauses keep working.
"""

from __future__ import annotations

from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
    Overloaded,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    WorkCancelled,
)

__all__ = [
    "ChunkTokenLimitExceededError",
    "EmptyQueryError",
    "EmptyTruncatedResponseError",
    "IndexFlushError",
    "NotSupported",
    "PipelineBackpressureError",
    "PipelineCancelledException",
    "RAGQueryTooShortError",
    "RecoveryAnchorMissingError",
    "StorageNotInitializedError",
    "VectorStorageConsistencyError",
]


class NotSupported(InvalidInput):
    """An argument or a method of LightRAG that there is nothing for here; the message names it, and what to do."""


class EmptyQueryError(InvalidInput):
    """The question is blank."""


class RAGQueryTooShortError(InvalidInput):
    """The question has fewer than three characters; one of Chinese, Japanese or Korean counts as two."""


class ChunkTokenLimitExceededError(InvalidInput):
    """A piece between separators is longer than a chunk may be, and may not be cut (`split_by_character_only`)."""


class PipelineBackpressureError(Overloaded):
    """More documents would wait than `max_pending_documents` allows."""


class StorageNotInitializedError(StoreClosed):
    """Used after `finalize_storages`; `initialize_storages` opens it again."""


class PipelineCancelledException(WorkCancelled):
    """Never raised: documents that are cancelled count as failed, with an error that says so."""


class IndexFlushError(StoreError):
    """Never raised: a commit covers all that there is, or nothing."""


class VectorStorageConsistencyError(StoreCorrupt):
    """Never raised: vectors are in the same commit as what they are of."""


class RecoveryAnchorMissingError(StoreError):
    """Never raised: deleting rests on the stored evidence."""


class EmptyTruncatedResponseError(InvalidReply):
    """Never raised: a reply of which nothing is left is an InvalidReply."""
