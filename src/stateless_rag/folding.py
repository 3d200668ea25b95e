"""Which folds a batch changes, and to what: by addition and subtraction, or anew where a text was lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stateless_rag.errors import InvalidInput
from stateless_rag.kinds import Entities, Fold, Kind, Pair, Relations, Row, entity_row_id
from stateless_rag.protocols import ALIASES
from stateless_rag.stages.merge import EntityFold, RelationFold, Resolve, resolver
from stateless_rag.text import chunk_id_of, relation_key

if TYPE_CHECKING:
    from stateless_rag.protocols import Basis, EntityRow, RelationRow
    from stateless_rag.settings import MergeSettings
    from stateless_rag.types import EntityMention, Extraction, RelationMention

__all__ = ["Changed", "Folding", "fold_changes"]

Mentions = tuple[Sequence["EntityMention"], Sequence["RelationMention"]]

KeyT = TypeVar("KeyT")
FoldT = TypeVar("FoldT", bound=Fold)
RowT = TypeVar("RowT", bound=Row)
MentionT = TypeVar("MentionT")


@dataclass(frozen=True, slots=True)
class Changed(Generic[FoldT]):
    """A fold that is new or changed. `description` is the old one if nothing that it depends on changed."""

    id: int
    fold: FoldT
    subject: str
    state: str
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """What a batch does to the graph. `reads` are the ids of all folds it was computed from; `stored_vectors`
    are digests that changed rows name and that are stored already.
    """

    reads: frozenset[int]
    entities: tuple[Changed[EntityFold], ...]
    removed_entities: tuple[int, ...]
    relations: tuple[Changed[RelationFold], ...]
    removed_relations: tuple[int, ...]
    entity_mentions: tuple[tuple[int, EntityMention], ...]
    relation_mentions: tuple[tuple[int | None, RelationMention], ...]
    remention: frozenset[str]
    stored_vectors: frozenset[str]
    entity_ids: Mapping[str, int]

    def entity_id(self, key: str) -> int:
        """The id of the row of an entity, most often of one that the batch touches."""
        known = self.entity_ids.get(key)
        return entity_row_id(key) if known is None else known

    @property
    def touched(self) -> bool:
        """Whether anything changes."""
        return bool(self.entities or self.removed_entities or self.relations or self.removed_relations)


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
        before, resolve = resolve, resolver(following)
        remention = frozenset(key for key in {*known, *following, *aliases} if before(key) != resolve(key))
        new = _merged(new, basis.mentions_under(remention))
        folds = _refolded(basis, settings, new, remention, before, resolve)
    else:
        folds = _incremental(basis, settings, new, removed_chunks, resolve)
    entities, relations = folds
    touched = bool(aliases or entities.after or relations.after)
    return Folding(
        # A commit that does not change the aliases has still been computed with them.
        reads=frozenset({ALIASES, *entities.ids(), *relations.ids()}) if touched else frozenset(),
        entities=entities.changed(),
        removed_entities=entities.removed(),
        relations=relations.changed(),
        removed_relations=relations.removed(),
        entity_mentions=tuple(
            (entities.row_ids[resolve(mention.key)], mention) for mention in dict.fromkeys(new[0])
        ),
        relation_mentions=tuple((relations.row_ids.get(_pair(m, resolve)), m) for m in dict.fromkeys(new[1])),
        remention=remention,
        stored_vectors=entities.stored_vectors() | relations.stored_vectors(),
        entity_ids=entities.row_ids,
    )


def _pair(mention: RelationMention, resolve: Resolve) -> Pair:
    return relation_key(resolve(mention.source_key), resolve(mention.target_key))


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


# ---- folds of one kind, before and after ---------------------------------------------------------------


class _Folds(Generic[KeyT, FoldT, MentionT, RowT]):
    """The folds of one kind that a batch touches: the rows there were, and the folds there are now (None for
    those that no mention is left of).
    """

    def __init__(
        self,
        kind: Kind[KeyT, FoldT, MentionT, RowT],
        row_ids: Mapping[KeyT, int],
        rows: Mapping[int, RowT],
        after: dict[KeyT, FoldT | None],
    ) -> None:
        """`row_ids` has the id of the row of each key that is touched."""
        self._kind = kind
        self.row_ids = row_ids
        self._rows = rows
        self.after = after
        self.lost: set[int] = set()

    @classmethod
    def incremental(
        cls,
        kind: Kind[KeyT, FoldT, MentionT, RowT],
        basis: Basis,
        plus: Mapping[KeyT, FoldT],
        minus: Mapping[KeyT, FoldT],
    ) -> _Folds[KeyT, FoldT, MentionT, RowT]:
        """Add and subtract; `lost` are the ids of folds that have to be folded again."""
        row_ids = _row_ids(kind, {*plus, *minus})
        rows = kind.rows(basis, list(row_ids.values()))
        folds = cls(kind, row_ids, rows, {})
        for key, row_id in row_ids.items():
            row = rows.get(row_id)
            fold = None if row is None else kind.load(key, row.state)
            if fold is not None and key in minus:
                fold = kind.subtract(fold, minus[key])
                if fold is None:
                    folds.lost.add(row_id)
            more = plus.get(key)
            folds.after[key] = more if fold is None else fold if more is None else kind.add(fold, more)
        return folds

    def again(self, mentions: Sequence[MentionT], resolve: Resolve) -> None:
        """Fold those that were lost from all of their mentions."""
        found = self._kind.fold(mentions, resolve)
        self.after.update({key: found.get(key) for key in self.after if self.row_ids[key] in self.lost})

    def ids(self) -> set[int]:
        return set(self.row_ids.values())

    def changed(self) -> tuple[Changed[FoldT], ...]:
        changed = []
        for key, fold in self.after.items():
            if fold is None or not fold.chunks:
                continue
            row_id = self.row_ids[key]
            row, state = self._rows.get(row_id), self._kind.dump(fold)
            if row is None or row.state != state:
                subject = self._kind.subject(fold)
                description = self._kept(key, fold, subject, row)
                changed.append(Changed(row_id, fold, subject, state, description))
        return tuple(changed)

    def removed(self) -> tuple[int, ...]:
        gone = {self.row_ids[key] for key, fold in self.after.items() if fold is None or not fold.chunks}
        return tuple(sorted(gone & self._rows.keys()))

    def stored_vectors(self) -> frozenset[str]:
        return frozenset(row.vector for row in self._rows.values())

    def _kept(self, key: KeyT, fold: FoldT, subject: str, row: RowT | None) -> str | None:
        """The old description, if it depends on nothing that changed."""
        if row is None:
            return None
        old = self._kind.load(key, row.state)
        same = old.texts == fold.texts and self._kind.subject(old) == subject
        return self._kind.description(row) if same else None


def _row_ids(kind: Kind[KeyT, Any, Any, Any], keys: Iterable[KeyT]) -> dict[KeyT, int]:
    """The id of the row of each key, in ascending order."""
    return dict(sorted(((key, kind.row_id(key)) for key in keys), key=itemgetter(1)))


_Both = tuple[
    "_Folds[str, EntityFold, EntityMention, EntityRow]",
    "_Folds[Pair, RelationFold, RelationMention, RelationRow]",
]


# ---- the two ways --------------------------------------------------------------------------------------


def _incremental(
    basis: Basis,
    settings: MergeSettings,
    new: Mentions,
    removed_chunks: Collection[int],
    resolve: Resolve,
) -> _Both:
    old = basis.mentions_in(removed_chunks)
    one, other = Entities(settings), Relations(settings)
    entities = _Folds.incremental(
        one, basis, one.fold(new[0], resolve), one.fold(old[0], resolve, whole=True)
    )
    relations = _Folds.incremental(
        other, basis, other.fold(new[1], resolve), other.fold(old[1], resolve, whole=True)
    )
    if lost := entities.lost | relations.lost:
        rest = _merged(_without(basis.mentions_of(lost), removed_chunks), new)
        entities.again(rest[0], resolve)
        relations.again(rest[1], resolve)
    return entities, relations


def _refolded(
    basis: Basis,
    settings: MergeSettings,
    moved: Mentions,
    remention: Collection[str],
    before: Resolve,
    after: Resolve,
) -> _Both:
    one, other = Entities(settings), Relations(settings)
    # Also keys that nobody mentions yet: a commit that mentions them in the meantime must be noticed.
    keys = _row_ids(one, {resolve(key) for key in remention for resolve in (before, after)})
    ends = {_pair(mention, resolve) for mention in moved[1] for resolve in (before, after)}
    pairs = _row_ids(other, {pair for pair in ends if pair[0] != pair[1]})
    entity_ids, relation_ids = list(keys.values()), list(pairs.values())
    everything = _merged(basis.mentions_of([*entity_ids, *relation_ids]), moved)
    folded, folded_relations = one.fold(everything[0], after), other.fold(everything[1], after)
    return (
        _Folds(one, keys, one.rows(basis, entity_ids), {key: folded.get(key) for key in keys}),
        _Folds(
            other,
            pairs,
            other.rows(basis, relation_ids),
            {pair: folded_relations.get(pair) for pair in pairs},
        ),
    )


def _merged(one: Mentions, other: Mentions) -> Mentions:
    return list(dict.fromkeys([*one[0], *other[0]])), list(dict.fromkeys([*one[1], *other[1]]))


def _without(mentions: Mentions, chunks: Collection[int]) -> Mentions:
    gone = {chunk_id_of(chunk) for chunk in chunks}
    return (
        [mention for mention in mentions[0] if mention.chunk_id not in gone],
        [mention for mention in mentions[1] if mention.chunk_id not in gone],
    )
