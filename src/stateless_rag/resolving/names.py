"""Names taken apart: their words without titles, legal forms and plurals, their numbers, initials and sound. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce

from stateless_rag.text import normalize_name, plain_letters

__all__ = ["Name", "sound_of", "taken_apart"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_BRACKETS = re.compile(r"\s*\(([^()]*)\)\s*$")
_DOTTED = re.compile(r"\b(?:[^\W\d_]\.){2,}")
# As lists of strings these would be pages.
_TITLES = frozenset(
    "mr mrs ms miss dr prof professor sir dame lord lady madame president king queen saint st rev reverend capt "  # noqa: SIM905
    "captain col colonel gen general lt sgt sen senator gov governor herr frau mme mlle pope count countess".split()
)
_LEGAL = frozenset(
    "inc incorporated ltd limited corp corporation co company llc llp plc gmbh ag kg sa spa nv bv oy ab".split()  # noqa: SIM905
)
_SMALL = frozenset("the of and for in on at de la le du des der die das von van und et y a an to".split())  # noqa: SIM905
_GENERATIONS = frozenset({"jr", "junior", "sr", "senior"})
_COUNTED = tuple(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()  # noqa: SIM905
)
_ROMAN = re.compile(r"(?=[ivx])x{0,3}(?:ix|iv|v?i{0,3})")
_ROMAN_VALUES = (("x", 10), ("ix", 9), ("v", 5), ("iv", 4), ("i", 1))
_SOUNDS = (
    *(
        ("tsch", "c"),
        ("tch", "c"),
        ("sch", "s"),
        ("sh", "s"),
        ("ch", "c"),
        ("zh", "j"),
        ("kh", "h"),
        ("ph", "f"),
    ),
    *(
        ("th", "t"),
        ("ts", "s"),
        ("tz", "s"),
        ("ck", "k"),
        ("qu", "k"),
        ("gh", "g"),
        ("dj", "j"),
        ("dh", "d"),
        ("iy", "i"),
    ),
    *(("q", "k"), ("w", "v"), ("x", "ks"), ("z", "s"), ("y", "i"), ("j", "i")),
)
_VOWELS = re.compile("[aeiou]+")
_DOUBLED = re.compile(r"(.)\1+")


@dataclass(frozen=True, slots=True)
class Name:
    """A name and what it is made of.

    `words` are lower-case, without accents, articles at the front, titles, legal forms and what stands in brackets
    at the end; `stems` are these in the singular. `numbers` are all that it says; in the words, too, they are
    digits, where the name has them as words or in Roman figures. `generation` is "j" or "s". `taken` says what was
    left out.
    """

    shown: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    numbers: tuple[int, ...]
    generation: str
    bracket: str
    taken: frozenset[str]
    comma: bool
    capitals: bool

    @property
    def joined(self) -> str:
        """The words in one."""
        return "".join(self.words)

    @property
    def initials(self) -> tuple[str, str]:
        """First letters of all words, and of those that are not small ones such as "of"."""
        return "".join(word[0] for word in self.words), "".join(
            word[0] for word in self.words if word not in _SMALL
        )


def taken_apart(name: str) -> Name:
    """What a name is made of.

    >>> taken_apart("The Müller Companies, Inc.").stems
    ('muller', 'company')
    """
    shown = normalize_name(name)
    bracket = _BRACKETS.search(shown)
    inside = "" if bracket is None else plain_letters(bracket[1]).casefold().strip()
    bare = shown if bracket is None or bracket.start() == 0 else shown[: bracket.start()]
    dotless = _DOTTED.sub(lambda match: match[0].replace(".", "") + " ", bare)
    # "J.R.R. Tolkien" has three initials, "U.S.A." is one word
    spread = bare if len(_WORD.findall(dotless)) > 1 else dotless
    found = [_plain(word) for word in _WORD.findall(spread)]
    words, taken = _stripped(found)
    generation = next((word[0] for word in words[1:] if word in _GENERATIONS), "")
    words = [word for place, word in enumerate(words) if place == 0 or word not in _GENERATIONS]
    words = [_figures(word, place, len(words)) for place, word in enumerate(words)]
    numbers = tuple(int(digits) for word in words if (digits := "".join(filter(str.isdecimal, word))))
    letters = "".join(character for character in dotless if character.isalpha())
    return Name(
        shown=shown,
        words=tuple(words),
        # The last letter of "HTTPS" is no plural, that of "APIs" is.
        stems=tuple(words) if shown.isupper() else tuple(map(_singular, words)),
        numbers=numbers,
        generation=generation,
        bracket="" if bracket is None or bracket.start() == 0 else inside,
        taken=frozenset(taken),
        comma="," in bare,
        capitals=letters.isupper() or sum(map(str.isupper, letters)) > len(letters) / 2,
    )


def sound_of(word: str) -> str:
    """The consonants of a word as many spellings of it have them.

    >>> sound_of("tchaikovsky") == sound_of("chaykovskiy")
    True
    """
    sounds = reduce(lambda text, pair: text.replace(*pair), _SOUNDS, word)
    first = "a" if sounds[:1] in "aeiou" else sounds[:1]
    return first + _DOUBLED.sub(r"\1", _VOWELS.sub("", sounds[1:]))


def _plain(word: str) -> str:
    plain = plain_letters(word).casefold().replace("’", "'")
    return plain.removesuffix("'s").replace("'", "")


def _stripped(found: list[str]) -> tuple[list[str], set[str]]:
    """Words without an article or a title in front and a legal form behind, as long as some are left."""
    words, taken = list(found), set()
    if len(words) > 1 and words[0] == "the":
        words, taken = words[1:], {"article"}
    while len(words) > 1 and words[-1] in _LEGAL:
        words, taken = words[:-1], {*taken, "legal form"}
    while len(words) > 1 and words[0] in _TITLES:
        words, taken = words[1:], {*taken, "title"}
    return words, taken


def _figures(word: str, place: int, count: int) -> str:
    """A number that is written as a word or in Roman figures in digits, any other word as it is.

    A single letter is a figure at the end only: elsewhere it is an initial.
    """
    if word in _COUNTED:
        return str(_COUNTED.index(word) + 1)
    if place and (len(word) > 1 or place == count - 1) and _ROMAN.fullmatch(word):
        return str(_roman(word))
    return word


def _roman(word: str) -> int:
    total, values = 0, dict(_ROMAN_VALUES)
    while word:
        size = 2 if word[:2] in values else 1
        total, word = total + values[word[:size]], word[size:]
    return total


def _singular(word: str) -> str:
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word.removesuffix("s")
