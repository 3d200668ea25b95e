"""The check before the first step: a question that can be answered, or an error that says why not."""

from __future__ import annotations

from stateless_rag.checks import instance, text
from stateless_rag.errors import InvalidInput
from stateless_rag.settings import QueryOptions

__all__ = ["checked_question"]

_CHARACTERS_PER_TOKEN = 16  # no question has so many; an absurd text is refused without tokenising it


def checked_question(question: str, options: QueryOptions) -> str:
    """The question without control characters and surrounding space; InvalidInput if none can be answered."""
    instance("options", options, kind=QueryOptions)
    question = text("question", question).strip()
    if len(question) > options.max_total_tokens * _CHARACTERS_PER_TOKEN:
        raise InvalidInput(
            f"the question has {len(question):,} characters; max_total_tokens is {options.max_total_tokens:,}"
            " for question, context and instructions together"
        )
    if not question:
        raise InvalidInput("the question is blank; ask for something")
    if options.mode != "bypass" and not any(character.isalnum() for character in question):
        raise InvalidInput(f"the question {question!r:.40} has no letter or number in it to look up")
    return question
