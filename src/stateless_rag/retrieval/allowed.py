"""The read path under a metadata filter: a snapshot in which excluded documents have left no trace.

Whatever is shown is folded anew from mentions of allowed chunks, at most k for each key, without summaries. The
other steps read this snapshot as they would read any.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.filters import MetadataFilter, checked_filter
from stateless_rag.settings import MergeSettings
from stateless_rag.stages.merge import (
    fold_entities,
    fold_relations,
    millionths,
    present_entity,
    present_relation,
    resolver,
)
from stateless_rag.stages.summarize import joined
from stateless_rag.stores.graph import reached_by
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.text import relation_key

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import Allowed, Hit, Snapshot, VectorKind, Vectors
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.protocols.reading import Flags, Floats, Links
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.stages.merge import Resolve
    from stateless_rag.stores.ids import Ids
    from stateless_rag.types import Entity, EntityMention, Passage, Relation, RelationMention

__all__ = ["AllowedSnapshot", "Folds", "allowed_part"]

Mention = TypeVar("Mention", "EntityMention", "RelationMention")
Row = TypeVar("Row")


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(sorted(texts, key=lambda text: (-len(text), text)))


@dataclass(frozen=True, slots=True)
class Folds:
    """How values are folded at query time: the sizes of sketches, and what makes a description of their texts."""

    settings: MergeSettings = field(default_factory=MergeSettings)
    join: Callable[[Sequence[str]], str] = _lines

    @classmethod
    def of(cls, context: Context) -> Folds:
        """As in the context's workspace, but without its LLM."""
        plain = context.without_llm()
        return cls(context.settings.merging, lambda texts: joined(plain, texts) or "")


def allowed_part(snapshot: Snapshot, condition: Any, folds: Folds) -> Snapshot:
    """The snapshot as it looks under `QueryOptions.metadata_filter`: itself where there is none."""
    checked = checked_filter("metadata_filter", condition)
    return snapshot if checked is None else AllowedSnapshot(snapshot, checked, folds)


class AllowedSnapshot:
    """Implements `Snapshot` on another one: what it would be if only the documents that meet a filter were there,
    but for the vectors of entities and relations, which decide how near a question is to those that are left.
    """

    def __init__(self, whole: Snapshot, condition: MetadataFilter, folds: Folds) -> None:
        self._whole = whole
        self._condition = condition
        self._folds = folds
        self._allowed = whole.allowed(condition)
        # Steps ask for the same rows again, and each look at mentions is a statement of its own.
        self._entities: dict[int, Entity | None] = {}
        self._relations: dict[int, Relation | None] = {}
        self._coming: list[int] = []

    @property
    def revision(self) -> int:
        """Of the whole workspace."""
        return self._whole.revision

    @property
    def embedder(self) -> str | None:
        """Of the whole workspace."""
        return self._whole.embedder

    # ---- search ----------------------------------------------------------------------------------------

    def search(
        self,
        kind: VectorKind,
        vector: Vectors,
        top_k: int,
        min_similarity: float = -1.0,
        allowed: Allowed | None = None,
    ) -> list[Hit]:
        """The nearest of the allowed rows."""
        return self._whole.search(kind, vector, top_k, min_similarity, allowed or self._allowed)

    def similarities(self, kind: VectorKind, vector: Vectors, ids: Sequence[int]) -> Mapping[int, float]:
        """Of the allowed rows."""
        return self._whole.similarities(kind, vector, self._left(kind, ids))

    def count(self, kind: VectorKind) -> int:
        """Of the allowed rows."""
        return len(self._allowed.ids(kind))

    def match_words(self, text: str, top_k: int, allowed: Allowed | None = None) -> list[Hit]:
        """Allowed chunks only, also where words are counted."""
        return self._whole.match_words(text, top_k, allowed or self._allowed)

    def coverage(self, text: str, ids: Sequence[int], allowed: Allowed | None = None) -> tuple[Floats, Flags]:
        """Allowed chunks only, also where words are counted."""
        return self._whole.coverage(text, ids, allowed or self._allowed)

    # ---- rows ------------------------------------------------------------------------------------------

    def entities(self, ids: Sequence[int]) -> Mapping[int, Entity]:
        """Entities as allowed chunks tell of them."""
        return _known(self._entities, ids, self._folded_entities)

    def _folded_entities(self, ids: Sequence[int]) -> Mapping[int, Entity]:
        weights = _weights(self._allowed.entities, self._allowed.entity_weights, ids)
        stored = self._whole.entities(list(weights))
        told_once, k = self._whole.told_once(list(stored)), self._folds.settings.description_texts
        changed = [row for row in stored if row not in told_once]
        resolve, mentions = self._mentions(changed, 0)
        few = _few(mentions, lambda mention: resolve(mention.key), k)
        folds = fold_entities(few, resolve, k)
        found: dict[int, Entity] = {}
        for row, entity in stored.items():
            if row in told_once:
                found[row] = entity
            elif (fold := folds.get(entity.key)) is not None:
                fold = replace(fold, chunks=weights[row])
                shown = present_entity(fold, self._folds.join(fold.texts))
                found[row] = entity if shown == entity else shown
        return found

    def relations(self, ids: Sequence[int]) -> Mapping[int, Relation]:
        """Relations as allowed chunks state them."""
        return _known(self._relations, ids, self._folded_relations)

    def _folded_relations(self, ids: Sequence[int]) -> Mapping[int, Relation]:
        settings = self._folds.settings
        weights = _weights(self._allowed.relations, self._allowed.relation_weights, ids)
        stored = self._whole.relations(list(weights))
        told_once, k = self._whole.told_once(list(stored)), settings.description_texts
        changed = [row for row in stored if row not in told_once]
        resolve, mentions = self._mentions(changed, 1)

        def pair(mention: RelationMention) -> tuple[str, str]:
            return relation_key(resolve(mention.source_key), resolve(mention.target_key))

        folds = fold_relations(_few(mentions, pair, k), resolve, k, settings.relation_keywords)
        stated = self._whole.stated_weights(changed, self._allowed)
        found: dict[int, Relation] = {}
        for row, relation in stored.items():
            if row in told_once:
                found[row] = relation
            elif fold := folds.get(relation_key(relation.source_key, relation.target_key)):
                weighed, told = stated.get(row, (0, ()))
                fold = replace(fold, chunks=weights[row], weighed=weighed, stated=millionths(told))
                shown = present_relation(fold, self._folds.join(fold.texts))
                found[row] = relation if shown == relation else shown
        return found

    def _mentions(self, ids: Sequence[int], place: int) -> tuple[Resolve, Sequence[Any]]:
        """How keys are resolved, and what allowed chunks say of some entities (place 0) or relations (1)."""
        if not ids:
            return resolver({}), []
        once = self._whole.told_once(self._coming)
        coming = [row for row in self._coming if row not in once]
        self._coming = []
        told = self._whole.mentions(ids, self._allowed, self._folds.settings.description_texts, coming)
        return resolver(self._whole.aliases()), told[place]

    def passages(self, ids: Sequence[int]) -> Mapping[int, Passage]:
        """Allowed chunks by id."""
        return self._whole.passages(self._left("chunk", ids))

    def chunk_names(self, ids: Sequence[int]) -> Mapping[int, str]:
        """Of allowed chunks."""
        return self._whole.chunk_names(self._left("chunk", ids))

    def document(self, document_id: str) -> Mapping[str, Any] | None:
        """One document's row, if it meets the filter."""
        row = self._whole.document(document_id)
        if row is None or not self._condition.holds(row["metadata"], row["id"], row["source"]):
            return None
        return row

    def entity_chunks(
        self, entity_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> Mapping[int, Sequence[int]]:
        """For each entity the ids of allowed chunks that mention it."""
        return self._whole.entity_chunks(entity_ids, limit, allowed or self._allowed)

    def relation_chunks(
        self, relation_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> Mapping[int, Sequence[int]]:
        """For each relation the ids of allowed chunks that state it."""
        return self._whole.relation_chunks(relation_ids, limit, allowed or self._allowed)

    # ---- the graph -------------------------------------------------------------------------------------

    def entity_id(self, name: str) -> int | None:
        """The id of the entity of that name, if an allowed chunk mentions it."""
        found = self._whole.entity_id(name)
        return found if found is not None and self._left("entity", [found]) else None

    def entity_ids(self) -> Sequence[int]:
        """Entities that an allowed chunk mentions."""
        ids: list[int] = self._allowed.entities.tolist()
        return ids

    def entity_labels(self) -> tuple[Sequence[int], Sequence[str], Sequence[str]]:
        """Their ids, and their names and types as allowed chunks tell them."""
        found = self.entities(self.entity_ids())
        return list(found), [row.name for row in found.values()], [row.type for row in found.values()]

    def edges(self, entity_ids: Sequence[int]) -> Mapping[int, Sequence[tuple[int, int]]]:
        """Relations that an allowed chunk states."""
        whole = self._whole.edges(self._left("entity", entity_ids))
        relations = (relation for edges in whole.values() for relation, _ in edges)
        left = set(self._left("relation", list(relations)))
        return {entity: [edge for edge in edges if edge[0] in left] for entity, edges in whole.items()}

    def endpoints(self, relation_ids: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """Of relations that an allowed chunk states."""
        return self._whole.endpoints(self._left("relation", relation_ids))

    def degrees(self, entity_ids: Sequence[int]) -> Mapping[int, int]:
        """Counts relations that an allowed chunk states."""
        return {entity: len(edges) for entity, edges in self.edges(entity_ids).items()}

    def reached(self, entity_ids: Sequence[int]) -> tuple[Ids, Ids]:
        """Relations that an allowed chunk states, also where they are counted."""
        return reached_by(self.edges(entity_ids), self.degrees)

    def links(self) -> Links:
        """Those of the whole workspace, whose edges are asked for with the `mask`."""
        return self._whole.links()

    def node(self, name: str) -> int | None:
        """Perhaps one that no allowed chunk tells of: under the `mask` no edge leads from it."""
        return self._whole.node(name)

    def communities(self, settings: CommunitySettings, allowed: Allowed | None = None) -> Partition:
        """Those of what is left of the graph."""
        return self._whole.communities(settings, allowed or self._allowed)

    @property
    def mask(self) -> Allowed:
        """What the filter leaves."""
        return self._allowed

    def aliases(self) -> Mapping[str, str]:
        """Of the whole workspace."""
        return self._whole.aliases()

    # ---- filters on top of this one --------------------------------------------------------------------

    def allowed(self, condition: MetadataFilter) -> Allowed:
        """What both filters leave."""
        if condition == self._condition:
            return self._allowed
        both = checked_filter("metadata_filter", {"$and": [self._condition.said, condition.said]})
        return self._allowed if both is None else self._whole.allowed(both)

    def mentions(
        self, ids: Sequence[int], allowed: Allowed, limit: int, coming: Sequence[int] = ()
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """What allowed chunks say."""
        return self._whole.mentions(ids, allowed, limit, coming)

    def expect(self, entity_ids: Sequence[int], relation_ids: Sequence[int]) -> None:
        """Their mentions are read when the first are, in one statement."""
        self._coming += [row for row in entity_ids if row not in self._entities]
        self._coming += [row for row in relation_ids if row not in self._relations]

    def stated_weights(
        self, ids: Sequence[int], allowed: Allowed
    ) -> Mapping[int, tuple[int, Sequence[float]]]:
        """What allowed chunks say."""
        return self._whole.stated_weights(ids, allowed)

    def told_once(self, ids: Sequence[int]) -> frozenset[int]:
        """Those that rest on a single mention in the whole workspace."""
        return self._whole.told_once(ids)

    def _left(self, kind: VectorKind, ids: Sequence[int]) -> list[int]:
        """Those of the ids that are allowed, in order."""
        there = (lookup(self._allowed.ids(kind), id_array(ids)) >= 0).tolist()
        return [row for row, kept in zip(ids, there, strict=True) if kept]


def _known(
    known: dict[int, Row | None], ids: Sequence[int], fold: Callable[[Sequence[int]], Mapping[int, Row]]
) -> dict[int, Row]:
    """Rows by id, folded where they are not known yet; None stands for those that there are not."""
    missing = [row for row in dict.fromkeys(ids) if row not in known]
    known.update(dict.fromkeys(missing))
    known.update(fold(missing))
    return {row: found for row in ids if (found := known[row]) is not None}


def _weights(allowed: Ids, weights: Ids, ids: Sequence[int]) -> dict[int, int]:
    """The weights of those of the ids that are allowed, in order."""
    wanted = list(dict.fromkeys(ids))
    at = lookup(allowed, id_array(wanted))
    found = zip(wanted, at.tolist(), strict=True)
    return {row: int(weights[place]) for row, place in found if place >= 0}


def _few(mentions: Iterable[Mention], key: Callable[[Mention], Hashable], k: int) -> list[Mention]:
    """At most `k` mentions for each key: the first in the order of their chunks, whose ids are hashes."""
    counts: dict[Hashable, int] = {}
    kept = []
    for mention in sorted(mentions):
        owner = key(mention)
        counts[owner] = counts.get(owner, 0) + 1
        if counts[owner] <= k:
            kept.append(mention)
    return kept
