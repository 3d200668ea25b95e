"""How the entities of a revision fall into communities, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

__all__ = ["Partition"]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Communities of entities, each but those of level 0 a part of its parent; addressed by number.

    The members of community `c` are `entities[starts[c]:stops[c]]`, ascending within a community that has no parts;
    those of its parts lie within. `weights` is, for each of `entities`, the number of chunks that tell of it.
    `parents[c]` is -1 at level 0. A community that is not divided any further belongs to every deeper level, too.
    Every chunk that tells of an entity is at home in one community without parts, the one of which it tells of most
    members: chunk `chunks[i]`, ascending, in `homes[i]`, telling of `told[i]` of its members. `names` are ids that
    follow from the members alone.
    """

    entities: Ids
    weights: Ids
    starts: Ids
    stops: Ids
    parents: Ids
    levels: Ids
    names: tuple[str, ...]
    chunks: Ids
    homes: Ids
    told: Ids

    def __len__(self) -> int:
        return len(self.names)

    @property
    def depth(self) -> int:
        """How many levels there are."""
        return int(self.levels.max()) + 1 if len(self.names) else 0

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory; those of names are estimated."""
        arrays = (self.entities, self.weights, self.starts, self.stops, self.parents, self.levels)
        chunks = (self.chunks, self.homes, self.told)
        return sum(array.nbytes for array in (*arrays, *chunks)) + 80 * len(self.names)

    def size(self, number: int) -> int:
        """The number of members."""
        return int(self.stops[number] - self.starts[number])

    def members(self, number: int) -> Ids:
        """The ids of the members of one community."""
        return self.entities[self.starts[number] : self.stops[number]]

    def at_level(self, level: int) -> list[int]:
        """The communities that the entities fall into at a level, largest first; all of them together are all
        entities, and no two share one.
        """
        divided = set(self.parents[self.levels <= level].tolist())
        found = [number for number in (self.levels <= level).nonzero()[0].tolist() if number not in divided]
        return sorted(found, key=lambda number: (-self.size(number), number))

    def parts(self, number: int) -> list[int]:
        """The communities that one is divided into at the next level, largest first."""
        found: list[int] = (self.parents == number).nonzero()[0].tolist()
        return found
