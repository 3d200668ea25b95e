"""Search: all that a question needs of a snapshot, in one call, so that one thread hop is enough."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from stateless_rag.retrieval.budget import Count, fit_lines, graph_budgets, room
from stateless_rag.retrieval.expand import Expansion, ends_of, most_rows, relations_of
from stateless_rag.retrieval.fuse import owned_chunks, pick_chunks, round_robin, trails
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.retrieval.seeds import (
    chunk_seeds,
    entity_seeds,
    named_entities,
    relation_seeds,
    worded_chunks,
)
from stateless_rag.types import Keywords

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stateless_rag.protocols import Hit, Snapshot, Vectors
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Entity, Passage, Relation

__all__ = ["Found", "Plan", "search"]

_CHUNKS_EACH = 100  # of an entity or relation told of in more chunks, so many are looked at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What `search` is to do. Vectors have shape (dimension,), and are None where the mode needs none.

    `lexical`: no embedder answered; names and words lead to the seeds. `prompt` is the system prompt around
    an empty context, `count` counts tokens, `candidates` is how many passages to return at most.
    """

    question: str
    options: QueryOptions
    prompt: str
    count: Count
    keywords: Keywords = field(default_factory=Keywords)
    vector: Vectors | None = None
    low: Vectors | None = None
    high: Vectors | None = None
    lexical: bool = False
    candidates: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `search` found.

    Entities and relations are cut to their budgets and come with their rendered lines; passages are ranked
    candidates, for which `room` tokens are left. `counts` is `Retrieval.found`.
    """

    revision: int
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    entity_lines: tuple[str, ...]
    relation_lines: tuple[str, ...]
    passages: tuple[Passage, ...]
    room: int
    counts: Mapping[str, int]
    entity_seeds: tuple[Hit, ...] = ()
    relation_seeds: tuple[Hit, ...] = ()
    chunk_seeds: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seeds:
    entities: Sequence[Hit] = ()
    relations: Sequence[Hit] = ()
    chunks: Sequence[Hit] = ()


def search(snapshot: Snapshot, plan: Plan) -> Found:
    """Seeds, expansion, fusion, the budget of entities and relations, and the passages they lead to.

    Raises InvalidInput if question and instructions alone are beyond `max_total_tokens`.
    """
    left = room(plan.prompt, plan.question, plan.options, plan.count)
    seeds = _seeds(snapshot, plan)
    expansion = relations_of(snapshot, [hit.id for hit in seeds.entities], most_rows(plan.options))
    relations = _relations(snapshot, seeds, expansion)
    entities = snapshot.entities(
        round_robin(
            (hit.id for hit in seeds.entities), ends_of(snapshot, [hit.id for hit in seeds.relations])
        )
    )
    for_entities, for_relations = graph_budgets(left, plan.options)
    entity_lines, entity_tokens = fit_lines(
        entities.values(), entity_line, for_entities, plan.count, attrgetter("tokens")
    )
    relation_lines, relation_tokens = fit_lines(
        relations.values(), relation_line, for_relations, plan.count, attrgetter("tokens")
    )
    kept_entities = dict(list(entities.items())[: len(entity_lines)])
    kept_relations = dict(list(relations.items())[: len(relation_lines)])
    passages, candidates = _passages(snapshot, plan, seeds, kept_entities, kept_relations)
    return Found(
        revision=snapshot.revision,
        entities=tuple(kept_entities.values()),
        relations=tuple(kept_relations.values()),
        entity_lines=tuple(entity_lines),
        relation_lines=tuple(relation_lines),
        passages=passages,
        room=left - entity_tokens - relation_tokens,
        counts={
            "entity_seeds": len(seeds.entities),
            "relation_seeds": len(seeds.relations),
            "chunk_seeds": len(seeds.chunks),
            "relations_reached": expansion.reached,
            "entities": len(entities),
            "relations": len(relations),
            "passages": candidates,
        },
        entity_seeds=tuple(seeds.entities),
        relation_seeds=tuple(seeds.relations),
        chunk_seeds=tuple(seeds.chunks),
    )


def _seeds(snapshot: Snapshot, plan: Plan) -> _Seeds:
    options = plan.options
    if plan.lexical:
        names = () if options.mode == "naive" else (*plan.keywords.low_level, *plan.keywords.high_level)
        return _Seeds(
            entities=named_entities(snapshot, names, options),
            chunks=worded_chunks(snapshot, plan.question, options),
        )
    chunks = plan.vector if options.mode in ("naive", "mix") else None
    return _Seeds(
        entities=() if plan.low is None else entity_seeds(snapshot, plan.low, options),
        relations=() if plan.high is None else relation_seeds(snapshot, plan.high, options),
        chunks=() if chunks is None else chunk_seeds(snapshot, chunks, options),
    )


def _relations(snapshot: Snapshot, seeds: _Seeds, expansion: Expansion) -> dict[int, Relation]:
    """Expanded and seed relations in turn."""
    rows = expansion.relations
    missing = snapshot.relations([hit.id for hit in seeds.relations if hit.id not in rows])
    both = {**rows, **missing}
    order = round_robin(rows, (hit.id for hit in seeds.relations))
    return {row: both[row] for row in order if row in both}


def _passages(
    snapshot: Snapshot,
    plan: Plan,
    seeds: _Seeds,
    entities: Mapping[int, Entity],
    relations: Mapping[int, Relation],
) -> tuple[tuple[Passage, ...], int]:
    """The best candidates, and how many there were: chunks found directly, by entities and by relations."""
    told = snapshot.entity_chunks(list(entities), _CHUNKS_EACH) if entities else {}
    stated = snapshot.relation_chunks(list(relations), _CHUNKS_EACH) if relations else {}
    scores = {hit.id: hit.score for hit in seeds.chunks}
    each = plan.options.related_chunks
    by_entity = _pick(snapshot, plan, owned_chunks(list(told.values())), each, scores)
    by_relation = _pick(snapshot, plan, owned_chunks(list(stated.values()), by_entity), each, scores)
    order = round_robin([hit.id for hit in seeds.chunks], by_entity, by_relation)
    best = order[: plan.candidates]
    found_by = trails(
        best,
        ("words" if plan.lexical else "vector", {hit.id for hit in seeds.chunks}),
        [(entities[row].name, chunks) for row, chunks in told.items()],
        [(f"{relations[row].source}—{relations[row].target}", chunks) for row, chunks in stated.items()],
    )
    rows = snapshot.passages(best)
    near: Mapping[int, float] = {} if plan.lexical else scores
    passages = (
        replace(passage, score=1 / rank, similarity=near.get(row), found_by=found_by[row])
        for rank, (row, passage) in enumerate(rows.items(), start=1)
    )
    return tuple(passages), len(order)


def _pick(
    snapshot: Snapshot, plan: Plan, owned: Sequence[Sequence[int]], each: int, scores: dict[int, float]
) -> list[int]:
    """As `pick_chunks`; adds the cosines it looked up to the scores."""
    if plan.vector is None or not owned:
        return pick_chunks(owned, each, {})
    near = snapshot.similarities("chunk", plan.vector, [chunk for own in owned for chunk in own])
    for chunk, score in near.items():
        scores.setdefault(chunk, score)
    return pick_chunks(owned, each, near)
