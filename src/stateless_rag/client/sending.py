"""Documents as a server is sent them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import InvalidInput
from stateless_rag.ingest import Documents, groups_of
from stateless_rag.types import FileDocument, GivenDocument

if TYPE_CHECKING:
    from stateless_rag.types import Document

__all__ = ["lines_of", "sent"]


def sent(document: Document) -> dict[str, Any]:
    """A document as JSON has it. Raises InvalidInput for what is no text."""
    if isinstance(document, FileDocument | GivenDocument):
        raise InvalidInput(f"document {document.source!r} is no text; send files to the server's …/uploads")
    return {
        "text": document.text,
        "id": document.id,
        "source": document.source,
        "metadata": dict(document.metadata),
    }


async def lines_of(documents: Documents) -> AsyncGenerator[bytes]:
    """Documents as lines of JSON, as they come."""
    async with aclosing(groups_of(documents)) as groups:
        async for group in groups:
            yield b"".join(json.dumps(sent(each)).encode() + b"\n" for each in group)
