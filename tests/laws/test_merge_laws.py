"""Law 1, and the laws of folds, on mentions alone: no store, no engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import KEYWORDS, NAMES, TEXTS, TYPES, WORDS, K, aliases
from stateless_rag.context import Context
from stateless_rag.kinds import Entities, Relations
from stateless_rag.settings import MergeSettings
from stateless_rag.stages.merge import (
    add_entities,
    add_relations,
    fold_entities,
    fold_relations,
    merge,
    resolver,
    subtract_entities,
    subtract_relations,
)
from stateless_rag.text import digest, entity_key, normalize_name
from stateless_rag.types import EntityMention, GraphDelta, RelationMention

NO_CONTEXT: Context = None  # type: ignore[assignment]  # merge needs nothing of it
CHUNKS = tuple(f"chunk-{number:016x}" for number in range(4))
generations = st.sampled_from(("g1", "g2"))


@st.composite
def entity_mentions(draw: st.DrawFn, chunks: Sequence[str] = CHUNKS) -> EntityMention:
    name = normalize_name(draw(st.sampled_from(NAMES)))
    said = draw(st.sampled_from(TEXTS) | st.text(max_size=3))
    type_ = draw(st.sampled_from((*TYPES, "")))
    return EntityMention(
        draw(st.sampled_from(chunks)), draw(generations), entity_key(name), name, type_, said
    )


@st.composite
def relation_mentions(draw: st.DrawFn, chunks: Sequence[str] = CHUNKS) -> RelationMention:
    source, target = (normalize_name(draw(st.sampled_from(("Ada", "ADA", "Babbage")))) for _ in range(2))
    words = tuple(sorted(draw(st.sets(st.sampled_from(KEYWORDS), max_size=3))))
    keys = (entity_key(source), entity_key(target))
    said = draw(st.sampled_from(("", "", "", *TEXTS)))  # without texts, the keywords alone must tell
    heavy = draw(st.sampled_from((0.0, 0.0, 0.1, 0.2, 0.7, 3.0, 1e9)))
    return RelationMention(
        draw(st.sampled_from(chunks)), draw(generations), *keys, source, target, words, said, heavy
    )


deltas = st.builds(
    GraphDelta,
    st.frozensets(entity_mentions(), max_size=6),
    st.frozensets(relation_mentions(), max_size=6),
)
resolvers = aliases().map(lambda pairs: resolver({entity_key(a): entity_key(b) for a, b in pairs}))


@given(deltas, deltas)
def test_merge_is_commutative(a: Any, b: Any) -> None:
    assert merge(NO_CONTEXT, a, b) == merge(NO_CONTEXT, b, a)


@given(deltas, deltas, deltas)
def test_merge_is_associative(a: Any, b: Any, c: Any) -> None:
    left = merge(NO_CONTEXT, a, merge(NO_CONTEXT, b, c))
    assert left == merge(NO_CONTEXT, merge(NO_CONTEXT, a, b), c) == merge(NO_CONTEXT, a, b, c)


@given(deltas)
def test_merge_is_idempotent_and_has_an_identity(a: Any) -> None:
    assert merge(NO_CONTEXT, a, a) == a
    assert merge(NO_CONTEXT, a, GraphDelta()) == a
    assert merge(NO_CONTEXT, GraphDelta(), a) == a
    assert merge(NO_CONTEXT) == GraphDelta()


@given(deltas, deltas)
def test_merge_loses_and_invents_nothing(a: Any, b: Any) -> None:
    both = merge(NO_CONTEXT, a, b)
    assert both.entities == a.entities | b.entities
    assert both.relations == a.relations | b.relations


# ---- folds ---------------------------------------------------------------------------------------------


def shuffled_lists(mentions: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(mentions, max_size=12, unique=True).flatmap(
        lambda found: st.tuples(st.just(found), st.permutations(found))
    )


@given(shuffled_lists(entity_mentions()), shuffled_lists(relation_mentions()), resolvers)
def test_folds_do_not_depend_on_order(entities: Any, relations: Any, resolve: Any) -> None:
    assert fold_entities(entities[0], resolve, K) == fold_entities(entities[1], resolve, K)
    assert fold_relations(relations[0], resolve, K, WORDS) == fold_relations(relations[1], resolve, K, WORDS)


@given(st.frozensets(entity_mentions(), max_size=14), resolvers)
def test_entity_folds_add_and_subtract(mentions: Any, resolve: Any) -> None:
    one = {m for m in mentions if m.chunk_id in CHUNKS[:2]}
    whole = fold_entities(mentions, resolve, K)
    a, b = fold_entities(one, resolve, K), fold_entities(mentions - one, resolve, K)
    exact = fold_entities(mentions - one, resolve, None)
    assert whole.keys() == a.keys() | b.keys()
    for key in a.keys() & b.keys():
        assert add_entities(a[key], b[key], K) == add_entities(b[key], a[key], K) == whole[key]
        rest = subtract_entities(whole[key], exact[key])
        assert rest is None or rest == a[key]


@given(st.frozensets(relation_mentions(), max_size=14), resolvers)
def test_relation_folds_add_and_subtract(mentions: Any, resolve: Any) -> None:
    one = {m for m in mentions if m.chunk_id in CHUNKS[:2]}
    whole = fold_relations(mentions, resolve, K, WORDS)
    a = fold_relations(one, resolve, K, WORDS)
    b = fold_relations(mentions - one, resolve, K, WORDS)
    exact = fold_relations(mentions - one, resolve, None, None)
    assert whole.keys() == a.keys() | b.keys()
    for key in a.keys() & b.keys():
        assert add_relations(a[key], b[key], K, WORDS) == whole[key]
        assert add_relations(b[key], a[key], K, WORDS) == whole[key]
        rest = subtract_relations(whole[key], exact[key])
        assert rest is None or rest == a[key]


@given(st.frozensets(entity_mentions(), min_size=1, max_size=8), resolvers)
def test_subtracting_everything_leaves_no_chunks(mentions: Any, resolve: Any) -> None:
    whole, exact = fold_entities(mentions, resolve, K), fold_entities(mentions, resolve, None)
    for key, fold in whole.items():
        rest = subtract_entities(fold, exact[key])
        assert rest is None or (rest.chunks, rest.names, rest.types) == (0, {}, {})


@given(
    st.frozensets(entity_mentions(), max_size=8), st.frozensets(relation_mentions(), max_size=8), resolvers
)
def test_folds_survive_being_stored(entities: Any, relations: Any, resolve: Any) -> None:
    for key, fold in fold_entities(entities, resolve, K).items():
        kind = Entities(MergeSettings())
        assert kind.load(key, kind.dump(fold)) == fold
    for pair, relation in fold_relations(relations, resolve, K, WORDS).items():
        other = Relations(MergeSettings())
        assert other.load(pair, other.dump(relation)) == relation


@given(st.frozensets(entity_mentions(), max_size=14), resolvers)
def test_a_sketch_is_of_the_whole_and_bounded(mentions: Any, resolve: Any) -> None:
    bounded, whole = fold_entities(mentions, resolve, K), fold_entities(mentions, resolve, None)
    for key, fold in bounded.items():
        least = sorted(whole[key].texts, key=lambda text: digest(key, text))[:K]
        assert fold.texts == tuple(sorted(least))
        assert fold.chunks == len({m.chunk_id for m in mentions if resolve(m.key) == key})
