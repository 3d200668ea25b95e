"""The steps of the read path, one by one: laws of the merges and budgets, and cases of the rest."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import chain, pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.errors import InvalidInput
from stateless_rag.retrieval.budget import RESERVE, fit_lines, fit_passages, graph_budgets, room
from stateless_rag.retrieval.expand import ends_of, most_rows, relations_of
from stateless_rag.retrieval.fuse import owned_chunks, pick_chunks, round_robin, trails
from stateless_rag.retrieval.question import checked_question
from stateless_rag.retrieval.render import (
    context_text,
    entity_line,
    passage_frame,
    reference_line,
    references_of,
    relation_line,
)
from stateless_rag.retrieval.seeds import named_entities
from stateless_rag.settings import QueryOptions
from stateless_rag.testing.snapshot import MemorySnapshot, entity_row, relation_row
from stateless_rag.types import Entity, Passage, Relation

OPTIONS = QueryOptions()
ids = st.integers(0, 12)
ranked = st.lists(st.lists(ids, unique=True, max_size=8), max_size=4)
texts = st.text("ab `\n{}\"'", max_size=40)


def count(text: str) -> int:
    """Words, and every other character by itself: a text costs what its parts cost if cut at a space."""
    return len(re.findall(r"[a-z]+|[^a-z]", text))


def entity(name: str, description: str = "") -> Entity:
    return Entity(key=name.casefold(), name=name, type="person", description=description, weight=1)


def relation(source: str, target: str, description: str = "", weight: int = 1) -> Relation:
    return Relation(
        source_key=source.casefold(),
        target_key=target.casefold(),
        source=source,
        target=target,
        keywords=(),
        description=description,
        weight=weight,
    )


def passage(text: str, document: str = "d", source: str | None = None, number: int = 0) -> Passage:
    return Passage(
        chunk_id=f"chunk-{document}-{number}",
        document_id=document,
        source=source,
        ordinal=number,
        start=0,
        stop=len(text),
        text=text,
        tokens=count(text),
        score=0.0,
    )


# ---- fusion --------------------------------------------------------------------------------------------


@given(ranked)
def test_round_robin_takes_each_item_once_and_early(lists: list[list[int]]) -> None:
    merged = round_robin(*lists)
    assert sorted(merged) == sorted({item for one in lists for item in one})
    for index, one in enumerate(lists):
        for place, item in enumerate(one):
            assert merged.index(item) <= place * len(lists) + index


@given(ranked)
def test_round_robin_of_one_list_or_of_itself_is_that_list(lists: list[list[int]]) -> None:
    merged = round_robin(*lists)
    assert round_robin(merged) == merged
    assert round_robin(merged, merged) == merged


def test_round_robin_goes_by_turns() -> None:
    assert round_robin([1, 2, 3], [4, 2, 5, 6]) == [1, 4, 2, 3, 5, 6]


@given(ranked, st.sets(ids))
def test_a_chunk_has_one_owner_the_first_that_names_it(lists: list[list[int]], taken: set[int]) -> None:
    owned = owned_chunks(lists, taken)
    flat = [chunk for own in owned for chunk in own]
    assert sorted(flat) == sorted({chunk for one in lists for chunk in one} - taken)
    if lists and set(lists[0]) - taken:
        assert set(owned[0]) == set(lists[0]) - taken


def test_chunks_that_more_items_name_come_first() -> None:
    assert owned_chunks([[1, 2, 3], [3], [3, 2], [9]]) == [[3, 2, 1], [9]]


@given(ranked, st.integers(0, 6), st.data())
def test_picks_are_bounded_distinct_and_independent_of_how_cosines_are_listed(
    lists: list[list[int]], each: int, data: st.DataObject
) -> None:
    owned = owned_chunks(lists)
    chunks = sorted({chunk for one in lists for chunk in one})
    known = data.draw(st.sets(st.sampled_from(chunks))) if chunks else set()
    near = {chunk: (chunk % 3) / 3 for chunk in known}
    picked = pick_chunks(owned, each, near)
    assert len(picked) == len(set(picked))
    assert set(picked) <= set(chunks)
    assert len(picked) <= each * len(owned)
    assert picked == pick_chunks(owned, each, dict(reversed(near.items())))


@given(ranked, st.integers(0, 6), st.sets(ids))
def test_picks_by_cosine_are_the_best_of_what_each_item_owns(
    lists: list[list[int]], each: int, taken: set[int]
) -> None:
    near = {chunk: (chunk * 7 % 5) / 5 for one in lists for chunk in one}
    owned = owned_chunks(lists, taken)
    most = each * len(owned) // 2
    if most:
        best = sorted(chain.from_iterable(owned), key=lambda chunk: (-near[chunk], chunk))
        assert pick_chunks(lists, each, near, taken) == best[:most]
    assert taken.isdisjoint(pick_chunks(lists, each, near, taken))
    assert taken.isdisjoint(pick_chunks(lists, each, {}, taken))


def test_by_cosine_half_of_each_per_item() -> None:
    near = {1: 0.1, 2: 0.9, 3: 0.5, 4: 0.5, 5: 0.7}
    assert pick_chunks([[1, 2], [3, 4, 5]], 3, near) == [2, 5, 3]


def test_a_missing_cosine_means_counting() -> None:
    assert pick_chunks([[1, 2, 3], [4, 5, 6]], 2, {1: 0.1}) == [1, 2, 4]


def test_a_quota_that_cannot_be_used_goes_to_the_first_that_can() -> None:
    owned = [[1], [2, 3, 4, 5], [6, 7, 8]]
    # quotas 5, 3, 1; the first leaves four: one more for the second, two for the third, one for nobody
    assert pick_chunks(owned, 5, {}) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert pick_chunks([[1], [2, 3, 4, 5, 6], [7, 8]], 3, {}) == [1, 2, 3, 4, 5, 7]


def test_no_chunks_are_picked_if_none_are_wanted() -> None:
    assert pick_chunks([[1, 2]], 0, {1: 1.0, 2: 1.0}) == []
    assert pick_chunks([], 5, {}) == []


def test_trails_name_at_most_five_of_a_kind() -> None:
    found = trails(
        [1, 2], ("vector", {1}), [(f"e{n}", [1, 3]) for n in range(9)], [("a—b", [2, 1]), ("c—d", [2])]
    )
    assert found == {
        1: ("vector", "entity:e0", "entity:e1", "entity:e2", "entity:e3", "entity:e4", "relation:a—b"),
        2: ("relation:a—b", "relation:c—d"),
    }


# ---- expansion -----------------------------------------------------------------------------------------


def test_relations_rank_by_degrees_then_weight_then_id() -> None:
    names = ("A", "B", "C", "D", "E")
    rows = [
        relation("A", "B", weight=1),
        relation("A", "C", weight=5),
        relation("A", "D", weight=1),
        relation("B", "E", weight=1),
    ]
    for order in permutations(rows):
        snapshot = MemorySnapshot(entities=map(entity, names), relations=order)
        found = relations_of(snapshot, [entity_row("A")], 10)
        ends = [(row.source, row.target) for row in found.relations.values()]
        assert ends == [("A", "B"), ("A", "C"), ("A", "D")]
        assert found.reached == 3


def test_a_hub_costs_what_fits_not_what_it_has() -> None:
    names = [f"n{number}" for number in range(20_000)]
    snapshot = MemorySnapshot(
        entities=[entity("Hub"), *map(entity, names)],
        relations=[relation("Hub", name) for name in names] + [relation("n7", "n8"), relation("n7", "n9")],
    )
    found = relations_of(snapshot, [entity_row("Hub")], most_rows(OPTIONS))
    assert found.reached == 20_000
    assert snapshot.asked["relations"] == len(found.relations) == 400
    assert next(iter(found.relations)) == relation_row("Hub", "n7")


def test_what_is_wanted_also_is_read_once_and_not_expanded() -> None:
    rows = [relation("A", "B"), relation("A", "C"), relation("D", "E")]
    snapshot = MemorySnapshot(entities=map(entity, "ABCDE"), relations=rows)
    facts = [relation_row("D", "E"), relation_row("A", "B"), 12345]
    found = relations_of(snapshot, [entity_row("A")], 10, facts)
    assert set(found.relations) == {relation_row("A", "B"), relation_row("A", "C")}
    assert list(found.also) == [relation_row("D", "E")]
    assert snapshot.asked["relations"] == 3
    alone = relations_of(snapshot, [], 10, facts)
    assert (alone.relations, list(alone.also)) == ({}, facts[:2])


def test_a_relation_between_two_seeds_is_found_once() -> None:
    snapshot = MemorySnapshot(entities=map(entity, "AB"), relations=[relation("A", "B")])
    assert len(relations_of(snapshot, [entity_row("A"), entity_row("B")], 5).relations) == 1
    assert relations_of(snapshot, [], 5).reached == 0


def test_ends_come_in_the_order_they_are_met() -> None:
    snapshot = MemorySnapshot(
        entities=map(entity, "ABC"), relations=[relation("A", "B"), relation("C", "A"), relation("B", "C")]
    )
    asked = [relation_row("C", "A"), 12345, relation_row("A", "B")]
    assert ends_of(snapshot, asked) == [entity_row("C"), entity_row("A"), entity_row("B")]


def test_names_stand_in_for_vectors() -> None:
    snapshot = MemorySnapshot(entities=map(entity, ("Ada Lovelace", "London")))
    hits = named_entities(snapshot, ("london", "Paris", "ADA  lovelace", "London"), OPTIONS)
    assert [hit.id for hit in hits] == [entity_row("London"), entity_row("Ada Lovelace")]


# ---- budget --------------------------------------------------------------------------------------------


@given(st.lists(texts.map(lambda text: text.replace("\n", " ")), max_size=60), st.integers(0, 300))
def test_lines_are_the_longest_prefix_that_fits(lines: list[str], budget: int) -> None:
    kept, used = fit_lines(lines, str, budget, count)
    assert kept == lines[: len(kept)]
    assert used == count("".join(f"{line}\n" for line in kept)) <= budget
    if len(kept) < len(lines):
        assert count("".join(f"{line}\n" for line in lines[: len(kept) + 1])) > budget


@given(st.lists(st.text(max_size=30), max_size=40), st.integers(0, 100))
def test_lines_fit_under_a_tokenizer_that_merges_across_lines(lines: list[str], budget: int) -> None:
    def coarse(text: str) -> int:
        return -(-len(text) // 4)

    kept, used = fit_lines(lines, str, budget, coarse)
    assert coarse("".join(f"{line}\n" for line in kept)) <= used <= budget


def test_tokens_that_are_known_are_not_counted_again() -> None:
    known = {"a": 7, "bb": 0, "ccc": 4}
    counted: list[str] = []

    def counting(text: str) -> int:
        counted.append(text)
        return count(text)

    kept, used = fit_lines(known, str, 12, counting, known.__getitem__)
    assert (kept, used, counted) == (["a", "bb"], 7 + count("bb\n"), ["bb\n"])


def test_lines_beyond_the_budget_are_not_even_rendered() -> None:
    rendered: list[int] = []

    def line(number: int) -> str:
        rendered.append(number)
        return "aaa"

    assert len(fit_lines(range(10_000), line, 20, count)[0]) == 10
    assert len(rendered) < 50


@given(
    st.lists(st.tuples(texts, st.sampled_from("xyz")), max_size=12), st.integers(0, 400), st.integers(1, 15)
)
def test_passages_fit_with_their_frames_and_references(
    parts: list[tuple[str, str]], budget: int, top_k: int
) -> None:
    passages = [passage(text, document, number=n) for n, (text, document) in enumerate(parts)]
    kept = fit_passages(passages, top_k, budget, count)
    assert kept == passages[: len(kept)]
    assert len(kept) <= top_k
    bare = count(context_text((), (), (), ()))
    assert count(context_text((), (), kept, references_of(kept))) - bare <= budget
    assert kept == fit_passages(kept, top_k, budget, count)


def test_a_passage_that_does_not_fit_ends_the_list() -> None:
    passages = [passage("a", "x"), passage("a " * 500, "y"), passage("a", "z")]
    assert fit_passages(passages, 20, 300, count) == passages[:1]


def test_no_room_is_an_error_with_numbers() -> None:
    options = replace(OPTIONS, max_total_tokens=RESERVE + 20)
    assert room("a " * 5, "b " * 5, options, count) == 0
    with pytest.raises(InvalidInput, match=r"question has 12 tokens.*instructions have 10.*at least 222"):
        room("a " * 5, "b " * 6, options, count)


@given(st.integers(0, 50_000), st.integers(0, 20_000), st.integers(0, 20_000))
def test_passages_keep_half_of_the_room(left: int, entities: int, relations: int) -> None:
    options = replace(OPTIONS, max_entity_tokens=entities, max_relation_tokens=relations)
    one, other = graph_budgets(left, options)
    assert 0 <= one <= entities
    assert 0 <= other <= relations
    assert one + other <= left // 2
    if entities + relations <= left // 2:
        assert (one, other) == (entities, relations)


# ---- render --------------------------------------------------------------------------------------------


@given(texts, texts)
def test_entity_and_relation_lines_are_json_that_no_fence_can_end(name: str, description: str) -> None:
    line = entity_line(entity(name, description))
    assert json.loads(line) == {"entity": name, "type": "person", "description": description}
    other = relation_line(relation(name, "b", description))
    assert json.loads(other) == {"entity1": name, "entity2": "b", "description": description}
    assert not any("```" in text or "\n" in text for text in (line, other))


@given(texts)
def test_no_passage_breaks_out_of_its_fence(text: str) -> None:
    before, after = passage_frame(3, text)
    fence = after.strip()
    assert before == f"[3]\n{fence}text\n"
    assert fence not in text


def test_the_context_has_four_parts_in_order() -> None:
    passages = [
        passage("eins", "x", "a.md"),
        passage("zwei {passages}", "y"),
        passage("drei", "x", "a.md", 1),
    ]
    text = context_text(['{"entity": 1}'], ['{"entity1": 2}'], passages, references_of(passages))
    places = [
        text.index(part)
        for part in (
            "-----Entities-----",
            '{"entity": 1}\n```',
            "-----Relations-----",
            '{"entity1": 2}\n```',
            "-----Passages-----",
            "[1]\n```text\neins\n```",
            "[2]\n```text\nzwei {passages}\n```",
            "[1]\n```text\ndrei\n```",
            "-----References-----",
            "[1] a.md\n[2] y\n",
        )
    ]
    assert all(one < other for one, other in pairwise(places))
    naive = context_text((), (), passages, references_of(passages), graph=False)
    assert naive.startswith("-----Passages-----")
    assert naive.endswith("[1] a.md\n[2] y\n")


def test_each_passage_has_a_reference_and_documents_share_a_number() -> None:
    passages = [passage("a", "y"), passage("b", "x", "s.md"), passage("c", "y", None, 1)]
    references = references_of(passages)
    assert [reference.number for reference in references] == [1, 2, 1]
    assert [reference.chunk_id for reference in references] == [one.chunk_id for one in passages]
    assert [reference_line(reference) for reference in references] == ["[1] y", "[2] s.md", "[1] y"]
    assert reference_line(replace(references[1], source="a\nb\t c")) == "[2] a b c"


# ---- question and options ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "magic"),
        ("top_k", 0),
        ("top_k", 2.5),
        ("chunk_top_k", True),
        ("max_entity_tokens", -1),
        ("max_relation_tokens", -1),
        ("max_total_tokens", 0),
        ("related_chunks", -1),
        ("min_similarity", float("nan")),
        ("min_similarity", 1.5),
        ("on_provider_error", "ignore"),
        ("deadline", 0.0),
        ("deadline", float("inf")),
        ("history", (("robot", "hi"),)),
        ("history", (("user",),)),
        ("low_level_keywords", "ada"),
    ],
)
def test_options_that_cannot_be_used_are_named(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=field):
        replace(OPTIONS, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("question", ["", " \n\t ", "\x00\x07", "?", "…!"])
def test_questions_that_say_nothing_are_refused(question: str) -> None:
    with pytest.raises(InvalidInput):
        checked_question(question, OPTIONS)


def test_questions_are_cleaned() -> None:
    assert checked_question("  Who\x00is Ada?\x07 ", OPTIONS) == "Who is Ada?"
    assert checked_question("猫は", OPTIONS) == "猫は"
    assert checked_question("hi", replace(OPTIONS, mode="bypass")) == "hi"
    assert [checked_question(text, OPTIONS) for text in ("C", "Go", "図")] == ["C", "Go", "図"]


def test_an_absurd_question_is_refused_with_its_size() -> None:
    with pytest.raises(InvalidInput, match=r"480,001 characters.*30,000"):
        checked_question("a" * 480_001, OPTIONS)
