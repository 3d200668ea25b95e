"""The other ways to cut: token windows, a separator, separators in turn, and a function of the caller's."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from stateless_rag.chunking.boundaries import grapheme_start
from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from stateless_rag.protocols import Tokenizer
    from stateless_rag.settings import ChunkFunction

__all__ = ["function_spans", "recursive_spans", "separator_spans", "token_windows"]

Span = tuple[int, int]

_SPACE = re.compile(r"\s+")


def token_windows(text: str, tokenizer: Tokenizer, size: int, overlap: int) -> list[Span]:
    """Windows of `size` tokens, each beginning `size - overlap` tokens after the one before.

    The last window is the first that reaches the end of the text. A window whose text makes more than `size`
    tokens when it is counted by itself, without what surrounds it, ends earlier.
    """
    offsets = tokenizer.offsets(text)
    spans: list[Span] = []
    first = begin = 0
    while begin < len(text):
        stop = _window_stop(text, tokenizer, offsets, first, begin, size)
        spans.append((begin, stop))
        if stop == len(text):
            break
        first += size - overlap
        following = grapheme_start(text, offsets[first], begin) if first < len(offsets) else stop
        if not begin < following < stop:
            following = stop
            first = bisect_left(offsets, stop)
        begin = following
    return spans


def separator_spans(text: str, separator: str) -> list[Span]:
    """What is between the separators, white space and empty pieces included."""
    spans = []
    start = 0
    while (found := text.find(separator, start)) >= 0:
        spans.append((start, found))
        start = found + len(separator)
    return [*spans, (start, len(text))]


def recursive_spans(
    text: str, tokenizer: Tokenizer, size: int, overlap: int, separators: Sequence[str]
) -> list[Span]:
    """Split on the first separator that occurs, pieces that are too long on the next one, and so on, joining
    neighbours up to `size` tokens with at most `overlap` tokens repeated.

    The algorithm is that of LangChain's RecursiveCharacterTextSplitter, except that a separator stays at the
    end of the piece before it: a full stop belongs to its sentence. Pieces that no separator divides stay
    longer than `size`.
    """
    offsets = tokenizer.offsets(text)

    def tokens(start: int, stop: int) -> int:
        return bisect_left(offsets, stop) - bisect_left(offsets, start)

    def split(start: int, stop: int, separators: Sequence[str]) -> Iterator[Span]:
        number = next(
            (n for n, item in enumerate(separators) if text.find(item, start, stop) >= 0), len(separators)
        )
        if number == len(separators):
            yield start, stop
            return
        fitting: list[tuple[int, int, int]] = []
        for one, other in pairwise([start, *_ends(text, start, stop, separators[number]), stop]):
            length = tokens(one, other)
            if length < size:
                fitting.append((one, other, length))
                continue
            yield from _join(fitting, size, overlap)
            fitting = []
            yield from split(one, other, separators[number + 1 :])
        yield from _join(fitting, size, overlap)

    return list(split(0, len(text), separators))


def function_spans(text: str, function: ChunkFunction) -> list[Span]:
    """Spans of what the function returns for the text: offsets, or strings that are looked up in order.

    A string is looked for right after the one before it, white space apart, else at its first occurrence that
    ends later than that one (so chunks may overlap). Raises InvalidInput for anything else, and if the function raises.
    """
    try:
        returned = function(text)
    except Exception as error:  # the caller's function may raise anything; only its document is to fail
        raise InvalidInput(f"the chunk function raised {type(error).__name__}: {error}") from error
    if isinstance(returned, str) or not isinstance(returned, Sequence):
        raise InvalidInput(
            f"the chunk function must return a list of strings or offsets, not {returned!r:.80}"
        )
    spans: list[Span] = []
    for number, item in enumerate(returned):
        if isinstance(item, str):
            if item.strip():
                spans.append(_find(text, item, number, spans[-1] if spans else (-1, 0)))
        else:
            spans.append(_offsets(text, item, number))
    return sorted(spans)


def _window_stop(
    text: str, tokenizer: Tokenizer, offsets: Sequence[int], first: int, begin: int, size: int
) -> int:
    last = first + size
    while True:
        stop = grapheme_start(text, offsets[last], begin) if last < len(offsets) else len(text)
        if stop <= begin:
            return begin + 1
        excess = tokenizer.count(text[begin:stop].strip()) - size
        if excess <= 0:
            return stop
        last = min(last, len(offsets)) - excess
        if last <= first:
            return stop


def _ends(text: str, start: int, stop: int, separator: str) -> list[int]:
    """Where the pieces end that a separator divides, the last one apart."""
    if not separator:
        return [place for place in range(start + 1, stop) if grapheme_start(text, place, start) == place]
    ends = []
    place = start
    while (place := text.find(separator, place, stop)) >= 0:
        place += len(separator)
        ends.append(place)
    return ends[:-1] if ends and ends[-1] == stop else ends


def _join(pieces: Sequence[tuple[int, int, int]], size: int, overlap: int) -> Iterator[Span]:
    """Join neighbours (start, stop, tokens) up to `size` tokens, repeating at most `overlap`."""
    first = total = 0
    for number, (_, _, length) in enumerate(pieces):
        if total + length > size and number > first:
            yield pieces[first][0], pieces[number - 1][1]
            while first < number and (total > overlap or total + length > size):
                total -= pieces[first][2]
                first += 1
        total += length
    if pieces:
        yield pieces[first][0], pieces[-1][1]


def _find(text: str, item: str, number: int, previous: Span) -> Span:
    after = previous[1]
    space = _SPACE.match(text, after)
    for start in (after, space.end() if space else after):
        if text.startswith(item, start):
            return start, start + len(item)
    start = text.find(item, max(previous[0] + 1, after - len(item) + 1))
    if start < 0:
        raise InvalidInput(
            f"chunk {number} of the chunk function is not in the text after the one before it: {item!r:.120}"
            "; return strings as they stand in the text, in order, or (start, stop) offsets"
        )
    return start, start + len(item)


def _offsets(text: str, item: object, number: int) -> Span:
    match item:
        case (int(start), int(stop)) if 0 <= start < stop <= len(text):
            return start, stop
    raise InvalidInput(
        f"chunk {number} of the chunk function is {item!r:.80}; it must be a string or offsets (start, stop) "
        f"with 0 <= start < stop <= {len(text)}"
    )
