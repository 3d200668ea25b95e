"""LLMs and embedders behind the OpenAI HTTP API: OpenAI, and the many servers that speak like it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import flag, identifier, json_object, number, optional, text, whole
from stateless_rag.errors import InvalidInput, InvalidReply, ProviderRejected, ProviderUnavailable
from stateless_rag.protocols import Embeddings, LLMReply, StreamPart
from stateless_rag.providers.embedder import TextEmbedder
from stateless_rag.providers.http import parse_body
from stateless_rag.providers.openai_batches import OpenAIBatches
from stateless_rag.providers.openai_client import LoopClients, mapped_errors
from stateless_rag.providers.think import ThinkFilter, remove_thinking
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    import httpx2
    import numpy as np
    from numpy.typing import NDArray
    from openai import AsyncStream

    from stateless_rag.protocols import LLMRequest, Vectors

__all__ = ["OpenAIEmbedder", "OpenAILLM"]

_MOST_TOKENS = 2**31 - 1  # what is more is no count of one call


class OpenAILLM:
    """A chat model. Implements the protocols `LLM` and `BatchLLM`.

    `api_key` is never read from the environment; servers that want none can do without. `extra_body` is sent
    with each request as it is. `max_tokens` bounds answers whose request sets no bound (it is sent as
    `max_completion_tokens` to OpenAI itself, as `max_tokens` to other servers). `http_client_factory` makes
    the `httpx2.AsyncClient` of each event loop, for proxies and certificates. `stream_usage=False` is for
    servers that refuse `stream_options`. `batch_requests` and `batch_bytes` bound the files of `batches`.

    Calls are neither retried nor timed here. `<think>…</think>` is removed from answers; `reasoning_content`
    is left alone. Errors: `ProviderRateLimited`, `ProviderUnavailable`, `ProviderTimeout`,
    `ProviderRejected`, `InvalidReply`.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        http_client_factory: Callable[[], httpx2.AsyncClient] | None = None,
        stream_usage: bool = True,
        batch_requests: int = 50_000,
        batch_bytes: int = 200_000_000,
    ) -> None:
        self._name = _checked_name(model)
        self._clients = LoopClients(
            api_key=api_key, base_url=base_url, headers=headers, http_client_factory=http_client_factory
        )
        self._extra_body = optional("extra_body", extra_body, json_object, error=InvalidInput) or {}
        self._temperature = optional("temperature", temperature, number)
        self._max_tokens = optional("max_tokens", max_tokens, whole, least=1)
        self._stream_usage = flag("stream_usage", stream_usage)
        self._batch_bounds = {
            "max_requests": whole("batch_requests", batch_requests, least=1),
            "max_bytes": whole("batch_bytes", batch_bytes, least=1),
        }
        self._model = _described(
            model, temperature=temperature, max_tokens=max_tokens, extra_body=_fingerprint(self._extra_body)
        )

    @property
    def model(self) -> str:
        """The model, and temperature, max_tokens and a digest of extra_body where they are set."""
        return self._model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""
        with mapped_errors(self._name, self._clients.server):
            raw = await self._clients.get().chat.completions.with_raw_response.create(
                **self._arguments(request)
            )
            content = raw.content
        return self._read(parse_body(content, self._name))

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        """Answer one request piece by piece. Closing the generator closes the connection."""
        arguments = self._arguments(request) | {"stream": True}
        if self._stream_usage:
            arguments["stream_options"] = {"include_usage": True}
        thoughts = ThinkFilter()
        finish: object = None
        usage: object = None
        with mapped_errors(self._name, self._clients.server):
            events = await self._clients.get().chat.completions.create(**arguments)
        try:
            while (event := await self._next_event(events, finished=finish is not None)) is not None:
                usage = event.get("usage") or usage
                choice = _first_choice(event)
                if choice is None:
                    continue
                finish = choice.get("finish_reason") or finish
                if text := thoughts.feed(_content(choice.get("delta"), self._name) or ""):
                    yield StreamPart(text=text)
        finally:
            await events.close()
        if finish is None:
            raise ProviderUnavailable(f"{self._name} broke off: the stream ended before the answer did")
        if finish == "content_filter":
            raise ProviderRejected(f"{self._name}: the answer was withheld by a content filter")
        if text := thoughts.finish():
            yield StreamPart(text=text)
        yield StreamPart(reply=_reply(thoughts.text, usage, truncated=finish == "length"))

    @property
    def batches(self) -> OpenAIBatches:
        """Where the model takes requests in files, for half the price."""
        return OpenAIBatches(self._name, self._clients, self._arguments, self._read, **self._batch_bounds)

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    def _read(self, body: Mapping[str, Any]) -> LLMReply:
        choice = _first_choice(body)
        if choice is None:
            raise InvalidReply(f"{self._name} answered without choices")
        text, finish = _content(choice.get("message"), self._name), choice.get("finish_reason")
        if finish == "content_filter":
            raise ProviderRejected(f"{self._name}: the answer was withheld by a content filter")
        if text is None and finish != "length":
            raise InvalidReply(f"{self._name} answered without content (finish_reason {_reason(finish)})")
        return _reply(remove_thinking(text or ""), body.get("usage"), truncated=finish == "length")

    async def _next_event(self, events: AsyncStream[Any], *, finished: bool) -> Mapping[str, Any] | None:
        try:
            with mapped_errors(self._name, self._clients.server):
                event = await anext(events)
        except StopAsyncIteration:
            return None
        except ProviderUnavailable:
            # The answer is whole; what was lost is the count of its tokens.
            if finished:
                return None
            raise
        except (ValueError, RecursionError) as exc:
            raise InvalidReply(f"{self._name} streamed an event that cannot be read as JSON") from exc
        if not hasattr(event, "to_dict"):
            raise InvalidReply(f"{self._name} streamed a JSON {type(event).__name__}, not an object")
        return _mapping(event.to_dict(mode="python", warnings=False))

    def _arguments(self, request: LLMRequest) -> dict[str, Any]:
        messages = [{"role": "system", "content": request.system}] if request.system else []
        messages.extend({"role": turn.role, "content": turn.content} for turn in request.history)
        messages.append({"role": "user", "content": request.prompt})
        arguments: dict[str, Any] = {"model": self._name, "messages": messages}
        if request.json:
            arguments["response_format"] = {"type": "json_object"}
        if self._temperature is not None:
            arguments["temperature"] = self._temperature
        bound = self._max_tokens if request.max_tokens is None else request.max_tokens
        if bound is not None:
            arguments["max_completion_tokens" if self._clients.is_default else "max_tokens"] = bound
        if self._extra_body:
            arguments["extra_body"] = self._extra_body
        return arguments


class OpenAIEmbedder(TextEmbedder):
    """An embedding model. Implements the protocol `Embedder`.

    `dimension` is what the model gives, or, with `send_dimensions`, what it is asked for; without it the
    dimension is known after the first call. Prefixes are put before texts of their role, for models that
    were trained with them. Connection settings and errors are those of `OpenAILLM`.
    """

    def __init__(
        self,
        model: str,
        *,
        dimension: int | None = None,
        send_dimensions: bool = False,
        max_tokens: int | None = 8191,
        max_batch: int = 128,
        max_batch_tokens: int | None = 200_000,
        query_prefix: str = "",
        document_prefix: str = "",
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        http_client_factory: Callable[[], httpx2.AsyncClient] | None = None,
    ) -> None:
        text("query_prefix", query_prefix)
        text("document_prefix", document_prefix)
        if flag("send_dimensions", send_dimensions) and dimension is None:
            raise InvalidInput("send_dimensions needs a dimension to ask for")
        self._name = _checked_name(model)
        self._clients = LoopClients(
            api_key=api_key, base_url=base_url, headers=headers, http_client_factory=http_client_factory
        )
        self._arguments: dict[str, Any] = {"model": model, "encoding_format": "base64"}
        if send_dimensions:
            self._arguments["dimensions"] = dimension
        if extra_body:
            self._arguments["extra_body"] = json_object("extra_body", extra_body, error=InvalidInput)
        described = _described(
            model,
            dimensions=dimension if send_dimensions else None,
            prefixes=_fingerprint([query_prefix, document_prefix] if query_prefix or document_prefix else []),
            extra_body=_fingerprint(dict(extra_body or {})),
        )
        super().__init__(
            described,
            dimension=dimension,
            max_tokens=max_tokens,
            max_batch=max_batch,
            max_batch_tokens=max_batch_tokens,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
        )

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order, with one request."""
        # The API refuses empty texts.
        inputs = [text or " " for text in self._prefixed(texts, role)]
        with mapped_errors(self._name, self._clients.server):
            embeddings = self._clients.get().embeddings
            raw = await embeddings.with_raw_response.create(input=inputs, **self._arguments)
            content = raw.content
        body = parse_body(content, self._name)
        vectors = _vectors(body.get("data"), len(texts), self._name)
        self._learn(vectors)
        return Embeddings(vectors=vectors, tokens=_count(body.get("usage"), "prompt_tokens", "total_tokens"))

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()


def _checked_name(model: str) -> str:
    return identifier("model", model)


def _described(model: str, **settings: object) -> str:
    return ";".join([model, *(f"{name}={value}" for name, value in settings.items() if value is not None)])


def _fingerprint(value: Any) -> str | None:
    """A digest of a JSON value, so that what is secret in it stays so; None for an empty one."""
    return digest(json.dumps(value, sort_keys=True, default=repr))[:12] if value else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = body.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _content(message: object, model: str) -> str | None:
    """The text of a message or of a streamed piece of one; some servers send it as a list of parts."""
    said = _mapping(message)
    content = said.get("content")
    if isinstance(content, list):
        parts = [_mapping(part).get("text") for part in content]
        content = "".join(part for part in parts if isinstance(part, str))
    if not content and said.get("refusal"):
        raise ProviderRejected(f"{model} refused to answer")
    if content is not None and not isinstance(content, str):
        raise InvalidReply(f"{model} answered with content of type {type(content).__name__}")
    return content


def _reason(finish: object) -> str:
    return repr(finish[:40]) if isinstance(finish, str) else "missing"


def _count(usage: object, *names: str) -> int | None:
    counts = (_mapping(usage).get(name) for name in names)
    return next((count for count in counts if type(count) is int and 0 <= count <= _MOST_TOKENS), None)


def _reply(text: str, usage: object, *, truncated: bool) -> LLMReply:
    return LLMReply(
        text=text,
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        truncated=truncated,
    )


def _vectors(rows: object, expected: int, model: str) -> Vectors:
    """The vectors by index, float32 of shape (expected, dimension)."""
    import numpy as np

    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidReply(f"{model} answered without a list of embeddings")
    if len(rows) != expected:
        raise InvalidReply(f"{model} gave {len(rows)} vectors for {expected} texts")
    if not rows:
        return np.zeros((0, 0), dtype=np.float32)
    places = [row.get("index", place) for place, row in enumerate(rows)]
    if not all(isinstance(place, int) for place in places) or set(places) != set(range(expected)):
        raise InvalidReply(f"{model} numbered its {expected} vectors with gaps or twice")
    vectors = [
        _vector(row.get("embedding"), model)
        for _, row in sorted(zip(places, rows, strict=True), key=lambda pair: int(pair[0]))
    ]
    if len({len(vector) for vector in vectors}) != 1 or not len(vectors[0]):
        raise InvalidReply(f"{model} gave vectors of different or no length")
    return np.stack(vectors)


def _vector(embedding: object, model: str) -> NDArray[np.float32]:
    import numpy as np

    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        vector = np.asarray(embedding, dtype=np.float32)
    except (TypeError, ValueError, OverflowError, binascii.Error) as exc:
        raise InvalidReply(f"{model} gave a vector that is neither base64 nor numbers") from exc
    if vector.ndim != 1:
        raise InvalidReply(f"{model} gave a vector of shape {vector.shape}")
    return vector
