from __future__ import annotations

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from stateless_rag.errors import InvalidInput, StoreError
from stateless_rag.protocols import Hit
from stateless_rag.stores.faiss import BaseType, Rescore, VectorIndex, VectorView
from stateless_rag.stores.faiss.cosine import normalize_into, query_of, scores_of

KINDS: tuple[BaseType, ...] = ("int8", "float16", "float32")
Rows = dict[int, NDArray[np.float32]]


def unit(vector: ArrayLike) -> NDArray[np.float64]:
    rows = np.empty((1, np.size(vector)), dtype=np.float32)
    normalize_into([np.asarray(vector)], rows)
    row: NDArray[np.float64] = rows[0].astype(np.float64)
    return row


def brute_force(
    rows: Rows, vector: ArrayLike, top_k: int, least: float = -1.0, allowed: set[int] | None = None
) -> list[Hit]:
    """All rows one by one, with Python's sums; no code of the index but the scaling of rows."""
    asked = np.asarray(vector, dtype=np.float64)
    length = float(np.sqrt(sum(x * x for x in asked.tolist())))
    hits = []
    for row_id, stored in rows.items():
        row = unit(stored)
        size = float(np.sqrt(sum(x * x for x in row.tolist())))
        if size and length and (allowed is None or row_id in allowed):
            dot = sum(x * y for x, y in zip(row.tolist(), asked.tolist(), strict=True))
            hits.append(Hit(row_id, round(dot / size / length, 9) + 0.0))
    hits.sort(key=lambda hit: (-hit.score, hit.id))
    return [hit for hit in hits[:top_k] if hit.score >= least]


def same(found: list[Hit], expected: list[Hit]) -> None:
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=2e-9)


def rescore_from(rows: Rows) -> Rescore:
    return lambda ids: {row_id: rows[row_id] for row_id in ids}


def check(
    view: VectorView, rows: Rows, vector: ArrayLike, top_k: int, least: float, allowed: set[int]
) -> None:
    rescore = rescore_from(rows)
    assert len(view) == len(rows)
    assert view.ids().tolist() == sorted(rows)
    same(view.search(vector, top_k, least, rescore), brute_force(rows, vector, top_k, least))
    same(
        view.search(vector, top_k, least, rescore, allowed),
        brute_force(rows, vector, top_k, least, allowed),
    )
    asked = [*sorted(rows, reverse=True), 404]
    scores = dict.fromkeys(asked[:-1], 0.0)
    scores.update({hit.id: hit.score for hit in brute_force(rows, vector, len(rows))})
    found = view.similarities(vector, asked, rescore)
    assert list(found) == list(scores)
    assert found == pytest.approx(scores, abs=2e-9)
    assert [view.contains(row_id) for row_id in asked] == [True] * len(rows) + [False]


# ---- any history ---------------------------------------------------------------------------------------

IDS = st.sampled_from([-(2**63), -9, -1, 0, 1, 2, 3, 5, 8, 13, 21, 2**63 - 1])
VECTORS = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1e-20, 3e19]), min_size=3, max_size=3) | st.lists(
    st.floats(-2, 2, width=16), min_size=3, max_size=3
)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["apply", "give up"]),
            st.dictionaries(IDS, VECTORS, max_size=6),
            st.sets(IDS, max_size=4),
        ),
        st.tuples(st.sampled_from(["compact", "build", "install"])),
    ),
    max_size=12,
)


@pytest.mark.parametrize("kind", KINDS)
@given(
    steps=STEPS,
    vector=VECTORS,
    top_k=st.integers(1, 6),
    least=st.sampled_from([-1.0, 0.0, 0.5]),
    allowed=st.sets(IDS, max_size=8),
    coded=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_every_view_finds_what_its_revision_holds(
    kind: BaseType,
    coded: bool,
    steps: list[tuple[Any, ...]],
    vector: list[float],
    top_k: int,
    least: float,
    allowed: set[int],
) -> None:
    index = VectorIndex(3, base_rows=4, base_type=kind)
    rows: Rows = {}
    history = [(index.view, rows)]
    built = None
    for step, *change in steps:
        if step == "apply":
            added, removed = change
            rows = {row_id: rows[row_id] for row_id in rows if row_id not in removed} | {
                row_id: np.array(values, dtype=np.float32) for row_id, values in added.items()
            }
            index.apply({row_id: rows[row_id] for row_id in added}, removed)
        elif step == "give up":
            added, removed = change
            before = index.view
            index.apply({row_id: np.array(row, dtype=np.float32) for row_id, row in added.items()}, removed)
            index.restore(before)
        elif step == "compact":
            index.compact(rescore_from(rows))
            built = None
        elif step == "build":
            built = index.build_base(index.view, rescore_from(rows)), index.view
        elif built:
            index.install(*built)
            built = None
        history.append((index.view, rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stateless_rag.stores.faiss.row_blocks._CODED_FROM", 1 if coded else 100)
        patch.setattr("stateless_rag.stores.faiss.row_blocks._SCANS", 0)
        for view, held in history:
            check(view, held, vector, top_k, least, allowed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scans", [0, 10**6])
def test_many_rows_in_base_and_delta_give_the_order_of_brute_force(
    monkeypatch: pytest.MonkeyPatch, kind: BaseType, scans: int
) -> None:
    monkeypatch.setattr("stateless_rag.stores.faiss.row_blocks._CODED_FROM", 300)
    monkeypatch.setattr("stateless_rag.stores.faiss.row_blocks._SCANS", scans)
    random = np.random.default_rng(7)
    matrix = random.standard_normal((3000, 48)).astype(np.float32)
    matrix[1::3] = matrix[::3] + 1e-4 * matrix[1::3]  # neighbours that rough scores cannot tell apart
    ids = random.permutation(np.arange(-1500, 1500) * 10**15)
    rows = dict(zip(ids.tolist(), matrix, strict=True))
    index = VectorIndex(48, base_rows=100, base_type=kind)
    index.apply((ids[:2000], matrix[:2000]))
    index.compact(rescore_from(rows))
    index.apply((ids[2000:], matrix[2000:]), ids[:300].tolist())
    for row_id in ids[:300].tolist():
        del rows[row_id]
    assert index.view.base is not None
    for at in range(0, 3000, 300):
        vector = matrix[at] + 0.2 * random.standard_normal(48)
        same(index.view.search(vector, 40, rescore=rescore_from(rows)), brute_force(rows, vector, 40))


def test_the_order_of_arrival_and_the_segment_do_not_change_a_bit() -> None:
    random = np.random.default_rng(3)
    matrix = random.standard_normal((400, 33)).astype(np.float32)
    ids = random.permutation(400)
    rows = dict(zip(ids.tolist(), matrix, strict=True))
    answers = []
    for order in (slice(None), slice(None, None, -1)):
        for batch in (1, 7, 400):
            for compacted in (False, True):
                index = VectorIndex(33, base_rows=10)
                for start in range(0, 400, batch):
                    index.apply((ids[order][start : start + batch], matrix[order][start : start + batch]))
                if compacted:
                    index.compact()
                answers.append(index.view.search(matrix[0], 25, rescore=rescore_from(rows)))
    assert all(answer == answers[0] for answer in answers)


@given(st.integers(1, 600), st.integers(0, 2**32), st.sampled_from([1, 2, 7, 8, 9, 129, 384]))
@settings(max_examples=30, deadline=None)
def test_a_row_is_scaled_and_scored_alike_in_any_company(count: int, seed: int, dimension: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    scaled = np.empty_like(matrix)
    assert normalize_into(matrix, scaled).all()
    again = np.empty_like(matrix)
    normalize_into(scaled, again)
    assert np.array_equal(scaled, again)
    query = query_of(matrix[-1], dimension)
    assert query is not None
    alone = np.concatenate([scores_of(scaled[row : row + 1], query) for row in range(count)])
    assert np.array_equal(alone, scores_of(scaled, query))
    assert np.array_equal(alone, scores_of(np.asfortranarray(scaled), query))


def test_equal_rows_are_found_by_id_however_many_there_are() -> None:
    ids = np.random.default_rng(1).permutation(2000) - 1000
    index = VectorIndex(4, base_rows=10)
    index.apply((ids, np.tile(np.arange(1, 5), (2000, 1))))
    for _ in range(2):  # in the delta, then in the base
        found = index.view.search([4, 3, 2, 1], 5)
        assert [hit.id for hit in found] == [-1000, -999, -998, -997, -996]
        assert len({hit.score for hit in found}) == 1
        index.compact()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_rough_scores_cannot_tell_apart_are_all_looked_at(kind: BaseType) -> None:
    random = np.random.default_rng(9)
    matrix = (random.standard_normal(24) + 1e-5 * random.standard_normal((1500, 24))).astype(np.float32)
    rows = dict(enumerate(matrix))
    index = VectorIndex.from_rows(range(1500), matrix, base_rows=10, base_type=kind)
    index.compact()
    index.compact()  # from the base itself, whose rows are no longer exact
    looked_at: set[int] = set()

    def rescore(ids: Collection[int]) -> Rows:
        looked_at.update(ids)
        return {row_id: rows[row_id] for row_id in ids}

    for row in range(0, 1500, 150):
        looked_at.clear()
        found = index.view.search(matrix[row], 3, rescore=rescore)
        assert [hit.id for hit in found] == [0, 1, 2]  # nine decimals are the same for all of them
        same(found, brute_force(rows, matrix[row], 3))
        # What a float32 base holds is exact already.
        assert looked_at == (set() if kind == "float32" else set(rows))


def test_rows_without_direction_are_there_but_never_found() -> None:
    nan = float("nan")
    vectors = {1: [0.0, 0.0], 2: [nan, 1.0], 3: [float("inf"), 1.0], 4: [-1.0, 0.0], 5: [1e-45, 0.0]}
    index = VectorIndex(2, base_rows=2)
    index.apply(vectors)
    for _ in range(2):
        assert index.view.search([1, 0], 9) == [Hit(5, 1.0), Hit(4, -1.0)]
        assert index.view.similarities([1, 0], [1, 2, 3]) == {1: 0.0, 2: 0.0, 3: 0.0}
        assert len(index.view) == 5
        index.compact()
    assert index.view.search([0, 0], 9) == []
    assert index.view.similarities([0, 0], [4]) == {4: 0.0}


def test_without_exact_vectors_the_base_answers_roughly() -> None:
    matrix = np.random.default_rng(5).standard_normal((500, 16)).astype(np.float32)
    rows = dict(enumerate(matrix))
    errors: dict[BaseType, float] = {"float16": 5e-4, "int8": 2e-2, "float32": 2e-9}
    for kind, error in errors.items():
        index = VectorIndex.from_rows(range(500), matrix, base_rows=10, base_type=kind)
        index.compact()
        exact = {hit.id: hit.score for hit in brute_force(rows, matrix[3], 500)}
        found = index.view.search(matrix[3], 500)
        assert {hit.id: hit.score for hit in found} == pytest.approx(exact, abs=error)
        half = index.view.similarities(matrix[3], range(9), lambda ids: {i: rows[i] for i in ids if i % 2})
        assert half == pytest.approx({row: exact[row] for row in range(9)}, abs=error)
        assert half[1] == pytest.approx(exact[1], abs=2e-9)


# ---- writing -------------------------------------------------------------------------------------------


def test_rows_that_do_not_fit_are_refused_and_change_nothing() -> None:
    index = VectorIndex(2)
    view = index.apply({1: [1, 0]})
    for added in ({2: [1, 0, 0]}, ([2, 2], np.ones((2, 2))), ([2], np.ones((2, 2))), ([2], np.ones((1, 3)))):
        with pytest.raises(InvalidInput):
            index.apply(added, [1])
    assert index.view is view
    for vector in ([1, 2, 3], [[1, 2]], [1, float("nan")], [float("inf"), 0]):
        with pytest.raises(InvalidInput):
            view.search(vector, 3)
    with pytest.raises(InvalidInput):
        VectorIndex(0)


def test_appending_copies_no_row_that_is_there() -> None:
    index = VectorIndex(8)
    index.apply((range(100), np.ones((100, 8))))
    before = index.apply((range(100, 110), np.ones((10, 8))))
    after = index.apply((range(110, 130), np.ones((20, 8))), range(50))
    assert after.delta.matrix is before.delta.matrix
    assert (len(before), len(after)) == (110, 80)


def test_compaction_is_due_when_the_delta_is_large_or_much_is_dead() -> None:
    index = VectorIndex(1, base_rows=2000)
    index.apply((range(1999), np.ones((1999, 1))))
    assert not index.needs_compaction()
    index.apply({1999: [1.0]})
    assert index.needs_compaction()
    index.compact()
    assert not index.needs_compaction()
    index.apply(None, range(1000))
    assert not index.needs_compaction()
    index.apply(None, range(1001))
    assert index.needs_compaction()
    index.compact()
    assert (len(index.view), index.needs_compaction()) == (999, False)


def test_few_rows_stay_in_the_delta() -> None:
    index = VectorIndex(1, base_rows=100)
    index.apply((range(60), np.ones((60, 1))))
    index.apply(None, range(50))
    view = index.compact()
    assert view.base is None
    assert (view.ids().tolist(), view.delta.length) == (list(range(50, 60)), 10)


def test_a_base_of_an_older_lineage_is_refused() -> None:
    index = VectorIndex(1, base_rows=2)
    old = index.apply({1: [1], 2: [1]})
    base = index.build_base(old)
    index.compact()
    with pytest.raises(StoreError, match="replaced"):
        index.install(base, old)
    with pytest.raises(StoreError, match="lost"):
        index.install(None, index.view)


def test_opening_on_a_base_takes_newer_rows_into_the_delta() -> None:
    matrix = np.random.default_rng(2).standard_normal((50, 4)).astype(np.float32)
    index = VectorIndex.from_rows(range(40), matrix[:40], base_rows=10)
    base = index.build_base(index.view)
    assert base is not None
    newer = np.concatenate([matrix[:5][::-1], matrix[40:]])
    opened = VectorIndex.from_rows([*range(5), *range(40, 50)], newer, base=base, removed=[7, 8, 404])
    rows = dict(enumerate(matrix)) | dict(enumerate(matrix[:5][::-1]))
    del rows[7], rows[8]
    check(opened.view, rows, matrix[3], 20, -1.0, {1, 6, 7, 45})
    with pytest.raises(InvalidInput, match="dimensions"):
        VectorIndex.from_rows([1], np.ones((1, 3)), base=base)


# ---- threads -------------------------------------------------------------------------------------------


def test_readers_see_whole_views_while_a_writer_applies_and_compacts() -> None:
    random = np.random.default_rng(11)
    index = VectorIndex(8, base_rows=64)
    rows: Rows = {}
    published: list[tuple[VectorView, Rows]] = [(index.view, rows)]
    done = threading.Event()

    def read(seed: int) -> int:
        local = np.random.default_rng(seed)
        answers = 0
        while not done.is_set():
            view, held = published[-1 - int(local.integers(min(8, len(published))))]
            vector = local.standard_normal(8)
            same(view.search(vector, 10, rescore=rescore_from(held)), brute_force(held, vector, 10))
            assert len(view) == len(held)
            answers += 1
        return answers

    with ThreadPoolExecutor(max_workers=5) as threads:
        readers = [threads.submit(read, seed) for seed in range(4)]
        try:
            for step in range(150):
                build = threads.submit(index.build_base, index.view) if step % 10 == 5 else None
                built_from = index.view
                for _ in range(2):
                    rows = commit(index, rows, random)
                    published.append((index.view, rows))
                if build is not None:
                    published.append((index.install(build.result(), built_from), rows))
        finally:
            done.set()
        assert sum(reader.result() for reader in readers) > 20
    assert any(view.base for view, _ in published)


def commit(index: VectorIndex, rows: Rows, random: np.random.Generator) -> Rows:
    ids = np.unique(random.integers(0, 150, 6)).tolist()
    added = dict(zip(ids, random.standard_normal((len(ids), 8)).astype(np.float32), strict=True))
    removed = set(random.integers(0, 150, 4).tolist())
    index.apply(added, removed)
    return {row_id: rows[row_id] for row_id in rows if row_id not in removed} | added
