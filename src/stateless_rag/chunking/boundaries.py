"""Where a text may be cut: headings, paragraphs, sentences, and finer places for what is too long."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Levels = NDArray[np.uint64]

__all__ = ["Level", "boundaries", "grapheme_start"]


class Level(IntEnum):
    """How good a place is to cut at; lower is better."""

    HEADING = 0
    PARAGRAPH = 1
    SENTENCE = 2
    LINE = 3
    CLAUSE = 4
    SPACE = 5
    GRAPHEME = 6
    CHARACTER = 7


_STOP = ".!?…‽⁇⁈⁉؟۔।॥։።"  # end a sentence if white space follows
_WIDE_STOP = "。！？；｡．"  # end a sentence, whatever follows
_CLOSING = "\"'”’»)\\]}」』）】〕》〉*_"
_NEWLINE = r"(?>\r\n?|[\n\x85\u2028\u2029])"

_HEADING = re.compile(r"(?m)^ {0,3}#{1,6}[ \t]+\S[^\n\r]*+\s*+")
_PARAGRAPH = re.compile(rf"{_NEWLINE}[^\S\n\r\x85\u2028\u2029]*+{_NEWLINE}\s*+|\u2029\s*+")
_ITEM = re.compile(rf"{_NEWLINE}[ \t]*+(?=[-*+•–][ \t]|\d{{1,3}}[.)][ \t]|\|)")
_SENTENCE = re.compile(rf"[{_STOP}{_WIDE_STOP}][{_STOP}{_WIDE_STOP}{_CLOSING}]*+\s*+")
_LINE = re.compile(rf"{_NEWLINE}\s*+")
_CLAUSE = re.compile(rf"(?:[,;:—–][{_CLOSING}]*+(?=\s)|[，、：][{_CLOSING}]*+)\s*+")
_SPACE = re.compile(r"\s++")

_ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|sr|jr|st|mt|vs|etc|e\.g|i\.e|eg|ie|cf|al|ca|viz|approx|resp|inc|ltd|co|corp|dept|est|"
    r"gen|col|sgt|capt|lt|maj|cmdr|adm|rev|hon|gov|sen|rep|pres|messrs|mme|mlle|ed|eds|trans|"
    r"jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun|"
    r"u\.s|u\.k|u\.n|z\.b|d\.h|u\.a|bzw|usw|ggf|evtl|inkl|vgl|str|[a-z]"
)
_BEFORE_NUMBER = re.compile("nos?|nr|figs?|eqs?|vols?|pp|ch|chap|sec|art|refs?|tab")


# What may continue a grapheme; all else need not be looked at.
_SUSPECT = re.compile("[\n\u0300-\u3040\u3099\u309a\ua66f-\uabed\ud7b0-\uffff\U00010000-\U0010ffff]")


def boundaries(text: str, start: int, stop: int, finest: Level) -> tuple[Integers, Levels]:
    """The places between `start` and `stop` (both excluded) where `text[start:stop]` may be cut, in order, and
    their levels; only levels up to `finest` are looked for.

    A place is the offset of the first character after the cut, white space going to the part before it. What
    is found at a place follows from the text near it alone.
    """
    import numpy as np

    found = _marked(text, start, stop, min(finest, Level.SPACE))
    segment = text[start:stop]
    plain = segment.isascii() and "\r" not in segment
    if finest < Level.GRAPHEME:
        found = {
            place: level
            for place, level in found.items()
            if start < place < stop and (plain or not _joined(text, place))
        }
        places = np.fromiter(found, np.int64, len(found))
        order = np.argsort(places)
        return places[order], np.fromiter(found.values(), np.uint64, len(found))[order]
    joined = [] if plain else _joined_places(text, start, stop)
    levels = np.full(stop - start + 1, Level.GRAPHEME, np.uint64)
    levels[np.fromiter(found, np.int64, len(found)) - start] = np.fromiter(
        found.values(), np.uint64, len(found)
    )
    levels[np.array(joined, np.int64) - start] = Level.CHARACTER
    chosen = np.flatnonzero(levels[1:-1] <= finest) + 1
    return chosen + start, levels[chosen]


def grapheme_start(text: str, place: int, lowest: int) -> int:
    """The nearest place at or before `place`, above `lowest`, that cuts no grapheme in two.

    `place` itself if there is none within 32 characters. Follows the rules of Unicode's UAX #29 that matter
    in practice: CR LF, combining marks, joiners and modifiers of emoji, flags, Hangul jamo.
    """
    for moved in range(place, max(lowest, place - 32), -1):
        if not _joined(text, moved):
            return moved
    return place


def _marked(text: str, start: int, stop: int, finest: Level) -> dict[int, Level]:
    """Places that something in the text marks; the start and the stop may be among them."""
    found: dict[int, Level] = {}
    after_heading = set()
    for match in _HEADING.finditer(text, start, stop):
        after_heading.add(match.end())
        if match.start() not in after_heading:
            found[match.start()] = Level.HEADING
    for match in _PARAGRAPH.finditer(text, start, stop):
        if match.end() not in after_heading:
            found.setdefault(match.end(), Level.PARAGRAPH)
    for match in _SENTENCE.finditer(text, start, stop):
        if match.end() < stop and _ends_sentence(text, match.start(), match.end()):
            found.setdefault(match.end(), Level.SENTENCE)
    patterns = [(_ITEM, Level.SENTENCE), (_LINE, Level.LINE), (_CLAUSE, Level.CLAUSE), (_SPACE, Level.SPACE)]
    for pattern, level in patterns:
        if level <= finest:
            for match in pattern.finditer(text, start, stop):
                found.setdefault(match.end(), level)
    return found


def _joined_places(text: str, start: int, stop: int) -> list[int]:
    """The places where a cut would divide a grapheme."""
    places = []
    flags, last = 0, start
    for match in _SUSPECT.finditer(text, start + 1, stop):
        place = match.start()
        if _is_flag_half(text[place]):
            if place != last + 1 or flags == 0:
                flags = int(_is_flag_half(text[place - 1]))
            flags, last = flags + 1, place
            if flags % 2 == 0:
                places.append(place)
        elif _joined(text, place):
            places.append(place)
    return places


def _ends_sentence(text: str, mark: int, following: int) -> bool:
    first, next_one = text[mark], text[following]
    if not text[following - 1].isspace():
        wide = first in _WIDE_STOP or text.startswith("……", mark)
        return wide and next_one not in "，、,"
    if first in _WIDE_STOP:
        return True
    if next_one.islower():
        return False
    if first != "." or text[mark + 1] == ".":
        return True
    before = text[max(0, mark - 16) : mark]
    if not before or before[-1].isspace():
        return True
    word = before.split()[-1].lstrip("([{\"'“‘«*_").lower()
    if _BEFORE_NUMBER.fullmatch(word):
        return not next_one.isdigit()
    if _ABBREVIATION.fullmatch(word):
        return False
    if word.isdigit():
        # The number of a list item: "1. First".
        begin = mark - len(word)
        return begin > 0 and text[begin - 1] not in "\n\r"
    return True


def _joined(text: str, place: int) -> bool:
    """Whether the characters before and after `place` belong to one grapheme."""
    if not 0 < place < len(text):
        return False
    after = text[place]
    if after < "\u0300":
        return after == "\n" and text[place - 1] == "\r"
    if "\u3041" <= after <= "\ud7a3" and not "\ua66f" <= after <= "\uabed":
        return after in "\u3099\u309a"
    before = text[place - 1]
    if (
        after in "\u200d\ufe0f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
    ):
        return before not in "\r\n"
    if before == "\u200d":
        return True
    if _is_flag_half(after):
        return _splits_flag(text, place)
    if "\u1160" <= after <= "\u11ff":
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    return unicodedata.category(after)[0] == "M" and before not in "\r\n"


def _splits_flag(text: str, place: int) -> bool:
    first = place
    while first > 0 and place - first < 256 and _is_flag_half(text[first - 1]):
        first -= 1
    return (place - first) % 2 == 1


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
