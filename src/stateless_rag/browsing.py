"""Looking around in the graph: names, neighbours, a part of it to draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.types import Neighbour, Subgraph

if TYPE_CHECKING:
    from stateless_rag.protocols import Snapshot
    from stateless_rag.types import Entity, Relation

__all__ = [
    "EVERYTHING",
    "labels",
    "neighbours",
    "popular_labels",
    "relation_between",
    "search_labels",
    "subgraph",
    "type_counts",
]

EVERYTHING = "*"
_WORD_BREAKS = " _-./"
_EXACT, _PREFIX, _CONTAINED, _AFTER_BREAK = 1000.0, 500.0, 100.0, 50.0
_TYPOS = 2  # letters that may be wrong, in a name of at least
_TYPO_LENGTH = 4  # so many letters for each of them
_NOT_ALL = 0.5


def relation_between(snapshot: Snapshot, one: str, other: str) -> Relation | None:
    """The relation of two entities, whichever way it is stated."""
    left, right = snapshot.entity_id(one), snapshot.entity_id(other)
    if left is None or right is None:
        return None
    found = [relation for relation, end in snapshot.edges([left])[left] if end == right]
    return next(iter(snapshot.relations(found).values()), None)


def neighbours(snapshot: Snapshot, name: str, limit: int) -> list[Neighbour]:
    """The entities that an entity is related to, the heaviest relation first, ties by name."""
    id_ = snapshot.entity_id(name)
    edges = [] if id_ is None else snapshot.edges([id_]).get(id_, [])
    relations = snapshot.relations([relation for relation, _ in edges])
    entities = snapshot.entities([other for _, other in edges])
    found = [
        Neighbour(entity=entities[other], relation=relations[relation])
        for relation, other in edges
        if relation in relations and other in entities
    ]
    return sorted(found, key=lambda n: (-n.relation.weight, n.entity.name, n.entity.key))[:limit]


# ---- names ---------------------------------------------------------------------------------------------


def labels(snapshot: Snapshot) -> list[str]:
    """The names of all entities, in code point order."""
    return sorted(snapshot.entity_labels()[1])


def type_counts(snapshot: Snapshot) -> Mapping[str, int]:
    """How many entities there are of each type, most first."""
    counts = Counter(snapshot.entity_labels()[2])
    return MappingProxyType(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def popular_labels(snapshot: Snapshot, limit: int) -> list[str]:
    """The names of the entities with the most relations, ties by name."""
    ids, names, _ = snapshot.entity_labels()
    degrees = snapshot.degrees(ids)
    ranked = sorted(zip(ids, names, strict=True), key=lambda item: (-degrees[item[0]], item[1]))
    return [name for _, name in ranked[:limit]]


def search_labels(snapshot: Snapshot, query: str, limit: int) -> list[str]:
    """Names that match: the same, those that begin so, those that hold it, those with a typo; best first.

    Case does not matter. A blank query matches nothing.
    """
    wanted = query.strip().casefold()
    if not wanted:
        return []
    names = list(dict.fromkeys(snapshot.entity_labels()[1]))
    folded = [name.casefold() for name in names]
    scores = {place: score for place, name in enumerate(folded) if (score := _score(name, wanted))}
    found = sorted(scores, key=lambda place: (-scores[place], names[place]))[:limit]
    if len(found) < limit:
        near = _with_typos(folded, wanted)
        more = sorted((typos, names[place], place) for place, typos in near.items() if place not in scores)
        found += [place for _, _, place in more[: limit - len(found)]]
    return [names[place] for place in found]


def _score(name: str, wanted: str) -> float:
    """0 if the name does not hold what is wanted."""
    at = name.find(wanted)
    if at < 0:
        return 0.0
    if name == wanted:
        return _EXACT
    if at == 0:
        return _PREFIX - len(name) / 1000
    after_break = any(f"{mark}{wanted}" in name for mark in _WORD_BREAKS)
    return max(1.0, _CONTAINED - len(name)) + (_AFTER_BREAK if after_break else 0.0)


def _with_typos(folded: Sequence[str], wanted: str) -> Mapping[int, float]:
    """Places of names that differ by a few letters (optimal string alignment), and by how many.

    Half a letter more where it is not the whole name, but as many of its words as are wanted.
    """
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    most = min(_TYPOS, len(wanted) // _TYPO_LENGTH)
    if not most:
        return {}
    near: dict[int, float] = {}
    places, parts = _parts(folded, len(_words(wanted)))
    for _, typos, at in process.extract(wanted, parts, scorer=OSA.distance, score_cutoff=most, limit=None):
        near[places[at]] = min(near.get(places[at], math.inf), typos + _NOT_ALL)
    for _, typos, place in process.extract(
        wanted, folded, scorer=OSA.distance, score_cutoff=most, limit=None
    ):
        near[place] = min(near.get(place, math.inf), typos)
    return near


def _parts(folded: Sequence[str], count: int) -> tuple[list[int], list[str]]:
    """Each `count` words of a name that has more, in a row, and the places of their names."""
    places: list[int] = []
    parts: list[str] = []
    for place, name in enumerate(folded):
        words = _words(name)
        for start in range(len(words) - count + 1 if len(words) > count else 0):
            places.append(place)
            parts.append(" ".join(words[start : start + count]))
    return places, parts


def _words(name: str) -> list[str]:
    for mark in _WORD_BREAKS:
        name = name.replace(mark, " ")
    return name.split()


# ---- a part of the graph -------------------------------------------------------------------------------


def subgraph(snapshot: Snapshot, name: str, depth: int, limit: int) -> Subgraph:
    """The entities within `depth` relations of one, breadth first, in each step those with the most relations
    first, ties by name; at most `limit`. For "*" the entities with the most relations of all.
    """
    if name == EVERYTHING:
        ids = list(snapshot.entity_ids())
        chosen = _by_degree(snapshot, ids)[:limit]
        return _among(snapshot, chosen, truncated=len(ids) > limit)
    start = snapshot.entity_id(name)
    if start is None:
        return _among(snapshot, [], truncated=False)
    chosen = [start]
    front, seen, truncated = [start], {start}, False
    for _ in range(depth):
        beyond = {other for edges in snapshot.edges(front).values() for _, other in edges} - seen
        front = _by_degree(snapshot, beyond)
        room = limit - len(chosen)
        truncated = truncated or len(front) > room
        chosen.extend(front[:room])
        seen.update(front)
        if truncated or not front:
            break
    return _among(snapshot, chosen[:limit], truncated=truncated)


def _by_degree(snapshot: Snapshot, ids: Sequence[int] | set[int]) -> list[int]:
    ordered = sorted(ids)
    degrees, entities = snapshot.degrees(ordered), snapshot.entities(ordered)
    return sorted(entities, key=lambda id_: (-degrees[id_], entities[id_].name, id_))


def _among(snapshot: Snapshot, ids: Sequence[int], *, truncated: bool) -> Subgraph:
    entities, degrees = snapshot.entities(ids), snapshot.degrees(ids)
    inside = set(ids)
    relations = {
        relation for edges in snapshot.edges(ids).values() for relation, other in edges if other in inside
    }
    found: Mapping[int, Entity] = entities
    return Subgraph(
        entities=tuple(found.values()),
        relations=tuple(
            sorted(snapshot.relations(sorted(relations)).values(), key=lambda r: (r.source_key, r.target_key))
        ),
        degrees=MappingProxyType({entity.key: degrees[id_] for id_, entity in found.items()}),
        truncated=truncated,
    )
