"""Summarize: one description for a key from the texts of its mentions.

Short lists are joined. Longer ones are summarised by the LLM, in groups that fit its input, until one text is
left. The texts were chosen by hash (see `merge`), so the input, and with it the journaled reply, depends on
the set of mentions alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from stateless_rag.calls import complete
from stateless_rag.checks import texts as checked
from stateless_rag.counting import counting
from stateless_rag.prompts import render
from stateless_rag.protocols import LLMRequest
from stateless_rag.text import clean_text

if TYPE_CHECKING:
    from stateless_rag.context import Context

__all__ = ["joined", "summarize"]


def joined(context: Context, texts: Sequence[str]) -> str | None:
    """The texts joined by line feeds, longest first; None if there is so much that it must be summarised.

    Without an LLM they are always joined, and cut to the length a summary may have.
    """
    settings = context.settings.merging
    text = "\n".join(_in_order(texts))
    if len(texts) <= 1:
        return text
    few = len(texts) < settings.summarize_from
    # A token is at least one byte, mostly three or more: only long texts need to be counted.
    if few and (len(text.encode()) < settings.summary_max_tokens or _fits(context, text)):
        return text
    if context.llm_for("summarize") is None:
        offsets = context.tokenizer.offsets(text)
        limit = settings.summary_max_tokens
        return text if len(offsets) <= limit else text[: offsets[limit]].rstrip()
    return None


async def summarize(context: Context, subject: str, texts: Sequence[str]) -> str:
    """One description of `subject` (an entity's name, or `(source, target)`) from its texts.

    Raises ProviderError if the LLM fails.
    """
    text = await _joined_aside(context, checked("texts", texts))
    if text is not None:
        return text
    rest = _in_order(texts)
    while len(rest) > 1:
        rest = [
            group[0] if len(group) == 1 else await _summary(context, subject, group)
            for group in await _groups_aside(context, rest)
        ]
        if len(rest) > 1 and (short := await _joined_aside(context, rest)) is not None:
            return short
    return rest[0]


async def _joined_aside(context: Context, texts: Sequence[str]) -> str | None:
    many = len(texts) >= context.settings.merging.summarize_from and context.llm_for("summarize") is not None
    if len(texts) <= 1 or many:  # nothing is counted
        return joined(context, texts)
    return await counting(context.tokenizer, texts, partial(joined, context, texts))


def _in_order(texts: Sequence[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-len(text), text))


def _fits(context: Context, text: str) -> bool:
    return context.tokenizer.count(text) < context.settings.merging.summary_max_tokens


async def _groups_aside(context: Context, texts: Sequence[str]) -> list[list[str]]:
    if _surely_within(texts, context.settings.merging.summary_context_tokens):
        return [list(texts)]
    return await counting(context.tokenizer, texts, partial(_groups, context, texts))


def _surely_within(texts: Sequence[str], tokens: int) -> bool:
    """Whether the texts have no more than so many tokens together, without counting: a token is at least a byte."""
    return sum(len(text.encode()) for text in texts) <= tokens


def _groups(context: Context, texts: Sequence[str]) -> list[list[str]]:
    """Consecutive groups of at most `summary_context_tokens`, of two texts at least (but for a last one)."""
    limit = context.settings.merging.summary_context_tokens
    groups: list[list[str]] = [[]]
    used = 0
    for text in texts:
        tokens = context.tokenizer.count(text)
        if len(groups[-1]) >= 2 and used + tokens > limit:
            groups.append([])
            used = 0
        groups[-1].append(text)
        used += tokens
    return groups


async def _summary(context: Context, subject: str, texts: Sequence[str]) -> str:
    settings = context.settings
    cut = texts
    if not _surely_within(texts, settings.merging.summary_context_tokens // 2):
        cut = await counting(context.tokenizer, texts, lambda: [_cut(context, text) for text in texts])
    prompt = render(
        context.prompts.summarize,
        name=subject,
        language=settings.extraction.language,
        summary_length=str(settings.merging.summary_length),
        descriptions="\n".join(json.dumps({"Description": text}, ensure_ascii=False) for text in cut),
    )
    reply = await complete(context, LLMRequest(prompt=prompt, purpose="summarize"))
    return clean_text(reply.text).strip() or "\n".join(texts)


def _cut(context: Context, text: str) -> str:
    """At most half of what one summary may read, so that two texts always fit."""
    limit = context.settings.merging.summary_context_tokens // 2
    if len(text.encode()) <= limit:
        return text
    offsets = context.tokenizer.offsets(text)
    return text if len(offsets) <= limit else text[: offsets[limit]]
