"""Seeds: the rows of a snapshot that a question leads to directly, best first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.protocols import Hit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateless_rag.protocols import Snapshot, Vectors
    from stateless_rag.settings import QueryOptions, WalkSettings

__all__ = [
    "chunk_seeds",
    "entity_seeds",
    "fact_seeds",
    "named_entities",
    "relation_seeds",
    "worded_chunks",
]

_FACTS_LOOKED_AT = 20
_CHUNKS_OF_FACT = 10


def entity_seeds(snapshot: Snapshot, vector: Vectors, options: QueryOptions) -> list[Hit]:
    """The `top_k` entities nearest to the vector, at least `min_similarity` near."""
    return snapshot.search("entity", vector, options.top_k, least_similarity(options))


def relation_seeds(snapshot: Snapshot, vector: Vectors, options: QueryOptions) -> list[Hit]:
    """The `top_k` relations nearest to the vector, at least `min_similarity` near."""
    return snapshot.search("relation", vector, options.top_k, least_similarity(options))


def fact_seeds(
    snapshot: Snapshot, vector: Vectors, options: QueryOptions, settings: WalkSettings
) -> list[Hit]:
    """The relations that a walk starts from: near to the vector, and stated by a chunk that is near to it too.

    A relation alone does not say what its text is about; its passage does.
    """
    if not settings.facts:
        return []
    looked_at = max(_FACTS_LOOKED_AT, settings.facts)
    near = snapshot.search("relation", vector, looked_at, least_similarity(options))
    stated = snapshot.relation_chunks([hit.id for hit in near], _CHUNKS_OF_FACT)
    chunks = list(dict.fromkeys(chunk for own in stated.values() for chunk in own))
    cosines = snapshot.similarities("chunk", vector, chunks)

    def worth(hit: Hit) -> float:
        best = max((cosines.get(chunk, 0.0) for chunk in stated.get(hit.id, ())), default=0.0)
        return hit.score + settings.fact_passages * best

    return sorted(near, key=lambda hit: (-worth(hit), hit.id))[: min(settings.facts, options.top_k)]


def chunk_seeds(snapshot: Snapshot, vector: Vectors, options: QueryOptions, most: int) -> list[Hit]:
    """At most so many chunks nearest to the vector, at least `min_similarity` near."""
    return snapshot.search("chunk", vector, most, least_similarity(options))


def named_entities(snapshot: Snapshot, names: Iterable[str], options: QueryOptions) -> list[Hit]:
    """At most `top_k` entities that have exactly one of the names, in the order of the names.

    Stands in for `entity_seeds` where no embedder answers; every score is 1.
    """
    found = (snapshot.entity_id(name) for name in names)
    ids = dict.fromkeys(row for row in found if row is not None)
    return [Hit(row, 1.0) for row in ids][: options.top_k]


def worded_chunks(snapshot: Snapshot, question: str, most: int) -> list[Hit]:
    """At most so many chunks that share most words with the question.

    Stands in for `chunk_seeds` where no embedder answers; scores are not cosines.
    """
    return snapshot.match_words(question, most)


def least_similarity(options: QueryOptions) -> float:
    """How near a row must be to count as found."""
    return 0.2 if options.min_similarity is None else options.min_similarity
