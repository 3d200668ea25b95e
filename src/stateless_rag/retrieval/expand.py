"""Expansion: from seed entities to their relations, from seed relations to their entities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stateless_rag.protocols import Snapshot
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Relation

__all__ = ["Expansion", "ends_of", "most_rows", "relations_of"]

_TOKENS_PER_RELATION = 20  # hardly a rendered relation has less


@dataclass(frozen=True, slots=True)
class Expansion:
    """Relations by id, best first, and how many there were before only the best were fetched; `also` are others that
    were asked for.
    """

    relations: Mapping[int, Relation]
    reached: int
    also: Mapping[int, Relation]


def most_rows(options: QueryOptions) -> int:
    """How many relations are worth fetching: what could fit the budget at the very best."""
    return max(options.top_k, options.max_relation_tokens // _TOKENS_PER_RELATION)


def relations_of(
    snapshot: Snapshot, entity_ids: Sequence[int], limit: int, also: Sequence[int] = ()
) -> Expansion:
    """The relations of the entities, by (sum of the ends' degrees, weight), highest first, ties by id.

    Of an entity with thousands of relations only the `limit` that rank best by degrees alone, which are in
    memory, are fetched; and in one go with them those that are wanted `also`.
    """
    if not entity_ids:
        return Expansion({}, 0, snapshot.relations(also) if also else {})
    relations, sums = snapshot.reached(entity_ids)
    best = np.argsort(-sums, kind="stable")[:limit]  # where sums are equal, ids ascend
    degrees = dict(zip(relations[best].tolist(), sums[best].tolist(), strict=True))
    rows = snapshot.relations([*degrees, *also])
    there = [row for row in degrees if row in rows]
    there.sort(key=lambda row: (-degrees[row], -rows[row].weight, row))
    others = {row: rows[row] for row in also if row in rows and row not in degrees}
    return Expansion({row: rows[row] for row in there}, len(relations), others)


def ends_of(snapshot: Snapshot, relation_ids: Sequence[int]) -> list[int]:
    """The entities that the relations connect, in the order in which they are first met."""
    ends = snapshot.endpoints(relation_ids)
    return list(dict.fromkeys(row for relation in relation_ids if relation in ends for row in ends[relation]))
