"""The built-in extractor: without a model it finds names and terms that occur together.

What a text names (see `terms`) becomes entities; those that follow each other in a sentence become relations,
and the title of the text is related to what its sentences name. Descriptions are quotations of those sentences, between
‟ and ”, which are not embedded once more. Pure, deterministic, and fast: it stands in for an LLM when there is none,
and reads questions for keywords.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from stateless_rag.checks import whole
from stateless_rag.providers.stopwords import FUNCTION_WORDS
from stateless_rag.providers.terms import Sentence, Term, content_words, find_terms, split_sentences
from stateless_rag.providers.terms_chinese import HAN, chinese_words
from stateless_rag.text import entity_key, normalize_name, quotation
from stateless_rag.types import Chunk, EntityMention, Extraction, Keywords, RelationMention

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stateless_rag.context import Context
    from stateless_rag.text import KeyPolicy

__all__ = ["CooccurrenceExtractor", "builtin_keywords"]

_GENERATION = "builtin-4"
_INLINE_CHARACTERS = 1_500  # about a millisecond, and many may have their turn one after the other
_PER_SENTENCE = 12
_DESCRIPTION = 300
_SENTENCE = 600
_BETWEEN = 40
_BETWEEN_WORDS = 6
_TOGETHER = "occurs with"
_TITLE_LENGTH = 80
_TITLE_WORDS = 12
_HEADING = re.compile(r"\s*#{1,6}[ \t]+([^\n]+)")
_FIRST_LINE = re.compile(r"\s*(\S[^\n]*)\n(\s*\n)?([^\n]*)")
_PARENTHESIS = re.compile(r"\s*[(（][^()（）]*[)）]\Z")
_NO_TITLE_END = tuple(".!?,;:。！？，；：…")
_NAME_PARTS = re.compile("[ ·•・]")
_EDGE = " \t\n,.;:!?()[]{}\"'“”‘’„«»《》「」『』（），。；：！？、*_–—-"
_WEIGHT = ("title", "name", "term", "date", "number")


class CooccurrenceExtractor:
    """Finds at most `max_entities` entities in a chunk, and joins neighbours. Asks no provider."""

    def __init__(self, max_entities: int = 40) -> None:
        self._max_entities = whole("max_entities", max_entities)

    def generation(self, context: Context) -> str:  # noqa: ARG002 -- the protocol's; nothing else decides
        """Names the version of the rules, and the bound where it is not the usual one."""
        return _GENERATION if self._max_entities == 40 else f"{_GENERATION}-{self._max_entities}"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        """Extract one chunk; nothing can fail."""
        # Never waiting, a row of chunks would keep the event loop from its other tasks.
        await asyncio.sleep(0)
        policy = context.settings.merging.key_policy
        reading = _Reading(chunk, self.generation(context), policy, self._max_entities)
        if len(chunk.text) <= _INLINE_CHARACTERS:
            return reading.extraction()
        return await asyncio.to_thread(reading.extraction)


# ---- a chunk -------------------------------------------------------------------------------------------


class _Named:
    """One entity of a chunk while it is read."""

    __slots__ = ("first", "key", "name", "order", "places", "type")

    def __init__(self, key: str, name: str, type_: str, order: int) -> None:
        self.key = key
        self.name = name
        self.type = type_
        self.order = order
        self.places = 0
        self.first: list[int] = []


class _Reading:
    """Reads one chunk, from places where something is named to mentions."""

    def __init__(self, chunk: Chunk, generation: str, policy: KeyPolicy, bound: int) -> None:
        self._chunk = chunk
        self._text = chunk.text
        self._generation = generation
        self._policy: KeyPolicy = policy
        self._bound = bound
        self._sentences = split_sentences(chunk.text)
        self._said = [" ".join(chunk.text[start:stop].split()) for start, stop in self._sentences]
        self._named: dict[str, _Named] = {}
        self._spelled: dict[str, _Named | None] = {}

    def extraction(self) -> Extraction:
        """What the chunk says."""
        terms = find_terms(self._text, self._sentences)
        title = self._title()
        self._shorten(terms)
        rows = self._rows(terms)
        kept = self._kept(title)
        relations = self._relations(rows, kept, title)
        return Extraction(
            chunk_id=self._chunk.id,
            generation=self._generation,
            entities=tuple(self._mention(kept[key]) for key in sorted(kept)),
            relations=tuple(relations[pair] for pair in sorted(relations)),
        )

    def _title(self) -> _Named | None:
        name = title_of(self._text)
        return self._entity(name, "title") if name else None

    def _entity(self, spelled: str, type_: str) -> _Named | None:
        if spelled in self._spelled:
            return self._spelled[spelled]
        name = spelled if spelled.isascii() and "  " not in spelled else normalize_name(spelled)
        key = entity_key(name, self._policy)
        named = self._named.get(key) if key else None
        if named is None and key:
            named = _Named(key, name, type_, len(self._named))
            self._named[key] = named
        self._spelled[spelled] = named
        return named

    def _shorten(self, terms: Sequence[Term]) -> None:
        """Let the last word of a name stand for the name, where the chunk has only one that ends so."""
        full: dict[str, set[str]] = {}
        for term in terms:
            if term.type == "name":
                parts = _NAME_PARTS.split(term.name)
                # Not the last of "Duke of Tuscany": that is something else.
                if len(parts) > 1 and not parts[-2].islower():
                    full.setdefault(parts[-1], set()).add(term.name)
        for last, names in full.items():
            if len(names) == 1 and last not in self._spelled and len(last) > 1 and not last.isupper():
                self._spelled[last] = self._entity(min(names), "name")

    def _rows(self, terms: Iterable[Term]) -> list[list[tuple[_Named, Term]]]:
        """For each sentence what it names, in order."""
        starts = [sentence.start for sentence in self._sentences]
        rows: list[list[tuple[_Named, Term]]] = [[] for _ in starts]
        for term in terms:
            named = self._entity(term.name, term.type)
            place = bisect_right(starts, term.start) - 1
            if named is None or place < 0:
                continue
            named.places += 1
            if len(named.first) < 2 and place not in named.first:
                named.first.append(place)
            rows[place].append((named, term))
        return rows

    def _kept(self, title: _Named | None) -> dict[str, _Named]:
        """The entities within the bound: the title, then by kind and how often they are named."""

        def rank(named: _Named) -> tuple[int, int, int]:
            worth = _WEIGHT.index(named.type) if named is not title else -1
            return (worth, -named.places, named.order)

        ranked = sorted(self._named.values(), key=rank)[: self._bound]
        return {named.key: named for named in ranked if named.places or named is title}

    def _mention(self, named: _Named) -> EntityMention:
        first = named.first or list(range(min(2, len(self._said))))
        # A title says little about itself; the sentence after it does.
        if len(first) == 1 and first[0] == 0 and len(self._said) > 1 and self._said[0] == named.name:
            first = [0, 1]
        description = " ".join(self._said[place] for place in first)
        return EntityMention(
            self._chunk.id,
            self._generation,
            named.key,
            named.name,
            named.type,
            quotation(_cut(description, _DESCRIPTION)),
        )

    def _relations(
        self, rows: Sequence[Sequence[tuple[_Named, Term]]], kept: dict[str, _Named], title: _Named | None
    ) -> dict[tuple[str, str], RelationMention]:
        """Neighbours in a sentence, and the title with what is named; each pair once, by its first sentence."""
        found: dict[tuple[str, str], RelationMention] = {}
        for place, row in enumerate(rows):
            usable = [(named, term) for named, term in row if named.key in kept][:_PER_SENTENCE]
            if not usable:
                continue
            said = quotation(_cut(self._said[place], _SENTENCE))
            for (one, before), (other, after) in pairwise(usable):
                self._relate(found, one, other, self._text[before.stop : after.start], said)
            if title is not None:
                for named in dict.fromkeys(named for named, _ in usable):
                    self._relate(found, title, named, "", said)
        return found

    def _relate(
        self,
        found: dict[tuple[str, str], RelationMention],
        one: _Named,
        other: _Named,
        between: str,
        said: str,
    ) -> None:
        pair = (one.key, other.key) if one.key <= other.key else (other.key, one.key)
        if one.key != other.key and pair not in found:
            found[pair] = RelationMention(
                self._chunk.id,
                self._generation,
                one.key,
                other.key,
                one.name,
                other.name,
                (_between(between),),
                said,
            )


def title_of(text: str) -> str:
    """The title that a text begins with, without a remark in parentheses at its end; "" if it has none.

    A heading, or a short first line without a mark at its end, before an empty or a longer line.
    """
    heading = _HEADING.match(text)
    line = heading[1].strip("# \t") if heading else ""
    if not heading and (first := _FIRST_LINE.match(text)):
        line = first[1].rstrip()
        follows = bool(first[2]) or len(first[3]) * 2 > len(line) * 3
        if not follows or line.endswith(_NO_TITLE_END) or line[0].islower():
            return ""
    if len(line) > _TITLE_LENGTH or len(line.split()) > _TITLE_WORDS:
        return ""
    line = line.strip("*_ ")
    return normalize_name(_PARENTHESIS.sub("", line) or line)


def _between(text: str) -> str:
    """The words between two names as a key phrase, if they are few; else that they occur together."""
    words = " ".join(text.rpartition(")")[2].split()).strip(_EDGE)
    if not words or len(words) > _BETWEEN or words.count(" ") >= _BETWEEN_WORDS:
        return _TOGETHER
    if words.casefold() in ("and", "or", "und", "oder", "the", "a", "和", "与", "及", "或", "'s", "s"):
        return _TOGETHER
    # A comma separates key phrases.
    return _TOGETHER if "," in words or "，" in words else words


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = text.rfind(" ", limit // 2, limit)
    return text[: cut if cut > 0 else limit - 1].rstrip() + "…"


# ---- questions -----------------------------------------------------------------------------------------


def builtin_keywords(question: str) -> Keywords:
    """What a question is about, by the same rules: names, titles and numbers are low-level, other content
    words high-level. A question of function words only is its own low-level keyword.
    """
    sentences = [Sentence(0, len(question))]
    low: dict[str, str] = {}
    covered: set[str] = set()
    for term in find_terms(question, sentences):
        name = normalize_name(term.name)
        if name:
            low.setdefault(name.casefold(), name)
            covered.update(word.casefold() for word in name.split())
    words = content_words(question)
    if HAN.search(question):
        names = "\n".join(low.values())
        words += [word for word in chinese_words(question) if word not in names]
    high = {
        word.casefold(): word
        for word in words
        if word.casefold() not in covered and word.casefold() not in FUNCTION_WORDS
    }
    if not (low or high) and any(character.isalnum() for character in question):
        low[""] = " ".join(question.split())
    return Keywords(high_level=tuple(high.values()), low_level=tuple(low.values()))
