"""What an LLM said of a chunk, in the forms that the engines before this one asked for.

    ("entity"<|>"Marley"<|>"person"<|>"Marley is dead.")##
    ("relationship"<|>"Marley"<|>"Scrooge"<|>"Marley was Scrooge's partner."<|>9)##
    <|COMPLETE|>

is the older form; a relation has keywords before its strength in those of LightRAG. Newer replies are in the form
that this engine asks for, or in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain

from stateless_rag.stages.extract import merge_passes
from stateless_rag.stages.records import DELIMITER, ParsedReply, parse_records, parse_reply
from stateless_rag.text import KeyPolicy, entity_key

__all__ = ["matched", "parsed_passes", "parsed_reply"]

_OLD = re.compile(r'\(\s*"?(?:entity|relationship)"?\s*<?\|>', re.IGNORECASE)
_OLD_END = re.compile(r"##|[\r\n]+|<\|COMPLETE\|>")
_OLD_DELIMITER = re.compile(r"<?\|>")
_STRENGTH = re.compile(r"\d+(?:\.\d+)?")


def parsed_passes(replies: Sequence[str], policy: KeyPolicy) -> ParsedReply | None:
    """What the replies to one chunk say together, as the engine itself merges passes; None if they say nothing."""
    passes = [found for found in map(parsed_reply, replies) if found.entities or found.relations]
    return reduce(lambda one, other: merge_passes(one, other, policy), passes) if passes else None


def parsed_reply(reply: str) -> ParsedReply:
    """The records of a reply in any of the forms."""
    if DELIMITER in reply or not _OLD.search(reply):
        return parse_reply(reply)
    return parse_records("\n".join(filter(None, map(_translated, _OLD_END.split(reply)))))


def _translated(record: str) -> str:
    """A record of the older form as one of the newer; "" for anything else."""
    inner = record.strip().removeprefix("(").removesuffix(")")
    head, *fields = (field.strip().strip('"').strip() for field in _OLD_DELIMITER.split(inner))
    if head.casefold() == "entity" and len(fields) >= 3:
        return DELIMITER.join(("entity", *fields[:3]))
    if head.casefold() == "relationship" and len(fields) in (4, 5):
        source, target, description, *rest = fields
        keywords = "" if _STRENGTH.fullmatch(rest[0]) else rest[0]
        return DELIMITER.join(("relation", source, target, keywords, description))
    return ""


def matched(
    replies: Iterable[str], evidence: Mapping[str, frozenset[str]], policy: KeyPolicy = "casefold"
) -> dict[str, list[str]]:
    """Which chunk each reply is about, where no file tells: the one chunk that all of its names are known from.

    `evidence` has the chunks of each entity key. Replies that fit several chunks, or none, are left out.
    """
    found: dict[str, list[str]] = {}
    for reply in replies:
        parsed = parsed_reply(reply)
        names = {*(name for name, _, _ in parsed.entities), *chain(*(row[:2] for row in parsed.relations))}
        chunks = [evidence.get(entity_key(name, policy), frozenset()) for name in names]
        common = frozenset.intersection(*chunks) if chunks else frozenset()
        if len(common) == 1:
            found.setdefault(next(iter(common)), []).append(reply)
    return found
