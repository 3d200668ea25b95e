"""Lost: what became of a document that was expected to be found, up to where search ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stateless_rag.filters import DOCUMENT_ID, checked_filter
from stateless_rag.retrieval.seeds import least_similarity
from stateless_rag.retrieval.trace import relation_name
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.types import Expected

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stateless_rag.protocols import Allowed, Snapshot, VectorKind, Vectors
    from stateless_rag.retrieval.plan import Plan
    from stateless_rag.retrieval.trace import Ranks
    from stateless_rag.types import Dropped, Passage, Step

__all__ = ["expected", "outcome"]

Facts = dict[str, float | str]
_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A vector search that could have led to the document: how near its nearest row is, and at which rank."""

    kind: VectorKind
    most: int
    similarity: float
    rank: int


def expected(whole: Snapshot, snapshot: Snapshot, plan: Plan, ranks: Ranks, document_id: str) -> Expected:
    """Where search lost a document, or, if it handed on a passage of it, only its rank among them in `facts`.

    `snapshot` is the part of `whole` that the metadata filter lets in.
    """
    if whole.document(document_id) is None:
        return _lost(document_id, "workspace", "no document of this id is committed in the workspace")
    if snapshot.document(document_id) is None:
        return _lost(document_id, "filter", "the document does not meet metadata_filter")
    condition = checked_filter("expect", {DOCUMENT_ID: document_id})
    if condition is None or not len((own := snapshot.allowed(condition)).chunks):
        return _lost(document_id, "workspace", "the document has no passages: there is no text in it")
    facts = _facts(snapshot, plan, own)
    places = lookup(id_array(sorted(own.chunks.tolist())), id_array(ranks.order))
    place = next((place for place, found in enumerate(places.tolist(), start=1) if found >= 0), None)
    if place is not None:
        facts["rank_in_search"] = place
        if ranks.order[place - 1] in ranks.passages:
            return Expected(document_id=document_id, facts=facts)
        told = (
            f"its best passage ranks {place} of {len(ranks.order)} that search found, of which the first "
            f"{plan.candidates} are handed on: raise chunk_top_k"
        )
        return _lost(document_id, "fusion", told, facts)
    if plan.options.mode == "themes":
        told = (
            "its passages are at home in no community that was picked: raise max_communities "
            f"({plan.options.max_communities})"
        )
        return _lost(document_id, "search", told, facts)
    return _by_graph(plan, ranks, own, document_id, facts) or _unreached(
        snapshot, plan, own, document_id, facts
    )


def outcome(expected: Expected, passages: Sequence[Passage], dropped: Iterable[Dropped]) -> Expected:
    """What became of a document in the end, once rerank and budget have done their work too."""
    if expected.lost is not None:
        return expected
    ranks = [rank for rank, one in enumerate(passages, start=1) if one.document_id == expected.document_id]
    if ranks:
        return replace(expected, rank=ranks[0], told=f"found at rank {ranks[0]} of {len(passages)}")
    last = [drop for drop in dropped if any(one.document_id == expected.document_id for one in drop.passages)]
    for drop in reversed(last):
        best = next(one for one in drop.passages if one.document_id == expected.document_id)
        facts = {**expected.facts, "tokens": best.tokens, "score": best.score}
        told = {
            "rerank": "the reranker did not rank its passages among the best: raise chunk_top_k",
            "min_rerank_score": f"the reranker's score of {best.score:g} is below min_rerank_score",
        }.get(drop.step, f"its {best.tokens:,} tokens had no room left: raise max_total_tokens")
        return replace(expected, lost=drop.step, told=told, facts=facts)
    return expected


def _lost(
    document_id: str, step: Step, told: str, facts: Mapping[str, float | str] | None = None
) -> Expected:
    return Expected(document_id=document_id, lost=step, told=told, facts=facts or {})


def _facts(snapshot: Snapshot, plan: Plan, own: Allowed) -> Facts:
    """How near the document's passages are to the question, where that was compared."""
    facts: Facts = {"passages": len(own.chunks)}
    if plan.vector is not None:
        near = snapshot.similarities("chunk", plan.vector, own.chunks.tolist())
        if near:
            facts["similarity"] = round(max(near.values()), 6)
        facts["min_similarity"] = least_similarity(plan.options)
    return facts


# ---- found in the graph, but not its passages ----------------------------------------------------------


def _by_graph(plan: Plan, ranks: Ranks, own: Allowed, document_id: str, facts: Facts) -> Expected | None:
    """Entities or relations that the document tells of were found, and led to other passages or to none."""
    if plan.options.mode not in ("local", "global", "hybrid"):  # in the others they lead to no passages
        return None
    tells, states = set(own.entities.tolist()), set(own.relations.tolist())
    entities = [(row, entity.name) for row, entity in ranks.entities.items() if row in tells]
    relations = [(row, relation_name(found)) for row, found in ranks.relations.items() if row in states]
    kept = [name for row, name in entities if row in ranks.told]
    kept += [name for row, name in relations if row in ranks.stated]
    if kept:
        told = (
            f"{_named(kept)} led to other passages, which are nearer to the question: "
            f"raise related_chunks ({plan.options.related_chunks})"
        )
        return _lost(document_id, "fusion", told, facts)
    cut = [name for _, name in (*entities, *relations)]
    if not cut:
        return None
    told = f"{_named(cut)} would lead to it, but did not fit: raise max_entity_tokens or max_relation_tokens"
    return _lost(document_id, "budget", told, facts)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(repr(name) for name in names[:_NAMES]) + more


# ---- not reached ---------------------------------------------------------------------------------------


def _unreached(snapshot: Snapshot, plan: Plan, own: Allowed, document_id: str, facts: Facts) -> Expected:
    """Whether it was too far away, not among the nearest, or the keywords led elsewhere."""
    least = least_similarity(plan.options)
    ways = [way for way in _ways(snapshot, plan, own) if way is not None]
    for way in ways:
        facts[f"{way.kind}_similarity"] = round(way.similarity, 6)
        facts[f"{way.kind}_rank"] = way.rank
    if plan.lexical:
        return _lost(document_id, "search", "no embedder answered, and it shares too few words", facts)
    if (astray := _astray(snapshot, plan, own, least)) is not None:
        used = plan.keywords.low_level if astray.kind == "entity" else plan.keywords.high_level
        facts["keywords"] = ", ".join(used)
        told = (
            f"the keywords lead elsewhere: with the question itself, {_thing(astray.kind)} of its own would be "
            f"number {astray.rank} by similarity ({astray.similarity:.2f})"
        )
        return _lost(document_id, "keywords", told, facts)
    near = [way for way in ways if way.similarity >= least]
    if near:
        best = min(near, key=lambda way: (way.rank / way.most, way.kind))
        told = (
            f"{_thing(best.kind)} of its own is number {best.rank} by similarity ({best.similarity:.2f}), and "
            f"{'chunk_top_k' if best.kind == 'chunk' else 'top_k'} is {best.most}: raise it"
        )
        return _lost(document_id, "search", told, facts)
    if not ways:
        told = f"mode {plan.options.mode!r} compares nothing that it has: try another mode"
        return _lost(document_id, "search", told, facts)
    best = max(ways, key=lambda way: (way.similarity, way.kind))
    told = (
        f"{_thing(best.kind)} of its own is nearest, at {best.similarity:.2f}; min_similarity is {least:.2f}"
    )
    return _lost(document_id, "threshold", told, facts)


def _thing(kind: VectorKind) -> str:
    return {"chunk": "a passage", "entity": "an entity", "relation": "a relation"}[kind]


def _ways(snapshot: Snapshot, plan: Plan, own: Allowed) -> Iterable[_Way | None]:
    """The vector searches of the mode."""
    options = plan.options
    if options.mode in ("naive", "walk", "mix"):
        yield _way(snapshot, "chunk", plan.vector, own, options.chunk_top_k)
    if options.mode in ("walk", "mix"):
        yield _way(snapshot, "relation", plan.vector, own, options.top_k)
    yield _way(snapshot, "entity", plan.low, own, options.top_k)
    yield _way(snapshot, "relation", plan.high, own, options.top_k)


def _astray(snapshot: Snapshot, plan: Plan, own: Allowed, least: float) -> _Way | None:
    """A search that would have led to the document if the question had stood in place of its keywords."""
    pairs: tuple[tuple[VectorKind, Vectors | None], ...] = (("entity", plan.low), ("relation", plan.high))
    for kind, vector in pairs:
        if vector is not None:
            way = _way(snapshot, kind, plan.vector, own, plan.options.top_k)
            if way is not None and way.similarity >= least and way.rank <= way.most:
                return way
    return None


def _way(
    snapshot: Snapshot, kind: VectorKind, vector: Vectors | None, own: Allowed, most: int
) -> _Way | None:
    """None where the document has nothing of the kind, or nothing was compared."""
    if vector is None:
        return None
    near = snapshot.similarities(kind, vector, own.ids(kind).tolist())
    if not near:
        return None
    best = max(near.values())
    nearer = snapshot.search(kind, vector, max(1, snapshot.count(kind)), best)
    rank = 1 + sum(hit.score > best and hit.id not in near for hit in nearer)
    return _Way(kind=kind, most=most, similarity=best, rank=rank)
