"""The vectors of one kind in a workspace: an immutable view to search, and the writer that makes the next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.errors import InvalidInput, StoreError
from stateless_rag.protocols import Hit
from stateless_rag.stores.faiss.base_segment import Base, LiveBase, Rescore, build
from stateless_rag.stores.faiss.candidates import Candidates, floor_of
from stateless_rag.stores.faiss.codes import BaseType
from stateless_rag.stores.faiss.cosine import blocks, query_of, scores_of, stacked
from stateless_rag.stores.faiss.delta_segment import Delta
from stateless_rag.stores.ids import distinct, id_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from stateless_rag.stores.faiss.cosine import Query, Scores, Vectors
    from stateless_rag.stores.ids import Ids

__all__ = ["Rescore", "VectorIndex", "VectorView"]

Added = Mapping[int, "ArrayLike"] | tuple["Collection[int]", "NDArray[Any]"]

_ROWS = 4096
_DEAD_ROWS = 1000
_DEAD_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class VectorView:
    """The rows of one revision. Never changes; any number of threads may search it.

    Scores are cosines in float64, rounded to nine decimals, of the float32 rows scaled to length one; equal
    scores are ordered by id. A row scores the same in the base and in the delta if `rescore` gives, for an
    id, the vector that the row was added with. Without `rescore` (or for ids it leaves out), a base that is
    not "float32" scores by what its index holds. Rows that are zero are there, but never found.
    """

    dimension: int
    base: LiveBase | None
    delta: Delta

    def __len__(self) -> int:
        return self.delta.live + (self.base.live if self.base else 0)

    @property
    def nbytes(self) -> int:
        """Bytes it holds in memory."""
        base = self.base.segment.nbytes + self.base.alive.nbytes if self.base else 0
        return self.delta.nbytes + base

    def ids(self) -> Ids:
        """The ids of all rows, ascending."""
        ids = self.delta.ids[self.delta.live_rows()]
        if self.base:
            ids = np.concatenate([self.base.segment.ids[self.base.alive], ids])
        return np.sort(ids)

    def rows_of(self, ids: Ids) -> Vectors:
        """The rows of these ids, shape (ids, dimension), within `error`; all of them must be there."""
        rows = np.empty((len(ids), self.dimension), dtype=np.float32)
        for start, stop in blocks(len(ids), _ROWS):
            rows[start:stop] = _fetch(self, ids[start:stop], None)[0]
        return rows

    @property
    def error(self) -> float:
        """How far what is held of a row may be from it, if no file has it."""
        return self.base.segment.codes.error if self.base else 0.0

    def contains(self, row_id: int) -> bool:
        """Whether there is a row of that id."""
        return self.delta.row(row_id) >= 0 or bool(self._base_positions(id_array([row_id]))[0] >= 0)

    def search(
        self,
        vector: ArrayLike,
        top_k: int,
        min_similarity: float = -1.0,
        rescore: Rescore | None = None,
        allowed: Collection[int] | None = None,
    ) -> list[Hit]:
        """The rows nearest to `vector`, shape (dimension,), by cosine; best first, at most `top_k`.

        `allowed` limits the search to some ids. Each segment gives candidates with rough scores and a bound
        on their error; what can still be among the best is scored exactly. Raises `InvalidInput` for a
        vector of another shape or with values that are not finite.
        """
        query = query_of(vector, self.dimension)
        if query is None or top_k < 1:
            return []
        wanted = None if allowed is None else _ascending(id_array(allowed))
        found = self._candidates(query, top_k, min_similarity, wanted)
        # The scores of what looks best tell what else must be looked at.
        best = floor_of(top_k, min_similarity, found.upper)
        ids, scores = self._scored(query, found.between(best), rescore)
        if len(ids) < len(found.rows):
            others = found.between(floor_of(top_k, min_similarity, scores), best)
            more_ids, more_scores = self._scored(query, others, rescore)
            ids, scores = np.concatenate([ids, more_ids]), np.concatenate([scores, more_scores])
        order = np.lexsort((ids, -scores))[:top_k]
        order = order[scores[order] >= min_similarity]
        return list(map(Hit, ids[order].tolist(), scores[order].tolist()))

    def similarities(
        self, vector: ArrayLike, ids: Collection[int], rescore: Rescore | None = None
    ) -> dict[int, float]:
        """The score of each of the rows that exist, in the order asked for; 0 where a vector is zero.

        Raises `InvalidInput` as `search` does.
        """
        query = query_of(vector, self.dimension)
        asked = id_array(ids)
        rows = self.delta.rows(asked.tolist())
        positions = np.where(rows >= 0, -1, self._base_positions(asked))
        in_delta, in_base = rows >= 0, positions >= 0
        scores = np.zeros(len(asked), dtype=np.float64)
        if query is not None:
            scores[in_delta] = scores_of(self.delta.matrix.take(rows[in_delta]), query)
            if self.base and in_base.any():
                scores[in_base] = scores_of(self.base.rows(positions[in_base], rescore)[0], query)
        known = in_delta | in_base
        return dict(zip(asked[known].tolist(), scores[known].tolist(), strict=True))

    def _base_positions(self, ids: Ids) -> NDArray[np.int64]:
        return self.base.positions(ids) if self.base else np.full(len(ids), -1, dtype=np.int64)

    def _candidates(self, query: Query, top_k: int, least: float, allowed: Ids | None) -> Candidates:
        """All rows that can be among the best, and perhaps more: those of the delta by their numbers, and behind all of
        these those of the base.
        """
        near = self.delta.candidates(query, top_k, least, allowed)
        if not self.base or not self.base.live:
            return near
        bitmap = self.base.searchable(allowed)
        far = self.base.segment.codes.candidates(query, top_k, least, near.lower, bitmap)
        return Candidates.joined([(0, near), (self.delta.length, far)])

    def _scored(self, query: Query, rows: NDArray[np.int64], rescore: Rescore | None) -> tuple[Ids, Scores]:
        """The ids and scores of candidates, in no certain order."""
        in_delta = rows < self.delta.length
        if self.base is None or in_delta.all():
            return self.delta.ids[rows], scores_of(self.delta.matrix.take(rows), query)
        near, positions = rows[in_delta], rows[~in_delta] - self.delta.length
        scores = scores_of(self.delta.matrix.take(near), query)
        far = scores_of(self.base.rows(positions, rescore)[0], query)
        ids = self.delta.ids[near], self.base.segment.ids[positions]
        return np.concatenate(ids), np.concatenate([scores, far])


class VectorIndex:
    """The writer's side: holds the newest view and makes the next one at a cost that follows the change.

    One thread at a time may call `apply`, `restore`, `install` and `compact`; `view` and `build_base` are for
    any.
    """

    def __init__(self, dimension: int, *, base_rows: int = 20_000, base_type: BaseType = "int8") -> None:
        if dimension < 1:
            raise InvalidInput(f"vectors have a dimension of at least 1, not {dimension}")
        self._base_rows = base_rows
        self._base_type: BaseType = base_type
        self._view = VectorView(dimension, None, Delta.empty(dimension))

    @classmethod
    def from_rows(
        cls,
        ids: Collection[int],
        matrix: NDArray[Any],
        *,
        base: Base | None = None,
        removed: Collection[int] = (),
        unit: bool = False,
        base_rows: int = 20_000,
        base_type: BaseType = "int8",
    ) -> VectorIndex:
        """An index of stored rows, `matrix` of shape (ids, dimension).

        With a `base`, the rows are those newer than it (they replace its rows of the same ids), and `removed`
        are the ids in it that are no more. With `unit` the rows, float32, were scaled to length one before
        they were stored: they are kept as they are, so nobody may write to the matrix any more.
        """
        index = cls(matrix.shape[1], base_rows=base_rows, base_type=base_type)
        if base is not None:
            if base.dimension != matrix.shape[1]:
                raise InvalidInput(f"the base holds {base.dimension} dimensions, the rows {matrix.shape[1]}")
            index._view = VectorView(base.dimension, LiveBase.whole(base), index._view.delta)
        if not unit:
            index.apply((ids, matrix), removed)
            return index
        stored, rows = _rows_of((ids, matrix), index._view.dimension)
        index.apply(None, np.concatenate([id_array(removed), stored]))
        index._view = VectorView(index._view.dimension, index._view.base, Delta.of_stored(stored, rows))
        return index

    @property
    def view(self) -> VectorView:
        """The newest view."""
        return self._view

    def apply(self, added: Added | None = None, removed: Collection[int] = ()) -> VectorView:
        """Remove rows, then add rows, given as a mapping from id to vector or as (ids, matrix).

        Adding an id that is there replaces its row; removing one that is not does nothing. Returns the new
        view. Raises `InvalidInput`, with nothing changed, for vectors of another dimension and repeated ids.
        """
        view = self._view
        ids, matrix = _rows_of(added, view.dimension)
        gone = distinct(np.concatenate([id_array(removed), ids]))
        base = view.base.without(gone) if view.base else None
        delta = view.delta.changed(ids, matrix, gone.tolist())
        self._view = VectorView(view.dimension, base, delta)
        return self._view

    def restore(self, view: VectorView) -> None:
        """Go back to the view that the newest one was made from: what was applied since is given up."""
        self._view = view

    def needs_compaction(self) -> bool:
        """Whether it pays to build a new base: the delta is as large as a base must be (and a tenth of the
        base there is), or more than 1000 rows and a quarter of all are dead.
        """
        base, delta = self._view.base, self._view.delta
        held = delta.length + (len(base.segment) if base else 0)
        dead = held - len(self._view)
        if dead > max(_DEAD_ROWS, _DEAD_SHARE * held):
            return True
        return delta.live >= max(self._base_rows, len(base.segment) // 10 if base else 1)

    def build_base(
        self,
        view: VectorView,
        exact: Rescore | None = None,
        keep: Callable[[Vectors], object] | None = None,
    ) -> Base | None:
        """The slow part of a compaction: a base of all rows of a view. Call it on a thread of its own.

        None if the rows are too few for a base and none of them is in one; install that just the same.
        `exact` gives vectors by id, in blocks; it is asked only for rows that the old base cannot reproduce.
        `keep` is given all rows, float32, in the order of the base.
        """
        in_base = view.base.live if view.base else 0
        if not in_base and len(view) < max(1, self._base_rows):
            return None
        # Float16 of a float16 row is the row: building from the old base is the same as building anew.
        same = view.base is not None and view.base.segment.kind == self._base_type == "float16"
        source = None if same and keep is None else exact
        return build(view.ids(), lambda ids: _fetch(view, ids, source), view.dimension, self._base_type, keep)

    def install(self, base: Base | None, built_from: VectorView) -> VectorView:
        """The quick part of a compaction: show a base that was built from `built_from`.

        What was added and removed since is carried over. Returns the new view. Raises `StoreError` if another
        base was installed in the meantime.
        """
        current = self._view
        if built_from.delta.newest is not current.delta.newest:
            raise StoreError("the base was built from a view that another base has replaced; build it again")
        first_row = 0
        live = None
        if base is not None:
            first_row = built_from.delta.length
            live = LiveBase.whole(base).without(_removed_since(built_from, current))
        elif current.base and current.base.live:
            raise StoreError("rows of the old base would be lost; install the base that build_base returned")
        rows = current.delta.live_rows(first_row)
        delta = Delta.empty(current.dimension).changed(
            current.delta.ids[rows], current.delta.matrix.take(rows), ()
        )
        self._view = VectorView(current.dimension, live, delta)
        return self._view

    def compact(self, exact: Rescore | None = None) -> VectorView:
        """Build and install a base in one go, for callers that may wait."""
        view = self._view
        return self.install(self.build_base(view, exact), view)


def _rows_of(added: Added | None, dimension: int) -> tuple[Ids, NDArray[Any]]:
    if not added:
        return id_array(()), np.empty((0, dimension), dtype=np.float32)
    if isinstance(added, Mapping):
        ids = id_array(added)
        vectors = [np.asarray(vector) for vector in added.values()]
        if any(vector.shape != (dimension,) for vector in vectors):
            shapes = sorted({vector.shape for vector in vectors} - {(dimension,)})
            raise InvalidInput(f"vectors have the shapes {shapes}; this index holds ({dimension},)")
        return ids, stacked(vectors)
    ids, matrix = id_array(added[0]), np.asarray(added[1])
    if matrix.shape != (len(ids), dimension):
        raise InvalidInput(f"{len(ids)} ids need a matrix ({len(ids)}, {dimension}), not {matrix.shape}")
    if len(distinct(ids)) != len(ids):
        raise InvalidInput("an id occurs twice among the rows to add")
    return ids, matrix


def _ascending(ids: Ids) -> Ids:
    """Each id once, in order. Sorting costs more than to see that they are."""
    return ids if (ids[1:] > ids[:-1]).all() else distinct(ids)


def _removed_since(before: VectorView, after: VectorView) -> Ids:
    """Ids of the rows of `before` that `after`, of the same lineage, holds no more or holds anew."""
    gone = before.delta.alive & ~after.delta.alive[: before.delta.length]
    ids = before.delta.ids[: before.delta.length][gone]
    if before.base and after.base:
        ids = np.concatenate([ids, before.base.segment.ids[before.base.alive & ~after.base.alive]])
    return ids


def _fetch(view: VectorView, ids: Ids, exact: Rescore | None) -> tuple[Vectors, float]:
    rows = view.delta.rows(ids.tolist())
    fresh = rows >= 0
    matrix = np.empty((len(ids), view.dimension), dtype=np.float32)
    matrix[fresh] = view.delta.matrix.take(rows[fresh])
    if view.base is None or fresh.all():
        return matrix, 0.0
    matrix[~fresh], error = view.base.rows(view.base.positions(ids[~fresh]), exact)
    return matrix, error
