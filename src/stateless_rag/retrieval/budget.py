"""The token budget: how much of what was found goes into the context.

`max_total_tokens` bounds system prompt, context and question together (not the history). Ranked lists are cut
to prefixes: what does not fit ends its list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.errors import InvalidInput
from stateless_rag.retrieval.render import listing, passage_frame

if TYPE_CHECKING:
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Passage

__all__ = ["RESERVE", "fit_lines", "fit_passages", "graph_budgets", "line_tokens", "room"]

Item = TypeVar("Item")
Count = Callable[[str], int]

RESERVE = 200
"""Tokens left free for what a provider adds around the messages."""

_JOINS = 2  # tokens may be cut differently where a passage meets its frame


def room(prompt: str, question: str, options: QueryOptions, count: Count) -> int:
    """Tokens left for the context beside the prompt (with an empty context) and the question.

    Raises InvalidInput if there are none.
    """
    instructions, asked = count(prompt), count(question)
    left = options.max_total_tokens - instructions - asked - RESERVE
    if left < 0:
        raise InvalidInput(
            f"max_total_tokens is {options.max_total_tokens:,}, but the question has {asked:,} tokens, the "
            f"instructions have {instructions:,} and {RESERVE} are kept free: shorten the question, or allow "
            f"at least {instructions + asked + RESERVE:,} tokens and room for what is found"
        )
    return left


def graph_budgets(left: int, options: QueryOptions) -> tuple[int, int]:
    """Tokens for entities and for relations.

    Where both budgets together would take more than half of the room that is left, they shrink in proportion:
    passages always get their half.
    """
    wanted = options.max_entity_tokens + options.max_relation_tokens
    if wanted <= left // 2:
        return options.max_entity_tokens, options.max_relation_tokens
    share = left // 2
    return options.max_entity_tokens * share // wanted, options.max_relation_tokens * share // wanted


def line_tokens(line: str, count: Count) -> int:
    """The tokens of a line of the context with its line feed."""
    return count(f"{line}\n")


def fit_lines(
    items: Iterable[Item],
    line: Callable[[Item], str],
    budget: int,
    count: Count,
    known: Callable[[Item], int] = lambda _: 0,
) -> tuple[list[str], int]:
    """The rendered lines of the longest prefix of the items that fits the budget, and their tokens.

    `known` tells the tokens of an item's line if they were counted before, else 0.
    """
    kept: list[str] = []
    used = 0
    for item in items:
        text = line(item)
        cost = known(item) or line_tokens(text, count)
        if used + cost > budget:
            break
        kept.append(text)
        used += cost
    return kept, used


def fit_passages(passages: Sequence[Passage], top_k: int, budget: int, count: Count) -> list[Passage]:
    """The longest prefix of at most `top_k` whole passages that fits the budget.

    A passage costs its stored tokens and its frame, the first of a document also its line in the references.
    """
    frames = []
    numbers: dict[str, int] = {}
    for passage in passages[:top_k]:
        listed = len(numbers)
        number = numbers.setdefault(passage.document_id, listed + 1)
        frame = "".join(passage_frame(number, passage.text))
        if number > listed:
            frame += f"{listing(number, passage.source or passage.document_id)}\n"
        frames.append(frame)
    least = budget - sum(passage.tokens + _JOINS for passage in passages[:top_k])
    if sum(len(frame.encode("utf-8", "surrogatepass")) for frame in frames) <= least:
        return list(passages[:top_k])  # a token is at least one byte: nothing has to be counted
    kept: list[Passage] = []
    for passage, frame in zip(passages, frames, strict=False):
        budget -= passage.tokens + count(frame) + _JOINS
        if budget < 0:
            break
        kept.append(passage)
    return kept
