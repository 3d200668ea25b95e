from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.errors import InvalidInput
from stateless_rag.stores import graph as graph_module
from stateless_rag.stores.graph import GraphView

LARGE = 2**62
ENTITIES = st.sampled_from([-LARGE, -7, 0, 1, 2, 3, 5, 8, LARGE])
RELATIONS = st.integers(-12, 12)
STATEMENTS = st.tuples(RELATIONS, ENTITIES, ENTITIES)
COMMITS = st.lists(st.tuples(st.lists(STATEMENTS, max_size=8), st.sets(RELATIONS, max_size=5)), max_size=12)

Relations = dict[int, tuple[int, int]]
Statement = tuple[int, int, int]


def view_of(relations: Relations) -> GraphView:
    rows = np.array([(key, *ends) for key, ends in relations.items()], dtype=np.int64).reshape(-1, 3)
    return GraphView.from_arrays(rows[:, 0], rows[:, 1], rows[:, 2])


def edges_of(relations: Relations, entity: int) -> list[tuple[int, int]]:
    return [
        (relation, right if left == entity else left)
        for relation, (left, right) in sorted(relations.items())
        if entity in (left, right)
    ]


def check(view: GraphView, relations: Relations) -> None:
    entities = {entity for ends in relations.values() for entity in ends}
    asked = [*sorted(entities, reverse=True), 404]
    assert view.relation_count == len(relations)
    assert view.entity_count == len(entities)
    assert view.edges(asked) == {entity: edges_of(relations, entity) for entity in asked}
    assert list(view.edges(asked)) == asked
    assert view.degrees(asked) == {entity: len(edges_of(relations, entity)) for entity in asked}
    assert view.endpoints([*relations, 404]) == relations
    for entity in asked:
        assert view.neighbours(entity) == sorted({other for _, other in edges_of(relations, entity)})
    ids, left, right = (column.tolist() for column in view.arrays())
    assert ids == sorted(relations)
    assert dict(zip(ids, zip(left, right, strict=True), strict=True)) == relations


@pytest.mark.parametrize("overlay", [0, 6, 2000])
@given(start=st.lists(STATEMENTS, max_size=12), commits=COMMITS)
@settings(max_examples=50, deadline=None)
def test_every_view_holds_the_relations_of_its_revision(
    overlay: int, start: list[Statement], commits: list[tuple[list[Statement], set[int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_module, "_OVERLAY", overlay)
        relations = {relation: (left, right) for relation, left, right in start}
        history = [(view_of(relations), dict(relations))]
        for added, removed in commits:
            for relation in removed:
                relations.pop(relation, None)
            relations.update({relation: (left, right) for relation, left, right in added})
            history.append((history[-1][0].apply(added, removed), dict(relations)))
    for view, expected in history:
        check(view, expected)


def test_changing_nothing_gives_the_same_view() -> None:
    view = view_of({1: (10, 20), 2: (20, 30)})
    assert view.apply([(1, 10, 20)]) is view
    assert view.apply([], [99]) is view
    assert view.apply([(2, 20, 30)], [2]) is view
    assert GraphView.empty().apply() is not None
    check(GraphView.empty(), {})


def test_a_relation_that_comes_back_is_as_it_was() -> None:
    relations = {1: (10, 20), 2: (20, 30), 3: (20, 20)}
    view = view_of(relations)
    gone = view.apply([], [1, 3])
    check(gone, {2: (20, 30)})
    moved = gone.apply([(1, 20, 40)])
    check(moved, {2: (20, 30), 1: (20, 40)})
    for back in (gone.apply([(1, 10, 20), (3, 20, 20)]), moved.apply([(1, 10, 20), (3, 20, 20)])):
        check(back, relations)
        assert not back.overlay.added
        assert not back.overlay.lost
        assert not back.overlay.extra


def test_an_overlay_of_any_history_becomes_a_base(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of({relation: (relation, relation + 1) for relation in range(50)})
    monkeypatch.setattr(graph_module, "_OVERLAY", 10)
    relations = view.endpoints(range(50))
    for relation in range(0, 50, 2):
        view = view.apply([(1000 + relation, relation, 7)], [relation])
        relations[1000 + relation] = (relation, 7)
        del relations[relation]
    assert len(view.base.relations) == 50
    assert len(view.overlay.added) < 10
    check(view, relations)


def test_a_commit_at_a_hub_does_not_pay_for_the_hub() -> None:
    def peak(edges: int) -> int:
        relations = np.arange(20_000, dtype=np.int64)
        hub = np.where(relations < edges, -1, -2 - relations)
        view = GraphView.from_arrays(relations, hub, relations + 10**6)
        change = [(10**7 + edge, -1, 10**8 + edge) for edge in range(100)]
        view.apply(change, range(50))
        tracemalloc.start()
        grown = view.apply(change, range(50))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert grown.base is view.base
        assert grown.degrees([-1]) == {-1: edges + 50}
        return used

    assert peak(20_000) < 1.2 * peak(50) + 4096
    assert peak(20_000) < 20_000 * 8  # not even one array of the hub's relations


def test_broken_arrays_are_refused() -> None:
    one = np.array([1], dtype=np.int64)
    two = np.array([1, 1], dtype=np.int64)
    with pytest.raises(InvalidInput, match="do not match"):
        GraphView.from_arrays(two, one, one)
    with pytest.raises(InvalidInput, match="occurs twice"):
        GraphView.from_arrays(two, two, two)


# ---- paths ---------------------------------------------------------------------------------------------


def best_path(relations: Relations, a: int, b: int, max_hops: int) -> list[int] | None:
    """All paths by length, each length in order: the first that arrives."""
    if not edges_of(relations, a) or not edges_of(relations, b):
        return None
    paths: list[tuple[list[int], int]] = [([], a)]
    for hops in range(max_hops + 1):
        arrived = [path for path, at in paths if at == b]
        if arrived:
            return min(arrived)
        if hops < max_hops:
            paths = [
                ([*path, relation], other)
                for path, at in paths
                for relation, other in edges_of(relations, at)
                if other != at
            ]
    return None


@given(
    statements=st.lists(STATEMENTS, max_size=14),
    late=st.lists(STATEMENTS, max_size=4),
    a=ENTITIES,
    b=ENTITIES,
    max_hops=st.integers(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_the_shortest_path_is_the_first_of_the_shortest(
    statements: list[Statement], late: list[Statement], a: int, b: int, max_hops: int
) -> None:
    relations = {relation: (left, right) for relation, left, right in statements}
    view = view_of(relations).apply(late)
    relations.update({relation: (left, right) for relation, left, right in late})
    assert view.shortest_path(a, b, max_hops) == best_path(relations, a, b, max_hops)


def greedy_path(relations: Relations, a: int, b: int) -> list[int]:
    """Hops to `b` by a plain search from `b`, then from `a` the least relation that comes nearer."""
    hops, front = {b: 0}, [b]
    while front:
        others = {other for at in front for _, other in edges_of(relations, at)} - hops.keys()
        hops.update(dict.fromkeys(others, hops[front[0]] + 1))
        front = sorted(others)
    path = []
    at = a
    while at != b:
        relation, at = next(pair for pair in edges_of(relations, at) if hops[pair[1]] == hops[at] - 1)
        path.append(relation)
    return path


@pytest.mark.parametrize("seed", range(20))
def test_long_paths_through_dense_layers_are_the_first_of_the_shortest(seed: int) -> None:
    random = np.random.default_rng(seed)
    layer = np.arange(60) // 6
    near = [(one, other) for one in range(60) for other in range(60) if layer[other] - layer[one] in (0, 1)]
    chosen = random.permutation(len(near))[:200]
    relations = {int(key): near[at] for key, at in zip(random.permutation(500), chosen, strict=False)}
    view = view_of(relations)
    for a, b in random.integers(0, 60, (20, 2)).tolist():
        path = view.shortest_path(a, b, max_hops=60)
        if path is not None:
            assert path == greedy_path(relations, a, b)


@pytest.mark.parametrize("length", range(1, 8))
def test_a_chain_is_walked_to_its_end(length: int) -> None:
    view = view_of({100 + step: (step, step + 1) for step in range(9)})
    assert view.shortest_path(0, length, max_hops=7) == [100 + step for step in range(length)]
    assert view.shortest_path(length, 0, max_hops=7) == [100 + step for step in reversed(range(length))]
    assert view.shortest_path(0, length, max_hops=length - 1) is None


# ---- rustworkx -----------------------------------------------------------------------------------------


def test_rustworkx_gets_the_same_graph() -> None:
    relations = {5: (1, 2), 3: (2, 3), 9: (3, 3), 4: (7, 1), 8: (1, 2)}
    graph = view_of({5: (1, 2), 3: (2, 4)}).apply([(key, *ends) for key, ends in relations.items()])
    rustworkx_graph = graph.to_rustworkx()
    nodes = rustworkx_graph.nodes()
    assert nodes == [1, 2, 3, 7]
    assert {
        relation: (nodes[one], nodes[other]) for one, other, relation in rustworkx_graph.weighted_edge_list()
    } == relations


@given(st.lists(STATEMENTS, max_size=20), st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_a_limit_keeps_the_entities_with_the_most_relations(statements: list[Statement], limit: int) -> None:
    view = view_of({relation: (left, right) for relation, left, right in statements})
    whole, part = view.to_rustworkx(), view.to_rustworkx(limit)
    degrees = view.degrees(whole.nodes())
    ranked = sorted(degrees, key=lambda entity: (-degrees[entity], entity))
    assert part.nodes() == sorted(ranked[:limit])
    assert all(one < other for one, other in pairwise(part.nodes()))
    kept = set(part.nodes())
    assert sorted(part.edges()) == sorted(
        relation for relation, ends in view.endpoints(whole.edges()).items() if kept.issuperset(ends)
    )
