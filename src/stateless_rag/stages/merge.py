"""Merge: from mentions to entities and relations.

Two steps, both pure. `merge` unites graph deltas: set union over the mentions' identities, so it has an
identity element and is commutative, associative and idempotent. `fold_entities` and `fold_relations` turn a set
of mentions into one fold per key. A fold is small whatever the number of mentions: counters, and the k texts
with the smallest hash (a bottom-k sketch; Cohen & Kaplan 2007). Folds of disjoint sets of chunks can be added
and subtracted, so a commit touches only the keys of its batch:

    fold(a ∪ b) == add(fold(a), fold(b))
    fold(a ∖ b) == subtract(fold(a), fold(b))     or None, when a text of the sketch was lost: fold again

Aliases map raw keys to keys. They are applied here, never to stored mentions; and so is what was said by hand, last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING

from stateless_rag.checks import instances
from stateless_rag.text import digest, relation_key
from stateless_rag.types import Entity, EntityMention, GraphDelta, Relation, RelationMention

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.curation_log import EntityByHand, RelationByHand

__all__ = [
    "EntityFold",
    "RelationFold",
    "Resolve",
    "add_entities",
    "add_relations",
    "fold_entities",
    "fold_relations",
    "merge",
    "millionths",
    "present_entity",
    "present_relation",
    "resolver",
    "subtract_entities",
    "subtract_relations",
]

_MILLION = 1_000_000

Resolve = Callable[[str], str]
Counts = Mapping[str, int]


def merge(context: Context, *deltas: GraphDelta) -> GraphDelta:  # noqa: ARG001 -- every stage takes the context
    """The union of what the deltas say."""
    instances("deltas", deltas, kind=GraphDelta)
    return GraphDelta(
        frozenset().union(*(delta.entities for delta in deltas)),
        frozenset().union(*(delta.relations for delta in deltas)),
    )


def resolver(aliases: Mapping[str, str]) -> Resolve:
    """The function that follows aliases from a raw key to the key it stands for."""

    def resolve(key: str) -> str:
        while (target := aliases.get(key)) is not None:
            key = target
        return key

    return resolve


# ---- folds ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntityFold:
    """All mentions of one entity, folded. `chunks` is the number of distinct chunks, `texts` a bottom-k sketch
    of the distinct descriptions, in code point order.
    """

    key: str
    chunks: int
    names: Counts
    types: Counts
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RelationFold:
    """All mentions of one relation, folded. `forward` counts mentions from `left` to `right`, `backward` the
    others; `left_names` and `right_names` are the ends as the mentions call them. `keywords` and `texts` are
    sketches, in code point order. `weighed` of the chunks say what the relation weighs: `stated` millionths in all,
    as whole numbers add up to the same in any order.
    """

    left: str
    right: str
    chunks: int
    forward: int
    backward: int
    left_names: Counts
    right_names: Counts
    keywords: tuple[str, ...]
    texts: tuple[str, ...]
    weighed: int = 0
    stated: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The unordered pair of entity keys."""
        return (self.left, self.right)

    @property
    def weight(self) -> float:
        """What the chunks say that it weighs, and 1 for each of the others; an int if it is whole."""
        if not self.weighed:
            return self.chunks
        total = (self.chunks - self.weighed) * _MILLION + self.stated
        return total / _MILLION if total % _MILLION else total // _MILLION


def fold_entities(
    mentions: Iterable[EntityMention], resolve: Resolve, k: int | None
) -> dict[str, EntityFold]:
    """One fold for each resolved key; sketches hold `k` texts, or all if `k` is None."""
    groups: dict[str, list[EntityMention]] = {}
    for mention in mentions:
        groups.setdefault(resolve(mention.key), []).append(mention)
    return {key: _entity_fold(key, group, k) for key, group in groups.items()}


def _entity_fold(key: str, group: Sequence[EntityMention], k: int | None) -> EntityFold:
    if len(group) == 1:  # most often
        (only,) = group
        types = {only.type: 1} if only.type else {}
        return EntityFold(key, 1, {only.name: 1}, types, _sketch(key, (only.description,), k))
    return EntityFold(
        key,
        len({mention.chunk_id for mention in group}),
        _count([mention.name for mention in group]),
        _count([mention.type for mention in group if mention.type]),
        _sketch(key, [mention.description for mention in group], k),
    )


def fold_relations(
    mentions: Iterable[RelationMention], resolve: Resolve, k: int | None, keywords: int | None
) -> dict[tuple[str, str], RelationFold]:
    """One fold for each resolved pair. Pairs whose ends resolve to the same key are no relation."""
    groups: dict[tuple[str, str], list[tuple[bool, RelationMention]]] = {}
    for mention in mentions:
        source, target = resolve(mention.source_key), resolve(mention.target_key)
        if source != target:
            groups.setdefault(relation_key(source, target), []).append((source < target, mention))
    return {pair: _relation_fold(*pair, group, k, keywords) for pair, group in groups.items()}


def _relation_fold(
    left: str, right: str, group: Sequence[tuple[bool, RelationMention]], k: int | None, keywords: int | None
) -> RelationFold:
    named = [(told.source, told.target) if forward else (told.target, told.source) for forward, told in group]
    forwards = sum([forward for forward, _ in group])
    return RelationFold(
        left,
        right,
        len({mention.chunk_id for _, mention in group}) if len(group) > 1 else 1,
        forwards,
        len(group) - forwards,
        _count([name for name, _ in named]),
        _count([name for _, name in named]),
        _sketch(left, [word for _, mention in group for word in mention.keywords], keywords),
        _sketch(f"{left}\n{right}", [mention.description for _, mention in group], k),
        *_stated([mention for _, mention in group if mention.weight]),
    )


def _stated(mentions: Sequence[RelationMention]) -> tuple[int, int]:
    """How many chunks these mentions, which state weights, are of, and the sum of these in millionths."""
    if not mentions:
        return 0, 0
    chunks = {mention.chunk_id for mention in mentions}
    return len(chunks), millionths([mention.weight for mention in mentions])


def millionths(weights: Iterable[float]) -> int:
    """The sum of weights in millionths, whatever their order."""
    return sum([round(weight * _MILLION) for weight in weights])


def add_entities(one: EntityFold, other: EntityFold, k: int) -> EntityFold:
    """The fold of both; their chunks must be disjoint."""
    return EntityFold(
        one.key,
        one.chunks + other.chunks,
        _plus(one.names, other.names),
        _plus(one.types, other.types),
        _sketch(one.key, one.texts + other.texts, k),
    )


def add_relations(one: RelationFold, other: RelationFold, k: int, keywords: int) -> RelationFold:
    """The fold of both; their chunks must be disjoint."""
    return RelationFold(
        one.left,
        one.right,
        one.chunks + other.chunks,
        one.forward + other.forward,
        one.backward + other.backward,
        _plus(one.left_names, other.left_names),
        _plus(one.right_names, other.right_names),
        _sketch(one.left, one.keywords + other.keywords, keywords),
        _sketch(f"{one.left}\n{one.right}", one.texts + other.texts, k),
        one.weighed + other.weighed,
        one.stated + other.stated,
    )


def subtract_entities(whole: EntityFold, part: EntityFold) -> EntityFold | None:
    """The fold without `part` (folded with k=None from all mentions of the chunks that go).

    None if a text of the sketch may be gone: then only the remaining mentions can tell.
    """
    if not set(whole.texts).isdisjoint(part.texts):
        return None
    return EntityFold(
        whole.key,
        whole.chunks - part.chunks,
        _minus(whole.names, part.names),
        _minus(whole.types, part.types),
        whole.texts,
    )


def subtract_relations(whole: RelationFold, part: RelationFold) -> RelationFold | None:
    """As `subtract_entities`; keywords are a sketch, too."""
    if not set(whole.texts).isdisjoint(part.texts) or not set(whole.keywords).isdisjoint(part.keywords):
        return None
    return RelationFold(
        whole.left,
        whole.right,
        whole.chunks - part.chunks,
        whole.forward - part.forward,
        whole.backward - part.backward,
        _minus(whole.left_names, part.left_names),
        _minus(whole.right_names, part.right_names),
        whole.keywords,
        whole.texts,
        whole.weighed - part.weighed,
        whole.stated - part.stated,
    )


def present_entity(
    fold: EntityFold, description: str, tokens: int = 0, by_hand: EntityByHand | None = None
) -> Entity:
    """The entity as it is shown: name and type as they were given by hand, else by majority, ties by code points."""
    name, type_ = _majority(fold.names), _majority(fold.types)
    if by_hand is not None:
        name, type_ = by_hand.name or name or by_hand.called, by_hand.type or type_
    return Entity(
        key=fold.key,
        name=name or fold.key,
        type=type_ or "unknown",
        description=description,
        weight=fold.chunks,
        tokens=tokens,
    )


def present_relation(
    fold: RelationFold, description: str, tokens: int = 0, by_hand: RelationByHand | None = None
) -> Relation:
    """The relation as it is shown: in the direction given by hand, else in the one stated more often, else in the
    order of its keys.
    """
    left, right = _majority(fold.left_names), _majority(fold.right_names)
    forward, keywords, weight = fold.forward >= fold.backward, fold.keywords, fold.weight
    if by_hand is not None:
        called = by_hand.called or (None, None)
        left, right = by_hand.left or left or called[0], by_hand.right or right or called[1]
        forward = forward if by_hand.forward is None else by_hand.forward
        keywords = keywords if by_hand.keywords is None else by_hand.keywords
        weight = weight if by_hand.weight is None else by_hand.weight
    left, right = left or fold.left, right or fold.right
    return Relation(
        source_key=fold.left if forward else fold.right,
        target_key=fold.right if forward else fold.left,
        source=left if forward else right,
        target=right if forward else left,
        keywords=keywords,
        description=description,
        weight=weight,
        tokens=tokens,
    )


# ---- counters and sketches -----------------------------------------------------------------------------


def _count(values: Sequence[str]) -> dict[str, int]:
    if len(values) == 1:
        return {values[0]: 1}
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _plus(one: Counts, other: Counts) -> dict[str, int]:
    counts = dict(one)
    for value, number in other.items():
        counts[value] = counts.get(value, 0) + number
    return counts


def _minus(one: Counts, other: Counts) -> dict[str, int]:
    counts = dict(one)
    for value, number in other.items():
        counts[value] -= number
        if not counts[value]:
            del counts[value]
    return counts


def _majority(counts: Counts) -> str | None:
    if len(counts) < 2:  # most often
        return next(iter(counts), None)
    return min(counts, key=lambda value: (-counts[value], value))


def _sketch(salt: str, texts: Iterable[str], k: int | None) -> tuple[str, ...]:
    """Of the distinct texts the `k` with the smallest hashes, in code point order."""
    distinct = {text for text in texts if text}
    if len(distinct) < 2:  # most often
        return tuple(distinct) if k != 0 else ()
    if k is not None and len(distinct) > k:
        return tuple(sorted(nsmallest(k, distinct, key=lambda text: digest(salt, text))))
    return tuple(sorted(distinct))
