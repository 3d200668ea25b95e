"""Search by words: BM25 over chunks in memory, kept in segments so that a commit costs what it changes.

Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with Lucene's idf, which is never negative.
Scores follow from the chunks that are there alone, however they are spread over segments.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.protocols import Hit
from stateless_rag.providers.stopwords import FUNCTION_WORDS
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.text import plain_letters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from stateless_rag.stores.ids import Ids

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

__all__ = ["WordIndex", "question_words", "words_of"]

_K1, _B = 1.2, 0.75
# Scripts that are written without spaces, and Hangul: runs of them are read as pairs of neighbouring characters.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Vowels and accents that a script writes as marks belong to their word.
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8"
    "\u0900-\u0963\u0971-\u0df3"
)
_LETTERS = rf"[^\W_{_UNSPACED}]"
_WORD = re.compile(rf"[{_UNSPACED}]+|{_LETTERS}+(?:[{_MARKS}]+{_LETTERS}*)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_RUN = re.compile(rf"[{_UNSPACED}]")


def words_of(text: str) -> list[str]:
    """The words of a text, case folded and without accents; of scripts without spaces, pairs of characters.

    >>> words_of("Ada's café 图灵机")
    ['ada', 's', 'cafe', '图灵', '灵机']
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    folded = plain_letters(unicodedata.normalize("NFKC", text).casefold())
    runs: list[str] = _WORD.findall(folded)
    if _RUN.search(folded) is None:
        return runs
    found: list[str] = []
    for run in runs:
        if len(run) > 1 and _RUN.match(run):
            found += (one + other for one, other in pairwise(run))
        else:
            found.append(run)
    return found


def question_words(text: str) -> list[str]:
    """The words to look for, each once, in code point order: without function words, unless there are no others.

    >>> question_words("Who was the father of the king?")
    ['father', 'king']
    """
    words = set(words_of(text))
    return sorted({word for word in words if word not in FUNCTION_WORDS} or words)


@dataclass(frozen=True, slots=True, eq=False)
class _Segment:
    """Chunk `ids[i]`, ascending, has `lengths[i]` words; the word in row `j` of `words` is in the chunks
    `places[bounds[j]:bounds[j + 1]]`, `counts` times.
    """

    ids: Ids
    lengths: Floats
    alive: Flags
    words: Mapping[str, int]
    bounds: Ids
    places: NDArray[np.int32]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, texts: Mapping[int, str]) -> _Segment:
        """A segment of texts by id."""
        ids = np.sort(id_array(texts))
        words: defaultdict[str, int] = defaultdict()
        words.default_factory = words.__len__
        spans: list[int] = []
        rows: list[int] = []
        for id_ in ids.tolist():
            said = words_of(texts[id_])
            rows += map(words.__getitem__, said)
            spans.append(len(said))
        places = np.repeat(np.arange(len(ids)), spans)
        # Each pair of a word and a chunk once, with how often it is there.
        size = max(1, len(ids))
        pairs, counts = np.unique(id_array(rows) * size + places, return_counts=True)
        numbers, places = np.divmod(pairs, size)
        return cls._arranged(
            ids,
            np.array(spans, np.float64),
            dict(words),
            numbers,
            places.astype(np.int32),
            counts.astype(np.int32),
        )

    @classmethod
    def _arranged(
        cls,
        ids: Ids,
        lengths: Floats,
        words: Mapping[str, int],
        rows: Ids,
        places: NDArray[np.int32],
        counts: NDArray[np.int32],
    ) -> _Segment:
        order = np.lexsort((places, rows))  # `coverage` looks chunks up among the places of a word
        bounds = np.searchsorted(rows[order], np.arange(len(words) + 1))
        alive = np.ones(len(ids), dtype=np.bool_)
        return cls(ids, lengths, alive, words, bounds, places[order], counts[order])

    @property
    def nbytes(self) -> int:
        arrays = (self.ids, self.lengths, self.alive, self.bounds, self.places, self.counts)
        return sum(array.nbytes for array in arrays) + 120 * len(self.words)

    def without(self, ids: Ids) -> _Segment:
        """The segment after some chunks, known or not, are gone."""
        at = lookup(self.ids, ids)
        if not (at >= 0).any():
            return self
        alive = self.alive.copy()
        alive[at[at >= 0]] = False
        return _Segment(self.ids, self.lengths, alive, self.words, self.bounds, self.places, self.counts)

    def merged(self, other: _Segment) -> _Segment:
        """One segment of what is alive in two; nothing is read again."""
        words = dict(self.words)
        own = np.repeat(np.arange(len(self.words)), np.diff(self.bounds))
        renamed = id_array(words.setdefault(word, len(words)) for word in other.words)
        theirs = renamed[np.repeat(np.arange(len(other.words)), np.diff(other.bounds))]
        ids = np.concatenate([self.ids, other.ids])
        alive = np.concatenate([self.alive, other.alive])
        order = np.argsort(ids, kind="stable")
        order = order[alive[order]]
        to = np.full(len(ids), -1, dtype=np.int32)
        to[order] = np.arange(len(order), dtype=np.int32)
        places = to[np.concatenate([self.places, other.places + np.int32(len(self.ids))])]
        kept = places >= 0
        return _Segment._arranged(
            ids[order],
            np.concatenate([self.lengths, other.lengths])[order],
            words,
            np.concatenate([own, theirs])[kept],
            places[kept],
            np.concatenate([self.counts, other.counts])[kept],
        )

    def postings(self, word: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        row = self.words.get(word)
        span = slice(0, 0) if row is None else slice(int(self.bounds[row]), int(self.bounds[row + 1]))
        return self.places[span], self.counts[span]


@dataclass(frozen=True, slots=True, eq=False)
class WordIndex:
    """The words of the chunks of one revision. Never changes; any thread may search it."""

    _segments: tuple[_Segment, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory; those of words are estimated."""
        return sum(segment.nbytes for segment in self._segments)

    def equals(self, other: WordIndex) -> bool:
        """Whether both hold the same chunks with the same words, however these came in."""
        return self._contents() == other._contents()

    def _contents(self) -> dict[int, tuple[float, tuple[tuple[str, int], ...]]]:
        """For each chunk its length, and its words with how often each occurs."""
        found: dict[int, tuple[float, tuple[tuple[str, int], ...]]] = {}
        for segment in self._segments:
            words = np.array(list(segment.words), dtype=object)
            which = np.repeat(np.arange(len(words)), np.diff(segment.bounds))
            order = np.argsort(segment.places, kind="stable")
            bounds = np.searchsorted(segment.places[order], np.arange(len(segment.ids) + 1))
            spelt, counts = words[which[order]], segment.counts[order].tolist()
            for place in np.flatnonzero(segment.alive).tolist():
                span = slice(int(bounds[place]), int(bounds[place + 1]))
                said = tuple(sorted(zip(spelt[span], counts[span], strict=True)))
                found[int(segment.ids[place])] = (float(segment.lengths[place]), said)
        return found

    def ids(self) -> Ids:
        """The ids of all chunks, ascending."""
        found = [segment.ids[segment.alive] for segment in self._segments]
        return np.sort(np.concatenate(found)) if found else id_array(())

    def apply(self, added: Mapping[int, str], removed: Ids) -> WordIndex:
        """The index after chunks went, and texts came by the ids of their chunks.

        Segments of a like size are merged, so there are never more than a few.
        """
        segments = (
            [segment.without(removed) for segment in self._segments] if len(removed) else [*self._segments]
        )
        if added:
            segments.append(_Segment.of(added))
        while len(segments) > 1 and len(segments[-2].ids) <= 2 * len(segments[-1].ids):
            last = segments.pop()
            segments[-1] = segments[-1].merged(last)
        return WordIndex(tuple(segments))

    def search(self, text: str, top_k: int, allowed: Ids | None = None) -> list[Hit]:
        """The best chunks by BM25, ties by id. With `allowed`, ids ascending, it is as if there were no others."""
        there = self._there(allowed)
        size = int(sum(flags.sum() for flags in there))
        if not size:
            return []
        mean = (
            sum(float(s.lengths[flags].sum()) for s, flags in zip(self._segments, there, strict=True)) / size
        )
        scores = [np.zeros(len(segment.ids)) for segment in self._segments]
        for word in question_words(text):
            found = [segment.postings(word) for segment in self._segments]
            spread = sum(int(flags[places].sum()) for (places, _), flags in zip(found, there, strict=True))
            idf = _idf(size, spread)
            for segment, score, (places, counts) in zip(self._segments, scores, found, strict=True):
                norm = _K1 * (1 - _B + _B * segment.lengths[places] / (mean or 1.0))
                score[places] += idf * counts * (_K1 + 1) / (counts + norm)
        ids = np.concatenate(
            [segment.ids[flags] for segment, flags in zip(self._segments, there, strict=True)]
        )
        worth = np.concatenate([score[flags] for score, flags in zip(scores, there, strict=True)]).round(9)
        return _best(ids, worth, top_k)

    def coverage(self, text: str, ids: Ids, allowed: Ids | None = None) -> tuple[Floats, Flags]:
        """The idf of each of the question's words, and which of the chunks have it: (words,), (ids, words)."""
        there = self._there(allowed)
        size = int(sum(flags.sum() for flags in there))
        words = question_words(text)
        idf = np.zeros(len(words))
        has = np.zeros((len(ids), len(words)), dtype=np.bool_)
        at = [lookup(segment.ids, ids) for segment in self._segments]
        for column, word in enumerate(words):
            spread = 0
            for segment, flags, places in zip(self._segments, there, at, strict=True):
                found, _ = segment.postings(word)
                found = found[flags[found]]
                spread += len(found)
                has[:, column] |= (places >= 0) & (lookup(found.astype(np.int64), places) >= 0)
            idf[column] = _idf(size, spread)
        return idf, has

    def _there(self, allowed: Ids | None) -> list[Flags]:
        if allowed is None:
            return [segment.alive for segment in self._segments]
        return [segment.alive & (lookup(allowed, segment.ids) >= 0) for segment in self._segments]


def _idf(size: int, spread: int) -> float:
    return float(np.log(1 + (size - spread + 0.5) / (spread + 0.5)))


def _best(ids: Ids, scores: Floats, top_k: int) -> list[Hit]:
    found = np.flatnonzero(scores > 0)
    if top_k < len(found):
        least = np.partition(scores[found], len(found) - top_k)[len(found) - top_k]
        found = found[scores[found] >= least]
    order = found[np.lexsort((ids[found], -scores[found]))][:top_k]
    return [Hit(id_, score) for id_, score in zip(ids[order].tolist(), scores[order].tolist(), strict=True)]
