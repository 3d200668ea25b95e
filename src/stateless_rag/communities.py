"""Communities as they are shown: which there are at a level, and what is in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stateless_rag.types import Community

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stateless_rag.protocols import Snapshot
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.types import Entity

__all__ = ["communities", "community", "membership"]

_TITLE = 3


def communities(
    snapshot: Snapshot, settings: CommunitySettings, level: int | None, limit: int | None
) -> list[Community]:
    """The communities of a level, largest first, at most `limit`; of all levels, the coarsest first, if it is None."""
    partition = snapshot.communities(settings)
    if level is None:
        sizes = partition.stops - partition.starts
        numbers = np.lexsort((np.arange(len(partition)), -sizes, partition.levels)).tolist()
    else:
        numbers = partition.at_level(level)
    return _shown(snapshot, partition, numbers[:limit])


def community(snapshot: Snapshot, settings: CommunitySettings, name: str) -> Community | None:
    """The community of an id."""
    partition = snapshot.communities(settings)
    if name not in partition.names:
        return None
    return _shown(snapshot, partition, [partition.names.index(name)])[0]


def membership(snapshot: Snapshot, settings: CommunitySettings) -> Mapping[int, str]:
    """For each entity the id of the smallest community that it is in."""
    partition = snapshot.communities(settings)
    found: dict[int, str] = {}
    for number in partition.at_level(partition.depth):
        found.update(dict.fromkeys(partition.members(number).tolist(), partition.names[number]))
    return found


def _shown(snapshot: Snapshot, partition: Partition, numbers: Sequence[int]) -> list[Community]:
    entities: Mapping[int, Entity] = snapshot.entities(
        [member for number in numbers for member in partition.members(number).tolist()]
    )
    own = np.bincount(partition.homes, minlength=len(partition) + 1)
    parts: dict[int, list[int]] = {}
    for number in np.flatnonzero(np.isin(partition.parents, np.array(numbers, dtype=np.int64))).tolist():
        parts.setdefault(int(partition.parents[number]), []).append(number)
    # Chunks are at home where nothing is divided any more: a community's are those of the leaves within it.
    before = np.zeros(len(partition.entities) + 1, dtype=np.int64)
    np.add.at(before, partition.starts + 1, own[: len(partition)])
    before = np.cumsum(before)
    found = []
    for number in numbers:
        start, stop = int(partition.starts[number]), int(partition.stops[number])
        names = _names(entities, partition, start, stop)
        parent = int(partition.parents[number])
        found.append(
            Community(
                id=partition.names[number],
                level=int(partition.levels[number]),
                title=names[:_TITLE],
                members=names,
                size=stop - start,
                chunks=int(before[stop] - before[start]),
                parent=partition.names[parent] if parent >= 0 else None,
                children=tuple(partition.names[part] for part in parts.get(number, ())),
            )
        )
    return found


def _names(entities: Mapping[int, Entity], partition: Partition, start: int, stop: int) -> tuple[str, ...]:
    """The names of members, those that most chunks tell of first, ties by id."""
    members, weights = partition.entities[start:stop], partition.weights[start:stop]
    ranked = members[np.lexsort((members, -weights))].tolist()
    return tuple(entities[member].name for member in ranked if member in entities)
