"""The texts: passages of Wikipedia from beside the project, and generated ones of a known shape."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

__all__ = ["Passage", "Question", "passages", "questions"]

_SHARED = Path(__file__).parents[2] / "shared"
_WIDE = 10
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "za")


@dataclass(frozen=True, slots=True)
class Passage:
    """A document of the corpus."""

    id: str
    title: str
    text: str
    metadata: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its keywords, so that no LLM is asked for them."""

    text: str
    low: tuple[str, ...]
    high: tuple[str, ...]


def passages(corpus: str, size: int) -> list[Passage]:
    """The first `size` passages.

    "2wiki": the corpus of 2WikiMultihopQA. "wide": ten new entities in each, linked to each other and to an
    older one. "hub": each mentions one hub and something of its own. The metadata's `tenth` goes from 0 to 9.
    """
    make = {"2wiki": _wiki, "wide": _wide, "hub": _hub}[corpus]
    found = make(size)
    if len(found) < size:
        raise ValueError(f"the corpus {corpus!r} has {len(found):,} passages, not {size:,}")
    return found


def questions(corpus: str, size: int, count: int) -> list[Question]:
    """`count` questions about passages spread evenly over the first `size`."""
    chosen = passages(corpus, size)[:: max(1, size // count)][:count]
    return [
        Question(
            f"What is known about {passage.title}?",
            (passage.title,),
            (" ".join(passage.text.split("\n")[-1].split()[:8]),),
        )
        for passage in chosen
    ]


def _wiki(size: int) -> list[Passage]:
    shared = Path(os.environ.get("STATELESS_RAG_SHARED", _SHARED))
    read = json.loads((shared / "data" / "texts" / "2wiki_passages.json").read_text(encoding="utf-8"))
    return [
        _passage(number, passage["title"], f"{passage['title']}\n{passage['text']}")
        for number, passage in enumerate(read[:size])
    ]


def _wide(size: int) -> list[Passage]:
    found = []
    for number in range(size):
        names = [_name(number * _WIDE + place) for place in range(_WIDE)]
        names.append(_name(number * 7919 % max(1, number * _WIDE)))
        told = " ".join(f"{one} once met {other}." for one, other in pairwise(names))
        found.append(_passage(number, names[0], told))
    return found


def _hub(size: int) -> list[Passage]:
    return [
        _passage(number, _name(number), f"Omega Central sent goods of kind {number} to {_name(number)}.")
        for number in range(size)
    ]


def _passage(number: int, title: str, text: str) -> Passage:
    return Passage(f"p{number:06}", title, text, {"tenth": number % 10})


def _name(number: int) -> str:
    """A name of two words for a number, another for each.

    >>> _name(0), _name(1)
    ('Bababa Bababa', 'Bacelimo')
    """
    halves = divmod(number * 40_503 % (1 << 20), 1 << 10)
    return " ".join(_word(half) for half in halves)


def _word(number: int) -> str:
    return "".join(_SYLLABLES[number >> shift & 15] for shift in (8, 4, 0)).capitalize()
