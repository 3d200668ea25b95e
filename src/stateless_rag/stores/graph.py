"""The relations of a workspace in memory: an immutable view, and the next view at the cost of the change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.errors import InvalidInput
from stateless_rag.stores.ids import id_array, lookup, ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import rustworkx

    from stateless_rag.stores.ids import Ids

    Ends = tuple[int, int]

__all__ = ["GraphView", "reached_by"]

_OVERLAY = 2000  # relations that may differ from the base before a new base is made,
_ENTRY_BYTES = 300  # an entry of the overlay: its numbers, its tuple or dict, its place in a dict
_OVERLAY_SHARE = 0.1  # or this share of the base if it is more


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """Relations in ascending order of their ids, and for each entity the slice of its relations (CSR).

    The entity `entities[i]` has the relations `edges[bounds[i]:bounds[i + 1]]`, ascending, which lead to the
    entities in `others`. A relation of an entity with itself is in its slice once.
    """

    relations: Ids
    left: Ids
    right: Ids
    entities: Ids
    bounds: Ids
    edges: Ids
    others: Ids

    @classmethod
    def of(cls, relations: Ids, left: Ids, right: Ids) -> Adjacency:
        """Arrange relations in any order; O(n log n)."""
        order = np.argsort(relations)
        relations, left, right = relations[order], left[order], right[order]
        twofold = left != right
        ends = np.concatenate([left, right[twofold]])
        edges = np.concatenate([relations, relations[twofold]])
        others = np.concatenate([right, left[twofold]])
        by_end = np.lexsort((edges, ends))
        entities, starts = np.unique(ends[by_end], return_index=True)
        bounds = np.append(starts, len(ends)).astype(np.int64)
        return cls(relations, left, right, entities, bounds, edges[by_end], others[by_end])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.relations, self.left, self.right, self.entities, self.bounds, self.edges, self.others)
        return sum(array.nbytes for array in arrays)

    def ends(self, relations: Ids) -> list[Ends | None]:
        """The two ends of each relation, None where it is not here."""
        at = lookup(self.relations, relations)
        if not len(self.relations):
            return [None] * len(at)
        rows = zip(at.tolist(), self.left[at].tolist(), self.right[at].tolist(), strict=True)
        return [(left, right) if place >= 0 else None for place, left, right in rows]

    def slices(self, entities: Ids) -> tuple[Ids, Ids]:
        """Where the relations of each entity start and stop; the same place for entities that have none."""
        at = lookup(self.entities, entities)
        return self.bounds[at], self.bounds[np.where(at >= 0, at + 1, at)]


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """What differs from the base: relations `added` (or given other ends), and those of it that are `gone`.

    `extra` holds for an entity its added relations, each with its other end; `lost` how many of its base
    relations are gone.
    """

    added: Mapping[int, Ends]
    gone: Mapping[int, Ends]
    extra: Mapping[int, Mapping[int, int]]
    lost: Mapping[int, int]

    def changed(self, changes: Iterable[tuple[int, Ends | None, Ends | None]]) -> Overlay:
        """The overlay after relations had some ends and now have others (None: is not there).

        Copies what is in the overlay, which is small, and nothing of the base.
        """
        added, gone, lost = dict(self.added), dict(self.gone), dict(self.lost)
        extra = dict(self.extra)
        touched: dict[int, dict[int, int]] = {}

        def edges_of(entity: int) -> dict[int, int]:
            if entity not in touched:
                extra[entity] = touched[entity] = dict(self.extra.get(entity, ()))
            return touched[entity]

        for relation, before, after in changes:
            if before is not None and relation in added:
                left, right = added.pop(relation)
                del edges_of(left)[relation]
                edges_of(right).pop(relation, None)
            elif before is not None:
                gone[relation] = before
                for entity in set(before):
                    lost[entity] = lost.get(entity, 0) + 1
            if after is not None and gone.get(relation) == after:
                for entity in set(gone.pop(relation)):
                    lost[entity] -= 1
                    if not lost[entity]:
                        del lost[entity]
            elif after is not None:
                left, right = added[relation] = after
                edges_of(left)[relation], edges_of(right)[relation] = right, left
        for entity, edges in touched.items():
            if not edges:
                del extra[entity]
        return Overlay(added, gone, extra, lost)


@dataclass(frozen=True, slots=True, eq=False)
class GraphView:
    """Which relations connect which entities, at one revision. Never changes; any thread may read it.

    Entities are there by their relations only, so one that has none cannot be told from one that does not
    exist. `entity_count` counts those that have any.
    """

    base: Adjacency
    overlay: Overlay
    entity_count: int

    @classmethod
    def empty(cls) -> GraphView:
        """A view without relations."""
        nothing = id_array(())
        return cls.from_arrays(nothing, nothing, nothing)

    @classmethod
    def from_arrays(cls, relation_ids: Ids, left: Ids, right: Ids) -> GraphView:
        """A view of relations in any order, three arrays int64 of one length.

        Raises `InvalidInput` if the lengths differ or a relation id occurs twice.
        """
        if not len(relation_ids) == len(left) == len(right):
            raise InvalidInput(
                f"{len(relation_ids)} relation ids, {len(left)} left and {len(right)} right ends do not match"
            )
        base = Adjacency.of(id_array(relation_ids), id_array(left), id_array(right))
        if (base.relations[1:] == base.relations[:-1]).any():
            raise InvalidInput("a relation id occurs twice; relations have one pair of ends each")
        return cls(base, Overlay({}, {}, {}, {}), len(base.entities))

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory; those of the overlay are estimated."""
        overlay = self.overlay
        entries = len(overlay.added) + len(overlay.gone) + len(overlay.extra) + len(overlay.lost)
        return self.base.nbytes + entries * _ENTRY_BYTES

    def apply(self, added: Sequence[tuple[int, int, int]] = (), removed: Collection[int] = ()) -> GraphView:
        """The view after removing relations by id and then adding some as (relation, left, right).

        Unknown ids to remove are ignored. An added relation that is there keeps or changes its ends. Costs
        the change and the overlay; now and then, a new base.
        """
        wanted: dict[int, Ends | None] = dict.fromkeys(removed)
        wanted.update((relation, (left, right)) for relation, left, right in added)
        known = self.endpoints(wanted)
        changes = [
            (relation, known.get(relation), ends)
            for relation, ends in wanted.items()
            if known.get(relation) != ends
        ]
        if not changes:
            return self
        overlay = self.overlay.changed(changes)
        if len(overlay.added) + len(overlay.gone) > max(_OVERLAY, _OVERLAY_SHARE * len(self.base.relations)):
            return GraphView.from_arrays(*GraphView(self.base, overlay, 0).arrays())
        touched = {entity for _, *both in changes for ends in both if ends for entity in ends}
        before = sum(degree > 0 for degree in self.degrees(touched).values())
        after = sum(degree > 0 for degree in GraphView(self.base, overlay, 0).degrees(touched).values())
        return GraphView(self.base, overlay, self.entity_count - before + after)

    def arrays(self) -> tuple[Ids, Ids, Ids]:
        """All relations: their ids, ascending, and their ends. Do not write to the arrays."""
        base, overlay = self.base, self.overlay
        if not overlay.added and not overlay.gone:
            return base.relations, base.left, base.right
        keep = np.ones(len(base.relations), dtype=np.bool_)
        keep[lookup(base.relations, id_array(overlay.gone))] = False
        pairs = np.array(list(overlay.added.values()), dtype=np.int64).reshape(-1, 2)
        relations = np.concatenate([base.relations[keep], id_array(overlay.added)])
        left = np.concatenate([base.left[keep], pairs[:, 0]])
        right = np.concatenate([base.right[keep], pairs[:, 1]])
        order = np.argsort(relations)
        return relations[order], left[order], right[order]

    def edges(self, entity_ids: Collection[int]) -> dict[int, list[tuple[int, int]]]:
        """For each entity, in the order asked for, its relations as (relation, other end), by relation id."""
        base, overlay = self.base, self.overlay
        starts, stops = base.slices(id_array(entity_ids))
        found: dict[int, list[tuple[int, int]]] = {}
        for entity, start, stop in zip(entity_ids, starts.tolist(), stops.tolist(), strict=True):
            pairs = list(zip(base.edges[start:stop].tolist(), base.others[start:stop].tolist(), strict=True))
            if entity in overlay.lost:
                pairs = [pair for pair in pairs if pair[0] not in overlay.gone]
            if entity in overlay.extra:
                pairs = sorted(pairs + list(overlay.extra[entity].items()))
            found[entity] = pairs
        return found

    def endpoints(self, relation_ids: Collection[int]) -> dict[int, tuple[int, int]]:
        """The two ends, as they were given, of each of the relations that exist, in the order asked for."""
        overlay = self.overlay
        found: dict[int, tuple[int, int]] = {}
        for relation, ends in zip(relation_ids, self.base.ends(id_array(relation_ids)), strict=True):
            if relation in overlay.added:
                found[relation] = overlay.added[relation]
            elif ends is not None and relation not in overlay.gone:
                found[relation] = ends
        return found

    def degrees(self, entity_ids: Collection[int]) -> dict[int, int]:
        """For each entity, in the order asked for, the number of its relations."""
        return dict(zip(entity_ids, self._degrees(id_array(entity_ids)).tolist(), strict=True))

    def reached(self, entity_ids: Collection[int]) -> tuple[Ids, Ids]:
        """The relations of some entities, each once, ascending, and for each the sum of its two ends' degrees."""
        entities = id_array(entity_ids)
        owners, relations, others = self._incident(entities)
        order = np.argsort(relations, kind="stable")
        relations = relations[order]
        first = np.ones(len(relations), dtype=np.bool_)
        first[1:] = relations[1:] != relations[:-1]
        once = order[first]
        return relations[first], self._degrees(entities)[owners[once]] + self._degrees(others[once])

    def _degrees(self, entities: Ids) -> Ids:
        starts, stops = self.base.slices(entities)
        counts: Ids = stops - starts
        lost, extra = self.overlay.lost, self.overlay.extra
        if lost or extra:
            counts += id_array(len(extra.get(row, ())) - lost.get(row, 0) for row in entities.tolist())
        return counts

    def _incident(self, entities: Ids) -> tuple[Ids, Ids, Ids]:
        """The relations of each of the entities: the entity's place among them, the relation, its other end."""
        owners, at = ranges(*self.base.slices(entities))
        relations, others = self.base.edges[at], self.base.others[at]
        gone, extra = self.overlay.gone, self.overlay.extra
        if gone:
            kept = [place for place, row in enumerate(relations.tolist()) if row not in gone]
            owners, relations, others = owners[kept], relations[kept], others[kept]
        if extra:
            rows = enumerate(entities.tolist())
            more = [(place, *edge) for place, row in rows for edge in extra.get(row, {}).items()]
            added = id_array(number for row in more for number in row).reshape(-1, 3).T
            owners, relations, others = (
                np.concatenate(both) for both in zip((owners, relations, others), added, strict=True)
            )
        return owners, relations, others

    def to_rustworkx(self, limit: int | None = None) -> rustworkx.PyGraph[int, int]:
        """The graph for rustworkx: entity ids on the nodes, ascending, and relation ids on the edges.

        With a `limit`, only so many entities, those with the most relations (ties by id), and the relations
        among them.
        """
        import rustworkx

        relations, left, right = self.arrays()
        loops = left == right
        entities, degrees = np.unique(np.concatenate([left, right[~loops]]), return_counts=True)
        if limit is not None and limit < len(entities):
            entities = np.sort(entities[np.lexsort((entities, -degrees))[:limit]])
        one, other = lookup(entities, left), lookup(entities, right)
        inside = (one >= 0) & (other >= 0)
        graph: rustworkx.PyGraph[int, int] = rustworkx.PyGraph()
        graph.add_nodes_from(entities.tolist())
        graph.add_edges_from(
            list(zip(one[inside].tolist(), other[inside].tolist(), relations[inside].tolist(), strict=True))
        )
        return graph


def reached_by(
    edges: Mapping[int, Sequence[tuple[int, int]]], degrees: Callable[[Sequence[int]], Mapping[int, int]]
) -> tuple[Ids, Ids]:
    """What `GraphView.reached` gives, for a graph that is not in arrays: of the `edges` of some entities."""
    ends = {relation: (one, other) for one, own in edges.items() for relation, other in own}
    known = degrees(list(dict.fromkeys(row for pair in ends.values() for row in pair)))
    sums = {relation: sum(known.get(row, 0) for row in ends[relation]) for relation in sorted(ends)}
    return id_array(sums), id_array(sums.values())
