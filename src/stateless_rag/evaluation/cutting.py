"""How a dataset's documents become passages: whole, but for those that are too long to be one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.chunking.content import content_spans
from stateless_rag.settings import ChunkSettings

if TYPE_CHECKING:
    from stateless_rag.evaluation.dataset import Dataset
    from stateless_rag.protocols import Tokenizer

__all__ = ["LONGEST", "Cut", "cut_for"]

LONGEST = 1200
"""Tokens of the longest document that stays one chunk; it is what an engine allows unless told otherwise."""

_WHOLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk function: spans of a text, one if it is at most `LONGEST` tokens long, else of `limit` tokens each.

    One vector cannot tell of a whole book, and a model reads its first page only.
    """

    tokenizer: Tokenizer
    limit: int

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Start and stop of each chunk."""
        if self.tokenizer.count(text) <= LONGEST:
            return [(0, len(text))]
        return content_spans(text, self.tokenizer, self.limit)


def cut_for(dataset: Dataset, tokenizer: Tokenizer, read: int | None) -> ChunkSettings:
    """Settings under which a dataset's documents are cut, for an embedder that reads so many tokens of a text.

    Where extractions were recorded every passage stays whole, as they were made of whole passages.
    """
    long = (item for item in dataset.corpus if len(item.passage) > LONGEST)
    if dataset.openie is not None or not any(tokenizer.count(item.passage) > LONGEST for item in long):
        return ChunkSettings(max_tokens=_WHOLE)
    return ChunkSettings(max_tokens=_WHOLE, function=Cut(tokenizer, min(LONGEST, read or LONGEST)))
