"""Trace: what search found, by name, as the steps have left it lying about; nothing is looked for again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.types import Seed, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from stateless_rag.protocols import Hit, Snapshot
    from stateless_rag.types import Entity, Passage, Relation

__all__ = ["Ranks", "relation_name", "traced"]

Key = TypeVar("Key", bound="Hashable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """What search ranked, by row: seeds, and entities and relations before their budgets; `told` and `stated` are the
    chunks of those that were kept. The passages it returns, and in `order` all chunks it ranked. `names` is what
    seeds are called that are no entities.
    """

    entity_seeds: Sequence[Hit]
    relation_seeds: Sequence[Hit]
    chunk_seeds: Sequence[Hit]
    entities: Mapping[int, Entity]
    relations: Mapping[int, Relation]
    told: Mapping[int, Sequence[int]]
    stated: Mapping[int, Sequence[int]]
    passages: Mapping[int, Passage]
    order: Sequence[int]
    names: Mapping[int, str]


def relation_name(relation: Relation) -> str:
    """How a relation is named in trails and seeds."""
    return f"{relation.source}—{relation.target}"


def traced(whole: Snapshot, snapshot: Snapshot, ranks: Ranks) -> Trace:
    """The trace as search knows it; `snapshot` is the part of `whole` that the metadata filter lets in."""
    chunks = {row: passage.chunk_id for row, passage in ranks.passages.items()}
    return Trace(
        id="",
        revision=whole.revision,
        models={},
        chunks=whole.count("chunk"),
        searched=snapshot.count("chunk"),
        seeds=tuple(_seeds(snapshot, ranks, chunks)),
        entities=tuple(ranks.entities.values()),
        relations=tuple(ranks.relations.values()),
        candidates=tuple(ranks.passages.values()),
        entity_chunks=_Speaking(lambda row: ranks.entities[row].key, ranks.told, chunks),
        relation_chunks=_Speaking(lambda row: _pair(ranks.relations[row]), ranks.stated, chunks),
    )


class _Speaking(Mapping[Key, tuple[str, ...]]):
    """Those of the passages that speak of something, by its key: found when they are asked for, which is seldom.

    `told` are the chunks that do, by the row of what they speak of, `names` the passages by their rows.
    """

    def __init__(
        self, key_of: Callable[[int], Key], told: Mapping[int, Sequence[int]], names: Mapping[int, str]
    ) -> None:
        self._key_of = key_of
        self._told = told
        self._names = names
        self._keys: Mapping[Key, int] | None = None

    def _rows(self) -> Mapping[Key, int]:
        if self._keys is None:
            self._keys = {self._key_of(row): row for row in self._told}
        return self._keys

    def __getitem__(self, key: Key) -> tuple[str, ...]:
        return _among(self._names, self._told[self._rows()[key]])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def __repr__(self) -> str:
        return repr(dict(self))


def _pair(relation: Relation) -> tuple[str, str]:
    return relation.source_key, relation.target_key


def _among(chunks: Mapping[int, str], rows: Iterable[int]) -> tuple[str, ...]:
    """Those of the rows that are passages, in the passages' order."""
    found = chunks.keys() & rows
    return tuple(name for row, name in chunks.items() if row in found) if found else ()


def _seeds(snapshot: Snapshot, ranks: Ranks, chunks: Mapping[int, str]) -> Iterable[Seed]:
    for hit in ranks.entity_seeds:
        if (entity := ranks.entities.get(hit.id)) is not None:
            yield Seed(kind="entity", name=entity.name, score=hit.score)
        elif hit.id in ranks.names:
            yield Seed(kind="title", name=ranks.names[hit.id], score=hit.score)
    for hit in ranks.relation_seeds:
        if (relation := ranks.relations.get(hit.id)) is not None:
            yield Seed(kind="relation", name=relation_name(relation), score=hit.score)
    behind = [hit.id for hit in ranks.chunk_seeds if hit.id not in chunks]
    names = {**chunks, **snapshot.chunk_names(behind)} if behind else chunks
    for hit in ranks.chunk_seeds:
        if hit.id in names:
            yield Seed(kind="chunk", name=names[hit.id], score=hit.score)
