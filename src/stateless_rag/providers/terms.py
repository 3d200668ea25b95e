"""Finds names, terms, titles, dates and numbers in a text by rules of its script and language.

Pure and fast rather than clever: one regular expression walks over capitalised spans, others over quotes,
dates and numbers, and words that repeat are taken for terms. German, where all nouns are capitalised, needs
more evidence for a name; Chinese has rules of its own (`terms_chinese`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from stateless_rag.providers.stopwords import (
    COMMON_STARTS,
    ENGLISH,
    ENGLISH_FIRST,
    FUNCTION_WORDS,
    GERMAN,
    GERMAN_FIRST,
    GERMAN_NOUN_ENDINGS,
    GERMAN_ONLY,
)
from stateless_rag.providers.terms_chinese import HAN, chinese_terms

__all__ = ["Sentence", "Term", "content_words", "find_terms", "split_sentences"]


class Term(NamedTuple):
    """One place where something is named: `text[start:stop]`, give or take a possessive. `type` is one of
    name, term, title, date, number.
    """

    start: int
    stop: int
    name: str
    type: str


class Sentence(NamedTuple):
    """A span of the text, without the white space around it."""

    start: int
    stop: int


# Latin, Greek and Cyrillic capitals.
_CAPITALS = "".join(character for character in map(chr, range(0x41, 0x530)) if character.isupper())
_U = f"[{_CAPITALS}]"
# What goes on with a word; not Chinese and Japanese, which stand right behind it, without a space.
_W = "[^\\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
# After its first letter, a word of a name is: more initials (U.S.), an initial (J.), a title (Dr.), or letters.
_REST = (
    rf"(?:(?:\.{_U})+(?!\w)\.?|\.(?= ?{_U})|(?:(?<=D)r|(?<=S)t|(?<=M)(?:rs?|s|t)|(?<=P)rof)"
    rf"\.(?= {_U})|{_W}*(?:['’\-&]{_W}+)*)"
)


def _spans(particles: str) -> re.Pattern[str]:
    """Capitalised words, with the particles inside, and a short number at the end (Apollo 11)."""
    joint = rf"[ \u00a0](?:(?:{particles})[ \u00a0]){{0,2}}"
    number = r"[ \u00a0]\d{1,3}(?![\w.,%])"
    return re.compile(rf"{_U}(?<!\w\w){_REST}(?:{joint}{_U}{_REST}){{0,9}}(?:{number})?")


_SPANS = _spans("of|the|von|van|der|den|de|del|della|di|da|dos|du|la|le|el|al|bin|ibn|zu|for|&")
_GERMAN_SPANS = _spans("von|vom|van|zu|zur|de|di|da|&")
_WORD = re.compile(r"[^\W\d_]{2,}(?:['’\-][^\W\d_]+)*")
_QUOTE = re.compile('["“„«]([^"“”„«»\n]{2,80})["”“»]')
_ITALIC = re.compile(r"(?<![\w*])\*{1,2}([^*\n]{2,80}?)\*{1,2}(?![\w*])")
_MONTH = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
    "|Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember"
)
_DATE = re.compile(
    rf"(?<![\w.])(?:\d{{1,2}}(?:st|nd|rd|th|\.)? (?:of )?(?:{_MONTH})(?:,? \d{{3,4}})?"
    rf"|(?:{_MONTH}) \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{3,4}})?|(?:{_MONTH}),? \d{{3,4}}"
    r"|\d{4}-\d{2}-\d{2}|(?:1\d|20)\d{2}s?)(?![\w]|[.,]\d)"
)
_NUMBER = re.compile(
    r"(?<![\w.,])[$€£]?\d+(?:[.,]\d+)*(?:[ \u00a0]?(?:%|percent|Prozent|km²?|kg|cm|mm|nm|m²?|ft|mph|km/h"
    r"|[KMGT]B|[kMGT]?Hz|°C|°F|miles?|met(?:er|re)s?|Meter|Kilometer|feet|acres|tons?|Tonnen|years?|Jahre|people"
    r"|Einwohner|inhabitants|dollars?|euros?|Euro|(?:million|billion|trillion|Millionen|Milliarden)(?: [a-z]+)?)(?!\w)"
    r"|(?<=[$€£]\d)|(?<=[$€£]\d\d)|(?<=[$€£]\d\d\d))"
)
_DIGIT = re.compile(r"\d")
_POSSESSIVE = re.compile(r"(?:['’]s?|s['’])\Z")
_END = re.compile(
    r"[.!?]{1,3}[\"'”’»)\]]{0,3}[ \t\u00a0]+(?=[\"'“‘„«(\[]?["
    + _CAPITALS
    + r"\d])|[。！？；]{1,3}[”’」』）]{0,3}|\n\s*"
)
_ABBREVIATED = re.compile(
    r"(?:\b\w|\b(?:Dr|St|Mr|Mrs|Ms|Prof|Mt|Gen|Col|Lt|Sgt|Rev|Hon|vs|ca|approx|bzw))\.\Z"
)
_OPENING = re.compile(r"[\"'“‘„«(\[*_#>\-\s]*")


def split_sentences(text: str) -> list[Sentence]:
    """The sentences of the text; a line break ends one, an initial or an abbreviation does not."""
    sentences: list[Sentence] = []
    start = 0
    for match in _END.finditer(text):
        mark = match.start()
        if text[mark] == "." and _ABBREVIATED.search(text, max(start, mark - 8), mark + 1):
            continue
        said = text[start : match.end()].rstrip()
        if said:
            sentences.append(Sentence(start, start + len(said)))
        start = match.end()
    said = text[start:].rstrip()
    if said:
        sentences.append(Sentence(start, start + len(said)))
    return sentences


def find_terms(text: str, sentences: list[Sentence]) -> list[Term]:
    """What the text names, in order, without overlaps. The same thing is listed wherever it is named."""
    words = [(match.start(), match[0]) for match in _WORD.finditer(text)]
    seen = {word for _, word in words}
    german = len(GERMAN_ONLY & seen) > len(ENGLISH & seen)
    found = _marked(text)
    found += _german_names(text, sentences, words) if german else _names(text, sentences, seen)
    if HAN.search(text):
        found += chinese_terms(text, Term)
    found += _repeated(words)
    return _without_overlaps(found)


def content_words(text: str) -> list[str]:
    """The words of the text that are not function words, in order, each once."""
    words = (match[0] for match in _WORD.finditer(text) if not HAN.search(match[0]))
    return list(dict.fromkeys(word for word in words if word.casefold() not in FUNCTION_WORDS))


# ---- what is marked by signs ---------------------------------------------------------------------------


def _marked(text: str) -> list[Term]:
    """Quoted titles, dates, and numbers with a unit."""
    found = []
    for pattern, sign in ((_QUOTE, '"“„«'), (_ITALIC, "*")):
        if not any(mark in text for mark in sign):
            continue
        for match in pattern.finditer(text):
            inner = match[1].strip(" ,.;:")
            words = inner.split()
            if words and len(words) <= 8 and (inner[0].isupper() or inner[0].isdigit()) and len(inner) > 2:
                found.append(Term(match.start(1), match.end(1), inner, "title"))
    if _DIGIT.search(text):
        found += [Term(m.start(), m.end(), m[0], "date") for m in _DATE.finditer(text)]
        found += [Term(m.start(), m.end(), m[0], "number") for m in _NUMBER.finditer(text)]
    return found


def _repeated(words: list[tuple[int, str]]) -> list[Term]:
    """Lower-case words that occur twice or more and may well be nouns; pairs of them come first."""
    counts = Counter(word for _, word in words if len(word) > 3 and word.islower())
    usual = {
        word
        for word, count in counts.items()
        if count > 1 and word not in FUNCTION_WORDS and not word.endswith(("ly", "ed", "ing"))
    }
    if not usual:
        return []
    places = [(start, word) for start, word in words if word in usual]
    pairs = [
        (start, f"{one} {two}")
        for (start, one), (follows, two) in pairwise(places)
        if follows == start + len(one) + 1
    ]
    twice = {pair for pair, count in Counter(pair for _, pair in pairs).items() if count > 1}
    places += [(start, pair) for start, pair in pairs if pair in twice]
    return [Term(start, start + len(word), word, "term") for start, word in places]


# ---- names ---------------------------------------------------------------------------------------------


def _starts(text: str, sentences: list[Sentence]) -> set[int]:
    """Where the first word of each sentence begins."""
    return {m.end() for start, _ in sentences if (m := _OPENING.match(text, start))}


def _trimmed(match: re.Match[str], dropped_first: frozenset[str]) -> Term | None:
    """A span without function words at its beginning and without a possessive."""
    start, name = match.start(), match[0]
    while True:
        first, space, rest = name.partition(" ")
        lower = first.casefold()
        if lower not in dropped_first or (len(first) > 1 and first.isupper()):
            break
        if not space:
            return None
        # A particle may now stand first, as in "At the Battle".
        while rest[:1].islower():
            rest = rest.partition(" ")[2]
        start = match.end() - len(rest)
        name = rest
    name = (
        _POSSESSIVE.sub("", name).rstrip(".-'’&") if not name.endswith(".") or name.count(".") == 1 else name
    )
    return Term(start, match.end(), name, "name") if len(name) > 1 else None


def _names(text: str, sentences: list[Sentence], seen: set[str]) -> list[Term]:
    """Names in a language that capitalises only names."""
    starts = _starts(text, sentences)
    found: list[Term] = []
    doubtful: list[Term] = []
    sure: set[str] = set()
    for match in _SPANS.finditer(text):
        term = _trimmed(match, ENGLISH_FIRST)
        if term is None:
            continue
        lone = " " not in term.name
        if lone and term.start in starts and not term.name[1:2].isupper():
            doubtful.append(term)
        elif not lone or term.name.casefold() not in COMMON_STARTS:
            found.append(term)
            sure.update(term.name.split())
    for term in doubtful:
        lower = term.name.casefold()
        common = lower in COMMON_STARTS or lower in seen or lower.endswith(("ly", "ing", "ed"))
        if term.name in sure or not common:
            found.append(term)
    return found


def _german_names(text: str, sentences: list[Sentence], words: list[tuple[int, str]]) -> list[Term]:
    """Names and weighty nouns of a German text.

    A noun alone is kept if it is an acronym, a long compound or repeated, or if it stands without article
    or adjective and does not end like an abstract noun: then it is likely a name.
    """
    starts = _starts(text, sentences)
    offsets = [start for start, _ in words]
    counts = Counter(word for _, word in words)
    found = []
    for match in _GERMAN_SPANS.finditer(text):
        term = _trimmed(match, GERMAN_FIRST)
        if term is None:
            continue
        name = term.name
        if " " in name or (len(name) > 1 and name[:2].isupper()):
            found.append(term)
            continue
        abstract = name.casefold().endswith(GERMAN_NOUN_ENDINGS)
        if len(name) >= 12 or (len(name) > 3 and counts[name] > 1):
            found.append(term._replace(type="term" if abstract or len(name) >= 12 else "name"))
            continue
        position = bisect_right(offsets, term.start - 1) - 1
        before = words[position][1] if position >= 0 and term.start not in starts else ""
        named = before in GERMAN if before else name.casefold() not in COMMON_STARTS
        if named and not abstract and len(name) > 2:
            found.append(term)
    return found


_RANK = ("title", "date", "name", "number", "term")


def _without_overlaps(found: list[Term]) -> list[Term]:
    """The terms in order; where two overlap the longer stays, then the surer kind."""
    found.sort(key=lambda term: (term.start, -term.stop, _RANK.index(term.type)))
    kept: list[Term] = []
    for term in found:
        if kept and term.start < kept[-1].stop:
            last = kept[-1]
            if term.stop - term.start > last.stop - last.start:
                kept[-1] = term
            continue
        kept.append(term)
    return kept
