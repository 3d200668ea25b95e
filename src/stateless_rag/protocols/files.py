"""What makes texts of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

__all__ = ["FileReader", "FileText"]


class FileText(Protocol):
    """The text of a file, and what it says of itself, as JSON."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Such as its title."""


@runtime_checkable
class FileReader(Protocol):
    """Makes texts of files: `stateless_rag.Converter`, or one that knows more kinds."""

    async def convert(self, content: bytes, name: str) -> FileText:
        """The text of a file, whose name says what it is. Raises UnreadableFile; cancelling stops it."""
