"""Content-defined cutting: boundaries that depend on the text near them, so they stay where they are in the
text when it is edited elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.chunking.boundaries import Level, boundaries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from stateless_rag.protocols import Tokenizer

    Integers = NDArray[np.int64]
    Keys = NDArray[np.uint64]

__all__ = ["content_spans"]

Span = tuple[int, int]

_FINEST = (Level.SENTENCE, Level.CLAUSE, Level.SPACE, Level.GRAPHEME, Level.CHARACTER)
_REACH = 8  # characters on either side that a boundary's hash looks at
_FAR = 64  # characters on either side that are looked at where hashes are equal
_BLOCK = 1 << 18  # characters that are hashed at a time
_FACTOR = 0x9E3779B97F4A7C15
_MARGIN = 0.3  # of the limit: the least size that a cut should leave on either side
_SLIVER = 0.125  # of the limit: below this, rather cut at a finer place than leave so little


@dataclass(frozen=True, slots=True)
class _Source:
    text: str
    codes: NDArray[np.uint32]  # code points, `_FAR` zeros before and after
    offsets: Integers  # of the tokens


def content_spans(text: str, tokenizer: Tokenizer, limit: int) -> list[Span]:
    """Spans that cover the text, each at most `limit` tokens by the tokenizer's offsets.

    What is too long is cut in two at its best boundary: headings before paragraphs before sentences, and
    among equals the one with the smallest hash of the text around it. The parts are cut again until they
    fit; then the worst boundaries whose sides fit into one span are taken out. No step looks further than
    the span it is about, so an edit moves boundaries near it only (the idea of content-defined chunking,
    with the hash order of a treap in place of a rolling threshold). A span counted by itself, without what
    surrounds it, may have a token or two more.
    """
    import numpy as np

    encoded = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    source = _Source(text, np.pad(encoded, _FAR), np.asarray(tokenizer.offsets(text), np.int64))
    cuts = sorted(_cuts(source, 0, len(text), limit, 0))
    kept = _join(source, cuts, limit)
    return list(zip([0, *kept], [*kept, len(text)], strict=True))


def _cuts(source: _Source, start: int, stop: int, limit: int, group: int) -> list[tuple[int, int]]:
    """Places to cut so that every part fits, with their keys."""
    import numpy as np

    places, keys = _candidates(source, start, stop, _FINEST[group])
    edges = np.concatenate(([start], places, [stop]))
    before = np.searchsorted(source.offsets, edges)
    margin, sliver = int(limit * _MARGIN), int(limit * _SLIVER)
    cuts: list[tuple[int, int]] = []
    open_spans = [(0, len(edges) - 1)]
    while open_spans:
        left, right = open_spans.pop()
        if before[right] - before[left] <= limit:
            continue
        chosen = _best(before, keys, left, right, margin)
        last_resort = group + 1 == len(_FINEST)
        if not chosen:
            chosen = _most_even(before, left, right, 0 if last_resort else sliver)
        if not chosen and not last_resort:
            cuts += _cuts(source, int(edges[left]), int(edges[right]), limit, group + 1)
        cuts += [(int(edges[place]), int(keys[place - 1])) for place in chosen]
        if chosen:
            open_spans += zip([left, *chosen], [*chosen, right], strict=True)
    return cuts


def _candidates(source: _Source, start: int, stop: int, finest: Level) -> tuple[Integers, Keys]:
    """Boundaries in order, and for each a key: its level, then a hash of the text around it."""
    import numpy as np

    places, levels = boundaries(source.text, start, stop, finest)
    near = _hashes(source, places, _REACH)
    far = np.zeros(len(places), np.uint64)
    if finest <= Level.SPACE:
        _, number, sizes = np.unique(near, return_inverse=True, return_counts=True)
        equals = np.flatnonzero(sizes[number] > 1)
        far[equals] = _hashes(source, places[equals], _FAR)
    low_bits = np.uint64(30)
    return places, (levels << np.uint64(60)) | (near >> np.uint64(34) << low_bits) | (far >> np.uint64(34))


def _hashes(source: _Source, places: Integers, reach: int) -> Keys:
    """64 bits for each place that follow from the `reach` characters on either side."""
    import numpy as np

    hashes = np.zeros(len(places), np.uint64)
    length = min(_BLOCK, int(places[-1] - places[0]) + 1 if len(places) else 0) + 2 * _FAR
    powers = np.cumprod(np.full(length, _FACTOR, np.uint64))
    inverses = np.cumprod(np.full(length, pow(_FACTOR, -1, 2**64), np.uint64))
    done = 0
    while done < len(places):
        begin = int(places[done])
        until = int(np.searchsorted(places, begin + _BLOCK))
        # A polynomial over the window, from sums over the block: its end less its beginning.
        codes = source.codes[begin : int(places[until - 1]) + 2 * _FAR] + np.uint64(1)
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(codes * powers[: len(codes)])))
        first = places[done:until] - begin + _FAR - reach
        hashes[done:until] = (sums[first + 2 * reach] - sums[first]) * inverses[first]
        done = until
    # The finalizer of MurmurHash3: the high bits must depend on the whole window.
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(factor)
    return hashes


def _best(before: Integers, keys: Keys, left: int, right: int, margin: int) -> list[int]:
    """The boundaries with the smallest key that leave at least `margin` tokens on both sides.

    There are several where the text repeats itself; cutting at one of them only would let an edit shift all.
    """
    import numpy as np

    inner = before[left:right]
    low = max(1, int(np.searchsorted(inner, before[left] + margin))) + left
    high = int(np.searchsorted(inner, before[right] - margin, "right")) + left
    if low >= high:
        return []
    window = keys[low - 1 : high - 1]
    equals = np.flatnonzero(window == window.min()) + low
    sizes = before[equals]
    chosen, found = [], 0
    while found < len(equals):
        chosen.append(int(equals[found]))
        found = int(np.searchsorted(sizes, sizes[found] + max(1, margin)))
    return chosen


def _most_even(before: Integers, left: int, right: int, least: int) -> list[int]:
    """The boundary nearest to the middle, if it leaves at least `least` tokens on both sides."""
    import numpy as np

    if right - left < 2:
        return []
    inner = before[left + 1 : right]
    sides = np.minimum(inner - before[left], before[right] - inner)
    best = int(np.argmax(sides))
    return [left + 1 + best] if sides[best] >= least else []


def _join(source: _Source, cuts: Sequence[tuple[int, int]], limit: int) -> list[int]:
    """Take out cuts, the worst first, as long as what they divide fits into one span."""
    import numpy as np

    places = [place for place, _ in cuts]
    before = np.searchsorted(source.offsets, [0, *places, len(source.text)]).tolist()
    previous = list(range(-1, len(places) + 1))
    following = list(range(1, len(places) + 3))
    kept = [True] * (len(places) + 2)
    for number in sorted(range(1, len(places) + 1), key=lambda index: cuts[index - 1][1], reverse=True):
        one, other = previous[number], following[number]
        if before[other] - before[one] <= limit:
            kept[number] = False
            following[one], previous[other] = other, one
    return [place for number, place in enumerate(places, 1) if kept[number]]
