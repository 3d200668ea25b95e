"""BM25 over a corpus in memory, as the textbook has it: the yardstick for search by words.

Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with the idf of Lucene, which is never
negative.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["BM25", "words_of"]

_K1, _B = 1.2, 0.75
# Scripts that are written without spaces: runs of them are read as pairs of neighbouring characters.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_RUN = re.compile(rf"[{_UNSPACED}]")


def words_of(text: str) -> list[str]:
    """The words of a text, case folded; of scripts without spaces, pairs of characters.

    >>> words_of("Ada's 图灵机")
    ['ada', 's', '图灵', '灵机']
    """
    found: list[str] = []
    for run in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if len(run) > 1 and _RUN.match(run):
            found += (one + other for one, other in pairwise(run))
        else:
            found.append(run)
    return found


class BM25:
    """Ranks texts by the words that they share with a question."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [Counter(words_of(text)) for text in texts]
        lengths = [count.total() for count in counted]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, count in enumerate(counted):
            norm = _K1 * (1 - _B + _B * lengths[place] / mean)
            for word, times in count.items():
                self._postings[word].append((place, times * (_K1 + 1) / (times + norm)))
        self._size = len(texts)

    def search(self, question: str, top_k: int) -> list[tuple[int, float]]:
        """The places of the best texts with their scores, best first, ties by place."""
        found: dict[int, float] = defaultdict(float)
        for word in words_of(question):
            postings = self._postings.get(word, ())
            idf = math.log(1 + (self._size - len(postings) + 0.5) / (len(postings) + 0.5))
            for place, weight in postings:
                found[place] += idf * weight
        return sorted(found.items(), key=lambda hit: (-hit[1], hit[0]))[:top_k]
