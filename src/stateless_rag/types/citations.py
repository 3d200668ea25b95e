"""What an answer says that it rests on, checked against what it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Citation", "Quote", "Reference", "Unsupported"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a part of an answer rests on: a span of a document. `number` is how the answer cites it: [1]."""

    number: int
    document_id: str
    source: str | None
    chunk_id: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A place where an answer cites: `text` is the mark, like [1, 3], `at` its offset in `Answer.text`.

    `numbers` are the references it names, all of which there are.
    """

    text: str
    at: int
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Words that an answer quotes, found in a passage: `text` stands at offset `at` of `Answer.text`.

    `reference` has the span of these very words in the document. `exact` is whether they are the same character
    by character; otherwise they differ in white space, in the shape of quotation marks and dashes, in emphasis, in
    marks of references, in the case of the first letter, in a stop at the end, or leave something out ("…").
    """

    text: str
    at: int
    reference: Reference
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """What an answer names and the passages do not have.

    A "reference" is a number that there is not: it was taken out of the text, `at` is where it would stand. A
    "quote" stands in the text at offset `at`, but in none of the passages.
    """

    kind: Literal["reference", "quote"]
    text: str
    at: int
