"""Reading the input: documents as the caller gives them, in groups, made durable as pending."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from enum import Enum
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import iterable, shown
from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import Claim
from stateless_rag.stages.chunk import document_id
from stateless_rag.types import Document, File, FileDocument, GivenDocument

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from stateless_rag.context import Context
    from stateless_rag.protocols import Workspace

__all__ = [
    "Documents",
    "claims_of",
    "groups_of",
    "new_tracking_id",
    "require_converter",
    "require_texts",
    "submit",
]

Documents = Iterable[Document | str] | AsyncIterable[Document | str] | Document | str
_GROUP = 128
_GROUP_CHARACTERS = 2_000_000
_INLINE_CHARACTERS = 200_000  # cleaning and hashing so much takes a few milliseconds
_PATIENCE = 0.05  # seconds
_AHEAD = 4  # documents that an async source may be ahead of who reads it


class _Mark(Enum):
    SLOW = "slow"
    END = "end"


def new_tracking_id() -> str:
    """A name for one insert, under which its documents can be found."""
    return f"track-{secrets.token_hex(8)}"


async def groups_of(documents: Documents, *, at_most: int = _GROUP) -> AsyncGenerator[list[Document]]:
    """Documents in groups of bounded size, in the order given. A sequence is looked through before the first
    group, so that nothing is taken in if one of them is no document.

    A group is not held back for documents that an async iterable is slow to give. If the source raises, what
    it gave before comes first, then its error, as it is. Close the generator (`contextlib.aclosing`): it
    closes an async generator that it reads, in the task that has read it.
    """
    group: list[Document] = []
    characters = 0
    failed: Exception | None = None
    async with aclosing(_each(documents)) as source:
        while True:
            try:
                document = await anext(source)
            except StopAsyncIteration:
                break
            except Exception as error:  # noqa: BLE001 -- raised below, after what was given before it
                failed = error
                break
            if document is not _Mark.SLOW:
                group.append(document)
                characters += _size(document)
            if group and (
                document is _Mark.SLOW
                or len(group) >= min(at_most, _GROUP)
                or characters >= _GROUP_CHARACTERS
            ):
                yield group
                group, characters = [], 0
    if group:
        yield group
    if failed is not None:
        raise failed


async def _each(documents: Documents) -> AsyncGenerator[Document | Literal[_Mark.SLOW]]:
    """Each document; `SLOW` when the next one of an async iterable is long in coming."""
    if isinstance(documents, Document | str):
        yield await _as_document(documents)
    elif isinstance(documents, AsyncIterable):
        async with aclosing(_pumped(documents)) as pumped:
            async for document in pumped:
                yield document if document is _Mark.SLOW else await _as_document(document)
    else:
        given = iterable("documents", documents, wanted="a text, a Document, or an iterable of them")
        if isinstance(given, Sequence):
            for document in given:
                _check(document)
        for document in given:
            yield await _as_document(document)


def _check(given: object) -> None:
    if not isinstance(given, Document | str):
        raise InvalidInput(f"documents holds {shown(given)}; it must hold texts or Document values")


async def _as_document(given: Document | str) -> Document:
    _check(given)
    if isinstance(given, Document):
        return given
    if len(given) <= _INLINE_CHARACTERS:
        return Document(given)
    return await asyncio.to_thread(Document, given)


async def _pumped(source: AsyncIterable[Any]) -> AsyncGenerator[Any]:
    """What an async iterable gives, read a few steps ahead; `SLOW` when the next is long in coming.

    One task opens, reads and closes it, as cancel scopes, task groups and context variables in it require.
    """
    given: asyncio.Queue[Any] = asyncio.Queue()
    room = asyncio.Semaphore(_AHEAD)

    async def pump() -> None:
        iterator = aiter(source)
        try:
            while True:
                await room.acquire()
                try:
                    given.put_nowait(await anext(iterator))
                except StopAsyncIteration:
                    return
        finally:
            if isinstance(iterator, AsyncGeneratorType):
                await iterator.aclose()

    pumping = asyncio.create_task(pump())
    # The queue has no bound of its own, so that the end is told however the task ends.
    pumping.add_done_callback(lambda _: given.put_nowait(_Mark.END))
    try:
        while (document := await _soon(given)) is not _Mark.END:
            if document is _Mark.SLOW:
                yield document
                document = await given.get()
                if document is _Mark.END:
                    break
            room.release()
            yield document
        pumping.result()
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


async def _soon(given: asyncio.Queue[Any]) -> Any:
    """What comes next; `SLOW` if nothing has come after a short time."""
    if not given.empty():
        return given.get_nowait()
    try:
        async with asyncio.timeout(_PATIENCE):
            return await given.get()
    except TimeoutError:
        return _Mark.SLOW


async def submit(
    workspace: Workspace, documents: Sequence[Document], tracking_id: str, *, claimed: bool
) -> tuple[Sequence[Claim], Sequence[Claim]]:
    """Make documents durable as pending; returns all of them, and those that the caller may work on."""
    if sum(map(_size, documents)) <= _INLINE_CHARACTERS:
        claims = claims_of(documents, tracking_id)
    else:
        claims = await asyncio.to_thread(claims_of, documents, tracking_id)
    return await workspace.submit(claims, claimed=claimed)


def require_converter(context: Context, documents: Sequence[Document]) -> None:
    """Raise InvalidInput for files where nothing makes texts of them."""
    if context.converter is None and any(isinstance(document, FileDocument) for document in documents):
        raise InvalidInput("there are files among the documents; open the engine with converter=Converter()")


def require_texts(documents: Sequence[Document]) -> None:
    """Raise InvalidInput for files: what they cost is known when they are texts."""
    if any(isinstance(document, FileDocument) for document in documents):
        told = "there are files among the documents; make texts of them first, with Converter.convert"
        raise InvalidInput(told)


def _size(document: Document) -> int:
    return len(document.content) if isinstance(document, FileDocument) else len(document.text)


def claims_of(documents: Sequence[Document], tracking_id: str) -> list[Claim]:
    """Documents as submissions that have no number yet."""
    return [
        Claim(
            sequence=0,
            document_id=document_id(document),
            source=document.source,
            metadata=document.metadata,
            text=document.text,
            tracking_id=tracking_id,
            given=document.given if isinstance(document, GivenDocument) else None,
            file=File(document.name, document.content) if isinstance(document, FileDocument) else None,
        )
        for document in documents
    ]
