"""What a commit does to the graph: after chunks came and went, or after a change by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.affected import affected
from stateless_rag.errors import InvalidInput
from stateless_rag.folds import Changed, Folds
from stateless_rag.kinds import Entities, Pair, Relations, entity_row_id
from stateless_rag.protocols import ALIASES, CURATIONS
from stateless_rag.stages.merge import EntityFold, RelationFold, resolver
from stateless_rag.text import chunk_id_of, relation_key

if TYPE_CHECKING:
    from stateless_rag.curation_log import CurationLog, EntityByHand, RelationByHand
    from stateless_rag.protocols import Basis, EntityRow, RelationRow
    from stateless_rag.settings import MergeSettings
    from stateless_rag.stages.merge import Resolve
    from stateless_rag.types import Curation, EntityMention, Extraction, RelationMention

__all__ = ["Changed", "Folding", "fold_changes", "fold_curation"]

Mentions = tuple[Sequence["EntityMention"], Sequence["RelationMention"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """What a batch does to the graph. `reads` are the ids of all folds it was computed from; `stored_vectors`
    are digests that changed rows name and that are stored already. `hidden` are ids of what was deleted by hand.
    """

    reads: frozenset[int]
    entities: tuple[Changed[EntityFold, EntityByHand], ...]
    removed_entities: tuple[int, ...]
    relations: tuple[Changed[RelationFold, RelationByHand], ...]
    removed_relations: tuple[int, ...]
    entity_mentions: tuple[tuple[int | None, EntityMention], ...]
    relation_mentions: tuple[tuple[int | None, RelationMention], ...]
    stored_vectors: frozenset[str]
    entity_ids: Mapping[str, int]
    hidden: frozenset[int]
    remention: frozenset[str] = frozenset()
    aliases: Mapping[str, str | None] | None = None

    def entity_id(self, key: str) -> int:
        """The id of the row of an entity, most often of one that the batch touches."""
        known = self.entity_ids.get(key)
        return entity_row_id(key) if known is None else known

    @property
    def touched(self) -> bool:
        """Whether anything changes."""
        return bool(self.entities or self.removed_entities or self.relations or self.removed_relations)


_Both = tuple[
    "Folds[str, EntityFold, EntityMention, EntityRow, EntityByHand]",
    "Folds[Pair, RelationFold, RelationMention, RelationRow, RelationByHand]",
]


def fold_changes(
    basis: Basis,
    settings: MergeSettings,
    added: Sequence[Extraction],
    removed_chunks: Collection[int],
    pause: Callable[[], None],
) -> Folding:
    """Compute the folds after chunks were added and removed; `pause` is called again and again on the way."""
    new: Mentions = (
        [mention for extraction in added for mention in extraction.entities],
        [mention for extraction in added for mention in extraction.relations],
    )
    resolve = resolver(basis.aliases())
    both = _incremental(basis, settings, new, removed_chunks, resolve, pause)
    touched = bool(both[0].after or both[1].after)
    # A commit that does not change the aliases has still been computed with them.
    return _folding(both, new, resolve, frozenset({ALIASES}) if touched else frozenset(), {})


def fold_curation(basis: Basis, settings: MergeSettings, curation: Curation) -> Folding:
    """Compute the folds after a change by hand. Raises InvalidInput if aliases would lead in a circle."""
    before = basis.curations()
    after = before.following(curation)
    if (key := after.circle) is not None:
        raise InvalidInput(
            f"with this, the name {key!r} would stand for itself by way of others; take that alias back first"
        )
    aliases = {key: after.aliases.get(key) for key in {*before.aliases, *after.aliases}}
    aliases = {key: target for key, target in aliases.items() if target != before.aliases.get(key)}
    both, moved, raw = _curated(basis, settings, before, after, curation)
    also = {CURATIONS, ALIASES} if aliases else {CURATIONS}
    return _folding(both, moved, after.resolve, frozenset(also), aliases, raw)


def _folding(
    both: _Both,
    mentions: Mentions,
    resolve: Resolve,
    reads: frozenset[int],
    aliases: Mapping[str, str | None],
    remention: frozenset[str] = frozenset(),
) -> Folding:
    """`mentions` are to be written, with the row that each folds into."""
    entities, relations = both
    return Folding(
        reads=reads.union(entities.ids(), relations.ids()) if reads else reads,
        entities=entities.changed(),
        removed_entities=entities.removed(),
        relations=relations.changed(),
        removed_relations=relations.removed(),
        entity_mentions=tuple((entities.place(resolve(m.key)), m) for m in dict.fromkeys(mentions[0])),
        relation_mentions=tuple((relations.place(_pair(m, resolve)), m) for m in dict.fromkeys(mentions[1])),
        stored_vectors=entities.stored_vectors() | relations.stored_vectors(),
        entity_ids=entities.row_ids,
        hidden=frozenset(entities.hidden() | relations.hidden()),
        remention=remention,
        aliases=aliases or None,
    )


def _pair(mention: RelationMention, resolve: Resolve) -> Pair:
    return relation_key(resolve(mention.source_key), resolve(mention.target_key))


# ---- the two ways --------------------------------------------------------------------------------------


def _incremental(
    basis: Basis,
    settings: MergeSettings,
    new: Mentions,
    removed_chunks: Collection[int],
    resolve: Resolve,
    pause: Callable[[], None],
) -> _Both:
    old = basis.mentions_in(removed_chunks)
    one, other = Entities(settings), Relations(settings)
    entities = Folds.incremental(
        one, basis, one.fold(new[0], resolve), one.fold(old[0], resolve, whole=True), pause
    )
    pause()
    relations = Folds.incremental(
        other, basis, other.fold(new[1], resolve), other.fold(old[1], resolve, whole=True), pause
    )
    if lost := entities.lost | relations.lost:
        rest = _merged(_without(basis.mentions_of(lost), removed_chunks), new)
        entities.again(rest[0], resolve)
        relations.again(rest[1], resolve)
    return entities, relations


def _curated(
    basis: Basis, settings: MergeSettings, before: CurationLog, after: CurationLog, curation: Curation
) -> tuple[_Both, Mentions, frozenset[str]]:
    """The folds, the mentions that move, and the raw keys that these are stored under."""
    found = affected(basis, before, after, curation)
    entities = Folds.curated(Entities(settings), basis, found.keys, after)
    relations = Folds.curated(Relations(settings), basis, found.pairs, after)
    told = {entities.row_ids[key] for key in found.told_keys}
    told |= {relations.row_ids[pair] for pair in found.told_pairs}
    moved: Mentions = (found.entities, found.relations)
    everything = _merged(basis.mentions_of(told), moved)
    entities.again(everything[0], after.resolve, found.told_keys)
    relations.again(everything[1], after.resolve, found.told_pairs)
    return (entities, relations), moved, found.moved


def _merged(one: Mentions, other: Mentions) -> Mentions:
    return list(dict.fromkeys([*one[0], *other[0]])), list(dict.fromkeys([*one[1], *other[1]]))


def _without(mentions: Mentions, chunks: Collection[int]) -> Mentions:
    gone = {chunk_id_of(chunk) for chunk in chunks}
    return (
        [mention for mention in mentions[0] if mention.chunk_id not in gone],
        [mention for mention in mentions[1] if mention.chunk_id not in gone],
    )
