"""What chunks say, and the entities and relations that it adds up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = [
    "Entity",
    "EntityMention",
    "Extraction",
    "GraphDelta",
    "Relation",
    "RelationMention",
]


@dataclass(frozen=True, slots=True, order=True)
class EntityMention:
    """What one chunk says about one entity. All fields together are its identity.

    `key` is the raw key (`stateless_rag.text.entity_key` of `name`). A mention that a relation implies (the
    extractor named the endpoint in a relation only) has the type "" and the relation's description.
    """

    chunk_id: str
    generation: str
    key: str
    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True, order=True)
class RelationMention:
    """What one chunk says about one relation, in the direction in which it was stated.

    `weight` is what it says that the relation weighs, to six decimals; 0 if it says nothing of that.
    """

    chunk_id: str
    generation: str
    source_key: str
    target_key: str
    source: str
    target: str
    keywords: tuple[str, ...]
    description: str
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class GraphDelta:
    """The mentions that a set of chunks adds. Both ends of every relation are mentioned by the same chunk."""

    entities: frozenset[EntityMention] = frozenset()
    relations: frozenset[RelationMention] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What an extractor found in one chunk, or the error that kept it from finding anything.

    `warnings` counts records of the reply that could not be used, by reason.
    """

    chunk_id: str
    generation: str
    entities: tuple[EntityMention, ...] = ()
    relations: tuple[RelationMention, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    error: str | None = None

    @property
    def truncated(self) -> bool:
        """Whether a reply was cut off by the token limit; what was said up to there is here."""
        return "truncated" in self.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """The fold of all mentions of one entity. `weight` is the number of chunks that mention it.

    `tokens` are those of its line in a context; 0 if they were not counted.
    """

    key: str
    name: str
    type: str
    description: str
    weight: int
    tokens: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """The fold of all mentions of one relation.

    `source` and `target` are the entities' display names in the direction stated most often; the relation is
    identified by the unordered pair `source_key`, `target_key`. `weight` is the number of chunks that state it,
    where a chunk that says what it weighs counts as that (a whole number is an int);
    `tokens` those of its line in a context; 0 if they were not counted.
    """

    source_key: str
    target_key: str
    source: str
    target: str
    keywords: tuple[str, ...]
    description: str
    weight: float
    tokens: int = field(default=0, compare=False, repr=False)
