"""How a question was answered, and why a passage is there or is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stateless_rag.types.answers import Message, Passage, Retrieval
    from stateless_rag.types.evidence import Entity, Relation

__all__ = [
    "Dropped",
    "Edge",
    "Expected",
    "Explanation",
    "Reason",
    "Seed",
    "Step",
    "Trace",
]

Step = Literal[
    "workspace",
    "filter",
    "keywords",
    "threshold",
    "search",
    "fusion",
    "rerank",
    "min_rerank_score",
    "budget",
]
"""Where something can be lost, in the order of the read path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A row that the question led to directly: an entity by its name, a relation as "one—other", a chunk by its id;
    a title is the name of documents that no entity has.

    `score` is the cosine, but 1 for an entity that was found by its name, and what `Snapshot.match_words` counts
    where no embedder answered.
    """

    kind: Literal["entity", "title", "relation", "chunk"]
    name: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What one step left out, best first."""

    step: Step
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What became of a document that was expected to be found.

    `rank` is that of its first passage, from 1; None if it was lost, and then `lost` names the step and `told`
    says in a sentence what happened there. `facts` are the numbers behind it: similarities, ranks, bounds.
    """

    document_id: str
    rank: int | None = None
    lost: Step | None = None
    told: str = ""
    facts: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The record of one question.

    `entities`, `relations` and `candidates` are all that search returned, ranked, before anything was cut;
    `dropped` tells what each later step left out of them. Passages that search itself ranked behind its
    `candidates` are counted (`Retrieval.found`) and not listed. `searched` is how many of the workspace's
    `chunks` the metadata filter let in. `entity_chunks` (by key) and `relation_chunks` (by both keys) tell which
    of the candidates speak of them, by chunk id. `models` names what was asked, by role. `messages` is the prompt
    that was sent for the answer: system message, history, question; empty if no LLM was asked for one.
    """

    id: str
    revision: int
    models: Mapping[str, str]
    chunks: int = 0
    searched: int = 0
    seeds: tuple[Seed, ...] = ()
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    candidates: tuple[Passage, ...] = ()
    entity_chunks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    relation_chunks: Mapping[tuple[str, str], tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    dropped: tuple[Dropped, ...] = ()
    messages: tuple[Message, ...] = ()
    expected: Expected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A relation that speaks for a passage; `score` is its own as a seed, None where an entity led to it."""

    source: str
    target: str
    weight: float
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a passage is where it is.

    `seeds` led to it: the chunk itself, entities it mentions, relations it states. `entities` are the names of all
    entities that were found and that it mentions, `edges` the relations that were found and that it states.
    `before` is its rank when search returned it, before a reranker.
    """

    rank: int
    before: int
    passage: Passage
    seeds: tuple[Seed, ...] = ()
    entities: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What was found for a question, and why; `expected` is what became of the document that was asked after."""

    retrieval: Retrieval
    reasons: tuple[Reason, ...]
    expected: Expected | None = None
