"""Rerankers behind HTTP: the APIs of Cohere, Jina, Alibaba Cloud and Text Embeddings Inference, and their like."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

import httpx2

from stateless_rag.checks import choice, identifier, json_object, optional, text, whole
from stateless_rag.errors import InvalidInput, InvalidReply, ProviderError
from stateless_rag.providers.http import (
    PerLoop,
    checked_headers,
    code_of,
    http_client,
    mapped_requests,
    parse_json,
    server_of,
    status_error,
)
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["HTTPReranker"]

Style = Literal["cohere", "jina", "tei", "aliyun"]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How servers of one style are spoken to. `server` is where requests go unless another is named.

    `nested`: question and texts are the request's `input`, what else is said its `parameters`, the ranks its `output`.
    """

    server: str | None
    max_batch: int
    texts: str
    score: str
    named: bool
    fixed: tuple[tuple[str, bool], ...] = ()
    path: str = "/rerank"
    nested: bool = False


def _dialect(style: str) -> _Dialect:
    if style == "tei":
        # It takes 32 texts at once unless started with another --max-client-batch-size, and refuses long texts
        # that it may not cut.
        return _Dialect(None, 32, "texts", "score", named=False, fixed=(("truncate", True),))
    if style == "jina":
        fixed = (("return_documents", False),)
        return _Dialect(
            "https://api.jina.ai/v1", 1000, "documents", "relevance_score", named=True, fixed=fixed
        )
    if style == "aliyun":
        return _Dialect(
            "https://dashscope.aliyuncs.com/api/v1",
            500,
            "documents",
            "relevance_score",
            named=True,
            fixed=(("return_documents", False),),
            path="/services/rerank/text-rerank/text-rerank",
            nested=True,
        )
    return _Dialect("https://api.cohere.com/v2", 1000, "documents", "relevance_score", named=True)


class HTTPReranker:
    """A reranking model behind HTTP. Implements the protocol `Reranker`.

    `style` says how the server speaks: "cohere", "jina" (vLLM, LiteLLM and others speak like one of them),
    "tei" (Text Embeddings Inference, which serves one model: `model` only names it here), or "aliyun" (Alibaba
    Cloud's Model Studio). Requests go to `base_url` and the style's path, `/rerank` for most, by default to
    Cohere, Jina or Alibaba themselves, which want an `api_key`; it is never read from the environment.
    `extra_body` is sent with each request as it is. More than `max_batch` texts are ranked in several requests,
    one after the other. `http_client_factory` makes the `httpx2.AsyncClient` of each event loop, for proxies and
    certificates.

    Calls are neither retried nor timed here. Errors: `ProviderRateLimited`, `ProviderUnavailable`,
    `ProviderTimeout`, `ProviderRejected`, `InvalidReply`.
    """

    def __init__(
        self,
        model: str,
        *,
        style: Style = "cohere",
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        max_batch: int | None = None,
        http_client_factory: Callable[[], httpx2.AsyncClient] | None = None,
    ) -> None:
        self._name = identifier("model", model)
        self._dialect = _dialect(choice("style", style, among=get_args(Style)))
        self._url = _endpoint(
            optional("base_url", base_url, text) or self._dialect.server, style, self._dialect
        )
        self._where = f"{model} at {server_of(self._url)}"
        if not optional("api_key", api_key, text) and not base_url:
            raise InvalidInput(
                f"api_key is needed for {self._dialect.server}; it is not read from the environment"
            )
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._headers |= checked_headers(headers)
        self._extra_body = optional("extra_body", extra_body, json_object, error=InvalidInput) or {}
        self._max_batch = optional("max_batch", max_batch, whole, least=1) or self._dialect.max_batch
        self._clients = _Clients(http_client_factory or http_client)

    @property
    def model(self) -> str:
        """The model, and a digest of `extra_body` if there is one."""
        if not self._extra_body:
            return self._name
        return f"{self._name};extra_body={digest(json.dumps(self._extra_body, sort_keys=True))[:12]}"

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> list[tuple[int, float]]:
        """The indexes of the `top_n` best texts with the server's scores, best first, ties by index."""
        if top_n < 1:
            return []
        ranked: list[tuple[int, float]] = []
        for start in range(0, len(texts), self._max_batch):
            batch = texts[start : start + self._max_batch]
            scores = await self._scores(query, batch, min(top_n, len(batch)))
            ranked.extend((start + index, score) for index, score in scores.items())
        return sorted(ranked, key=lambda pair: (-pair[1], pair[0]))[:top_n]

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    async def _scores(self, query: str, texts: Sequence[str], top_n: int) -> dict[int, float]:
        """The scores of at least `top_n` texts by their index."""
        with mapped_requests(self._where):
            content = json.dumps(self._body(query, texts, top_n), ensure_ascii=False).encode("utf-8")
            response = await self._clients.get().post(self._url, content=content, headers=self._headers)
        if response.status_code != 200:
            raise self._refused(response)
        answer = parse_json(response.content, self._name)
        if self._dialect.nested:
            answer = answer.get("output") if isinstance(answer, dict) else None
        scores = _scores(answer, self._dialect.score, len(texts), self._name)
        if len(scores) < top_n:
            raise InvalidReply(f"{self._name} ranked {len(scores)} texts where {top_n} were asked for")
        return scores

    def _body(self, query: str, texts: Sequence[str], top_n: int) -> dict[str, Any]:
        asked = {"query": query, self._dialect.texts: list(texts)}
        if self._dialect.nested:
            told = {"top_n": top_n, **dict(self._dialect.fixed)}
            return {"model": self._name, "input": asked, "parameters": told} | self._extra_body
        body: dict[str, Any] = {"model": self._name, "top_n": top_n} if self._dialect.named else {}
        return body | asked | dict(self._dialect.fixed) | self._extra_body

    def _refused(self, response: httpx2.Response) -> ProviderError:
        if 200 <= response.status_code < 300:
            return InvalidReply(f"{self._where} answered {response.status_code} instead of a ranking")
        hint = f"check the model's limits, extra_body and max_batch ({self._max_batch})"
        return status_error(
            response.status_code, response.headers, _code(response.content), self._where, hint
        )


class _Clients(PerLoop[httpx2.AsyncClient]):
    def __init__(self, factory: Callable[[], httpx2.AsyncClient]) -> None:
        super().__init__()
        self._factory = factory

    def _open(self) -> httpx2.AsyncClient:
        return self._factory()

    def _is_closed(self, client: httpx2.AsyncClient) -> bool:
        return client.is_closed

    async def _close(self, client: httpx2.AsyncClient) -> None:
        await client.aclose()


def _endpoint(base_url: str | None, style: str, dialect: _Dialect) -> str:
    """Where to send requests: the style's path below the base, unless that ends like it already."""
    if base_url is None:
        raise InvalidInput(f"style {style!r} needs a base_url: there is no server that all could use")
    server_of(base_url)
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    _, slash, last = dialect.path.rpartition("/")
    return parts._replace(path=path if path.endswith(slash + last) else path + dialect.path).geturl()


def _scores(answer: object, name: str, count: int, model: str) -> dict[int, float]:
    """Scores by index, from `{"results": [{"index": …, name: …}]}` or from that list alone."""
    rows = answer.get("results") if isinstance(answer, dict) else answer
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidReply(f"{model} answered without a list of results")
    scores: dict[int, float] = {}
    for row in rows:
        index, score = row.get("index"), row.get(name)
        if type(index) is not int or index not in range(count) or index in scores:
            raise InvalidReply(
                f"{model} ranked {count} texts and gave an index that is none of theirs, or twice"
            )
        if not isinstance(score, int | float) or isinstance(score, bool) or not _finite(score):
            raise InvalidReply(f"{model} gave a text a {name} that is no number")
        scores[index] = float(score)
    return scores


def _finite(score: float) -> bool:
    try:
        return math.isfinite(score)
    except OverflowError:  # an integer beyond all floats
        return False


def _code(content: bytes) -> str:
    """What kind of error the body names, where it does."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    said = body if isinstance(body, dict) else {}
    inner = said.get("error")
    told = inner if isinstance(inner, dict) else {}
    return code_of(
        told.get("code"), told.get("type"), said.get("error_type"), said.get("code"), said.get("type")
    )
