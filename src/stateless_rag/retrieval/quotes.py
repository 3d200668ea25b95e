"""What an answer quotes, found again in the passages it was given."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stateless_rag.types import Quote, Unsupported

if TYPE_CHECKING:
    from stateless_rag.types import Citation, Passage, Reference

__all__ = ["locate_quotes", "quotes_in"]

# Code first, so that what it holds is no quotation.
_QUOTED = re.compile(
    r"(?P<code>```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`)"
    r'|"(?P<straight>[^"“”\n]+)"|“(?P<curly>[^“”\n]+)”|„(?P<low>[^„“”\n]+)[“”]'
    r"|«(?P<guillemets>[^«»\n]+)»|»(?P<reversed>[^«»\n]+)«|「(?P<corner>[^「」\n]+)」"
    r"|^[ ]{0,3}>[ ]?(?P<block>[^\n]+(?:\n[ ]{0,3}>[ ]?[^\n]*)*)",
    re.DOTALL | re.MULTILINE,
)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
_LEFT_OUT = re.compile(r"\s*[\[(]?(?:…|\.\s?\.\s?\.)[\])]?\s*")
_MARK = re.compile(r"[ \t]*[\[【]\d{1,3}(?:[,;\s–-]+\d{1,3})*[\]】]")
_LINE = re.compile(r"\n[ ]{0,3}>[ ]?")
_LEAST_WORDS, _LONGEST, _MOST = 4, 4000, 100  # words, characters, quotes
_STOPS = ".,;:!?"
# What may stand between two characters of a quote without it being another: emphasis, soft hyphens, marks.
_GAP = r"(?:[*_\u00ad\u200b-\u200d\u2060\ufeff]|\[\d{1,3}\])*"
_DOUBLE, _SINGLE, _DASH = '"“”„‟«»″「」', "'‘’‚‛′`´", "-‐‑‒–—―−"
_NEAR = 240  # characters between a quote and the citation that belongs to it


def quotes_in(text: str) -> Iterator[tuple[int, str]]:
    """The quotations of at least four words in a text: offset and words, without the marks around them."""
    for found in _QUOTED.finditer(text):
        kind = found.lastgroup
        if kind is None or kind == "code":
            continue
        said = found[kind]
        at = found.start(kind) + len(said) - len(said.lstrip())
        said = said.strip()
        if len(said) <= _LONGEST and len(_WORD.findall(said)) >= _LEAST_WORDS:
            yield at, said


def locate_quotes(
    text: str,
    passages: Sequence[Passage],
    references: Sequence[Reference],
    citations: Sequence[Citation],
) -> tuple[tuple[Quote, ...], tuple[Unsupported, ...]]:
    """The quotations of an answer that a passage has, and those that none has; `references` has one per passage.

    Of several passages that have it, the one that is cited next after the quote is taken, else the best ranked.
    """
    located: list[Quote] = []
    missing: list[Unsupported] = []
    for (at, said), _ in zip(quotes_in(text), range(_MOST), strict=False):
        cited = _cited_after(at + len(said), citations)
        order = sorted(range(len(passages)), key=lambda place: references[place].number not in cited)
        quote = _located(at, said, [(passages[place], references[place]) for place in order])
        if quote is None:
            missing.append(Unsupported(kind="quote", text=said, at=at))
        else:
            located.append(quote)
    return tuple(located), tuple(missing)


def _cited_after(stop: int, citations: Sequence[Citation]) -> frozenset[int]:
    near = (one for one in citations if stop <= one.at <= stop + _NEAR)
    return frozenset(next((one.numbers for one in near), ()))


def _located(at: int, said: str, given: Sequence[tuple[Passage, Reference]]) -> Quote | None:
    for passage, reference in given:
        start = passage.text.find(said)
        if start >= 0:
            return _quote(at, said, passage, reference, (start, start + len(said)), exact=True)
    for pattern in _patterns(said):
        for passage, reference in given:
            found = pattern.search(passage.text)
            if found is not None:
                return _quote(at, said, passage, reference, found.span(), exact=False)
    return None


def _quote(
    at: int, said: str, passage: Passage, reference: Reference, span: tuple[int, int], *, exact: bool
) -> Quote:
    start, stop = passage.start + span[0], passage.start + span[1]
    return Quote(text=said, at=at, reference=replace(reference, start=start, stop=stop), exact=exact)


def _patterns(said: str) -> Iterator[re.Pattern[str]]:
    """Expressions for the same words: as said, then without a stop at the end."""
    bare = _MARK.sub("", _LINE.sub("\n", said)).strip()
    for words in dict.fromkeys((bare, bare.rstrip(_STOPS))):
        parts = [part for part in _LEFT_OUT.split(words) if part.strip(_STOPS + " ")]
        if parts:
            yield re.compile(r"[^\0]{0,2000}?".join(map(_tolerant, parts)))


def _tolerant(words: str) -> str:
    """An expression for words whatever their white space, quotation marks, dashes and composed characters."""
    pieces: list[str] = []
    for number, cluster in enumerate(_clusters(words)):
        if cluster.isspace():
            pieces.append(r"\s+")
        elif cluster in _DOUBLE:
            pieces.append(f"[{re.escape(_DOUBLE)}]")
        elif cluster in _SINGLE:
            pieces.append(f"[{re.escape(_SINGLE)}]")
        elif cluster in _DASH:
            pieces.append(f"[{re.escape(_DASH)}]+")
        elif cluster not in "*_":
            forms = {cluster, *(unicodedata.normalize(form, cluster) for form in ("NFC", "NFD", "NFKC"))}
            if number == 0:
                forms |= {form.swapcase() for form in forms}
            pieces.append(f"(?:{'|'.join(map(re.escape, sorted(forms)))})")
    return _GAP.join(pieces)


def _clusters(words: str) -> Iterator[str]:
    """Characters with the accents that follow them; white space as one, dashes as one."""
    cluster = ""
    for character in words:
        joined = (cluster.isspace() and character.isspace()) or (
            bool(cluster) and cluster in _DASH and character in _DASH
        )
        if cluster and joined:
            continue
        if cluster and unicodedata.combining(character) and not cluster.isspace():
            cluster += character
            continue
        if cluster:
            yield cluster
        cluster = character
    if cluster:
        yield cluster
