"""Tokens of texts and calls, counted without keeping the event loop from its other work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.protocols import LineCounter
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import LLMReply, LLMRequest, Tokenizer

__all__ = ["count_lines", "count_tokens", "count_usage", "counting"]

Result = TypeVar("Result")
_INLINE_CHARACTERS = 4_000  # about 0.2 ms; a thread costs half of that, and longer under load


async def counting(tokenizer: Tokenizer, texts: Sequence[str], function: Callable[[], Result]) -> Result:
    """Run a function that may count the tokens of the texts, or of parts of them.

    At once if they are short, in a thread if they are long or the tokenizer is still to be built.
    """
    if sum(map(len, texts)) <= _INLINE_CHARACTERS and _is_ready(tokenizer, texts):
        return function()
    return await asyncio.to_thread(function)


def _is_ready(tokenizer: Tokenizer, texts: Sequence[str]) -> bool:
    ready = getattr(tokenizer, "is_ready", None)
    return bool(getattr(tokenizer, "built", True) if ready is None else ready(texts))


async def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text; as `counting`."""
    return await counting(tokenizer, texts, lambda: [tokenizer.count(text) for text in texts])


def count_lines(tokenizer: Tokenizer, lines: Sequence[str]) -> Sequence[int]:
    """The tokens of each line of a context, with its line feed."""
    if isinstance(tokenizer, LineCounter):
        return tokenizer.count_lines(lines)
    return [tokenizer.count(f"{line}\n") for line in lines]


async def count_usage(context: Context, request: LLMRequest, reply: LLMReply) -> Usage:
    """What a reply cost; the tokenizer counts where the provider does not, as `counting` says."""
    count = context.tokenizer.count
    prompt, completion = reply.prompt_tokens, reply.completion_tokens
    if prompt is not None and completion is not None:
        return Usage(1, prompt, completion)

    def counted() -> Usage:
        asked = sum(count(text) for text in _asked(request) if text) if prompt is None else prompt
        return Usage(1, asked, count(reply.text) if completion is None else completion)

    return await counting(context.tokenizer, [*_asked(request), reply.text], counted)


def _asked(request: LLMRequest) -> list[str]:
    return [request.system or "", *(message.content for message in request.history), request.prompt]
