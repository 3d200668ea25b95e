"""What a working folder of LightRAG or nano-graphrag holds, as values, whatever files it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from stateless_rag.types import Status

if TYPE_CHECKING:
    from stateless_rag.interop.problems import Problem
    from stateless_rag.protocols import Vectors

__all__ = ["SEPARATOR", "Folder", "FolderChunk", "FolderDocument", "FolderEntity", "FolderRelation"]

SEPARATOR = "<SEP>"
"""Stands between the values of a string that holds several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDocument:
    """A document of the folder. `text` is None where it is lost; `status` is processed, pending or failed."""

    id: str
    text: str | None
    source: str | None = None
    status: Status = Status.PROCESSED
    error: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChunk:
    """A chunk; `replies` are what the LLM said of it, first pass first."""

    id: str
    document_id: str
    text: str
    order: int = 0
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEntity:
    """A node of the graph. `texts` are the parts of its description, `chunk_ids` its evidence."""

    name: str
    type: str
    texts: tuple[str, ...]
    chunk_ids: tuple[str, ...]

    @property
    def description(self) -> str:
        """The texts together."""
        return "\n".join(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRelation:
    """An edge of the graph, which has no direction. `texts` and `chunk_ids` as for an entity."""

    source: str
    target: str
    keywords: tuple[str, ...]
    texts: tuple[str, ...]
    chunk_ids: tuple[str, ...]

    @property
    def description(self) -> str:
        """The texts together."""
        return "\n".join(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """All that could be read, and what was wrong with it.

    `graph_is_whole` tells whether the graph's file was read to its end: if not, that a name is missing says
    nothing. `replies` are all extractions of the LLM that were kept, also of chunks that are gone; `summaries`
    what else it said. `vectors` are those that can be told what text they are of, by that text.
    """

    kind: Literal["lightrag", "nano-graphrag"]
    path: str
    documents: tuple[FolderDocument, ...]
    chunks: tuple[FolderChunk, ...]
    entities: tuple[FolderEntity, ...]
    relations: tuple[FolderRelation, ...]
    graph_is_whole: bool
    replies: tuple[str, ...]
    summaries: frozenset[str]
    vectors: Mapping[str, Vectors]
    problems: tuple[Problem, ...]
