"""What an LLM said, looked at before it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import LLMReply, StreamPart
from stateless_rag.text import clean_text

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import LLM, LLMRequest

__all__ = ["checked_part", "checked_reply", "empty_reply", "is_empty", "required_llm"]


def required_llm(context: Context, request: LLMRequest) -> LLM:
    """The context's LLM for the request's purpose. Raises `InvalidInput` if it has none."""
    llm = context.llm_for(request.purpose)
    if llm is None:
        raise InvalidInput(f"The context has no LLM, which the step {request.purpose!r} needs; give it one.")
    return llm


def checked_reply(model: str, reply: Any) -> LLMReply:
    """A reply that the journal can carry: an escape cut in half in the provider's JSON is a lone surrogate."""
    if not isinstance(reply, LLMReply) or not isinstance(reply.text, str):
        raise InvalidReply(f"{model} answered with {reply!r:.80}, which is no LLMReply with a text.")
    text = clean_text(reply.text)
    return reply if text is reply.text else replace(reply, text=text)


def checked_part(model: str, part: Any) -> StreamPart:
    """A part of a stream, as `checked_reply` gives a reply."""
    if not isinstance(part, StreamPart) or not isinstance(part.text, str):
        raise InvalidReply(f"{model} streamed {part!r:.80}, which is no StreamPart with a text.")
    text = clean_text(part.text)
    reply = None if part.reply is None else checked_reply(model, part.reply)
    return part if text is part.text and reply is part.reply else StreamPart(text=text, reply=reply)


def is_empty(reply: LLMReply) -> bool:
    """Whether nothing was said, and not because a token limit cut it off."""
    return not reply.text.strip() and not reply.truncated


def empty_reply(model: str) -> InvalidReply:
    """The error for a reply that is empty."""
    return InvalidReply(f"{model} answered with an empty text.")
