"""Functions written for LightRAG as providers: of the LLM, the embedder and the reranker."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import callback, flag, optional, text, whole
from stateless_rag.errors import InvalidReply
from stateless_rag.protocols import LLM, Embedder, Embeddings, LLMReply, Reranker, StreamPart
from stateless_rag.providers.callables import CallableLLM, as_embedder, as_llm, as_reranker
from stateless_rag.providers.embedder import TextEmbedder

if TYPE_CHECKING:
    from stateless_rag.protocols import LLMRequest, Vectors

__all__ = ["EmbeddingFunc", "HashingKV", "embedder_of", "llm_of", "name_of", "reranker_of"]


# ---- the embedder --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EmbeddingFunc:
    """An embedding function: `await func(texts)` gives an array of shape (texts, `embedding_dim`).

    It is given `context="query"` or `"document"` if it is asymmetric, and `embedding_dim` if `send_dimensions`.
    `max_token_size` is the longest text it takes. With `model_name` the workspace remembers which model made
    its vectors, and refuses another.
    """

    embedding_dim: int
    func: Callable[..., Any]
    max_token_size: int | None = None
    send_dimensions: bool = False
    model_name: str | None = None
    supports_asymmetric: bool = False

    def __post_init__(self) -> None:
        whole("embedding_dim", self.embedding_dim, least=1)
        callback("func", self.func)
        optional("max_token_size", self.max_token_size, whole, least=1)
        optional("model_name", self.model_name, text)
        flag("send_dimensions", self.send_dimensions)
        flag("supports_asymmetric", self.supports_asymmetric)

    async def __call__(self, texts: Sequence[str], *, context: str = "document", **keywords: Any) -> Vectors:
        """Embed texts. Raises InvalidReply for another number of rows, or of values in a row."""
        if self.supports_asymmetric:
            keywords["context"] = context
        if self.send_dimensions:
            keywords["embedding_dim"] = self.embedding_dim
        answer = self.func(list(texts), **keywords)
        if inspect.isawaitable(answer):
            answer = await answer
        return _matrix(answer, len(texts), self.embedding_dim)


class _FunctionEmbedder(TextEmbedder):
    """An EmbeddingFunc, or what looks like one, as an embedder."""

    def __init__(self, function: Any, *, max_batch: int) -> None:
        self._function = function
        self._asymmetric = bool(getattr(function, "supports_asymmetric", False))
        name = getattr(function, "model_name", None) or name_of(function.func, "embedding_func")
        super().__init__(
            name,
            dimension=function.embedding_dim,
            max_tokens=getattr(function, "max_token_size", None),
            max_batch=max_batch,
        )

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        keywords = {"context": role} if self._asymmetric else {}
        answer = await self._function(list(texts), **keywords)
        return Embeddings(vectors=_matrix(answer, len(texts), self._function.embedding_dim))


def embedder_of(value: Any, *, max_batch: int) -> Embedder:
    """An EmbeddingFunc (this one or LightRAG's own), an embedder, or a plain async function, as an embedder."""
    if hasattr(value, "embedding_dim") and callable(getattr(value, "func", None)):
        return _FunctionEmbedder(value, max_batch=max_batch)
    return as_embedder(value)


def _matrix(answer: Any, rows: int, width: int) -> Vectors:
    import numpy as np

    try:
        vectors = np.ascontiguousarray(answer, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidReply(
            f"embedding_func returned no rectangle of numbers ({type(answer).__name__})"
        ) from error
    if vectors.shape != (rows, width):
        raise InvalidReply(
            f"embedding_func returned an array of shape {vectors.shape} for {rows} texts; it must be ({rows}, {width})"
        )
    return vectors


# ---- the LLM -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HashingKV:
    """What functions find under `hashing_kv`: nothing is kept there, it only tells the configuration."""

    global_config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class _FunctionLLM:
    """`await f(prompt, system_prompt=…, history_messages=[…], …)` as an LLM.

    Of the keywords those are given that it takes (functions with `**kwargs` take all): `hashing_kv`; for answers
    `enable_cot`, with `stream` where they are streamed; for JSON `response_format`; for keywords
    `keyword_extraction`, if it is named. A system prompt or a history that it does not take stands before the prompt.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        model: str,
        keywords: Mapping[str, Any],
        timeout: float | None,
        storage: HashingKV,
    ) -> None:
        self._function = function
        self._takes = _taken(function)
        self._keywords = keywords
        self._timeout = timeout
        self._storage = storage
        self._whole = CallableLLM(self._ask, model=model)
        self._streamed = CallableLLM(self._ask_streamed, model=model)

    @property
    def model(self) -> str:
        """The name given."""
        return self._whole.model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""
        return await self._whole.complete(request)

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """Answer one request piece by piece."""
        return self._streamed.stream(request)

    async def _ask(self, request: LLMRequest) -> Any:
        return await self._answer(request, streamed=False)

    async def _ask_streamed(self, request: LLMRequest) -> Any:
        return await self._answer(request, streamed=True)

    async def _answer(self, request: LLMRequest, *, streamed: bool) -> Any:
        prompt, keywords = self._arguments(request, streamed=streamed)
        async with asyncio.timeout(self._timeout):
            answer = self._function(prompt, **keywords)
            return await answer if inspect.isawaitable(answer) else answer

    def _arguments(self, request: LLMRequest, *, streamed: bool) -> tuple[str, dict[str, Any]]:
        before: list[str] = []
        keywords: dict[str, Any] = {**self._keywords, **self._offered(request, streamed=streamed)}
        if self._accepts("system_prompt"):
            keywords["system_prompt"] = request.system
        elif request.system:
            before.append(request.system)
        if self._accepts("history_messages"):
            keywords["history_messages"] = [
                {"role": turn.role, "content": turn.content} for turn in request.history
            ]
        else:
            before += [f"{turn.role}: {turn.content}" for turn in request.history]
        return "\n\n".join([*before, request.prompt]), keywords

    def _offered(self, request: LLMRequest, *, streamed: bool) -> dict[str, Any]:
        offered: dict[str, Any] = {"hashing_kv": self._storage}
        if streamed:
            offered["stream"] = True
        if request.purpose == "answer":
            offered["enable_cot"] = True
        if request.json:
            offered["response_format"] = {"type": "json_object"}
        taken = {name: value for name, value in offered.items() if self._accepts(name)}
        if request.purpose == "keywords" and "keyword_extraction" in self._takes:
            taken["keyword_extraction"] = True
        if request.max_tokens is not None and "max_tokens" in self._takes:
            taken["max_tokens"] = request.max_tokens
        return taken

    def _accepts(self, name: str) -> bool:
        return name in self._takes or "**" in self._takes


def llm_of(
    value: Any,
    *,
    model: str | None,
    keywords: Mapping[str, Any] = MappingProxyType({}),
    timeout: float | None = None,
    configuration: Mapping[str, Any] = MappingProxyType({}),
) -> LLM:
    """A function written for LightRAG as an LLM named `model`, else as the function; an LLM as it is."""
    if isinstance(value, LLM) or not callable(value):
        return as_llm(value)
    return _FunctionLLM(
        value,
        model=model or name_of(value, "llm_model_func"),
        keywords=keywords,
        timeout=timeout,
        storage=HashingKV(configuration),
    )


# ---- the reranker --------------------------------------------------------------------------------------


class _FunctionReranker:
    """`await f(query=…, documents=[…], top_n=…)` as a reranker.

    It returns mappings with `index` and `relevance_score`, of which bad ones are left out, or (the old form) the
    documents themselves, best first.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._model = name_of(function, "rerank_model_func")

    @property
    def model(self) -> str:
        """The function's name."""
        return self._model

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> list[tuple[int, float]]:
        """Rank texts. Raises InvalidReply for what is no ranking."""
        answer = self._function(query=query, documents=list(texts), top_n=top_n)
        if inspect.isawaitable(answer):
            answer = await answer
        if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            raise InvalidReply(f"{self._model} returned {type(answer).__name__}, not a list")
        ranks: dict[int, float] = {}
        for place, entry in enumerate(answer):
            found = _rank(entry, place, texts)
            if found is not None:
                ranks.setdefault(*found)
        return list(ranks.items())


def reranker_of(value: Any) -> Reranker | None:
    """A function written for LightRAG as a reranker; a reranker as it is."""
    if value is None or isinstance(value, Reranker) or not callable(value):
        return None if value is None else as_reranker(value)
    return _FunctionReranker(value)


def _rank(entry: Any, place: int, texts: Sequence[str]) -> tuple[int, float] | None:
    """The index and the score of one entry; None if it has none. What comes without a score is as good as 1/place."""
    if isinstance(entry, Mapping) and "index" in entry:
        index, score = entry["index"], entry.get("relevance_score", entry.get("score"))
        known = isinstance(index, int) and index in range(len(texts))
        return (index, float(score)) if known and isinstance(score, int | float) else None
    content = entry.get("content") if isinstance(entry, Mapping) else entry
    return (texts.index(content), 1.0 / (place + 1)) if content in texts else None


# ---- functions -----------------------------------------------------------------------------------------


def name_of(function: Any, otherwise: str) -> str:
    """A function's own name, without its module: a script's is another when it is imported. `otherwise` for lambdas."""
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    return otherwise if name == "<lambda>" else name


def _taken(function: Callable[..., Any]) -> frozenset[str]:
    """The names that a function takes as keywords, "**" if any."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # written in C
        return frozenset({"**"})
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {parameter.name for parameter in parameters if parameter.kind in named}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        names.add("**")
    return frozenset(names)
