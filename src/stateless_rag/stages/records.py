"""Records: what an LLM's reply says, as values. Pure; never raises; time grows with the reply's length only.

In text mode a reply has one record per line, fields separated by `<|#|>`, and ends with `<|COMPLETE|>`:

    entity<|#|>Ada Lovelace<|#|>Person<|#|>Ada Lovelace wrote the first program.
    relation<|#|>Ada Lovelace<|#|>Charles Babbage<|#|>friendship<|#|>Ada Lovelace was a friend of Babbage.
    <|COMPLETE|>

In JSON mode it is an object with the lists `entities` and `relationships`. Models damage both forms in known
ways; what can be told is repaired, what cannot is left out and counted by reason.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html import unescape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.lenient_json import read_object
from stateless_rag.text import clean_text, normalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "COMPLETE",
    "DELIMITER",
    "EntityRecord",
    "ParsedReply",
    "RelationRecord",
    "parse_json",
    "parse_records",
    "parse_reply",
    "split_keywords",
]

DELIMITER = "<|#|>"
COMPLETE = "<|COMPLETE|>"

EntityRecord = tuple[str, str, str]
RelationRecord = tuple[str, str, tuple[str, ...], str]

_REPLY_LIMIT = 1_000_000
_DESCRIPTION_LIMIT = 10_000
_NO_WARNINGS: Mapping[str, int] = MappingProxyType({})

_COMPLETE = re.compile(
    r"[<＜]{1,2}[|｜]{1,2}\s?COMPLETED?\s?[|｜]{0,2}[>＞]{1,2}|[<＜][|｜]COMPLETE\b", re.IGNORECASE
)
# Tokens by which some models mark the end of a turn; they would look like delimiters with letters in them.
_TURN = re.compile(
    r"<\|(?:end|eot|eot_id|eom_id|im_end|im_start|end_of_text|endoftext|return)\|>", re.IGNORECASE
)
# A delimiter with parts doubled, missing, escaped, in full width, or with letters inside.
_DAMAGED = re.compile(
    r"(?:[<＜]{1,2}[|｜]{0,2}|[|｜]{1,2})\s?\\?[#＃]{1,3}[A-Za-z]{0,4}\s?(?:[|｜]{0,2}[>＞]{1,2}|[|｜]{1,2})"
    r"|[<＜]{1,2}[|｜]{1,2}[A-Za-z]{1,4}[#＃]{0,2}[|｜]{1,2}[>＞]{1,2}"
    r"|[<＜]{1,2}[|｜]{2}[>＞]{1,2}"
)
_ODD_MARKS = ("＜", "｜", "<<|", "|>>")
# Also an operator of programming languages, so it counts only where a delimiter is missing.
_BARE = re.compile(r"(?<=[\w.\"'”’)。！？])\s?<\|>\s?(?=[\w\"'“‘(《])")
_HEAD = re.compile(r"\W*(entity|relation(?:ship)?)\W*", re.IGNORECASE)
_GLUED_HEAD = re.compile(r"(.*\S)\s*\b(entity|relation(?:ship)?)\W{0,4}", re.IGNORECASE | re.DOTALL)
_WHOLE_END = re.compile(r"[.!?。！？…][\"'”’)\]»」]*\s*\Z")
_FENCE = re.compile(r"`{3,}\w*")
_JSON_START = re.compile(r"\s*(?:`{3,}\w*\s*)?[{\[]")
_JSON_KEY = re.compile(r"\{\s*[\"'“”]?(?:entities|relation(?:ship)?s)\b")
_MARKUP = re.compile(r"</?(?:p|br)\s*/?>", re.IGNORECASE)
_LINE_BREAK = re.compile(r"\r\n?|\n")
_COMMA = re.compile("[,，、]")
_BAD_TYPE = re.compile(r"['()<>|/\\]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RESERVED = frozenset({"__proto__", "constructor", "prototype"})
# "7" and "3.1" say nothing without what was counted; "1945" and "747" are names.
_MERE_NUMBER = re.compile(r"\d{1,2}|(?=.{1,5}\Z)[\d.]*\.[\d.]*")


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The records of a reply in the order they were written, names normalised.

    An entity is (name, type, description), a relation (source, target, keywords, description). `warnings`
    counts what could not be used, by reason. `complete`: the reply ended the way it was asked to.
    """

    entities: tuple[EntityRecord, ...] = ()
    relations: tuple[RelationRecord, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=lambda: _NO_WARNINGS)
    complete: bool = False


def parse_reply(reply: str, *, cut: bool = False) -> ParsedReply:
    """The records of a reply in whichever form it is written. `cut`: the provider says that it was cut off."""
    starts, keyed = _JSON_START.match(reply), _JSON_KEY.search(reply)
    if DELIMITER in reply:
        return parse_json(reply) if starts and keyed else parse_records(reply, cut=cut)
    return parse_json(reply) if starts or keyed else parse_records(reply, cut=cut)


# ---- text mode -----------------------------------------------------------------------------------------


def parse_records(reply: str, *, cut: bool = False) -> ParsedReply:
    """The records of a reply in text mode.

    The last line of a reply that was `cut` off is left out, unless a line break, a completion marker or the end
    of a sentence follows it.
    """
    found = _Collector()
    text, complete = _without_marks(found.bounded(reply))
    lines = _LINE_BREAK.split(text)
    sound = not _has_marks(text)
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or (line[0] == "`" and _FENCE.fullmatch(line)):
            continue
        row = _whole_row(line) if sound or not _has_marks(line) else None
        if row is not None and not cut:
            _take_whole_row(row, found)
            continue
        rows = [row] if row is not None else _rows(line)
        if cut and number == len(lines) and not complete and not _WHOLE_END.search(line):
            found.warn("cut off")
            rows = rows[:-1]
        for row in rows:
            _take_row(row, found)
    return found.parsed(complete)


def _without_marks(text: str) -> tuple[str, bool]:
    """The reply with a line break for each mark of an end, and whether it said that it is complete."""
    marks = text.count(COMPLETE)
    if text.count("<|") == text.count(DELIMITER) + marks and not any(odd in text for odd in _ODD_MARKS):
        return text.replace(COMPLETE, "\n"), marks > 0
    text = _TURN.sub("\n", text)
    return _COMPLETE.sub("\n", text), bool(_COMPLETE.search(text))


def _has_marks(text: str) -> bool:
    """Whether something is left of which a delimiter could be made, if those that are whole are taken out."""
    apart = text.replace(DELIMITER, "\n")
    return "<" in apart or "|" in apart or "＜" in apart or "｜" in apart


def _whole_row(line: str) -> list[str] | None:
    """The record of a line in which nothing is damaged: most lines, so they are spared the search for it."""
    fields = line.split(DELIMITER)
    whole = (fields[0] == "entity" and len(fields) == 4) or (fields[0] == "relation" and len(fields) == 5)
    return fields if whole and fields[-1] else None


def _take_whole_row(fields: Sequence[str], found: _Collector) -> None:
    if len(fields) == 4:
        found.entity(*fields[1:])
    else:
        found.relation(fields[1], fields[2], (fields[3],), fields[4])


def _rows(line: str) -> list[list[str]]:
    """The records of one line, as fields. Most often there is one; a missing line break glues several."""
    line = _DAMAGED.sub(DELIMITER, line)
    fields = _fields(line)
    if not _is_row(fields):
        fields = _fields(_BARE.sub(DELIMITER, line))
    if _is_row(fields) or len(fields) < 5:
        return [fields]
    rows: list[list[str]] = []
    for text in fields:
        head = _HEAD.fullmatch(text)
        if rows and not head and len(rows[-1]) == _arity(rows[-1]):
            # More fields than the record has: its last may end with the head of the next.
            glued = _GLUED_HEAD.fullmatch(rows[-1][-1])
            if glued:
                rows[-1][-1] = glued[1]
                rows.append([glued[2]])
        if head or not rows:
            rows.append([text])
        else:
            rows[-1].append(text)
    return rows


def _fields(line: str) -> list[str]:
    fields = [field.strip() for field in line.split(DELIMITER)]
    filled = [number for number, text in enumerate(fields) if text]
    fields = fields[filled[0] : filled[-1] + 1] if filled else [""]
    if fields[0].startswith("(") and fields[-1].endswith(")"):
        fields[-1] = fields[-1][:-1]
    return fields


def _arity(fields: Sequence[str]) -> int:
    head = fields[0].casefold()
    return 4 if "entity" in head else 5 if "relation" in head else 0


def _is_row(fields: Sequence[str]) -> bool:
    # Five fields under "entity" are a relation whose head was mistaken.
    return len(fields) == _arity(fields) or (len(fields) == 5 and _arity(fields) == 4)


def _take_row(fields: Sequence[str], found: _Collector) -> None:
    if not _is_row(fields):
        found.warn("no record" if len(fields) == 1 else "wrong number of fields")
    elif len(fields) == 4:
        found.entity(*fields[1:])
    else:
        found.relation(fields[1], fields[2], (fields[3],), fields[4])


# ---- JSON mode -----------------------------------------------------------------------------------------


def parse_json(reply: str) -> ParsedReply:
    """The records of a reply in JSON mode. A list at the top level is refused."""
    found = _Collector()
    reading = read_object(found.bounded(reply), ("entities", "relationships", "relations"))
    if reading.value is None:
        found.warn("array" if reading.array else "no object")
        return found.parsed(complete=False)
    for item in _items(reading.value.get("entities"), found):
        found.entity(_text(item, "name", "entity_name", "entity"), _text(item, "type", "entity_type"),
                     _text(item, "description"))  # fmt: skip
    relations = reading.value.get("relationships", reading.value.get("relations"))
    for item in _items(relations, found):
        keywords = item.get("keywords", item.get("relationship_keywords"))
        found.relation(
            _text(item, "source", "source_entity", "src_id"),
            _text(item, "target", "target_entity", "tgt_id"),
            [_string(word) for word in keywords] if isinstance(keywords, list) else [_string(keywords)],
            _text(item, "description"),
        )
    return found.parsed(complete=reading.whole)


def _items(value: object, found: _Collector) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    rows = [item for item in items if isinstance(item, dict)]
    found.warn("no record", len(items) - len(rows))
    return rows


def _text(item: Mapping[str, Any], *names: str) -> str:
    return next((text for name in names if (text := _string(item.get(name)))), "")


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


# ---- one record ----------------------------------------------------------------------------------------


class _Collector:
    """Takes the records that can be used, and counts the others."""

    def __init__(self) -> None:
        self._entities: list[EntityRecord] = []
        self._relations: list[RelationRecord] = []
        self._warnings: Counter[str] = Counter()
        # A reply says most names several times, and few types: each is cleaned once.
        self._named: dict[str, str] = {}
        self._typed: dict[str, str] = {}

    def warn(self, reason: str, count: int = 1) -> None:
        self._warnings[reason] += count

    def bounded(self, reply: str) -> str:
        if len(reply) > _REPLY_LIMIT:
            self.warn("too long")
        return reply[:_REPLY_LIMIT]

    def parsed(self, complete: bool) -> ParsedReply:
        warnings = {reason: count for reason, count in sorted(self._warnings.items()) if count}
        return ParsedReply(
            tuple(self._entities), tuple(self._relations), MappingProxyType(warnings), complete
        )

    def entity(self, name: str, type_: str, description: str) -> None:
        name, description = self._name(name), _description(description)
        if not name:
            self.warn("bad name")
        elif not (shown := self._type(type_)):
            self.warn("bad type")
        elif not description:
            self.warn("no description")
        else:
            self._entities.append((name, shown, description))

    def relation(self, source: str, target: str, keywords: Iterable[str], description: str) -> None:
        source, target, description = self._name(source), self._name(target), _description(description)
        if not (source and target):
            self.warn("bad name")
        elif source == target:
            self.warn("self loop")
        elif not description:
            self.warn("no description")
        else:
            self._relations.append((source, target, split_keywords(*keywords), description))

    def _name(self, text: str) -> str:
        name = self._named.get(text)
        if name is None:
            name = self._named[text] = _name(text)
        return name

    def _type(self, text: str) -> str:
        type_ = self._typed.get(text)
        if type_ is None:
            type_ = self._typed[text] = _type(text)
        return type_


def split_keywords(*texts: str) -> tuple[str, ...]:
    """Key phrases separated by commas (full-width and enumeration commas too), normalised, unique, sorted.

    >>> split_keywords("war, peace，war", "love")
    ('love', 'peace', 'war')
    """
    if len(texts) == 1 and not _COMMA.search(texts[0]):
        only = normalize_name(texts[0])
        return (only,) if only else ()
    words = (normalize_name(word) for text in texts for word in _COMMA.split(text))
    return tuple(sorted({word for word in words if word}))


def _name(name: str) -> str:
    if "&" in name:
        name = unescape(name[: 4 * 256])
    if "<" in name:
        name = _MARKUP.sub(" ", name[: 4 * 256])
    name = normalize_name(name[: 4 * 256])
    return "" if _MERE_NUMBER.fullmatch(name) else name


def _type(text: str) -> str:
    """A type as it is shown: lower case, words apart ("NaturalObject": "natural object"); "" if unusable."""
    text = next((part for part in _COMMA.split(text) if part.strip()), "")
    if _BAD_TYPE.search(text):
        return ""
    shown = _CAMEL.sub(" ", normalize_name(text)).casefold()
    return "" if shown in _RESERVED else shown


def _description(text: str) -> str:
    text = text.strip()[:_DESCRIPTION_LIMIT].rstrip()
    # All white space but the plain space counts as not printable.
    if text.isprintable() and "  " not in text and "&" not in text and "<" not in text:
        return text
    text = clean_text(unescape(text) if "&" in text else text)
    return " ".join((_MARKUP.sub(" ", text) if "<" in text else text).split())
