"""Evidence of communities: the entities, relations and passages that a summary is made of, whatever the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.retrieval.budget import fit_lines
from stateless_rag.retrieval.render import entity_line, passage_frame, relation_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.protocols import Snapshot
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.retrieval.plan import Plan
    from stateless_rag.types import Entity, Passage, Relation

__all__ = ["Evidence", "evidence_of"]

_ENTITIES, _RELATIONS, _PASSAGES = 20, 20, 8
_EDGES = 60  # relations of the first entities that are looked at
_TITLE = 3
_CHARACTERS = 2  # of a token, for a passage that has to be cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for one community, and how much of the question's weight it has (`share`).

    Entities are by weight, relations by weight among the first entities, passages by how many members they tell of,
    one of each document before a second one. `text` is what a summary is made of; of the passages it has the `cited`
    ones, numbered in this order.
    """

    id: str
    title: tuple[str, ...]
    size: int
    chunks: int
    share: float
    entities: Mapping[int, Entity]
    relations: Mapping[int, Relation]
    cited: tuple[Passage, ...]
    text: str

    @property
    def name(self) -> str:
        """The title in a line."""
        return ", ".join(self.title)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one community that are looked at."""

    entities: Sequence[int]
    edges: Sequence[int]
    chunks: Sequence[int]
    homes: int


def evidence_of(
    snapshot: Snapshot, partition: Partition, plan: Plan, shares: Mapping[int, float]
) -> list[Evidence]:
    """The evidence of some communities, whose numbers are mapped to their shares."""
    rows = {number: _rows(snapshot, partition, number) for number in shares}
    snapshot.expect(
        [row for own in rows.values() for row in own.entities],
        [row for own in rows.values() for row in own.edges],
    )
    entities = snapshot.entities([row for own in rows.values() for row in own.entities])
    relations = snapshot.relations([row for own in rows.values() for row in own.edges])
    passages = snapshot.passages([row for own in rows.values() for row in own.chunks])
    return [
        _evidence(partition, plan, number, own, shares[number], (entities, relations, passages))
        for number, own in rows.items()
    ]


def _rows(snapshot: Snapshot, partition: Partition, number: int) -> _Rows:
    start, stop = int(partition.starts[number]), int(partition.stops[number])
    members, weights = partition.entities[start:stop], partition.weights[start:stop]
    first = members[np.lexsort((members, -weights))[:_ENTITIES]].tolist()
    inside = set(members.tolist())
    edges: dict[int, None] = {}
    for own in snapshot.edges(first).values():
        edges.update(dict.fromkeys(edge for edge, other in own if other in inside))
        if len(edges) >= _EDGES:
            break
    lead = partition.starts[partition.homes]
    homes = np.flatnonzero((lead >= start) & (lead < stop))
    chunks, told = partition.chunks[homes], partition.told[homes]
    ranked = chunks[np.lexsort((chunks, -told))[: 4 * _PASSAGES]].tolist()
    return _Rows(first, list(edges)[:_EDGES], ranked, len(homes))


def _evidence(
    partition: Partition,
    plan: Plan,
    number: int,
    rows: _Rows,
    share: float,
    found: tuple[Mapping[int, Entity], Mapping[int, Relation], Mapping[int, Passage]],
) -> Evidence:
    entities = {row: found[0][row] for row in rows.entities if row in found[0]}
    there = ((row, found[1][row]) for row in rows.edges if row in found[1])
    ranked = sorted(there, key=lambda pair: (-pair[1].weight, pair[1].source_key, pair[1].target_key))
    relations = dict(ranked[:_RELATIONS])
    passages = [found[2][row] for row in rows.chunks if row in found[2]]
    text, cited = _text(plan, list(entities.values()), list(relations.values()), passages)
    return Evidence(
        id=partition.names[number],
        title=tuple(entity.name for entity in list(entities.values())[:_TITLE]),
        size=partition.size(number),
        chunks=rows.homes,
        share=share,
        entities=entities,
        relations=relations,
        cited=cited,
        text=text,
    )


def _text(
    plan: Plan, entities: Sequence[Entity], relations: Sequence[Relation], passages: Sequence[Passage]
) -> tuple[str, tuple[Passage, ...]]:
    """Entities and relations in at most a quarter of the budget each, and passages in what is left, numbered from 1."""
    budget, tokens = plan.communities.evidence_tokens, attrgetter("tokens")
    entity_lines, used = fit_lines(entities, entity_line, budget // 4, plan.count, tokens)
    relation_lines, more = fit_lines(relations, relation_line, budget // 4, plan.count, tokens)
    shown, cited = _numbered(plan, _one_each(passages), budget - used - more)
    parts = [
        "-----Entities-----\n\n```json\n",
        *(f"{line}\n" for line in entity_lines),
        "```\n\n-----Relations-----\n\n```json\n",
        *(f"{line}\n" for line in relation_lines),
        "```\n\n-----Passages-----\n\n",
        *shown,
    ]
    return "".join(parts).rstrip(), cited


def _one_each(passages: Sequence[Passage]) -> list[Passage]:
    """The passages, the first of each document before any second one."""
    seen: set[str] = set()
    first = [one for one in passages if one.document_id not in seen and not seen.add(one.document_id)]  # type: ignore[func-returns-value]
    known = {one.chunk_id for one in first}
    return [*first, *(one for one in passages if one.chunk_id not in known)]


def _numbered(plan: Plan, passages: Sequence[Passage], budget: int) -> tuple[list[str], tuple[Passage, ...]]:
    """Framed passages that fit the budget; if the first is too long for it, what fits of it."""
    shown: list[str] = []
    cited: list[Passage] = []
    for passage in passages:
        if len(cited) == _PASSAGES:
            break
        text = passage.text
        before, after = passage_frame(len(cited) + 1, text)
        cost = (passage.tokens or plan.count(text)) + plan.count(before + after)
        if cost > budget:
            if cited:
                continue
            text = text[: max(1, budget) * _CHARACTERS]
            cost = budget
        budget -= cost
        shown.append(f"{before}{text}{after}")
        cited.append(passage)
    return shown, tuple(cited)
