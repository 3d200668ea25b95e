"""The engine answers questions."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.checks import identifier, instance, optional
from stateless_rag.context import Meter
from stateless_rag.engine.core import Core
from stateless_rag.errors import InvalidInput
from stateless_rag.limits import Priority
from stateless_rag.protocols import Charge
from stateless_rag.providers import HashingEmbedder
from stateless_rag.settings import QueryOptions
from stateless_rag.types import Answer, Explanation, Retrieval, Usage

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Journal, JournalEntry, LLMReply, Snapshot, Vectors
    from stateless_rag.retrieval.retrieve import Read
    from stateless_rag.types import Budget

__all__ = ["Asking"]

Result = TypeVar("Result")


class _Reembedded(Exception):
    """The snapshot's vectors are of another embedder than the question's."""


class _Uncharged:
    """Implements `Journal`: keeps replies in another one without their costs, of which the ledger is told apart."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.flights = journal.flights

    async def get(self, digest: str) -> LLMReply | None:
        """The reply that is kept."""
        return await self._journal.get(digest)

    async def put(self, entry: JournalEntry) -> None:
        """Keep a reply."""
        await self._journal.put(replace(entry, usage=Usage()))

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """As `get`."""
        return await self._journal.get_vectors(digests)

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        """Keep vectors."""
        await self._journal.put_vectors(vectors, entry_usage, model)


class Asking(Core):
    """Answers out."""

    async def query(
        self,
        question: str,
        *,
        options: QueryOptions | None = None,
        budget: Budget | None = None,
        **changes: Any,
    ) -> Answer:
        """Answer a question from the workspace, with references.

        Keyword arguments are fields of QueryOptions (`mode="local"`, `top_k=10`, …) and change `options`, by
        default the engine's settings. Raises ProviderError if a provider fails, InvalidInput for a question
        or an option that cannot be used, DeadlineExceeded, and BudgetExhausted: before the first call if the
        workspace's budget is used up (a question that has begun is answered), before any call beyond `budget`.
        """
        from stateless_rag.retrieval.answer import answer

        chosen, journal = self._options(options, changes), _Uncharged(self._workspace.journal)
        return await self._settled(
            lambda context: answer(context, self._read(context), question, chosen, cache=journal), budget
        )

    async def stream(
        self,
        question: str,
        *,
        options: QueryOptions | None = None,
        budget: Budget | None = None,
        **changes: Any,
    ) -> AsyncGenerator[str | Answer]:
        """As `query`, but yields the text piece by piece as it comes, and last the Answer with its references."""
        from stateless_rag.retrieval.answer import stream_answer

        chosen, journal = self._options(options, changes), _Uncharged(self._workspace.journal)
        while True:
            context = await self._asking(budget)
            pieces = stream_answer(context, self._read(context), question, chosen, cache=journal)
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
            except _Reembedded:  # all is looked up before the first piece
                continue
            finally:
                self._charge(context)
            return

    async def retrieve(
        self, question: str, *, options: QueryOptions | None = None, **changes: Any
    ) -> Retrieval:
        """What would be found for a question: entities, relations, passages and references.

        No LLM is called: keywords are those that are given (`low_level_keywords`, `high_level_keywords`), else
        the built-in extractor reads them from the question. `query(question, only_context=True)` asks the LLM
        for keywords and returns the context that they lead to.
        """
        from stateless_rag.retrieval.retrieve import retrieve

        chosen = self._options(options, changes)
        return await self._settled(
            lambda context: retrieve(context.without_llm(), self._read(context), question, chosen)
        )

    async def explain(
        self,
        question: str,
        *,
        expect: str | None = None,
        options: QueryOptions | None = None,
        **changes: Any,
    ) -> Explanation:
        """Why each passage is found for a question: seeds, edges and scores; nothing is answered.

        With `expect`, the id of a document, `expected` tells its rank or the step that lost it, and what to do.
        Keywords are those that `query` would use, so the LLM may be asked for them.
        """
        from stateless_rag.retrieval.explain import explain

        wanted = optional("expect", expect, identifier)
        chosen, journal = self._options(options, changes), _Uncharged(self._workspace.journal)
        return await self._settled(
            lambda context: explain(context, self._read(context), question, chosen, wanted, kept=journal)
        )

    async def _settled(
        self, ask: Callable[[Context], Awaitable[Result]], budget: Budget | None = None
    ) -> Result:
        """Ask once more if the workspace was changed to another embedder after the question was embedded."""
        while True:
            context = await self._asking(budget)
            try:
                return await ask(context)
            except _Reembedded:
                continue
            finally:
                self._charge(context)

    def _read(self, context: Context) -> Read:
        """How snapshots are read whose vectors the context's embedder has made."""
        model, workspace = context.embedder.model, self._workspace

        async def read(query: Callable[[Snapshot], Result]) -> Result:
            def checked(snapshot: Snapshot) -> Result:
                if snapshot.embedder not in (None, model):
                    raise _Reembedded
                return query(snapshot)

            return await workspace.read(checked)

        return read

    async def _asking(self, budget: Budget | None) -> Context:
        self._check()
        context = await self._allowed(budget, questions=True)
        name = context.trace_id or f"trace-{secrets.token_hex(8)}"
        return context.derive(meter=Meter(context.meter), priority=Priority.QUERY, trace_id=name)

    def _charge(self, context: Context) -> None:
        """Note what a question has cost so far, also one that failed. What the built-in embedder does is free."""
        paid = context.meter.into or context.meter
        built_in = isinstance(context.embedder, HashingEmbedder)
        charges = [
            Charge(
                purpose=purpose,
                model=context.model_for(purpose),
                usage=used,
                query=context.trace_id or "",
                texts=used.calls if purpose == "embed_query" else 0,
            )
            for purpose, used in paid.totals().items()
            if used.calls and not (built_in and purpose == "embed_query")
        ]
        self._workspace.ledger.charge(charges)

    def _options(self, options: QueryOptions | None, changes: Mapping[str, Any]) -> QueryOptions:
        unknown = changes.keys() - QueryOptions.__dataclass_fields__.keys()
        if unknown:
            known = ", ".join(sorted(QueryOptions.__dataclass_fields__))
            raise InvalidInput(f"unknown query options {sorted(unknown)}; there are {known}")
        given = optional("options", options, instance, kind=QueryOptions)
        return replace(given or self._context.settings.query, **changes)
