"""Documents, the chunks they are cut into, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from stateless_rag.checks import each_field, identifier, json_object, optional, text
from stateless_rag.errors import InvalidDocument

__all__ = [
    "Chunk",
    "Document",
    "Status",
]

_SOURCE_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be known.

    `id` identifies it; without one it follows from `source` (a path or URL), else from the text.
    `metadata` is free, must be JSON, and can be filtered by. Strings are cleaned
    (`stateless_rag.text.clean_text`, so offsets in the text stay valid), an empty source counts as none, and
    metadata is copied, its tuples as lists.

    Raises InvalidDocument, naming the value, for a text that is no string, an id that is blank, longer than
    512 characters or has control characters in it, a source longer than 4096, and metadata that is not JSON.
    """

    text: str
    id: str | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), kw_only=True)

    def __post_init__(self) -> None:
        each_field(self, text, "text", error=InvalidDocument)
        each_field(self, optional, "id", check=identifier, error=InvalidDocument)
        each_field(self, optional, "source", check=text, most=_SOURCE_LIMIT, error=InvalidDocument)
        each_field(self, json_object, "metadata", error=InvalidDocument)
        if self.source == "":
            object.__setattr__(self, "source", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A span of a document: `document.text[start:stop] == text`, offsets in code points.

    `id` follows from the document's id and the chunk's text, so an unchanged chunk keeps its id when the
    document around it changes. `digest` depends on the text alone.
    """

    id: str
    document_id: str
    ordinal: int
    start: int
    stop: int
    text: str
    tokens: int
    digest: str


class Status(StrEnum):
    """Where a document stands: waiting; being cut and extracted; on its way into the graph; there; or failed."""

    PENDING = "pending"
    EXTRACTING = "extracting"
    MERGING = "merging"
    PROCESSED = "processed"
    FAILED = "failed"
