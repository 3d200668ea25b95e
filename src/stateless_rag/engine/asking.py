"""The engine answers questions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import identifier, instance, optional
from stateless_rag.context import Meter
from stateless_rag.engine.core import Core
from stateless_rag.errors import InvalidInput
from stateless_rag.limits import Priority
from stateless_rag.settings import QueryOptions
from stateless_rag.types import Answer, Explanation, Retrieval

if TYPE_CHECKING:
    from stateless_rag.context import Context

__all__ = ["Asking"]


class Asking(Core):
    """Answers out."""

    async def query(self, question: str, *, options: QueryOptions | None = None, **changes: Any) -> Answer:
        """Answer a question from the workspace, with references.

        Keyword arguments are fields of QueryOptions (`mode="local"`, `top_k=10`, …) and change `options`, by
        default the engine's settings. Raises ProviderError if a provider fails, InvalidInput for a question
        or an option that cannot be used, and DeadlineExceeded.
        """
        from stateless_rag.retrieval.answer import answer

        self._check()
        chosen, workspace = self._options(options, changes), self._workspace
        return await answer(self._asking(), workspace.read, question, chosen, cache=workspace.journal)

    async def stream(
        self, question: str, *, options: QueryOptions | None = None, **changes: Any
    ) -> AsyncGenerator[str | Answer]:
        """As `query`, but yields the text piece by piece as it comes, and last the Answer with its references."""
        from stateless_rag.retrieval.answer import stream_answer

        self._check()
        chosen, workspace = self._options(options, changes), self._workspace
        pieces = stream_answer(self._asking(), workspace.read, question, chosen, cache=workspace.journal)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def retrieve(
        self, question: str, *, options: QueryOptions | None = None, **changes: Any
    ) -> Retrieval:
        """What would be found for a question: entities, relations, passages and references.

        No LLM is called: keywords are those that are given (`low_level_keywords`, `high_level_keywords`), else
        the built-in extractor reads them from the question. `query(question, only_context=True)` asks the LLM
        for keywords and returns the context that they lead to.
        """
        from stateless_rag.retrieval.retrieve import retrieve

        self._check()
        context = self._asking().without_llm()
        return await retrieve(context, self._workspace.read, question, self._options(options, changes))

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

        self._check()
        wanted = optional("expect", expect, identifier)
        chosen = self._options(options, changes)
        return await explain(self._asking(), self._workspace.read, question, chosen, wanted)

    def _asking(self) -> Context:
        return self._context.derive(meter=Meter(), priority=Priority.QUERY)

    def _options(self, options: QueryOptions | None, changes: Mapping[str, Any]) -> QueryOptions:
        unknown = changes.keys() - QueryOptions.__dataclass_fields__.keys()
        if unknown:
            known = ", ".join(sorted(QueryOptions.__dataclass_fields__))
            raise InvalidInput(f"unknown query options {sorted(unknown)}; there are {known}")
        given = optional("options", options, instance, kind=QueryOptions)
        return replace(given or self._context.settings.query, **changes)
