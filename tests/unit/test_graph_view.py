from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.errors import InvalidInput
from stateless_rag.stores import graph as graph_module
from stateless_rag.stores.graph import GraphView, reached_by

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
    assert view.entity_count == len(entities)
    assert view.edges(asked) == {entity: edges_of(relations, entity) for entity in asked}
    assert list(view.edges(asked)) == asked
    assert view.degrees(asked) == {entity: len(edges_of(relations, entity)) for entity in asked}
    assert view.endpoints([*relations, 404]) == relations
    for some in (asked, asked[1::2], []):
        reached = zip(*(column.tolist() for column in view.reached(some)), strict=True)
        around = {relation: ends for relation, ends in relations.items() if {*ends} & {*some}}
        degrees = {
            relation: sum(len(edges_of(relations, end)) for end in ends) for relation, ends in around.items()
        }
        assert list(reached) == sorted(degrees.items())
        slowly = (column.tolist() for column in reached_by(view.edges(some), view.degrees))
        assert list(zip(*slowly, strict=True)) == sorted(degrees.items())
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
