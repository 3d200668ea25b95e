"""The stages once more, with nothing to ask but what was paid for: what the journal knows follows again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.context import Meter
from stateless_rag.errors import ProviderRejected
from stateless_rag.flights import Flights
from stateless_rag.limits import Limits
from stateless_rag.protocols import StreamPart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from stateless_rag.context import Context
    from stateless_rag.protocols import LLM, Journal, JournalEntry, LLMReply, LLMRequest, Vectors
    from stateless_rag.types import Usage

__all__ = ["NotKept", "Replayed", "replay", "replaying"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_AT_ONCE = 64


class NotKept(ProviderRejected):
    """The journal does not have the reply to a request, and nobody else is asked."""


class Replayed:
    """Implements `Journal`: looks replies up in another one, and remembers under which digests it found any.

    Replies under `doubtful` digests are passed over.
    """

    def __init__(self, journal: Journal, doubtful: frozenset[str] = frozenset()) -> None:
        self._journal = journal
        self._doubtful = doubtful
        self.flights = Flights()
        self.found: set[str] = set()

    async def get(self, digest: str) -> LLMReply | None:
        """The reply of the other journal."""
        reply = None if digest in self._doubtful else await self._journal.get(digest)
        if reply is not None:
            self.found.add(digest)
        return reply

    async def put(self, entry: JournalEntry) -> None:
        """Nothing is paid for here."""

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """As `get`."""
        return await self._journal.get_vectors(digests)

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        """As `put`."""


class _Silent:
    """Implements `LLM` under the name of another one, and never answers."""

    def __init__(self, model: str) -> None:
        self.model = model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Raises NotKept."""
        raise NotKept(f"the reply to this request ({request.purpose}) is not kept")

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """As `complete`."""
        yield StreamPart(reply=await self.complete(request))


def replaying(
    context: Context, journal: Journal, doubtful: frozenset[str] = frozenset()
) -> tuple[Context, Replayed]:
    """A context in which stages find what the journal has, and otherwise raise NotKept; and what they found."""
    found = Replayed(journal, doubtful)

    def silent(llm: LLM) -> LLM:
        return _Silent(llm.model)

    quiet = context.derive(
        llm=None if context.llm is None else silent(context.llm),
        roles=MappingProxyType({role: silent(llm) for role, llm in context.roles.items()}),
        journal=found,
        limits=Limits(llm=_AT_ONCE),
        meter=Meter(),
        observer=None,
        deadline=None,
        cancelled=None,
    )
    return quiet, found


async def replay(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]]
) -> list[tuple[Item, Result]]:
    """Do the work for each item, many at once; those whose replies are not kept are left out."""
    done: list[tuple[Item, Result]] = []
    remaining = iter(items)

    async def some() -> None:
        for item in remaining:
            try:
                done.append((item, await work(item)))
            except NotKept:
                continue

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(some())
    return done
