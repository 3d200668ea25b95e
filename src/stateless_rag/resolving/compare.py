"""Two names: whether they may be one, how sure that is, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from stateless_rag.resolving.names import Name, sound_of

__all__ = ["Likeness", "compare", "opposed"]

_PERSON = "person"
_TYPO_LENGTH, _SOUND_LENGTH = 8, 4


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two names are: a score from 0 to 1 and the reason. A `loose` one counts if no other name is as near."""

    score: float
    reason: str
    loose: bool = False


def compare(one: Name, other: Name, types: tuple[str, str] = ("", "")) -> Likeness | None:
    """What speaks for it that two names are one, the best of it; None if nothing does, or something against it.

    Different numbers ("Apollo 11", "Apollo 12"), generations ("Jr.") and brackets ("Mercury (planet)") speak against
    it; `types` that differ make it less sure.
    """
    if opposed(one, other):
        return None
    found = max(_likenesses(one, other, types), key=lambda likeness: likeness.score, default=None)
    if found is None or types[0] == types[1] or not all(types) or "other" in types:
        return found
    less = 0.3 if _PERSON in types else 0.1
    return Likeness(found.score - less, found.reason, found.loose)


def opposed(one: Name, other: Name) -> bool:
    """Whether names say themselves that they are two: by numbers, generations or what stands in brackets."""
    same = one.numbers == other.numbers and one.generation == other.generation
    return not same or not _brackets_agree(one, other)


def _brackets_agree(one: Name, other: Name) -> bool:
    if one.bracket == other.bracket:
        return True
    if one.bracket and other.bracket:
        return False
    with_one, without = (one, other) if one.bracket else (other, one)
    short = with_one.bracket.replace(".", "").replace(" ", "")
    return short in with_one.initials or short == without.joined


def _likenesses(one: Name, other: Name, types: tuple[str, str]) -> Iterator[Likeness]:
    if one.joined == other.joined:
        taken = one.taken ^ other.taken
        if taken:
            yield Likeness(
                0.85 if "title" in taken else 0.9, f"the same but for the {' and the '.join(sorted(taken))}"
            )
        else:
            yield Likeness(0.95, "the same but for case, accents, spaces or punctuation")
        return
    if one.stems == other.stems:
        yield Likeness(0.85, "singular and plural")
    if sorted(one.words) == sorted(other.words):
        turned = one.comma != other.comma
        yield Likeness(0.92 if turned else 0.6, "the same words in another order", loose=not turned)
    for short, long in ((one, other), (other, one)):
        if _is_acronym(short, long):
            yield Likeness(0.85, f"{short.shown} may stand for {long.shown}", loose=True)
        if short.bracket and short.bracket.replace(".", "") == long.joined:
            yield Likeness(0.9, "the abbreviation in brackets")
    if set(types) <= {_PERSON, "other", ""}:
        yield from _people(one, other, types)
    yield from _spellings(one, other)


def _is_acronym(short: Name, long: Name) -> bool:
    letters = short.joined
    return (
        len(short.words) == 1
        and 2 <= len(letters) <= 8
        and len(long.words) >= 2
        and short.capitals
        and (letters in long.initials)
    )


def _people(one: Name, other: Name, types: tuple[str, str]) -> Iterator[Likeness]:
    """Given names that are left out or are initials."""
    first, second = _ordered(one), _ordered(other)
    if first[-1:] != second[-1:] or not first or len(first[-1]) < 2:
        return
    given, others = sorted((first[:-1], second[:-1]), key=len)
    if not given:
        if types == (_PERSON, _PERSON):
            yield Likeness(0.76, "a family name alone", loose=True)
        return
    if len(given) == len(others) and all(map(_fits, given, others)):
        both = all(len(word) == 1 for word in given) or all(len(word) == 1 for word in others)
        yield Likeness(0.88 if both or len(given) > 1 else 0.85, "initials of given names", loose=True)
    elif len(given) < len(others) and all(map(_fits, given, others)):
        yield Likeness(0.78, "given names left out", loose=True)


def _ordered(name: Name) -> tuple[str, ...]:
    """The words with the family name last."""
    return (*name.words[1:], name.words[0]) if name.comma and len(name.words) > 1 else name.words


def _fits(one: str, other: str) -> bool:
    return one == other or (1 in (len(one), len(other)) and one[0] == other[0])


def _spellings(one: Name, other: Name) -> Iterator[Likeness]:
    if len(one.words) != len(other.words):
        return
    alike = SequenceMatcher(None, one.joined, other.joined, autojunk=False).ratio()
    sounds = [tuple(map(sound_of, name.words)) for name in (one, other)]
    if sounds[0] == sounds[1] and len("".join(sounds[0])) >= _SOUND_LENGTH and alike >= 0.6:
        yield Likeness(0.8, "spelled otherwise, sounding alike", loose=True)
    if min(len(one.joined), len(other.joined)) >= _TYPO_LENGTH and _one_edit(one.joined, other.joined):
        yield Likeness(0.78, "one letter differs", loose=True)


def _one_edit(one: str, other: str) -> bool:
    """Whether a letter is put in, left out, changed, or two that follow each other are swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    rest, rest_of_other = one[start:], other[start:]
    if len(rest) == len(rest_of_other):
        swapped = rest[1:2] + rest[0:1] + rest[2:] == rest_of_other
        return swapped or rest[1:] == rest_of_other[1:]
    return rest[1:] == rest_of_other or rest == rest_of_other[1:]
