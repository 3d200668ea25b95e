"""The LLM and the embedder that both arms call: they follow rules, and what they are asked is counted."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.meter import Tally
from stateless_rag.protocols import LLMRequest
from stateless_rag.providers.within import EmbedderAround
from stateless_rag.testing.deterministic import DeterministicEmbedder, DeterministicLLM, purpose_of, tokens_of
from stateless_rag.types import Message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from stateless_rag.protocols import LLM, Embedder, Embeddings, LLMReply, StreamPart

__all__ = [
    "DIMENSION",
    "MAX_BATCH",
    "CountedEmbedder",
    "CountedLLM",
    "Providers",
    "RuledLLM",
    "complete_with",
    "embed_with",
    "providers",
]

DIMENSION = 384
MAX_BATCH = 128
_FENCED = re.compile(r"^(`{3,})\w*\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


class RuledLLM:
    """Answers after `latency` seconds, whichever engine's prompt it is. Implements the protocol `LLM`.

    The text to extract from is what the last fence in the prompt holds; the `rules` are those of
    `DeterministicLLM` unless others are given, so both engines get the same records of the same text.
    """

    def __init__(self, latency: float = 0.0, rules: LLM | None = None) -> None:
        self._latency = latency
        self._rules: LLM = DeterministicLLM() if rules is None else rules

    @property
    def model(self) -> str:
        """Names the rules."""
        return self._rules.model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""
        if self._latency:
            await asyncio.sleep(self._latency)
        if purpose_of(request) != "extract":
            return await self._rules.complete(request)
        asked = tokens_of(request.system or "") + tokens_of(request.prompt)
        fences = _FENCED.findall(request.prompt)
        narrowed = replace(request, prompt=f"```text\n{fences[-1][1]}\n```") if fences else request
        return replace(await self._rules.complete(narrowed), prompt_tokens=asked)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        """Answer one request word by word."""
        async for part in self._rules.stream(request):
            yield part


class CountedLLM:
    """An LLM whose calls are counted. Four characters count as a token."""

    def __init__(self, llm: LLM, tally: Tally) -> None:
        self._llm = llm
        self._tally = tally

    @property
    def model(self) -> str:
        """Of the LLM that is counted."""
        return self._llm.model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""
        self._tally.llm_calls += 1
        asked = [request.system or "", *(turn.content for turn in request.history), request.prompt]
        self._tally.tokens_in += sum(map(tokens_of, asked))
        with self._tally.call():
            reply = await self._llm.complete(request)
        self._tally.tokens_out += tokens_of(reply.text)
        return reply

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        """Answer one request piece by piece."""
        self._tally.llm_calls += 1
        async for part in self._llm.stream(request):
            yield part


class CountedEmbedder(EmbedderAround):
    """An embedder whose calls are counted."""

    def __init__(self, embedder: Embedder, tally: Tally) -> None:
        super().__init__(embedder)
        self._tally = tally

    @property
    def max_batch(self) -> int:
        """The same for both arms and both transports."""
        return MAX_BATCH

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order."""
        self._tally.embed_calls += 1
        self._tally.embed_texts += len(texts)
        with self._tally.call():
            return await super().embed(texts, role=role)


@dataclass(frozen=True, slots=True)
class Providers:
    """What an arm calls, and the count of it."""

    llm: CountedLLM
    embedder: CountedEmbedder
    tally: Tally


@asynccontextmanager
async def providers(base_url: str | None, latency: float) -> AsyncIterator[Providers]:
    """Providers in this process, or behind the fake server at `base_url`."""
    tally = Tally()
    if base_url is None:
        yield Providers(
            CountedLLM(RuledLLM(latency), tally),
            CountedEmbedder(DeterministicEmbedder(DIMENSION), tally),
            tally,
        )
        return
    from stateless_rag.providers.openai import OpenAIEmbedder, OpenAILLM

    llm = OpenAILLM("fake", api_key="none", base_url=base_url)
    embedder = OpenAIEmbedder("fake", api_key="none", base_url=base_url, dimension=DIMENSION)
    try:
        yield Providers(CountedLLM(llm, tally), CountedEmbedder(embedder, tally), tally)
    finally:
        await llm.close()
        await embedder.close()


# ---- as functions --------------------------------------------------------------------------------------


def complete_with(llm: LLM, slots: asyncio.Semaphore | None = None) -> Callable[..., Awaitable[str]]:
    """The LLM as a function that LightRAG calls, at most as often at once as there are slots.

    The baseline copies what it is given, and an object whose method it is cannot be copied.
    """
    slot: AbstractAsyncContextManager[Any] = nullcontext() if slots is None else slots

    async def complete(
        prompt: str,
        system_prompt: str | None = None,
        history_messages: Sequence[Mapping[str, str]] | None = None,
        response_format: object = None,
        **_: Any,
    ) -> str:
        history = tuple(Message(turn["role"], turn["content"]) for turn in history_messages or ())
        request = LLMRequest(
            prompt=prompt, system=system_prompt, history=history, json=response_format is not None
        )
        async with slot:
            return (await llm.complete(request)).text

    return complete


def embed_with(embedder: Embedder) -> Callable[..., Awaitable[Any]]:
    """The embedder as a function that LightRAG calls."""

    async def embed(texts: list[str], **_: Any) -> Any:
        return (await embedder.embed(texts, role="document")).vectors

    return embed
