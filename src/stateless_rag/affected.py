"""What a change by hand concerns: which folds to look at again, and which mentions fold elsewhere from now on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stateless_rag.kinds import Pair, entity_row_id
from stateless_rag.text import relation_key

if TYPE_CHECKING:
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.protocols import Basis
    from stateless_rag.types import Curation, EntityMention, RelationMention

__all__ = ["Affected", "affected"]


@dataclass(frozen=True, slots=True)
class Affected:
    """The keys and pairs whose folds may change, and among them those that `entities` and `relations` tell of.

    `moved` are raw keys whose mentions are those: they fold into another row, into none, or into one again.
    """

    keys: set[str]
    pairs: set[Pair]
    moved: frozenset[str] = frozenset()
    entities: tuple[EntityMention, ...] = ()
    relations: tuple[RelationMention, ...] = ()
    told_keys: set[str] = field(default_factory=set)
    told_pairs: set[Pair] = field(default_factory=set)


def affected(basis: Basis, before: CurationLog, after: CurationLog, curation: Curation) -> Affected:
    """What an entry concerns that makes one log of another."""
    about = set(after.subject(curation).keys)
    known = {*about, *before.aliases, *after.aliases}
    aliased = {key for key in known if before.resolve(key) != after.resolve(key)}
    logs = (before, after)
    keys = {log.resolve(key) for log in logs for key in about | aliased}
    pairs = {pair for log in logs for key in keys for pair in log.pairs_of(key)}
    # Made by hand, a relation keeps its entities.
    keys.update(end for pair in pairs for end in pair)
    shown = {key for key in keys if _name(before, key) != _name(after, key)}
    pairs |= _stored_pairs(basis, shown)
    moved = frozenset(aliased | _toggled(basis, before, after, keys, pairs))
    entities, relations = basis.mentions_under(moved)
    told_keys = {log.resolve(mention.key) for log in logs for mention in entities}
    told_pairs = {
        relation_key(log.resolve(mention.source_key), log.resolve(mention.target_key))
        for log in logs
        for mention in relations
    }
    told_pairs = {pair for pair in told_pairs if pair[0] != pair[1]}
    # Also keys that nobody mentions yet: a commit that mentions them in the meantime must be noticed.
    keys |= told_keys | {log.resolve(key) for log in logs for key in moved}
    return Affected(keys, pairs | told_pairs, moved, tuple(entities), tuple(relations), told_keys, told_pairs)


def _name(log: CurationLog, key: str) -> str | None:
    by_hand = log.entity(key)
    return None if by_hand is None else by_hand.name


def _stored_pairs(basis: Basis, keys: set[str]) -> set[Pair]:
    """The relations of some entities, which show their names."""
    edges = basis.edges([entity_row_id(key) for key in keys])
    rows = basis.relation_rows({relation for found in edges.values() for relation, _ in found})
    return {relation_key(row.relation.source_key, row.relation.target_key) for row in rows.values()}


def _toggled(
    basis: Basis, before: CurationLog, after: CurationLog, keys: set[str], pairs: set[Pair]
) -> set[str]:
    """The raw keys of what is hidden from now on, or shown again."""
    ends = {key for key in keys if _hides(before, key) != _hides(after, key)}
    found = set(ends)
    for pair in pairs:
        one, other = before.relation(pair), after.relation(pair)
        hidden = (one is not None and one.hidden, other is not None and other.hidden)
        if hidden[0] != hidden[1] and not ends.intersection(pair):
            found.add(_lighter(basis, pair))
    return {raw for key in found for log in (before, after) for raw in log.keys_under(key)}


def _hides(log: CurationLog, key: str) -> bool:
    by_hand = log.entity(key)
    return by_hand is not None and by_hand.hidden


def _lighter(basis: Basis, pair: Pair) -> str:
    """The end that fewer chunks mention: all mentions of the relation are found under either."""
    rows = basis.entity_rows([entity_row_id(key) for key in pair])
    weights = {row.entity.key: row.entity.weight for row in rows.values()}
    return min(pair, key=lambda key: weights.get(key, 0))
