"""Entities and relations as two kinds of the same thing: a key, mentions that fold under it, a row that keeps the
fold as JSON. `folding` is written once, for either.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Protocol, TypeVar

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
    subtract_entities,
    subtract_relations,
)
from stateless_rag.text import stable_id
from stateless_rag.types import EntityMention, RelationMention

if TYPE_CHECKING:
    from stateless_rag.curation_log import CurationLog, EntityByHand, RelationByHand
    from stateless_rag.protocols import Basis, EntityRow, RelationRow
    from stateless_rag.settings import MergeSettings

__all__ = [
    "ByHand",
    "Entities",
    "Fold",
    "Kind",
    "Pair",
    "Relations",
    "Row",
    "entity_row_id",
    "relation_row_id",
]

Pair = tuple[str, str]


class Fold(Protocol):
    """What the folds of both kinds have."""

    @property
    def chunks(self) -> int: ...  # noqa: D102 -- documented by EntityFold
    @property
    def texts(self) -> tuple[str, ...]: ...  # noqa: D102


class ByHand(Protocol):
    """What was said by hand of either."""

    @property
    def hidden(self) -> bool: ...  # noqa: D102 -- documented by EntityByHand
    @property
    def made(self) -> bool: ...  # noqa: D102
    @property
    def description(self) -> str | None: ...  # noqa: D102
    @property
    def told(self) -> str | None: ...  # noqa: D102


class Row(Protocol):
    """What the rows of both kinds have."""

    @property
    def state(self) -> str: ...  # noqa: D102 -- documented by EntityRow
    @property
    def vector(self) -> str: ...  # noqa: D102


KeyT = TypeVar("KeyT")
FoldT = TypeVar("FoldT", bound=Fold)
MentionT_contra = TypeVar("MentionT_contra", contravariant=True)
RowT = TypeVar("RowT", bound=Row)
HandT = TypeVar("HandT", bound=ByHand)


class Kind(Protocol[KeyT, FoldT, MentionT_contra, RowT, HandT]):
    """What folding must know of a kind."""

    def row_id(self, key: KeyT) -> int:
        """The id of the row of a key."""

    def fold(
        self, mentions: Iterable[MentionT_contra], resolve: Resolve, *, whole: bool = False
    ) -> dict[KeyT, FoldT]:
        """One fold for each resolved key; `whole` keeps all texts instead of a sketch of them."""

    def add(self, one: FoldT, other: FoldT) -> FoldT:
        """The fold of both; their chunks are disjoint."""

    def subtract(self, whole: FoldT, part: FoldT) -> FoldT | None:
        """The fold without a part; None if only the remaining mentions can tell."""

    def rows(self, basis: Basis, ids: Collection[int]) -> Mapping[int, RowT]:
        """Rows by id."""

    def load(self, key: KeyT, state: str) -> FoldT:
        """The fold that a row keeps."""

    def dump(self, fold: FoldT) -> str:
        """The other way round."""

    def empty(self, key: KeyT) -> FoldT:
        """The fold of no mentions."""

    def by_hand(self, log: CurationLog, key: KeyT) -> HandT | None:
        """What a log says of a key, if anything."""

    def subject(self, fold: FoldT, by_hand: HandT | None) -> str:
        """What its description is about, as a summary is told."""

    def description(self, row: RowT) -> str:
        """The description that a row keeps."""


def entity_row_id(key: str) -> int:
    """The id of the entity of that key."""
    return stable_id("entity", key)


def relation_row_id(pair: Pair) -> int:
    """The id of the relation of that pair of keys, which must be in code point order."""
    return stable_id("relation", *pair)


@dataclass(frozen=True, slots=True)
class Entities:
    """Entities; the key is a string."""

    settings: MergeSettings

    def row_id(self, key: str) -> int:  # noqa: D102 -- documented by Kind
        return entity_row_id(key)

    def fold(  # noqa: D102
        self, mentions: Iterable[EntityMention], resolve: Resolve, *, whole: bool = False
    ) -> dict[str, EntityFold]:
        return fold_entities(mentions, resolve, None if whole else self.settings.description_texts)

    def add(self, one: EntityFold, other: EntityFold) -> EntityFold:  # noqa: D102
        return add_entities(one, other, self.settings.description_texts)

    def subtract(self, whole: EntityFold, part: EntityFold) -> EntityFold | None:  # noqa: D102
        return subtract_entities(whole, part)

    def rows(self, basis: Basis, ids: Collection[int]) -> Mapping[int, EntityRow]:  # noqa: D102
        return basis.entity_rows(ids)

    def load(self, key: str, state: str) -> EntityFold:  # noqa: D102
        chunks, names, types, texts = json.loads(state)
        return EntityFold(key, chunks, names, types, tuple(texts))

    def dump(self, fold: EntityFold) -> str:  # noqa: D102
        return f"[{fold.chunks},{_counts(fold.names)},{_counts(fold.types)},{_texts(fold.texts)}]"

    def empty(self, key: str) -> EntityFold:  # noqa: D102
        return EntityFold(key, 0, {}, {}, ())

    def by_hand(self, log: CurationLog, key: str) -> EntityByHand | None:  # noqa: D102
        return log.entity(key)

    def subject(self, fold: EntityFold, by_hand: EntityByHand | None) -> str:  # noqa: D102
        return present_entity(fold, "", by_hand=by_hand).name

    def description(self, row: EntityRow) -> str:  # noqa: D102
        return row.entity.description


@dataclass(frozen=True, slots=True)
class Relations:
    """Relations; the key is a pair of entity keys in code point order."""

    settings: MergeSettings

    def row_id(self, key: Pair) -> int:  # noqa: D102 -- documented by Kind
        return relation_row_id(key)

    def fold(  # noqa: D102
        self, mentions: Iterable[RelationMention], resolve: Resolve, *, whole: bool = False
    ) -> dict[Pair, RelationFold]:
        if whole:
            return fold_relations(mentions, resolve, None, None)
        return fold_relations(
            mentions, resolve, self.settings.description_texts, self.settings.relation_keywords
        )

    def add(self, one: RelationFold, other: RelationFold) -> RelationFold:  # noqa: D102
        return add_relations(one, other, self.settings.description_texts, self.settings.relation_keywords)

    def subtract(self, whole: RelationFold, part: RelationFold) -> RelationFold | None:  # noqa: D102
        return subtract_relations(whole, part)

    def rows(self, basis: Basis, ids: Collection[int]) -> Mapping[int, RelationRow]:  # noqa: D102
        return basis.relation_rows(ids)

    def load(self, key: Pair, state: str) -> RelationFold:  # noqa: D102
        chunks, forward, backward, left_names, right_names, keywords, texts, *weights = json.loads(state)
        return RelationFold(
            *key, chunks, forward, backward, left_names, right_names, tuple(keywords), tuple(texts), *weights
        )

    def dump(self, fold: RelationFold) -> str:  # noqa: D102
        return (
            f"[{fold.chunks},{fold.forward},{fold.backward},{_counts(fold.left_names)},"
            f"{_counts(fold.right_names)},{_texts(fold.keywords)},{_texts(fold.texts)}"
            f"{f',{fold.weighed},{fold.stated}' if fold.weighed else ''}]"
        )

    def empty(self, key: Pair) -> RelationFold:  # noqa: D102
        return RelationFold(*key, 0, 0, 0, {}, {}, (), ())

    def by_hand(self, log: CurationLog, key: Pair) -> RelationByHand | None:  # noqa: D102
        return log.relation(key)

    def subject(self, fold: RelationFold, by_hand: RelationByHand | None) -> str:  # noqa: D102
        relation = present_relation(fold, "", by_hand=by_hand)
        return f"({relation.source}, {relation.target})"

    def description(self, row: RelationRow) -> str:  # noqa: D102
        return row.relation.description


# JSON, written by hand: `json.dumps` makes an encoder for each call, and this runs for every fold of a commit.


def _counts(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:  # most often
        ((only, number),) = counts.items()
        return f"{{{encode_basestring(only)}:{number}}}"
    return "{" + ",".join([f"{encode_basestring(name)}:{n}" for name, n in sorted(counts.items())]) + "}"


def _texts(texts: Sequence[str]) -> str:
    return "[" + ",".join(map(encode_basestring, texts)) + "]"
