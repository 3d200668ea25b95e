"""Plain async functions as providers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import shown
from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import LLM, Embedder, Embeddings, LLMReply, LLMRequest, Reranker, StreamPart
from stateless_rag.providers.embedder import TextEmbedder
from stateless_rag.providers.think import ThinkFilter, remove_thinking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from stateless_rag.protocols import Vectors

__all__ = ["CallableEmbedder", "CallableLLM", "CallableReranker", "as_embedder", "as_llm", "as_reranker"]


def as_llm(value: LLM | Callable[..., Any]) -> LLM:
    """An LLM as it is; an async function wrapped as `CallableLLM`; else `InvalidInput`."""
    if inspect.isclass(value):
        raise InvalidInput(f"llm={value.__name__} is a class; give an instance of it")
    return value if isinstance(value, LLM) else CallableLLM(value)


def as_embedder(value: Embedder | Callable[..., Any]) -> Embedder:
    """An embedder as it is; an async function wrapped as `CallableEmbedder`; else `InvalidInput`."""
    if inspect.isclass(value):
        raise InvalidInput(f"embedder={value.__name__} is a class; give an instance of it")
    return value if isinstance(value, Embedder) else CallableEmbedder(value)


def as_reranker(value: Reranker | Callable[..., Any]) -> Reranker:
    """A reranker as it is; an async function wrapped as `CallableReranker`; else `InvalidInput`."""
    if inspect.isclass(value):
        raise InvalidInput(f"reranker={value.__name__} is a class; give an instance of it")
    return value if isinstance(value, Reranker) else CallableReranker(value)


class CallableLLM:
    """An async function as an LLM. It is called in one of these ways, by its signature:

    - `await f(request)` if its only parameter is named `request` or annotated `LLMRequest`;
    - else `await f(prompt, system_prompt=…, history_messages=[{"role": …, "content": …}])`. Of the two
      keywords those it takes are given (functions with `**kwargs` take both); what it cannot take stands
      before the prompt. `max_tokens` and `response_format` are given if they are named and the request sets
      them.

    It returns a string, an `LLMReply`, or an async iterator of strings or `StreamPart`s; async generators are
    fine too. Thinking is removed from strings. `model` names it in the journal: change the name when the
    function answers differently.
    """

    def __init__(self, function: Callable[..., Any], *, model: str | None = None) -> None:
        self._function = _checked(function, "llm")
        self._takes = _signature(function)
        self._model = model or _qualified_name(function)

    @property
    def model(self) -> str:
        """The name given, else the function's."""
        return self._model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request; an iterator is read to its end."""
        answer = await self._call(request)
        if isinstance(answer, LLMReply):
            return answer
        if isinstance(answer, str):
            return LLMReply(text=remove_thinking(answer))
        async with aclosing(_parts(answer)) as parts:
            async for part in parts:
                if part.reply is not None:
                    return part.reply
        raise InvalidReply(f"{self._model} ended without an answer")

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """Answer one request piece by piece; a string is one piece."""
        answer = await self._call(request)
        if isinstance(answer, str):
            answer = LLMReply(text=remove_thinking(answer))
        if isinstance(answer, LLMReply):
            if answer.text:
                yield StreamPart(text=answer.text)
            yield StreamPart(reply=answer)
            return
        async with aclosing(_parts(answer)) as parts:
            async for part in parts:
                yield part

    async def _call(self, request: LLMRequest) -> Any:
        if self._takes is None:
            answer = self._function(request)
        else:
            prompt, keywords = _arguments(request, self._takes)
            answer = self._function(prompt, **keywords)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, (str, LLMReply)) or hasattr(answer, "__aiter__"):
            return answer
        raise InvalidReply(
            f"{self._model} returned {type(answer).__name__}, not a string, LLMReply or async iterator"
        )


class CallableEmbedder(TextEmbedder):
    """An async function `await f(texts)` as an embedder; it returns what numpy reads as a 2-D array.

    A parameter named `role` is given "document" or "query". `max_tokens` is the longest text it takes,
    `max_batch` how many texts one call may carry. `model` names it in the workspace and the journal.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        dimension: int | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        max_batch: int = 32,
    ) -> None:
        self._function = _checked(function, "embedder")
        self._takes_role = "role" in (_signature(function) or ())
        super().__init__(
            model or _qualified_name(function),
            dimension=dimension,
            max_tokens=max_tokens,
            max_batch=max_batch,
        )

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order. `InvalidReply` unless there is one vector for each."""
        keywords = {"role": role} if self._takes_role else {}
        answer = self._function(list(texts), **keywords)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Embeddings):
            return answer
        return Embeddings(vectors=_matrix(answer, len(texts), self._model))


class CallableReranker:
    """An async function `await f(query, documents, top_n=…)` as a reranker; `top_n` is given if it takes it.

    It returns pairs of index and score, or mappings with `index` and `relevance_score` (or `score`), for the
    texts it finds worth it. `model` names it.
    """

    def __init__(self, function: Callable[..., Any], *, model: str | None = None) -> None:
        self._function = _checked(function, "reranker")
        self._takes_top_n = bool((_signature(function) or frozenset()) & {"top_n", "**"})
        self._model = model or _qualified_name(function)

    @property
    def model(self) -> str:
        """The name given, else the function's."""
        return self._model

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> list[tuple[int, float]]:
        """Rank texts. `InvalidReply` for what is no ranking."""
        keywords = {"top_n": top_n} if self._takes_top_n else {}
        answer = await self._function(query, list(texts), **keywords)
        try:
            return [_rank(entry) for entry in answer]
        except (TypeError, ValueError, KeyError) as exc:
            raise InvalidReply(
                f"{self._model} returned {type(answer).__name__}, not pairs of index and score"
            ) from exc


def _rank(entry: Any) -> tuple[int, float]:
    if isinstance(entry, Mapping):
        return entry["index"], entry["relevance_score" if "relevance_score" in entry else "score"]
    index, score = entry
    return index, score


def _checked(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    if not callable(function):
        raise InvalidInput(f"{what}={shown(function)} is neither a provider nor an async function")
    for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004  (its code, not whether it has one)
        if inspect.iscoroutinefunction(candidate):
            return function
        if what == "llm" and inspect.isasyncgenfunction(candidate):
            return function
    name = _qualified_name(function)
    raise InvalidInput(
        f"{what}={name} is not async; declare it with `async def` and await blocking work in a thread"
    )


def _qualified_name(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _signature(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names that it takes as keywords, "**" if any; None if it wants the whole request."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return frozenset()
    if len(parameters) == 1:
        (only,) = parameters.values()
        annotation = only.annotation if isinstance(only.annotation, str) else ""
        if only.name == "request" or only.annotation is LLMRequest or annotation.endswith("LLMRequest"):
            return None
    names = set()
    for parameter in parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            names.add("**")
        elif parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            names.add(parameter.name)
    return frozenset(names)


def _arguments(request: LLMRequest, takes: frozenset[str]) -> tuple[str, dict[str, Any]]:
    keywords: dict[str, Any] = {}
    before: list[str] = []
    if takes & {"system_prompt", "**"}:
        keywords["system_prompt"] = request.system
    elif request.system:
        before.append(request.system)
    if takes & {"history_messages", "**"}:
        keywords["history_messages"] = [
            {"role": message.role, "content": message.content} for message in request.history
        ]
    else:
        before.extend(f"{message.role}: {message.content}" for message in request.history)
    if request.max_tokens is not None and "max_tokens" in takes:
        keywords["max_tokens"] = request.max_tokens
    if request.json and "response_format" in takes:
        keywords["response_format"] = {"type": "json_object"}
    return "\n\n".join([*before, request.prompt]), keywords


async def _parts(answer: Any) -> AsyncGenerator[StreamPart]:
    """Stream parts of an async iterator of strings or parts; the last one carries the reply."""
    thoughts = ThinkFilter()
    try:
        async for piece in answer:
            if isinstance(piece, StreamPart):
                yield piece
                if piece.reply is not None:
                    return
                thoughts.feed(piece.text)
            elif isinstance(piece, str):
                if text := thoughts.feed(piece):
                    yield StreamPart(text=text)
            else:
                raise InvalidReply(f"a streamed answer held {type(piece).__name__}; yield strings")
        if text := thoughts.finish():
            yield StreamPart(text=text)
        yield StreamPart(reply=LLMReply(text=thoughts.text))
    finally:
        if hasattr(answer, "aclose"):
            await answer.aclose()


def _matrix(answer: Any, rows: int, model: str) -> Vectors:
    import numpy as np

    try:
        vectors = np.ascontiguousarray(answer, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise InvalidReply(f"{model} returned no rectangle of numbers ({type(answer).__name__})") from exc
    if vectors.ndim != 2 or len(vectors) != rows:
        raise InvalidReply(f"{model} returned an array of shape {vectors.shape} for {rows} texts")
    return vectors
