"""Documents in the body of a request, one in a line: as many as one likes, of which few are in memory at a time."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import islice
from typing import IO, TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from stateless_rag.errors import InvalidInput
from stateless_rag.server.texts import weight
from stateless_rag.stages.chunk import document_id
from stateless_rag.types import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import Request

__all__ = ["DocumentLines", "NewDocument", "received_lines"]

_TOGETHER = 64


class NewDocument(BaseModel, extra="forbid"):
    """A text to be known. Without an id that follows from the source, else from the text."""

    text: str
    id: str | None = None
    source: str | None = None
    metadata: Annotated[dict[str, Any], Field(default_factory=dict)]

    def made(self) -> Document:
        """The document. Raises InvalidInput for what is none."""
        return Document(self.text, id=self.id, source=self.source, metadata=self.metadata)


class DocumentLines:
    """Documents in a file, which is `close`d at the end. `sizes` are their characters by id."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        """Read the lines once, each of `most` bytes (0: without bound). Raises InvalidInput for one that is none."""
        self._file = file
        self._most = most or -1
        self.sizes = {document_id(each): weight(each) for each in self._read()}

    async def documents(self) -> AsyncGenerator[Document]:
        """All of them, in order."""
        reading = self._read()
        while some := await asyncio.to_thread(list, islice(reading, _TOGETHER)):
            for each in some:
                yield each

    async def until_closed(self, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
        """Pass on events that are made with the documents, and let go of these at the end."""
        with self._file:
            async with aclosing(events):
                async for event in events:
                    yield event

    def close(self) -> None:
        """Let go of them."""
        self._file.close()

    def _read(self) -> Iterator[Document]:
        self._file.seek(0)
        number = 0
        while line := self._file.readline(self._most):
            number += 1
            if len(line) == self._most and not line.endswith(b"\n") and self._file.read(1):
                raise InvalidInput(f"line {number} has more than {self._most:,} bytes")
            if line.strip():
                yield _document(line, number)


def _document(line: bytes, number: int) -> Document:
    try:
        return NewDocument.model_validate(json.loads(line)).made()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise InvalidInput(f"line {number}: {place}: {first['msg']}") from None
    except InvalidInput as error:
        raise InvalidInput(f"line {number}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"line {number} is no JSON: {error}") from error


async def received_lines(request: Request, most: int) -> DocumentLines:
    """The documents of a request. Raises InvalidInput for a line that is none, or is longer than `most` bytes."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 -- without a name; `DocumentLines` lets go of it
    try:
        async for piece in request.stream():
            await asyncio.to_thread(file.write, piece)
        return await asyncio.to_thread(DocumentLines, file, most)
    except BaseException:
        file.close()
        raise
