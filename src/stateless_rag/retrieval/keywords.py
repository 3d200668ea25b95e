"""Keywords: what a question is about, from the caller, the LLM, or the built-in rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stateless_rag.calls import complete
from stateless_rag.errors import ProviderError
from stateless_rag.lenient_json import read_object
from stateless_rag.prompts import render
from stateless_rag.protocols import LLMRequest
from stateless_rag.providers.cooccurrence import builtin_keywords
from stateless_rag.text import clean_text
from stateless_rag.types import Keywords

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateless_rag.context import Context
    from stateless_rag.settings import QueryOptions

__all__ = ["keywords", "parse_keywords"]

_HIGH = "high_level_keywords"
_LOW = "low_level_keywords"
_SEPARATOR = re.compile("[\n,，、;；]")
_MOST = 32
_LENGTH = 256


async def keywords(
    context: Context, question: str, options: QueryOptions
) -> tuple[Keywords, tuple[str, ...]]:
    """The question's keywords, and notes on what fell back.

    Keywords given in the options are taken as they are. Without an LLM the built-in extractor reads the
    question; with one, the same happens if its reply is malformed, or if it fails and
    `options.on_provider_error` is "degrade" (else its ProviderError is raised). If the LLM finds nothing, the
    question itself is the low-level keyword.
    """
    if options.high_level_keywords or options.low_level_keywords:
        return Keywords(high_level=options.high_level_keywords, low_level=options.low_level_keywords), ()
    if context.llm_for("keywords") is None:
        return builtin_keywords(question), ()
    request = LLMRequest(
        prompt=render(
            context.prompts.keywords, language=context.settings.extraction.language, question=question
        ),
        json=True,
        purpose="keywords",
    )
    try:
        reply = await complete(context, request)
    except ProviderError as error:
        if options.on_provider_error == "raise":
            raise
        reason = f"{type(error).__name__}: {error}"
        return builtin_keywords(question), (f"keywords: built-in extractor ({reason})",)
    found = parse_keywords(reply.text)
    if found is None:
        return builtin_keywords(question), ("keywords: built-in extractor (the LLM's reply was malformed)",)
    return (found if found.high_level or found.low_level else Keywords(low_level=(question,))), ()


def parse_keywords(reply: str) -> Keywords | None:
    """The keywords in an LLM's reply, None if it has neither list.

    >>> parse_keywords('```json {"high_level_keywords": "peace, war", "low_level_keywords": [1805, "Austerlitz"]')
    Keywords(high_level=('peace', 'war'), low_level=('Austerlitz',))
    """
    value = read_object(reply, (_HIGH, _LOW)).value
    if value is None:
        return None
    return Keywords(high_level=_listed(value.get(_HIGH)), low_level=_listed(value.get(_LOW)))


def _listed(value: object) -> tuple[str, ...]:
    """Strings, trimmed, each once; a string in place of a list is split, other members are dropped."""
    if isinstance(value, str):
        members: Iterable[object] = _SEPARATOR.split(value)
    else:
        members = value if isinstance(value, list) else ()
    words = (clean_text(word).strip()[:_LENGTH] for word in members if isinstance(word, str))
    return tuple(dict.fromkeys(word for word in words if word))[:_MOST]
