"""Unrelated: whether a question has so little in common with a workspace that what is nearest is no answer.

An embedder that knows words, not meanings, finds something near to any question. Where no passage has a fair share
of the question's words, weighed by how rare they are, nor is near in its vector, nothing is found. Measured: no
question of HotpotQA, MuSiQue and the demo falls below it on its own corpus; on that of the demo 74 and 64 of 100 of the
others do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.providers.cooccurrence import CooccurrenceExtractor

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Snapshot, Vectors
    from stateless_rag.settings import QueryOptions

__all__ = ["UNRELATED", "Floor", "floor_for", "unrelated"]

UNRELATED = (
    "search: no passage has a fair share of the question's words, so nothing is shown; min_similarity=0 shows what "
    "is nearest"
)
_LOOKED_AT = 20
_MANY = 30


@dataclass(frozen=True, slots=True)
class Floor:
    """What a passage must have of a question's words (0 to 1, by idf), or else be as near in its vector."""

    share: float
    similarity: float


def floor_for(context: Context, options: QueryOptions) -> Floor | None:
    """The embedder's own floor (its attributes `min_share` and `sure_similarity`), where it has one.

    None where the caller says how near is near enough, and where an LLM reads documents: it knows other words for
    things.
    """
    share = getattr(context.embedder, "min_share", None)
    similarity = getattr(context.embedder, "sure_similarity", None)
    if options.min_similarity is not None or share is None or similarity is None:
        return None
    return Floor(share, similarity) if isinstance(context.extractor, CooccurrenceExtractor) else None


def unrelated(snapshot: Snapshot, question: str, vector: Vectors | None, floor: Floor) -> bool:
    """Whether no passage comes up to the floor."""
    ids = [hit.id for hit in snapshot.match_words(question, _LOOKED_AT)]
    # How rare a word is cannot be told from few passages: there, one word in common is enough.
    share = floor.share if snapshot.count("chunk") >= _MANY else 0.0
    idf, has = snapshot.coverage(question, ids, snapshot.mask)
    if ids and float((has @ idf).max()) >= share * float(idf.sum()):
        return False
    nearest = [] if vector is None else snapshot.search("chunk", vector, 1)
    return bool(nearest) and nearest[0].score < floor.similarity
