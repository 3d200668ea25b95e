"""What the modes walk and mix find: passages that a walk over the graph leads to, and why.

link → walk → rank (in mode mix). No keywords are needed, so no LLM is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, overload

from stateless_rag.protocols import Hit
from stateless_rag.retrieval.expand import ends_of
from stateless_rag.retrieval.fuse import placed, trails
from stateless_rag.retrieval.link import keyword_nodes, named_nodes
from stateless_rag.retrieval.rank import rank
from stateless_rag.retrieval.seeds import chunk_seeds, fact_seeds, worded_chunks
from stateless_rag.retrieval.walk import restart, walk
from stateless_rag.stores.ids import id_array

if TYPE_CHECKING:
    from stateless_rag.protocols import Links, Snapshot, Vectors
    from stateless_rag.retrieval.link import Named
    from stateless_rag.retrieval.plan import Plan
    from stateless_rag.retrieval.rank import Ranked
    from stateless_rag.retrieval.walk import Shares
    from stateless_rag.types import Passage

__all__ = ["WALKING", "Walked", "walked"]

WALKING = frozenset({"walk", "mix"})
"""The modes that this is for."""

_POOL = 50
_DIRECT = 20
_CHUNKS_EACH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """Seeds (entities and titles that the question names, facts, passages), the best passages by row, and the rows
    of all that were ranked; `names` are those of the entities and titles.
    """

    entities: Sequence[Hit]
    facts: Sequence[Hit]
    chunks: Sequence[Hit]
    passages: Mapping[int, Passage]
    order: Sequence[int]
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class _Seeds:
    links: Links
    named: Sequence[Named]
    facts: Sequence[Hit]
    near: Sequence[Hit]
    worded: Sequence[Hit]


def walked(snapshot: Snapshot, plan: Plan) -> Walked:
    """Find passages for a question. Without its vector, words and names alone lead there."""
    vector, settings = plan.vector, plan.walk
    seeds = _seeds(snapshot, plan)
    direct = seeds.near or seeds.worded
    mass = restart(snapshot, seeds.links, seeds.named, seeds.facts, direct, settings)
    shares = walk(seeds.links, mass, snapshot.mask, damping=settings.damping, titles=settings.titles)
    pool, near = _pool(snapshot, plan, seeds, shares)
    ranked = _ranked(snapshot, plan, pool, near, seeds, shares.among(pool))
    order = Order([found.id for found in ranked], shares)
    best = order.first(plan.candidates)
    near = {**near, **_cosines(snapshot, vector, [id_ for id_ in best if id_ not in near])}
    entities = [Hit(found.id, 1.0) for found in seeds.named]
    by_id = {found.id: found for found in ranked}
    return Walked(
        entities=entities,
        facts=seeds.facts,
        chunks=direct,
        passages=_passages(snapshot, best, seeds, shares.among(best), by_id, near),
        order=order,
        names={found.id: found.name for found in seeds.named},
    )


class Order(Sequence[int]):
    """All chunks that were ranked, best first: those of the pool, and behind them whatever else the walk reached.

    That is put in order only if it is asked for.
    """

    def __init__(self, ranked: Sequence[int], shares: Shares) -> None:
        self._ranked = ranked
        self._shares = shares
        self._length = len(ranked) + len(shares) - len(shares.among(ranked))
        self._all: Sequence[int] | None = None

    def first(self, count: int) -> list[int]:
        """The best, at most so many."""
        return list(dict.fromkeys([*self._ranked, *self._shares.first(count)]))[:count]

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[int]: ...

    def __getitem__(self, place: int | slice) -> int | Sequence[int]:
        if self._all is None:
            self._all = self.first(self._length)
        return self._all[place]


def _seeds(snapshot: Snapshot, plan: Plan) -> _Seeds:
    links, vector, settings = snapshot.links(), plan.vector, plan.walk
    by_words = vector is None or (settings.words and plan.options.mode != "walk")
    # Before the vectors, which may be on their way to memory yet: the first question must make the index of words.
    worded = worded_chunks(snapshot, plan.question, _DIRECT) if by_words else ()
    facts = () if vector is None else fact_seeds(snapshot, vector, plan.options, settings)
    if snapshot.mask is not None:
        rows = [hit.id for hit in facts]
        snapshot.expect(ends_of(snapshot, rows), rows)
    return _Seeds(
        links=links,
        named=_named(snapshot, links, plan) if settings.names else (),
        facts=facts,
        near=() if vector is None else chunk_seeds(snapshot, vector, plan.options, _DIRECT),
        worded=worded,
    )


def _named(snapshot: Snapshot, links: Links, plan: Plan) -> list[Named]:
    """What the question names, or else the caller's keywords."""
    options = plan.options
    found = named_nodes(snapshot, links, plan.question) or keyword_nodes(
        snapshot, links, (*options.low_level_keywords, *options.high_level_keywords)
    )
    return found[: options.top_k]


def _cosines(snapshot: Snapshot, vector: Vectors | None, chunks: Sequence[int]) -> Mapping[int, float]:
    return {} if vector is None or not chunks else snapshot.similarities("chunk", vector, chunks)


def _pool(
    snapshot: Snapshot, plan: Plan, seeds: _Seeds, shares: Shares
) -> tuple[Sequence[int], Mapping[int, float]]:
    """The best by the walk and the seeds, with their cosines; none in mode walk, which ranks nothing anew."""
    if plan.options.mode == "walk":
        return (), {}
    direct = (hit.id for hit in (*seeds.near, *seeds.worded))
    pool = list(dict.fromkeys([*shares.first(_POOL), *direct]))
    return pool, _cosines(snapshot, plan.vector, pool)


def _ranked(
    snapshot: Snapshot,
    plan: Plan,
    pool: Sequence[int],
    near: Mapping[int, float],
    seeds: _Seeds,
    shares: Mapping[int, float],
) -> list[Ranked]:
    """The pool, ranked by all evidence."""
    evidence = {"walk": shares, "words": {hit.id: hit.score for hit in seeds.worded}, "vector": near}
    return rank(snapshot, seeds.links, plan.question, pool, evidence, seeds.named, plan.walk.parts)


def _passages(
    snapshot: Snapshot,
    best: Sequence[int],
    seeds: _Seeds,
    shares: Mapping[int, float],
    ranked: Mapping[int, Ranked],
    near: Mapping[int, float],
) -> Mapping[int, Passage]:
    """Passages by id, with their scores and trails."""
    named = [found.id for found in seeds.named]
    told = snapshot.entity_chunks(named, _CHUNKS_EACH) if named else {}
    names = {found.id: found.name for found in seeds.named}
    facts = [hit.id for hit in seeds.facts]
    stated = snapshot.relation_chunks(facts, _CHUNKS_EACH) if facts else {}
    relations = snapshot.relations(facts) if facts else {}
    found_by = trails(
        best,
        ("vector", {hit.id for hit in seeds.near}),
        [(names[row], chunks) for row, chunks in told.items()],
        [(f"{relations[row].source}—{relations[row].target}", chunks) for row, chunks in stated.items()],
    )
    worded = {hit.id for hit in seeds.worded}
    bridges = _bridges(snapshot, seeds.links, [ranked[id_] for id_ in best if id_ in ranked])
    passages = {}
    for place, (id_, passage) in enumerate(snapshot.passages(best).items(), start=1):
        direct = [name for name, where in (("words", worded), ("walk", shares)) if id_ in where]
        leading = [f"bridge:{bridges[id_]}"] if id_ in bridges else []
        share = MappingProxyType({"walk": shares[id_]} if id_ in shares else {})
        trail = (*direct, *found_by[id_], *leading)
        parts = ranked[id_].parts if id_ in ranked else share
        passages[id_] = placed(passage, place, near.get(id_), trail, parts)
    return passages


def _bridges(snapshot: Snapshot, links: Links, ranked: Sequence[Ranked]) -> Mapping[int, str]:
    """For passages that others lead to, the name of the entity that both tell of."""
    bridged = [found for found in ranked if found.bridge >= 0 and found.parts.get("shared")]
    nodes = links.ids(id_array(found.bridge for found in bridged)).tolist()
    entities = snapshot.entities(nodes)
    return {
        found.id: entities[node].name for found, node in zip(bridged, nodes, strict=True) if node in entities
    }
