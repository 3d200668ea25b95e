"""Questions: answers, their data, and streams."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import instance
from stateless_rag.errors import ProviderError, StatelessRagError
from stateless_rag.interop.lightrag.core import Core
from stateless_rag.interop.lightrag.errors import EmptyQueryError, RAGQueryTooShortError
from stateless_rag.interop.lightrag.parameters import QueryParam, checked_query, param_of, query_options
from stateless_rag.interop.lightrag.results import QueryResult
from stateless_rag.interop.shapes import to_lightrag_data
from stateless_rag.observers import all_of
from stateless_rag.types import Answer, Event, Retrieval

if TYPE_CHECKING:
    from stateless_rag.interop.lightrag.session import Session
    from stateless_rag.settings import QueryOptions

__all__ = ["Asking"]

Progress = Callable[[str], Awaitable[None] | None]

_STEPS = (
    ("keywords", ("extracting_keywords",)),
    ("searching", ("retrieving_entities", "retrieving_relations", "retrieving_chunks")),
    ("reranking", ("reranking",)),
    ("answering", ("generating_response",)),
)


class Asking(Core):
    """Answers out. A provider that fails is a ProviderError, but for a reranker, without which the answer comes too."""

    async def aquery(
        self, query: str, param: QueryParam | None = None, system_prompt: str | None = None
    ) -> str | AsyncIterator[str]:
        """Answer a question: a text, or with `param.stream` an async iterator of its pieces.

        What needs no LLM (the context, the prompt, that nothing was found) is a text in any case.
        """
        result = await self._result(query, param, system_prompt)
        return result.response_iterator or result.content or ""

    async def aquery_data(self, query: str, param: QueryParam | None = None) -> dict[str, Any]:
        """What would be found for a question, as `stateless_rag.interop.shapes` says; nothing is answered."""
        given = param_of(self) if param is None else instance("param", param, kind=QueryParam)
        asked = replace(given, stream=False, only_need_context=True, only_need_prompt=False)
        result = await self._result(query, asked, None)
        raw = result.raw_data or {}
        if given.mode == "bypass":
            raw["data"] = {"entities": [], "relationships": [], "chunks": [], "references": []}
        return raw

    async def aquery_llm(
        self,
        query: str,
        param: QueryParam | None = None,
        system_prompt: str | None = None,
        progress_callback: Progress | None = None,
    ) -> dict[str, Any]:
        """The data of a question, and under `llm_response` its answer.

        `progress_callback` is told the names of the steps. An error is a result of status "failure" that tells it,
        but for a question that cannot be asked, which raises.
        """
        try:
            result = await self._result(query, param, system_prompt, progress_callback)
        except (EmptyQueryError, RAGQueryTooShortError):
            raise
        except (StatelessRagError, ValueError) as error:
            told = f"Query failed: {error}"
            return {
                "status": "failure",
                "message": told,
                "data": {},
                "metadata": {},
                **_response(QueryResult()),
            }
        return {**(result.raw_data or {}), **_response(result)}

    # ---- one question ----------------------------------------------------------------------------------

    async def _result(
        self,
        query: str,
        param: QueryParam | None,
        system_prompt: str | None,
        progress: Progress | None = None,
    ) -> QueryResult:
        options, streamed = query_options(param, self, system_prompt)
        question = checked_query(query, options.mode)
        asked = _Question(self._session, question, streamed=streamed, progress=progress)
        try:
            return await asked.result(options)
        except ProviderError as error:
            if asked.step != "reranking":
                raise
            logging.getLogger(__name__).warning("the reranker failed, and is left out: %s", error)
        again = _Question(self._session, question, streamed=streamed, progress=progress)
        return await again.result(replace(options, rerank=False))


class _Question:
    """One question, asked of an engine that tells which step it is at."""

    def __init__(self, session: Session, question: str, *, streamed: bool, progress: Progress | None) -> None:
        self.step = ""
        self._session = session  # not the instance: what is being read must not keep it
        self._question = question
        self._streamed = streamed
        self._progress = progress
        self._telling: list[asyncio.Future[None]] = []
        self._found: Retrieval | None = None

    async def result(self, options: QueryOptions) -> QueryResult:
        """The answer, or the stream of it, once its first piece is there."""
        async with AsyncExitStack() as stack:
            opened = await self._session.opened()
            observer = opened.engine.context.observer
            engine = await opened.another(observer=all_of(self._note, observer) if observer else self._note)
            stack.push_async_callback(engine.close)
            stack.push_async_callback(self._told)
            if not self._streamed:
                return self._whole(await engine.query(self._question, options=options))
            pieces = await stack.enter_async_context(aclosing(engine.stream(self._question, options=options)))
            first = await anext(pieces)
            if self.step == "answering":
                rest = _following(first, pieces, stack.pop_all())
                return QueryResult(response_iterator=rest, raw_data=_data(self._found), is_streaming=True)
            answer = [first, *[piece async for piece in pieces]][-1]
            return self._whole(instance("answer", answer, kind=Answer))

    def _whole(self, answer: Answer) -> QueryResult:
        return QueryResult(
            content=answer.text,
            raw_data=_data(answer.retrieval),
            llm_generated=self.step == "answering",
        )

    def _note(self, event: Event) -> None:
        names = dict(_STEPS).get(event.kind)
        if isinstance(event.report, Retrieval):
            self._found = event.report
        if names is None:
            return
        self.step = event.kind
        for told in () if self._progress is None else map(self._progress, names):
            if inspect.isawaitable(told):
                self._telling.append(asyncio.ensure_future(told))

    async def _told(self) -> None:
        """Wait until the caller was told of all steps. Raises what telling raised."""
        await asyncio.gather(*self._telling)


def _data(found: Retrieval | None) -> dict[str, Any]:
    """The data of what was found; in mode bypass nothing is looked up."""
    if found is not None and found.mode != "bypass":
        return to_lightrag_data(found)
    message = "Query processed successfully"
    return {"status": "success", "message": message, "data": {}, "metadata": {}}


async def _following(
    first: str | Answer, pieces: AsyncGenerator[str | Answer], stack: AsyncExitStack
) -> AsyncGenerator[str]:
    """The pieces of a stream whose first one was read; what it needs is closed with it."""
    async with stack:
        if isinstance(first, str):
            yield first
        async for piece in pieces:
            if isinstance(piece, str):
                yield piece


def _response(result: QueryResult) -> dict[str, Any]:
    return {
        "llm_response": {
            "content": result.content,
            "response_iterator": result.response_iterator,
            "is_streaming": result.is_streaming,
            "llm_generated": result.llm_generated,
        }
    }
