"""The tokens of an encoding with their ranks, packed so that they can be looked up without being unpacked."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from stateless_rag.errors import StatelessRagError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ranks", "pack_ranks", "read_ranks"]

_SHA256 = "0aa965009404c24b6107e0c365e1eb3797d166c062b12af3557d702bc75d8737"
_LONGEST = 128  # bytes of a token
_COUNTS = f"<{_LONGEST}I"
_WORD = 8  # bytes of an integer that tokens are searched as
_ADVICE = "the installation of stateless-rag is damaged; install it again"


def pack_ranks(ranks: Mapping[bytes, int]) -> bytes:
    """The packed form: how many tokens there are of 1, 2, … bytes, the tokens, and their ranks.

    The tokens are in order of length, then of bytes. Of the ranks there are first all low bytes, then the
    middle ones, then the high ones: so they compress best.
    """
    tokens = sorted(ranks, key=lambda token: (len(token), token))
    counts = [0] * _LONGEST
    for token in tokens:
        counts[len(token) - 1] += 1
    planes = (bytes(ranks[token] >> shift & 0xFF for token in tokens) for shift in (0, 8, 16))
    return b"".join((struct.pack(_COUNTS, *counts), *tokens, *planes))


def read_ranks(compressed: bytes) -> Ranks:
    """The ranks of o200k_base from the file of the package, which is `pack_ranks` compressed by zlib.

    Raises StatelessRagError if it does not hold, byte for byte, what `scripts/build_encoding.py` wrote after it
    had compared the ranks with the sha256 that tiktoken pins for them.
    """
    import hashlib
    import zlib

    try:
        packed = zlib.decompress(compressed)
    except zlib.error as exc:
        raise StatelessRagError(f"o200k_base.ranks.zz cannot be decompressed ({exc}): {_ADVICE}") from exc
    found = hashlib.sha256(packed).hexdigest()
    if found != _SHA256:
        raise StatelessRagError(f"o200k_base.ranks.zz has sha256 {found} instead of {_SHA256}: {_ADVICE}")
    return Ranks(packed)


class Ranks:
    """Tokens with their ranks, in the packed form. Nothing changes it; threads may share it."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._groups: list[tuple[int, int, int]] = []  # by length: where it begins, tokens before it, tokens
        begin, before = struct.calcsize(_COUNTS), 0
        for size, count in enumerate(struct.unpack_from(_COUNTS, packed), 1):
            self._groups.append((begin, before, count))
            begin, before = begin + size * count, before + count
        self._planes, self._count = begin, before
        self._words: list[array[int] | None] = [None] * _WORD  # by length, once one of it was looked up

    def __len__(self) -> int:
        return self._count

    def find(self, token: bytes) -> int | None:
        """The rank of a token; None if there is no such token. Up to 8 bytes about 1 µs, else 2 µs."""
        size = len(token)
        if 0 < size <= _WORD:
            words = self._words[size - 1] or self._as_words(size)
            word = int.from_bytes(token)
            low = bisect_left(words, word)
            if low == len(words) or words[low] != word:
                return None
        elif not size or size > _LONGEST or (low := self._place(token)) < 0:
            return None
        packed, first = self._packed, self._planes + self._groups[size - 1][1] + low
        second = first + self._count
        return packed[first] | packed[second] << 8 | packed[second + self._count] << 16

    def _place(self, token: bytes) -> int:
        """How many tokens of its length come before a token; -1 if there is no such token."""
        size, packed = len(token), self._packed
        begin, _, count = self._groups[size - 1]
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            place = begin + middle * size
            if packed[place : place + size] < token:
                low = middle + 1
            else:
                high = middle
        place = begin + low * size
        return low if low < count and packed[place : place + size] == token else -1

    def _as_words(self, size: int) -> array[int]:
        """The tokens of a length as integers in the order of their bytes, which `bisect` searches in C (1 ms)."""
        begin, _, count = self._groups[size - 1]
        tokens, octets = self._packed[begin : begin + size * count], bytearray(_WORD * count)
        for offset in range(size):
            octets[_WORD - size + offset :: _WORD] = tokens[offset::size]
        words = array("Q", bytes(octets))
        if sys.byteorder == "little":
            words.byteswap()
        self._words[size - 1] = words
        return words

    def table(self) -> dict[bytes, int]:
        """The rank of each token, as a dict (0.04 s, 20 MB)."""
        import numpy as np

        tokens: list[bytes] = []
        for size, (begin, _, count) in enumerate(self._groups, 1):
            tokens += np.frombuffer(self._packed, f"V{size}", count, begin).tolist()
        return dict(zip(tokens, self._ranks().tolist(), strict=True))

    def tiktoken_file(self) -> bytes:
        """The text of the `.tiktoken` file that they come from: lines of `base64 rank`, by rank."""
        from base64 import b64encode

        by_rank = sorted(self.table().items(), key=lambda item: item[1])
        return b"".join(b"%s %d\n" % (b64encode(token), rank) for token, rank in by_rank)

    def lengths(self) -> NDArray[np.int64]:
        """The length of each token in bytes, by rank."""
        import numpy as np

        lengths = np.zeros(self._count, np.int64)
        counts = [count for _, _, count in self._groups]
        lengths[self._ranks()] = np.repeat(np.arange(1, _LONGEST + 1), counts)
        return lengths

    def _ranks(self) -> NDArray[np.int64]:
        import numpy as np

        octets = np.frombuffer(self._packed, np.uint8, 3 * self._count, self._planes).astype(np.int64)
        low, middle, high = octets.reshape(3, self._count)
        return low | middle << 8 | high << 16
