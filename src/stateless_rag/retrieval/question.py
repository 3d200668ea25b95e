"""The check before the first step: a question and options that can be used, or an error that says why not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast, get_args

from stateless_rag.errors import InvalidInput
from stateless_rag.text import clean_text
from stateless_rag.types import Mode

if TYPE_CHECKING:
    from stateless_rag.settings import QueryOptions

__all__ = ["checked_question", "validate"]

_AT_LEAST = (
    ("top_k", 1),
    ("chunk_top_k", 1),
    ("max_entity_tokens", 0),
    ("max_relation_tokens", 0),
    ("max_total_tokens", 1),
    ("related_chunks", 0),
)
_ROLES = ("user", "assistant", "system")
_CHARACTERS_PER_TOKEN = 16  # no question has so many; an absurd text is refused without tokenising it


def validate(options: QueryOptions) -> None:
    """Raise InvalidInput, naming field and value, if the options cannot be used."""
    modes = get_args(Mode)
    if options.mode not in modes:
        raise InvalidInput(f"mode is {options.mode!r}; it must be one of {', '.join(modes)}")
    for name, least in _AT_LEAST:
        value = getattr(options, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InvalidInput(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if options.min_similarity is not None and not -1.0 <= options.min_similarity <= 1.0:
        raise InvalidInput(f"min_similarity is {options.min_similarity!r}; a cosine lies between -1 and 1")
    if options.on_provider_error not in ("raise", "degrade"):
        raise InvalidInput(
            f"on_provider_error is {options.on_provider_error!r}; it must be 'raise' or 'degrade'"
        )
    if options.deadline is not None and not (math.isfinite(options.deadline) and options.deadline > 0):
        raise InvalidInput(f"deadline is {options.deadline!r}; it must be a positive number of seconds")
    for turn in cast("tuple[tuple[Any, ...], ...]", options.history):
        if len(turn) != 2 or turn[0] not in _ROLES or not isinstance(turn[1], str):
            raise InvalidInput(
                f"history has {turn!r}; each turn must be (role, text), the role one of {', '.join(_ROLES)}"
            )
    for name in ("high_level_keywords", "low_level_keywords"):
        words = getattr(options, name)
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise InvalidInput(f"{name} is {words!r}; it must be a tuple of strings")


def checked_question(question: str, options: QueryOptions) -> str:
    """The question without control characters and surrounding space; InvalidInput if none can be answered."""
    if not isinstance(question, str):
        raise InvalidInput(f"the question is a {type(question).__name__}; it must be a string")
    if len(question) > options.max_total_tokens * _CHARACTERS_PER_TOKEN:
        raise InvalidInput(
            f"the question has {len(question):,} characters; max_total_tokens is {options.max_total_tokens:,}"
            " for question, context and instructions together"
        )
    question = clean_text(question).strip()
    if not question:
        raise InvalidInput("the question is blank; ask for something")
    if options.mode != "bypass" and not any(character.isalnum() for character in question):
        raise InvalidInput(f"the question {question!r:.40} has no letter or number in it to look up")
    return question
