"""Link: the entities and titles that a question names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.providers.stopwords import FUNCTION_WORDS
from stateless_rag.stores.ids import id_array
from stateless_rag.text import plain_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.protocols import Links, Snapshot

__all__ = ["Named", "keyword_nodes", "named_nodes"]

_MOST_WORDS = 14
_TOKENS = 128  # of a longer question only so much is looked at
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Named:
    """A node that a question names: its id, its position among the links, and how many chunks it leads to."""

    id: int
    name: str
    position: int
    chunks: int


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    stop: int
    text: str
    node: int


def named_nodes(snapshot: Snapshot, links: Links, question: str) -> list[Named]:
    """Entities and titles whose whole name stands in the question, the longest at each place, in its order.

    A name has to look like one: in the question it has a capital (or a script without them), and in the texts it
    is not written small. Titles of several words are found however they are written. Nodes that no allowed chunk
    is linked with are left out.
    """
    spans = list(_spans(snapshot, question))
    positions = links.positions(id_array(span.node for span in spans))
    counts = links.chunk_counts(positions, snapshot.mask)
    entities = snapshot.entities([span.node for span, at in zip(spans, positions, strict=True) if at >= 0])
    found: dict[int, Named] = {}
    reached = 0
    for span, at, chunks in zip(spans, positions.tolist(), counts.tolist(), strict=True):
        if at < 0 or not chunks or span.start < reached:
            continue
        entity = entities.get(span.node)
        if _is_name(span, entity.name if entity is not None else None):
            found.setdefault(span.node, Named(span.node, span.text, at, chunks))
            reached = span.stop
    return list(found.values())


def _spans(snapshot: Snapshot, question: str) -> Iterator[_Span]:
    """All runs of words, by where they begin, the longest first."""
    tokens = [match.span() for match in _TOKEN.finditer(question)][:_TOKENS]
    words = [question[start].isalnum() for start, _ in tokens]
    for first, (start, _) in enumerate(tokens):
        if words[first]:
            for _, stop in reversed(tokens[first : first + _MOST_WORDS]):
                text = question[start:stop]
                # Where the texts write no accents; what is written as in the question goes before.
                for name in dict.fromkeys((text, plain_letters(text))):
                    node = snapshot.node(name)
                    if node is not None:
                        yield _Span(start, stop, text, node)


def _is_name(span: _Span, known: str | None) -> bool:
    """`known` is the entity's name in the texts; None for what is a title only."""
    text = span.text
    if text.casefold() in FUNCTION_WORDS or not any(character.isalpha() for character in text):
        return False
    cased = text.casefold() != text.upper()
    capital = any(character.isupper() for character in text) or not cased
    if known is None:
        return capital or " " in text
    return capital and not known[:1].islower()


def keyword_nodes(snapshot: Snapshot, links: Links, keywords: Sequence[str]) -> list[Named]:
    """Entities and titles that have exactly one of the names, in the order of the names."""
    nodes = {node: name for name in keywords if (node := snapshot.node(name)) is not None}
    positions = links.positions(id_array(nodes))
    counts = links.chunk_counts(positions, snapshot.mask)
    rows = zip(nodes.items(), positions.tolist(), counts.tolist(), strict=True)
    return [Named(node, name, at, chunks) for (node, name), at, chunks in rows if chunks]
