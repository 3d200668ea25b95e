"""Mode themes: a question about the whole corpus, answered from the communities that weigh most for it.

A question that asks for nothing but themes weighs all chunks alike, so what there is most of comes first. Of any other,
four fifths of the weight go to the chunks that are near to it, and the rest to all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.protocols import Hit
from stateless_rag.retrieval.evidence import evidence_of
from stateless_rag.retrieval.fuse import placed, round_robin
from stateless_rag.stores.ids import lookup
from stateless_rag.stores.words import question_words, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from stateless_rag.protocols import Snapshot
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.retrieval.evidence import Evidence
    from stateless_rag.retrieval.plan import Plan
    from stateless_rag.types import Passage

    Floats = NDArray[np.float64]
    Ids = NDArray[np.int64]

__all__ = ["Themed", "picked", "themed"]

_NEAR = 200  # chunks near to the question that share the half which goes by nearness
_SHARE = 0.8
_LARGE = 3.0  # times the weight of an equal share: too much for one community
_KEPT = 0.9  # of the weight must be left when some are taken apart
_EACH = 3  # entities and relations of one community that are shown
_LOOKED_AT = 60  # chunks of one community that may be shown
_ALL = frozenset(
    words_of(
        "main major key central principal important common overall general whole entire overview summary summarize "
        "summarise summarizing sum theme themes topic topics subject subjects issue issues idea ideas area areas trend "
        "trends pattern patterns concept concepts thread threads finding findings point points takeaway takeaways "
        "corpus collection dataset document documents text texts paper papers article articles passage passages file "
        "files archive content contents material source sources discuss discussed discusses cover covered covers "
        "describe described talk talks mention mentioned list tell give say says said found across throughout deal "
        "thema themen hauptthemen inhalt texte dokumente artikel überblick zusammenfassung wichtigsten "
        "thème thèmes sujets principaux résumé documents ensemble tema temas principales resumen documentos "
        "主要 要主 主题 要题 话题 总结 概述 概括 文档 文件 文章 内容 整体 语料"
    )
)
"""Words that ask for themes, and for none in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Themed:
    """Seeds and passages as `Walked` has them, and of each community that was picked what speaks for it."""

    entities: Sequence[Hit]
    facts: Sequence[Hit]
    chunks: Sequence[Hit]
    passages: Mapping[int, Passage]
    order: Sequence[int]
    names: Mapping[int, str]
    evidence: Sequence[Evidence]
    communities: int


def themed(snapshot: Snapshot, plan: Plan) -> Themed:
    """Pick communities for a question, and what is shown of them: of each in turn the passages nearest to the question
    and the most telling ones, a new document before one that is there already.
    """
    partition = snapshot.communities(plan.communities)
    near = _near(snapshot, plan)
    weights, by_chunk = _weighed(partition, near)
    chosen = picked(partition, weights, plan.options.max_communities)
    evidence = evidence_of(snapshot, partition, plan, {number: float(weights[number]) for number in chosen})
    ranked = [_shown_chunks(partition, number, by_chunk) for number in chosen]
    if not ranked and plan.vector is not None:  # nothing was read from the texts: they are shown as they are
        near = near or snapshot.search("chunk", plan.vector, _NEAR)
    order = round_robin(*ranked) if ranked else [hit.id for hit in near]
    passages = _passages(snapshot, plan, ranked, order, near, [one.name for one in evidence])
    return Themed(
        entities=_hits([one.entities for one in evidence], evidence),
        facts=_hits([one.relations for one in evidence], evidence),
        chunks=near[: plan.options.chunk_top_k],
        passages=passages,
        order=list(dict.fromkeys([*passages, *order])),
        names={},
        evidence=evidence,
        communities=int((partition.levels == 0).sum()),
    )


def _near(snapshot: Snapshot, plan: Plan) -> list[Hit]:
    """Chunks near to the question by its words and its vector, nearest first; none if it asks for nothing particular.
    By each, a chunk counts with the square of how much nearer it is than the last one that was looked at.
    """
    wanted = [word for word in question_words(plan.question) if word not in _ALL]
    if not wanted:
        return []
    lifts: dict[int, float] = {}
    ways = [snapshot.match_words(" ".join(wanted), _NEAR)]
    if plan.vector is not None:
        ways.append(snapshot.search("chunk", plan.vector, _NEAR))
    for hits in ways:
        scores = [hit.score for hit in hits]
        raised = [(score - min(scores)) ** 2 for score in scores]
        whole = sum(raised)
        for hit, lift in zip(hits, raised, strict=True):
            lifts[hit.id] = lifts.get(hit.id, 0.0) + (lift / whole if whole else 1.0 / len(hits))
    return sorted((Hit(id_, lift) for id_, lift in lifts.items()), key=lambda hit: (-hit.score, hit.id))


def _weighed(partition: Partition, near: Sequence[Hit]) -> tuple[Floats, Mapping[int, float]]:
    """The weight of each community, 1 all together at each level, and by chunk what is due to its nearness, where
    it has any.
    """
    count = len(partition.chunks)
    masses = np.full(count, 1.0 / max(1, count))
    at = lookup(partition.chunks, np.array([hit.id for hit in near], dtype=np.int64))
    scores = np.array([hit.score for hit in near], dtype=np.float64)
    there = at >= 0
    by_chunk: dict[int, float] = {}
    if there.any():
        lift = scores[there]
        lift = lift / lift.sum() if lift.sum() > 0 else np.full(len(lift), 1.0 / len(lift))
        masses *= 1.0 - _SHARE
        masses[at[there]] += _SHARE * lift
        by_chunk = dict(zip(partition.chunks[at[there]].tolist(), lift.tolist(), strict=True))
    weights = np.bincount(partition.homes, weights=masses, minlength=len(partition)).astype(np.float64)
    for number in reversed(np.flatnonzero(partition.parents >= 0).tolist()):  # parts come after the whole
        weights[partition.parents[number]] += weights[number]
    return np.round(weights, 9), by_chunk


def picked(partition: Partition, weights: Floats, most: int) -> list[int]:
    """At most so many communities, no two of which share an entity, heaviest first.

    Begins with those of level 0, and takes those apart that weigh several times an equal share, as long as what is
    picked keeps nine tenths of the weight it had at first: one large community is not to stand for all there is.
    """

    def heaviest(numbers: Ids) -> list[int]:
        told = numbers[weights[numbers] > 0]
        ranked: list[int] = told[np.lexsort((told, -weights[told]))[:most]].tolist()
        return ranked

    chosen = heaviest(np.flatnonzero(partition.levels == 0))
    total = float(weights[chosen].sum())
    parts = {number: partition.parts(number) for number in chosen}
    large = _LARGE * total / most
    while (whole := next((n for n in chosen if parts[n] and weights[n] > large), None)) is not None:
        apart = heaviest(np.array([*(number for number in chosen if number != whole), *parts[whole]]))
        parts.update((number, partition.parts(number)) for number in parts[whole])
        if float(weights[apart].sum()) >= _KEPT * total:
            chosen = apart
        else:
            parts[whole] = []
    return chosen


def _shown_chunks(partition: Partition, number: int, by_chunk: Mapping[int, float]) -> list[int]:
    """The chunks that are at home in a community: near ones first, then those that tell of most of its members."""
    lead = partition.starts[partition.homes]
    inside = np.flatnonzero((lead >= partition.starts[number]) & (lead < partition.stops[number]))
    chunks, told = partition.chunks[inside].tolist(), partition.told[inside].tolist()
    ranked = sorted(
        zip(chunks, told, strict=True), key=lambda pair: (-by_chunk.get(pair[0], 0.0), -pair[1], pair[0])
    )
    return [chunk for chunk, _ in ranked]


def _hits(rows: Sequence[Mapping[int, object]], evidence: Sequence[Evidence]) -> list[Hit]:
    """The first rows of each community in turn, with its share."""
    scores = {row: one.share for one, own in zip(evidence, rows, strict=True) for row in own}
    return [Hit(row, scores[row]) for row in round_robin(*(islice(own, _EACH) for own in rows))]


def _passages(
    snapshot: Snapshot,
    plan: Plan,
    ranked: Sequence[Sequence[int]],
    order: Sequence[int],
    near: Sequence[Hit],
    names: Sequence[str],
) -> Mapping[int, Passage]:
    """The passages to show, by row: of each community in turn, one of a new document if it has any."""
    looked_at = [own[:_LOOKED_AT] for own in ranked] or [list(order[: plan.candidates])]
    rows = snapshot.passages([chunk for own in looked_at for chunk in own])
    seen: set[str] = set()
    waiting = [[chunk for chunk in own if chunk in rows] for own in looked_at]
    chosen: list[int] = []
    while any(waiting) and len(chosen) < plan.candidates:
        for own in waiting:
            if own:
                new = next((chunk for chunk in own if rows[chunk].document_id not in seen), own[0])
                own.remove(new)
                seen.add(rows[new].document_id)
                chosen.append(new)
    chosen = chosen[: plan.candidates]
    cosines = {} if plan.vector is None else snapshot.similarities("chunk", plan.vector, chosen)
    homes = {chunk: name for own, name in zip(ranked, names, strict=True) for chunk in own}
    direct = {hit.id for hit in near}
    return {
        chunk: placed(
            rows[chunk],
            rank,
            cosines.get(chunk),
            (
                *(("question",) if chunk in direct else ()),
                *((f"community:{homes[chunk]}",) if chunk in homes else ()),
            ),
        )
        for rank, chunk in enumerate(chosen, start=1)
    }
