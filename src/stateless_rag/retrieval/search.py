"""Search: all that a question needs of a snapshot, in one call, so that one thread hop is enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from stateless_rag.retrieval.allowed import allowed_part
from stateless_rag.retrieval.budget import fit_lines, graph_budgets, room
from stateless_rag.retrieval.expand import Expansion, ends_of, most_rows, relations_of
from stateless_rag.retrieval.fuse import pick_chunks, placed, round_robin, trails
from stateless_rag.retrieval.lost import expected
from stateless_rag.retrieval.plan import Plan
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.retrieval.seeds import (
    chunk_seeds,
    entity_seeds,
    named_entities,
    relation_seeds,
    worded_chunks,
)
from stateless_rag.retrieval.themes import themed
from stateless_rag.retrieval.trace import Ranks, relation_name, traced
from stateless_rag.retrieval.unrelated import unrelated
from stateless_rag.retrieval.walked import WALKING, walked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stateless_rag.protocols import Hit, Snapshot
    from stateless_rag.retrieval.evidence import Evidence
    from stateless_rag.retrieval.themes import Themed
    from stateless_rag.retrieval.walked import Walked
    from stateless_rag.types import Entity, Passage, Relation, Trace

__all__ = ["Found", "Plan", "search"]

_CHUNKS_EACH = 100  # of an entity or relation told of in more chunks, so many are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `search` found.

    Entities and relations are cut to their budgets and come with their rendered lines; passages are ranked
    candidates, for which `room` tokens are left. `counts` is `Retrieval.found`, `trace` what is known so far of its
    trace. `unrelated`: nothing is found because nothing came up to the plan's floor. `evidence` is that of the
    communities that mode themes picked.
    """

    revision: int
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    entity_lines: tuple[str, ...]
    relation_lines: tuple[str, ...]
    passages: tuple[Passage, ...]
    room: int
    counts: Mapping[str, int]
    trace: Trace
    unrelated: bool = False
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seeds:
    entities: Sequence[Hit] = ()
    relations: Sequence[Hit] = ()
    chunks: Sequence[Hit] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """Entities and relations by row, ranked; the lines of those that fit their budgets, with the lines' tokens, and
    the chunks that tell of them.
    """

    entities: Mapping[int, Entity]
    relations: Mapping[int, Relation]
    entity_lines: tuple[str, ...]
    relation_lines: tuple[str, ...]
    tokens: int
    told: Mapping[int, Sequence[int]]
    stated: Mapping[int, Sequence[int]]


def search(snapshot: Snapshot, plan: Plan) -> Found:
    """Seeds, expansion, fusion, the budget of entities and relations, and the passages they lead to.

    Raises InvalidInput if question and instructions alone are beyond `max_total_tokens`.
    """
    left = room(plan.prompt, plan.question, plan.options, plan.count)
    whole = snapshot
    snapshot = allowed_part(whole, plan.options.metadata_filter, plan.folds)
    if plan.options.mode == "themes":  # whatever the question, the corpus is what it is about
        about = themed(snapshot, plan)
        seeds = _Seeds(about.entities, about.facts, about.chunks)
        found = _found(whole, snapshot, plan, left, seeds, about)
        counts = {**found.counts, "communities": about.communities, "themes": len(about.evidence)}
        return replace(found, counts=counts, evidence=tuple(about.evidence))
    if plan.floor is not None and unrelated(snapshot, plan.question, plan.vector, plan.floor):
        nothing = _found(whole, snapshot, plan, left, _Seeds())
        return replace(nothing, unrelated=True)
    if plan.options.mode in WALKING:
        walk = walked(snapshot, plan)
        seeds = _Seeds(walk.entities, walk.facts, walk.chunks)
        return _found(whole, snapshot, plan, left, seeds, walk)
    seeds = _seeds(snapshot, plan)
    if snapshot.mask is not None:
        facts = [hit.id for hit in seeds.relations]
        snapshot.expect([*(hit.id for hit in seeds.entities), *ends_of(snapshot, facts)], facts)
    return _found(whole, snapshot, plan, left, seeds)


def _found(
    whole: Snapshot,
    snapshot: Snapshot,
    plan: Plan,
    left: int,
    seeds: _Seeds,
    walk: Walked | Themed | None = None,
) -> Found:
    """What the seeds lead to; passages are those of the walk if there was one, and entities are not expanded then."""
    facts = [hit.id for hit in seeds.relations]
    expanded = [] if walk is not None else [hit.id for hit in seeds.entities]
    expansion = relations_of(snapshot, expanded, most_rows(plan.options), facts)
    graph = _graph(snapshot, plan, left, seeds, expansion)
    if walk is None:
        passages, order = _passages(snapshot, plan, seeds, graph)
    else:
        passages, order = walk.passages, walk.order
    ranks = Ranks(
        entity_seeds=seeds.entities,
        relation_seeds=seeds.relations,
        chunk_seeds=seeds.chunks,
        entities=graph.entities,
        relations=graph.relations,
        told=graph.told,
        stated=graph.stated,
        passages=passages,
        order=order,
        names={} if walk is None else walk.names,
    )
    trace = traced(whole, snapshot, ranks)
    if plan.expect is not None:
        trace = replace(trace, expected=expected(whole, snapshot, plan, ranks, plan.expect))
    return Found(
        revision=snapshot.revision,
        entities=tuple(graph.entities.values())[: len(graph.entity_lines)],
        relations=tuple(graph.relations.values())[: len(graph.relation_lines)],
        entity_lines=graph.entity_lines,
        relation_lines=graph.relation_lines,
        passages=tuple(passages.values()),
        room=left - graph.tokens,
        counts={
            "entity_seeds": len(seeds.entities),
            "relation_seeds": len(seeds.relations),
            "chunk_seeds": len(seeds.chunks),
            "relations_reached": expansion.reached,
            "entities": len(graph.entities),
            "relations": len(graph.relations),
            "passages": len(order),
        },
        trace=trace,
    )


def _graph(snapshot: Snapshot, plan: Plan, left: int, seeds: _Seeds, expansion: Expansion) -> _Graph:
    """Entities and relations that seeds and expansion lead to, and the longest prefixes that fit their budgets."""
    relations = _relations(seeds, expansion)
    ends = ends_of(snapshot, [hit.id for hit in seeds.relations])
    entities = snapshot.entities(round_robin((hit.id for hit in seeds.entities), ends))
    for_entities, for_relations = graph_budgets(left, plan.options)
    entity_lines, entity_tokens = fit_lines(
        entities.values(), entity_line, for_entities, plan.count, attrgetter("tokens")
    )
    relation_lines, relation_tokens = fit_lines(
        relations.values(), relation_line, for_relations, plan.count, attrgetter("tokens")
    )
    kept_entities = list(entities)[: len(entity_lines)]
    kept_relations = list(relations)[: len(relation_lines)]
    return _Graph(
        entities=entities,
        relations=relations,
        entity_lines=tuple(entity_lines),
        relation_lines=tuple(relation_lines),
        tokens=entity_tokens + relation_tokens,
        told=snapshot.entity_chunks(kept_entities, _CHUNKS_EACH) if kept_entities else {},
        stated=snapshot.relation_chunks(kept_relations, _CHUNKS_EACH) if kept_relations else {},
    )


def _seeds(snapshot: Snapshot, plan: Plan) -> _Seeds:
    options = plan.options
    if plan.lexical:
        names = () if options.mode == "naive" else (*plan.keywords.low_level, *plan.keywords.high_level)
        return _Seeds(
            entities=named_entities(snapshot, names, options),
            chunks=worded_chunks(snapshot, plan.question, options.chunk_top_k),
        )
    chunks = plan.vector if options.mode == "naive" else None
    return _Seeds(
        entities=() if plan.low is None else entity_seeds(snapshot, plan.low, options),
        relations=() if plan.high is None else relation_seeds(snapshot, plan.high, options),
        chunks=() if chunks is None else chunk_seeds(snapshot, chunks, options, options.chunk_top_k),
    )


def _relations(seeds: _Seeds, expansion: Expansion) -> dict[int, Relation]:
    """Expanded and seed relations in turn."""
    both = {**expansion.relations, **expansion.also}
    order = round_robin(expansion.relations, (hit.id for hit in seeds.relations))
    return {row: both[row] for row in order if row in both}


def _passages(
    snapshot: Snapshot, plan: Plan, seeds: _Seeds, graph: _Graph
) -> tuple[Mapping[int, Passage], Sequence[int]]:
    """The best candidates by row, and the rows of all: chunks found directly, by entities and by relations."""
    told, stated = graph.told, graph.stated
    cosines: Mapping[int, float] = {}
    if plan.vector is not None and (told or stated):
        chunks = list(dict.fromkeys(chain.from_iterable((*told.values(), *stated.values()))))
        cosines = snapshot.similarities("chunk", plan.vector, chunks)
    each = plan.options.related_chunks
    by_entity = pick_chunks(list(told.values()), each, cosines)
    by_relation = pick_chunks(list(stated.values()), each, cosines, by_entity)
    order = round_robin([hit.id for hit in seeds.chunks], by_entity, by_relation)
    best = order[: plan.candidates]
    shown = set(best)
    found_by = trails(
        best,
        ("words" if plan.lexical else "vector", {hit.id for hit in seeds.chunks}),
        [(graph.entities[row].name, chunks) for row, chunks in told.items() if not shown.isdisjoint(chunks)],
        [
            (relation_name(graph.relations[row]), chunks)
            for row, chunks in stated.items()
            if not shown.isdisjoint(chunks)
        ],
    )
    rows = snapshot.passages(best)
    direct = {} if plan.lexical else {hit.id: hit.score for hit in seeds.chunks}
    passages = {
        row: placed(passage, rank, direct.get(row, cosines.get(row)), found_by[row])
        for rank, (row, passage) in enumerate(rows.items(), start=1)
    }
    return passages, order
