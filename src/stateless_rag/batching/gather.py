"""What the extraction of documents would ask now: the write path up to the calls, which are noted and not made.

Cutting, comparing with what is there and looking into the journal are those of an ingest, so the requests are those
that it would make, under the same digests. Replies that are known lead to the requests that follow from them: after
the first passes were answered, those that look for what was missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

from stateless_rag.calls import request_digest
from stateless_rag.context import Meter
from stateless_rag.errors import InvalidInput, ProviderRejected
from stateless_rag.flights import Flights
from stateless_rag.ingest.chunks import Chunks
from stateless_rag.limits import Limits
from stateless_rag.protocols import BatchLLM, StreamPart
from stateless_rag.stages.extract import LLMExtractor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stateless_rag.context import Context
    from stateless_rag.ingest.work import Work
    from stateless_rag.protocols import (
        Basis,
        Claim,
        Journal,
        JournalEntry,
        LLMReply,
        LLMRequest,
        Vectors,
        Workspace,
    )
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import Chunk, Extraction, Usage

    Note = Callable[[str, LLMRequest, str], None]

__all__ = ["gather", "required_batch_llm"]

Result = TypeVar("Result")
_AT_ONCE = 64


def required_batch_llm(context: Context) -> BatchLLM:
    """The LLM that extracts. Raises InvalidInput if there is none, or if it takes no batches."""
    llm = context.llm_for("extract")
    if llm is None or not isinstance(context.extractor, LLMExtractor):
        raise InvalidInput(
            "documents are not extracted by an LLM here, so there is nothing to hand over in batches; give an `llm`"
        )
    if not isinstance(llm, BatchLLM):
        raise InvalidInput(
            f"{llm.model} takes no batches: it has no `batches` (see `stateless_rag.protocols.BatchLLM`); "
            "OpenAILLM does"
        )
    return llm


async def gather(context: Context, workspace: DuckWorkspace, claims: Sequence[Claim], note: Note) -> None:
    """Tell `note` the digest, the request, and the document of each call that extracting the claims needs now."""
    model = required_batch_llm(context).model
    asking = context.derive(
        extractor=_Asking(model, note),
        journal=_ReadOnly(workspace.journal),
        limits=Limits(llm=_AT_ONCE),
        meter=Meter(),
        observer=None,
        deadline=None,
        cancelled=None,
        allowance=None,
    )
    chunks = Chunks(asking, cast("Workspace", _Looking(workspace)), _passed)
    await chunks.prepare(claims, _unchanged, _failed)
    chunks.end()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(chunks.workers, _AT_ONCE)):
            group.create_task(chunks.extract())


def _passed(work: Work) -> None:
    """What was found in a document is of no use here."""


async def _unchanged(works: Sequence[Work]) -> None:
    """Documents that are there already need nothing."""


async def _failed(work: Work, error: str) -> None:
    """One that cannot be cut needs nothing either; its ingest will say so."""


class _Noted(ProviderRejected):
    """The request was noted and not made."""


class _Pen:
    """Implements `LLM` under the name of another one: notes what it is asked for one document."""

    def __init__(self, model: str, note: Note, document: str) -> None:
        self.model = model
        self._note = note
        self._document = document

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Raises _Noted."""
        self._note(request_digest(self.model, request), request, self._document)
        raise _Noted(f"the request ({request.purpose}) was noted")

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """As `complete`."""
        yield StreamPart(reply=await self.complete(request))


class _Asking:
    """Implements `Extractor`: that of the LLM, with a pen in place of the LLM."""

    def __init__(self, model: str, note: Note) -> None:
        self._model = model
        self._note = note
        self._own = LLMExtractor()

    def generation(self, context: Context) -> str:
        """That of the LLM's extractor."""
        return self._own.generation(context)

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        """What is known, or _Noted."""
        pen = _Pen(self._model, self._note, context.document or "")
        roles = MappingProxyType({**context.roles, "extract": pen})
        return await self._own.extract(context.derive(roles=roles), chunk)


class _Looking:
    """As much of a workspace as the write path needs up to the extraction; nothing is changed."""

    def __init__(self, workspace: DuckWorkspace) -> None:
        self._workspace = workspace

    def is_cancelled(self, sequence: int) -> bool:
        """Whether a document was cancelled meanwhile."""
        return self._workspace.is_cancelled(sequence)

    async def read_basis(self, query: Callable[[Basis], Result]) -> Result:
        """What is there."""
        return await self._workspace.read_basis(query)

    async def withdraw(self, sequences: Collection[int]) -> None:
        """Left to the ingest."""


class _ReadOnly:
    """Implements `Journal` on another one, into which nothing is written."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.flights = Flights()

    async def get(self, digest: str) -> LLMReply | None:
        """What is known."""
        return await self._journal.get(digest)

    async def put(self, entry: JournalEntry) -> None:
        """Nothing is paid for here."""

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """As `get`."""
        return await self._journal.get_vectors(digests)

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        """As `put`."""
