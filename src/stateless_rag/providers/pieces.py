"""Byte pair encoding in Python, for the first texts: it needs no table of all tokens, which takes long to build."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from stateless_rag.providers.ranks import Ranks

__all__ = ["PATTERN", "PieceEncoder", "is_known"]

_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
_IN_ASCII = ((_UPPER, "[A-Z]"), (_LOWER, "[a-z]"), (r"\p{L}", "A-Za-z"), (r"\p{N}", r"\d"))
_UNSURE = "\u0295"  # a small letter to some versions of Unicode, one without case to others
_REMEMBERED = 100_000


def is_known(text: str) -> bool:
    """Whether all versions of Unicode in use class the characters of a text alike: those of tiktoken are its own."""
    if text.isascii():
        return True
    strange = {character for character in set(text) if character > "\x7f"}
    return _UNSURE not in strange and "Cn" not in set(map(unicodedata.category, strange))


class PieceEncoder:
    """Cuts texts into the pieces of o200k_base, and joins the bytes of each to tokens. Pieces are remembered.

    As fast as tiktoken for ASCII and half as fast for other texts, but it holds Python's lock. For texts that
    `is_known` accepts. Threads may share it.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ascii = _ascii_pieces()
        self._unicode: Callable[[str], list[str]] | None = None
        self._lengths = _Lengths(ranks)

    def count(self, text: str) -> int:
        """The number of tokens."""
        return sum(map(len, map(self._lengths.__getitem__, self._pieces(text))))

    def lengths(self, text: str) -> list[int]:
        """The bytes of each token."""
        return [size for piece in self._pieces(text) for size in self._lengths[piece]]

    def _pieces(self, text: str) -> list[str]:
        if text.isascii():
            return self._ascii(text)
        if self._unicode is None:
            import regex  # type: ignore[import-untyped]

            self._unicode = cast("Callable[[str], list[str]]", regex.compile(PATTERN).findall)
        return self._unicode(text)


def _ascii_pieces() -> Callable[[str], list[str]]:
    pattern = PATTERN
    for classes, characters in _IN_ASCII:
        pattern = pattern.replace(classes, characters)
    return re.compile(pattern, re.ASCII).findall


class _Lengths(dict[str, tuple[int, ...]]):
    """The bytes of the tokens of each piece."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def __missing__(self, piece: str) -> tuple[int, ...]:
        octets = piece.encode()
        found = (len(octets),) if self._ranks.find(octets) is not None else _joined(octets, self._ranks)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[piece] = found
        return found


def _joined(octets: bytes, ranks: Ranks) -> tuple[int, ...]:
    """The lengths of the tokens of a piece: of all neighbours the two with the least rank are joined, again and again.

    The leftmost are joined first where ranks are equal. Takes n log n.
    """
    stop = len(octets)
    # Of the part that begins at a place: where the next one begins, and the one before it.
    following, previous = list(range(1, stop + 2)), list(range(-1, stop + 1))
    pairs = [
        (rank, start, start + 2)
        for start in range(stop - 1)
        if (rank := ranks.find(octets[start : start + 2])) is not None
    ]
    heapify(pairs)
    joined = bytearray(stop + 1)  # 1 where no part begins any more
    while pairs:
        _, start, end = heappop(pairs)
        middle = following[start]
        if joined[start] or middle >= stop or following[middle] != end:
            continue  # one of the two has been joined with another since
        joined[middle] = 1
        following[start], previous[end] = end, start
        before, after = previous[start], following[end]
        for one, other in ((before, end), (start, after)):
            if one >= 0 and other <= stop and (rank := ranks.find(octets[one:other])) is not None:
                heappush(pairs, (rank, one, other))
    starts = [place for place in range(stop) if not joined[place]]
    return tuple(other - one for one, other in zip(starts, [*starts[1:], stop], strict=True))
