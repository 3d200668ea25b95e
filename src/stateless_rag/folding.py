"""Which folds a batch changes, and to what: by addition and subtraction, or anew where a text was lost."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.errors import InvalidInput
from stateless_rag.stages.merge import (
    EntityFold,
    RelationFold,
    Resolve,
    add_entities,
    add_relations,
    fold_entities,
    fold_relations,
    present_entity,
    present_relation,
    resolver,
    subtract_entities,
    subtract_relations,
)
from stateless_rag.text import chunk_id_of, stable_id

if TYPE_CHECKING:
    from stateless_rag.protocols import Basis, EntityRow, RelationRow
    from stateless_rag.settings import MergeSettings
    from stateless_rag.types import EntityMention, Extraction, RelationMention

__all__ = ["ChangedEntity", "ChangedRelation", "Folding", "entity_row_id", "fold_changes", "relation_row_id"]

Pair = tuple[str, str]
Mentions = tuple[Sequence["EntityMention"], Sequence["RelationMention"]]
ALIASES = 0


@dataclass(frozen=True, slots=True)
class ChangedEntity:
    """An entity whose fold is new or changed. `description` is the old one if nothing it depends on changed."""

    id: int
    fold: EntityFold
    state: str
    description: str | None


@dataclass(frozen=True, slots=True)
class ChangedRelation:
    """A relation whose fold is new or changed; `left` and `right` are the ids of its entities."""

    id: int
    left: int
    right: int
    fold: RelationFold
    state: str
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """What a batch does to the graph. `reads` are the ids of all folds it was computed from; `stored_vectors`
    are digests that changed rows name and that are stored already.
    """

    reads: frozenset[int]
    entities: tuple[ChangedEntity, ...]
    removed_entities: tuple[int, ...]
    relations: tuple[ChangedRelation, ...]
    removed_relations: tuple[int, ...]
    entity_mentions: tuple[tuple[int, EntityMention], ...]
    relation_mentions: tuple[tuple[int | None, RelationMention], ...]
    remention: frozenset[str]
    stored_vectors: frozenset[str]

    @property
    def touched(self) -> bool:
        """Whether anything changes."""
        return bool(self.entities or self.removed_entities or self.relations or self.removed_relations)


def entity_row_id(key: str) -> int:
    """The id of the entity of that key."""
    return stable_id("entity", key)


def relation_row_id(pair: Pair) -> int:
    """The id of the relation of that pair of keys, which must be in code point order."""
    return stable_id("relation", *pair)


def fold_changes(
    basis: Basis,
    settings: MergeSettings,
    added: Sequence[Extraction],
    removed_chunks: Collection[int],
    aliases: Mapping[str, str | None],
) -> Folding:
    """Compute the folds after chunks were added and removed, or after aliases changed."""
    new: Mentions = (
        [mention for extraction in added for mention in extraction.entities],
        [mention for extraction in added for mention in extraction.relations],
    )
    known = basis.aliases()
    resolve = resolver(known)
    remention: frozenset[str] = frozenset()
    if aliases:
        following = _following(known, aliases)
        resolve = resolver(following)
        before = resolver(known)
        remention = frozenset(key for key in {*known, *following, *aliases} if before(key) != resolve(key))
        new = _merged(new, basis.mentions_under(remention))
        entities, relations, old_entities, old_relations = _refold_aliased(
            basis, settings, new, remention, before, resolve
        )
    else:
        old = basis.mentions_in(removed_chunks)
        entities, relations, old_entities, old_relations = _incremental(
            basis, settings, new, old, removed_chunks, resolve
        )
    return _folding(
        entities, relations, old_entities, old_relations, new, resolve, remention, with_aliases=bool(aliases)
    )


def _following(known: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The aliases after changes. Raises InvalidInput if they would lead in a circle."""
    following = {key: target for key, target in known.items() if key not in changes}
    following.update({key: target for key, target in changes.items() if target is not None})
    for key in changes:
        passed = {key}
        step = following.get(key)
        while step is not None:
            if step in passed:
                raise InvalidInput(f"{changes[key]!r} already stands for {key!r}; take that alias back first")
            passed.add(step)
            step = following.get(step)
    return following


# ---- the two ways --------------------------------------------------------------------------------------

_Folds = tuple[
    dict[str, EntityFold | None],
    dict[Pair, RelationFold | None],
    Mapping[int, "EntityRow"],
    Mapping[int, "RelationRow"],
]


def _incremental(
    basis: Basis,
    settings: MergeSettings,
    new: Mentions,
    old: Mentions,
    removed_chunks: Collection[int],
    resolve: Resolve,
) -> _Folds:
    k, words = settings.description_texts, settings.relation_keywords
    plus_entities, plus_relations = (
        fold_entities(new[0], resolve, k),
        fold_relations(new[1], resolve, k, words),
    )
    minus_entities = fold_entities(old[0], resolve, None)
    minus_relations = fold_relations(old[1], resolve, None, None)
    entity_keys = sorted({*plus_entities, *minus_entities})
    pairs = sorted({*plus_relations, *minus_relations})
    entity_rows = basis.entity_rows([entity_row_id(key) for key in entity_keys])
    relation_rows = basis.relation_rows([relation_row_id(pair) for pair in pairs])
    entities: dict[str, EntityFold | None] = {}
    relations: dict[Pair, RelationFold | None] = {}
    lost: set[int] = set()
    for key in entity_keys:
        row = entity_rows.get(entity_row_id(key))
        fold = None if row is None else load_entity(key, row.state)
        minus = minus_entities.get(key)
        if fold is not None and minus is not None:
            fold = subtract_entities(fold, minus)
            if fold is None:
                lost.add(entity_row_id(key))
        plus = plus_entities.get(key)
        entities[key] = plus if fold is None else add_entities(fold, plus, k) if plus else fold
    for pair in pairs:
        relation_row = relation_rows.get(relation_row_id(pair))
        relation = None if relation_row is None else load_relation(pair, relation_row.state)
        less = minus_relations.get(pair)
        if relation is not None and less is not None:
            relation = subtract_relations(relation, less)
            if relation is None:
                lost.add(relation_row_id(pair))
        more = plus_relations.get(pair)
        relations[pair] = (
            more if relation is None else add_relations(relation, more, k, words) if more else relation
        )
    if lost:
        left = _without(basis.mentions_of(lost), removed_chunks)
        rest = _merged(left, new)
        again = fold_entities(rest[0], resolve, k)
        again_relations = fold_relations(rest[1], resolve, k, words)
        entities.update({key: again[key] for key in again if entity_row_id(key) in lost})
        relations.update(
            {pair: again_relations[pair] for pair in again_relations if relation_row_id(pair) in lost}
        )
    return entities, relations, entity_rows, relation_rows


def _refold_aliased(
    basis: Basis,
    settings: MergeSettings,
    moved: Mentions,
    remention: Collection[str],
    before: Resolve,
    after: Resolve,
) -> _Folds:
    k, words = settings.description_texts, settings.relation_keywords
    # Also keys that nobody mentions yet: a commit that mentions them in the meantime must be noticed.
    keys = {resolve(key) for key in remention for resolve in (before, after)}
    pairs = {
        (min(ends), max(ends))
        for mention in moved[1]
        for resolve in (before, after)
        if len(ends := {resolve(mention.source_key), resolve(mention.target_key)}) == 2
    }
    entity_ids = [entity_row_id(key) for key in sorted(keys)]
    relation_ids = [relation_row_id(pair) for pair in sorted(pairs)]
    everything = _merged(basis.mentions_of([*entity_ids, *relation_ids]), moved)
    folded = fold_entities(everything[0], after, k)
    folded_relations = fold_relations(everything[1], after, k, words)
    return (
        {key: folded.get(key) for key in sorted(keys)},
        {pair: folded_relations.get(pair) for pair in sorted(pairs)},
        basis.entity_rows(entity_ids),
        basis.relation_rows(relation_ids),
    )


def _merged(one: Mentions, other: Mentions) -> Mentions:
    return list(dict.fromkeys([*one[0], *other[0]])), list(dict.fromkeys([*one[1], *other[1]]))


def _without(mentions: Mentions, chunks: Collection[int]) -> Mentions:
    gone = {chunk_id_of(chunk) for chunk in chunks}
    return (
        [mention for mention in mentions[0] if mention.chunk_id not in gone],
        [mention for mention in mentions[1] if mention.chunk_id not in gone],
    )


# ---- the outcome ---------------------------------------------------------------------------------------


def _folding(
    entities: Mapping[str, EntityFold | None],
    relations: Mapping[Pair, RelationFold | None],
    old_entities: Mapping[int, EntityRow],
    old_relations: Mapping[int, RelationRow],
    new: Mentions,
    resolve: Resolve,
    remention: frozenset[str],
    *,
    with_aliases: bool,
) -> Folding:
    changed_entities = []
    changed_relations = []
    stored: set[str] = set()
    for key, fold in entities.items():
        row = old_entities.get(entity_row_id(key))
        if fold is None or not fold.chunks:
            continue
        state = dump_entity(fold)
        if row is None or row.state != state:
            changed_entities.append(
                ChangedEntity(entity_row_id(key), fold, state, _kept_entity(fold, key, row))
            )
            if row is not None:
                stored.add(row.vector)
    for pair, relation in relations.items():
        relation_row = old_relations.get(relation_row_id(pair))
        if relation is None or not relation.chunks:
            continue
        state = dump_relation(relation)
        if relation_row is None or relation_row.state != state:
            changed_relations.append(
                ChangedRelation(
                    relation_row_id(pair),
                    entity_row_id(pair[0]),
                    entity_row_id(pair[1]),
                    relation,
                    state,
                    _kept_relation(relation, pair, relation_row),
                )
            )
            if relation_row is not None:
                stored.add(relation_row.vector)
    gone = {entity_row_id(key) for key, fold in entities.items() if fold is None or not fold.chunks}
    gone_relations = {
        relation_row_id(pair) for pair, fold in relations.items() if fold is None or not fold.chunks
    }
    reads = {entity_row_id(key) for key in entities} | {relation_row_id(pair) for pair in relations}
    return Folding(
        # A commit that does not change the aliases has still been computed with them.
        reads=frozenset(reads | {ALIASES}) if entities or relations or with_aliases else frozenset(),
        entities=tuple(changed_entities),
        removed_entities=tuple(sorted(gone & old_entities.keys())),
        relations=tuple(changed_relations),
        removed_relations=tuple(sorted(gone_relations & old_relations.keys())),
        entity_mentions=tuple(
            (entity_row_id(resolve(mention.key)), mention) for mention in dict.fromkeys(new[0])
        ),
        relation_mentions=tuple(
            (_relation_id(mention, resolve), mention) for mention in dict.fromkeys(new[1])
        ),
        remention=remention,
        stored_vectors=frozenset(stored),
    )


def _relation_id(mention: RelationMention, resolve: Resolve) -> int | None:
    source, target = resolve(mention.source_key), resolve(mention.target_key)
    return None if source == target else relation_row_id((min(source, target), max(source, target)))


def _kept_entity(fold: EntityFold, key: str, row: EntityRow | None) -> str | None:
    if row is None:
        return None
    old = load_entity(key, row.state)
    same = old.texts == fold.texts and present_entity(old, "").name == present_entity(fold, "").name
    return row.entity.description if same else None


def _kept_relation(fold: RelationFold, pair: Pair, row: RelationRow | None) -> str | None:
    if row is None:
        return None
    old = load_relation(pair, row.state)
    one, other = present_relation(old, ""), present_relation(fold, "")
    same = old.texts == fold.texts and (one.source, one.target) == (other.source, other.target)
    return row.relation.description if same else None


# ---- folds as JSON -------------------------------------------------------------------------------------


def dump_entity(fold: EntityFold) -> str:
    """An entity's fold without its key."""
    return _json([fold.chunks, _sorted(fold.names), _sorted(fold.types), list(fold.texts)])


def load_entity(key: str, state: str) -> EntityFold:
    """The other way round."""
    chunks, names, types, texts = json.loads(state)
    return EntityFold(key, chunks, names, types, tuple(texts))


def dump_relation(fold: RelationFold) -> str:
    """A relation's fold without its keys."""
    return _json(
        [
            fold.chunks,
            fold.forward,
            fold.backward,
            _sorted(fold.left_names),
            _sorted(fold.right_names),
            list(fold.keywords),
            list(fold.texts),
        ]
    )


def load_relation(pair: Pair, state: str) -> RelationFold:
    """The other way round."""
    chunks, forward, backward, left_names, right_names, keywords, texts = json.loads(state)
    return RelationFold(
        pair[0],
        pair[1],
        chunks,
        forward,
        backward,
        left_names,
        right_names,
        tuple(keywords),
        tuple(texts),
    )


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
