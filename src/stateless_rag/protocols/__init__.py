"""The interfaces that applications and stores implement: two or three verbs each, written for the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.protocols.batches import Batches, BatchLLM, BatchReply, BatchState
from stateless_rag.protocols.files import FileReader, FileText
from stateless_rag.protocols.journal import Charge, Journal, JournalEntry, Spending
from stateless_rag.protocols.providers import (
    LLM,
    Embedder,
    Embeddings,
    Extractor,
    LineCounter,
    LLMReply,
    LLMRequest,
    Observer,
    Reranker,
    StreamPart,
    Tokenizer,
)
from stateless_rag.protocols.reading import Allowed, Edges, Hit, Links, Snapshot, VectorKind
from stateless_rag.protocols.reembedding import Coming, Named, Reembedding
from stateless_rag.protocols.workspace import Workspace
from stateless_rag.protocols.writing import (
    ALIASES,
    CURATIONS,
    Basis,
    Change,
    ChunkRow,
    Claim,
    DisabledRow,
    DocumentRow,
    EntityRow,
    RelationRow,
)

if TYPE_CHECKING:
    from stateless_rag.protocols.providers import Vectors as Vectors

__all__ = [
    "ALIASES",
    "CURATIONS",
    "LLM",
    "Allowed",
    "Basis",
    "BatchLLM",
    "BatchReply",
    "BatchState",
    "Batches",
    "Change",
    "Charge",
    "ChunkRow",
    "Claim",
    "Coming",
    "DisabledRow",
    "DocumentRow",
    "Edges",
    "Embedder",
    "Embeddings",
    "EntityRow",
    "Extractor",
    "FileReader",
    "FileText",
    "Hit",
    "Journal",
    "JournalEntry",
    "LLMReply",
    "LLMRequest",
    "LineCounter",
    "Links",
    "Named",
    "Observer",
    "Reembedding",
    "RelationRow",
    "Reranker",
    "Snapshot",
    "Spending",
    "StreamPart",
    "Tokenizer",
    "VectorKind",
    "Workspace",
]
