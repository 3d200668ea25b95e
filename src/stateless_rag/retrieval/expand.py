"""Expansion: from seed entities to their relations, from seed relations to their entities."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stateless_rag.protocols import Snapshot
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Relation

__all__ = ["Expansion", "ends_of", "most_rows", "relations_of"]

_TOKENS_PER_RELATION = 20  # hardly a rendered relation has less


@dataclass(frozen=True, slots=True)
class Expansion:
    """Relations by id, best first, and how many there were before only the best were fetched."""

    relations: Mapping[int, Relation]
    reached: int


def most_rows(options: QueryOptions) -> int:
    """How many relations are worth fetching: what could fit the budget at the very best."""
    return max(options.top_k, options.max_relation_tokens // _TOKENS_PER_RELATION)


def relations_of(snapshot: Snapshot, entity_ids: Sequence[int], limit: int) -> Expansion:
    """The relations of the entities, by (sum of the ends' degrees, weight), highest first, ties by id.

    Of an entity with thousands of relations only the `limit` that rank best by degrees alone, which are in
    memory, are fetched.
    """
    ends: dict[int, tuple[int, int]] = {}
    for entity_id, edges in snapshot.edges(entity_ids).items():
        for relation_id, other in edges:
            ends[relation_id] = (entity_id, other)
    if not ends:
        return Expansion({}, 0)
    degrees = snapshot.degrees(list(dict.fromkeys(row for pair in ends.values() for row in pair)))
    sums = {row: degrees.get(one, 0) + degrees.get(other, 0) for row, (one, other) in ends.items()}
    best = list(sums) if len(sums) <= limit else nsmallest(limit, sums, key=lambda row: (-sums[row], row))
    rows = snapshot.relations(best)
    ranked = sorted(rows, key=lambda row: (-sums[row], -rows[row].weight, row))
    return Expansion({row: rows[row] for row in ranked}, len(ends))


def ends_of(snapshot: Snapshot, relation_ids: Sequence[int]) -> list[int]:
    """The entities that the relations connect, in the order in which they are first met."""
    ends = snapshot.endpoints(relation_ids)
    return list(dict.fromkeys(row for relation in relation_ids if relation in ends for row in ends[relation]))
