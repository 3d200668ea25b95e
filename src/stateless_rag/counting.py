"""Tokens of texts and calls, counted without keeping the event loop from its other work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stateless_rag.protocols import LineCounter
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import LLMReply, LLMRequest, Tokenizer

__all__ = ["count_lines", "count_tokens", "count_usage", "usage_of"]

_INLINE_CHARACTERS = 4_000  # about 0.2 ms; a thread costs half of that, and longer under load


async def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text; long texts are counted in a thread, short ones at once."""
    if sum(map(len, texts)) <= _INLINE_CHARACTERS:
        return [tokenizer.count(text) for text in texts]
    return await asyncio.to_thread(lambda: [tokenizer.count(text) for text in texts])


def count_lines(tokenizer: Tokenizer, lines: Sequence[str]) -> Sequence[int]:
    """The tokens of each line of a context, with its line feed."""
    if isinstance(tokenizer, LineCounter):
        return tokenizer.count_lines(lines)
    return [tokenizer.count(f"{line}\n") for line in lines]


async def count_usage(context: Context, request: LLMRequest, reply: LLMReply) -> Usage:
    """What a reply cost, as `usage_of` tells it; long texts are counted in a thread."""
    counted = reply.prompt_tokens is not None and reply.completion_tokens is not None
    if counted or sum(map(len, (*_asked(request), reply.text))) <= _INLINE_CHARACTERS:
        return usage_of(context, request, reply)
    return await asyncio.to_thread(usage_of, context, request, reply)


def usage_of(context: Context, request: LLMRequest, reply: LLMReply) -> Usage:
    """What a reply cost; the tokenizer counts where the provider does not."""
    count = context.tokenizer.count
    prompt, completion = reply.prompt_tokens, reply.completion_tokens
    if prompt is None:
        prompt = sum(count(text) for text in _asked(request) if text)
    return Usage(1, prompt, count(reply.text) if completion is None else completion)


def _asked(request: LLMRequest) -> list[str]:
    return [request.system or "", *(message.content for message in request.history), request.prompt]
