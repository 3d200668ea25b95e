from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stateless_rag.lenient_json import read_object
from stateless_rag.stages.records import (
    COMPLETE,
    DELIMITER,
    ParsedReply,
    parse_json,
    parse_records,
    parse_reply,
    split_keywords,
)
from stateless_rag.text import normalize_name

CASES = Path(__file__).parents[1] / "fixtures" / "records"
SHARED = Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[3] / "shared"))
FULL_STOPS = str.maketrans("", "", ".!?")
REPLIES = SHARED / "data/lightrag_dirs/lightrag_1.5.7_json/demo/kv_store_llm_response_cache.json"


def cases(name: str) -> list[Any]:
    found = json.loads((CASES / f"{name}.json").read_text("utf-8"))
    return [pytest.param(case, id=f"{name}: {case['title']}") for case in found]


def plain(parsed: ParsedReply) -> dict[str, Any]:
    relations = [[source, target, list(words), said] for source, target, words, said in parsed.relations]
    return {
        "entities": [list(record) for record in parsed.entities],
        "relations": relations,
        "warnings": dict(parsed.warnings),
        "complete": parsed.complete,
    }


@pytest.mark.parametrize("case", cases("text"))
def test_text_replies(case: dict[str, Any]) -> None:
    assert plain(parse_records(case["reply"], cut=case.get("cut", False))) == case["expected"]


@pytest.mark.parametrize("case", cases("json"))
def test_json_replies(case: dict[str, Any]) -> None:
    assert plain(parse_json(case["reply"])) == case["expected"]


@pytest.mark.parametrize("case", [*cases("text"), *cases("json")])
def test_the_form_of_a_reply_is_told_by_looking(case: dict[str, Any]) -> None:
    shapeless = {
        "no object",
        "nonsense",
        "empty reply",
        "braces in the prose before it",
        "inside another object",
    }
    if case["title"] not in shapeless:
        assert plain(parse_reply(case["reply"], cut=case.get("cut", False))) == case["expected"]


# ---- laws ----------------------------------------------------------------------------------------------

letters = st.characters(
    max_codepoint=0x24F, categories=("L", "N", "P", "S"), exclude_characters="<>|#,()\\{}[]`"
) | st.sampled_from("分析机爱и日本語")
words = st.text(letters, min_size=1, max_size=6)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)
# A letter at each end: a name that a bare "<|>" can be told beside, and that no normalisation takes away.
names = phrases.map(lambda text: normalize_name(f"N{text}n")).filter(
    lambda text: normalize_name(text) == text
)
types = st.sampled_from(["person", "natural object", "work of art", "概念"])
descriptions = phrases.map(lambda text: " ".join(f"Says {text.translate(FULL_STOPS)}".split()) + ".")
entities = st.lists(st.tuples(names, types, descriptions), max_size=4)
relations = st.lists(
    st.tuples(
        names, names, st.lists(names, max_size=3).map(lambda many: split_keywords(*many)), descriptions
    ),
    max_size=4,
).map(lambda rows: [row for row in rows if row[0] != row[1]])


def lines_of(entities: Any, relations: Any) -> list[str]:
    lines = [DELIMITER.join(("entity", *record)) for record in entities]
    return lines + [DELIMITER.join(("relation", s, t, ", ".join(k), d)) for s, t, k, d in relations]


def json_of(entities: Any, relations: Any, **options: Any) -> str:
    body = {
        "entities": [dict(zip(("name", "type", "description"), record, strict=True)) for record in entities],
        "relationships": [
            {"source": s, "target": t, "keywords": ", ".join(k), "description": d} for s, t, k, d in relations
        ],
    }
    return json.dumps(body, **options)


@examples(max_examples=50)
@given(entities, relations)
def test_what_was_written_is_read(entities: Any, relations: Any) -> None:
    text = "\n".join([*lines_of(entities, relations), COMPLETE])
    expected = ParsedReply(tuple(entities), tuple(relations), complete=True)
    assert plain(parse_records(text)) == plain(expected)
    assert plain(parse_json(json_of(entities, relations))) == plain(expected)
    assert plain(parse_reply(json_of(entities, relations, ensure_ascii=False, indent=2))) == plain(expected)


@examples(max_examples=50)
@given(entities, relations, st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(entities: Any, relations: Any, random: Any) -> None:
    lines = lines_of(entities, relations)
    shuffled = random.sample(lines, len(lines))
    one, other = parse_records("\n".join([*lines, COMPLETE])), parse_records("\n".join([*shuffled, COMPLETE]))
    assert sorted(one.entities) == sorted(other.entities)
    assert sorted(one.relations) == sorted(other.relations)


DAMAGE = (
    "<||#||>", "<|##|>", "<<|#|>>", "<|#>", "<#|>", "<|#|", "|#|>", "<#>", "||#||", "<|\\#|>", "<||>", "<|S|>",
    "<|#S|>", "<|S#|>", "<|SEP|>", "<| # |>", "＜｜＃｜＞", "<|>",
)  # fmt: skip


@examples(max_examples=50)
@given(entities, relations, st.sampled_from(DAMAGE))
def test_damaged_delimiters_are_repaired(entities: Any, relations: Any, damaged: str) -> None:
    lines = [line.replace(DELIMITER, damaged) for line in lines_of(entities, relations)]
    parsed = parse_records("\n".join([*lines, COMPLETE]))
    # Without keywords, damage may leave nothing to tell the empty field by.
    assert [*parsed.entities] == entities
    assert [row for row in parsed.relations if row[2]] == [row for row in relations if row[2]]


junk = st.lists(
    st.sampled_from(
        [*DAMAGE, DELIMITER, COMPLETE, "entity", "relation", "\n", "(", ")", '"', "'", "{", "}", "[", "]", ":", ",",
         "\\", "\\u12", "```", '{"entities":', '"relationships"', "\ud800", "\x00", "a", " ", ".", "null", "1e9", "-"]
    )
    | st.text(max_size=5),
    max_size=60,
).map("".join)  # fmt: skip


@examples(max_examples=50)
@given(junk)
def test_no_reply_is_too_strange(reply: str) -> None:
    for parsed in (parse_reply(reply), parse_records(reply), parse_json(reply)):
        for name, type_, description in parsed.entities:
            assert name and type_ and description
        for source, target, _, description in parsed.relations:
            assert source and target and description and source != target


@examples(max_examples=50)
@given(entities, relations, st.data())
def test_of_a_text_that_was_cut_off_whole_records_are_used(entities: Any, relations: Any, data: Any) -> None:
    text = "\n".join(lines_of(entities, relations))
    cut = data.draw(st.integers(0, len(text)))
    parsed = parse_records(text[:cut], cut=True)
    assert [*parsed.entities] == entities[: len(parsed.entities)]
    assert [*parsed.relations] == relations[: len(parsed.relations)]
    assert len(parsed.entities) + len(parsed.relations) >= text[:cut].count("\n")


@examples(max_examples=50)
@given(entities, relations, st.data())
def test_of_an_object_that_was_cut_off_whole_items_are_used(entities: Any, relations: Any, data: Any) -> None:
    text = json_of(entities, relations)
    cut = data.draw(st.integers(0, len(text) - 1))
    parsed = parse_json(text[:cut])
    assert not parsed.complete
    assert [*parsed.entities] == entities[: len(parsed.entities)]
    assert [*parsed.relations] == relations[: len(parsed.relations)]
    # No item that was there in full is lost.
    assert len(parsed.entities) + len(parsed.relations) >= text[:cut].count("},") - 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [DELIMITER, "<|#|>a", "entity", "entity<|#|>a", "<", "|", "(", " ", ".", "\n", "<|>", "<p ", "x entity "],
)
def test_a_megabyte_of_junk_takes_no_time_to_speak_of(piece: str) -> None:
    parsed = parse_records("entity<|#|>Ada<|#|>Person<|#|>" + piece * (1_000_000 // len(piece)), cut=True)
    assert [name for name, *_ in parsed.entities] == (["Ada"] if piece == "." else [])
    assert parsed.warnings or parsed.entities
    assert parsed.relations == ()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ['"', "'", "\\", "{", "[", '["', '" ', '{"entities":', "{},", '"a":', "}", " "]
)
@pytest.mark.parametrize("start", ["", '{"entities": [', '{"entities": ["'])
def test_a_megabyte_of_broken_json_neither(start: str, piece: str) -> None:
    parsed = parse_json(start + piece * (1_000_000 // len(piece)))
    assert (parsed.entities, parsed.relations) == ((), ())


def test_a_reply_of_no_end_is_bounded() -> None:
    line = "entity<|#|>Ada<|#|>Person<|#|>Ada wrote programs.\n"
    parsed = parse_records(line * 50_000)
    assert parsed.warnings["too long"] == 1
    assert 0 < len(parsed.entities) < 50_000


def test_deep_nesting_is_no_trouble() -> None:
    assert read_object('{"entities":' * 5000 + "1" + "}" * 5000, ["entities"]).value is not None
    assert read_object("{" + '"a":{' * 5000, ["entities"]).value is None


@pytest.mark.shared
@pytest.mark.skipif(not REPLIES.is_file(), reason=f"{REPLIES} is not there (set STATELESS_RAG_SHARED)")
def test_recorded_replies_are_read_whole() -> None:
    entries = json.loads(REPLIES.read_text("utf-8"))
    replies = [entry["return"] for key, entry in entries.items() if ":extract:" in key]
    assert len(replies) > 100
    for reply in replies:
        parsed = parse_reply(reply)
        expected = reply.count("\nentity<|#|>") + reply.count("\nrelation<|#|>") + reply.startswith("entity")
        unusable = sum(parsed.warnings.values())
        assert parsed.complete
        assert len(parsed.entities) + len(parsed.relations) + unusable == expected
        assert set(parsed.warnings) <= {"bad name", "self loop"}


FIELD = st.text(st.sampled_from(" \t\u00a0\u2003\x1f\x85&<>|,.;aZé0\"'“`"), max_size=12)


@given(name=FIELD, type_=FIELD, words=FIELD, said=FIELD)
def test_lines_without_damage_say_the_same_as_those_that_are_searched_for_it(
    name: str, type_: str, words: str, said: str
) -> None:
    entity = DELIMITER.join(("entity", name, type_, said))
    told = entity + "\n" + DELIMITER.join(("relation", name, "B", words, said))
    sound = not set("<>|") & set(name + type_ + words + said)
    # The whole reply is seen to be sound, or its lines are, or all of them are searched.
    texts = [told, f"{told}\n<|", *([told.replace(DELIMITER, "<|#||>")] if sound else [])]
    found = [parse_records(text) for text in texts]
    assert all((each.entities, each.relations) == (found[0].entities, found[0].relations) for each in found)


@given(st.text(st.sampled_from(" \t\u00a0\u2003\x1f\x85\u200b\ud800&<>aé.;"), max_size=30))
def test_a_description_is_words_with_one_space_between(said: str) -> None:
    parsed = parse_records(DELIMITER.join(("entity", "Ada", "person", f"x{said}x")))
    (description,) = (entity[2] for entity in parsed.entities)
    assert description == " ".join(description.split())
    assert parse_records(DELIMITER.join(("entity", "Ada", "person", description))).entities == parsed.entities
