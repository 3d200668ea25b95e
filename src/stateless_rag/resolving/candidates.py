"""Which of many entities are compared at all: those that share a key of their names. Near-linear, and pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from stateless_rag.resolving.compare import Likeness, compare
from stateless_rag.resolving.names import sound_of, taken_apart

if TYPE_CHECKING:
    from stateless_rag.resolving.names import Name

__all__ = ["Pair", "alike"]

Pair = tuple[int, int]

_BLOCK = 48  # members that are all compared with each other
_RIVALS = 8  # more that are all one would be a wonder
_WINDOW = 8  # in larger blocks, how many that follow by name each is compared with


def alike(names: Sequence[str], types: Sequence[str], also: Collection[Pair] = ()) -> Mapping[Pair, Likeness]:
    """Pairs of positions, the lower first, whose names are alike; `also` are pairs to compare besides.

    A likeness that is loose counts less if one of the two has another that is as near: who "George Bush" is, is not
    to be said where there are two. `names` and `types` have the same length. Takes time in proportion to the names.
    """
    parts = [taken_apart(name) for name in names]
    found: dict[Pair, Likeness] = {}
    seen: set[Pair] = set()
    for pair in (*_pairs(parts), *also):
        if pair not in seen and parts[pair[0]].words and parts[pair[1]].words:
            seen.add(pair)
            one, other = pair
            likeness = compare(parts[one], parts[other], (types[one], types[other]))
            if likeness is not None:
                found[pair] = likeness
    return _unambiguous(parts, found)


def _unambiguous(parts: Sequence[Name], found: Mapping[Pair, Likeness]) -> Mapping[Pair, Likeness]:
    rivals: dict[tuple[int, str], list[int]] = {}
    for (one, other), likeness in found.items():
        if likeness.loose:
            rivals.setdefault((one, _kind(likeness)), []).append(other)
            rivals.setdefault((other, _kind(likeness)), []).append(one)
    result = dict(found)
    for (one, other), likeness in found.items():
        if not likeness.loose:
            continue
        # The shorter name is the one that may stand for several; the longer one may have several short forms.
        short = min((one, other), key=lambda place: (len(parts[place].joined), place))
        if not _one_thing(rivals[short, _kind(likeness)], found):
            result[one, other] = Likeness(
                likeness.score - 0.25, f"{likeness.reason}, as others do", loose=True
            )
    return result


def _one_thing(places: Sequence[int], found: Mapping[Pair, Likeness]) -> bool:
    """Whether all of these are alike among themselves."""
    some = sorted(places)
    if len(some) > _RIVALS:
        return False
    return all(pair in found for pair in combinations(some, 2))


def _kind(likeness: Likeness) -> str:
    return "acronym" if "may stand for" in likeness.reason else likeness.reason


def _pairs(parts: Sequence[Name]) -> Iterator[Pair]:
    blocks: dict[str, list[int]] = {}
    for place, name in enumerate(parts):
        for key in dict.fromkeys(_keys(name)):
            blocks.setdefault(key, []).append(place)
    for block in blocks.values():
        if len(block) > _BLOCK:
            block.sort(key=lambda place: (parts[place].joined, place))
        reach = len(block) if len(block) <= _BLOCK else _WINDOW
        for first, one in enumerate(block):
            for other in block[first + 1 : first + 1 + reach]:
                yield (one, other) if one < other else (other, one)


def _keys(name: Name) -> Iterator[str]:
    """What names that are alike have in common: at least one of these."""
    if not name.words:
        return
    joined = name.joined
    yield f"name {joined}"
    yield f"stems {''.join(name.stems)}"
    yield f"words {' '.join(sorted(name.words))}"
    yield f"sounds {' '.join(map(sound_of, name.words))}"
    if len(name.words) == 1 and 2 <= len(joined) <= 8 and name.capitals:
        yield f"letters {joined}"
    if len(name.words) > 1:
        yield from (f"letters {letters}" for letters in name.initials)
    if name.bracket:
        yield f"name {name.bracket.replace('.', '').replace(' ', '')}"
    family = name.words[0] if name.comma else name.words[-1]
    given = (name.words[1:2] if name.comma else name.words[:1]) if len(name.words) > 1 else ()
    yield f"family {family}"
    if given:
        yield f"person {family} {given[0][0]}"
    if len(joined) >= 7:  # one of two halves is whole where one letter differs
        for half in {len(joined) // 2, (len(joined) - 1) // 2}:
            yield f"head {joined[:half]}"
            yield f"tail {joined[-half:]}"
