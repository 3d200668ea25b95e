"""The deterministic and recorded providers, and the scripts of faults."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stateless_rag.testing
from stateless_rag.errors import InvalidInput
from stateless_rag.prompts import Prompts, fenced, render
from stateless_rag.protocols import LLM, Embedder, LLMRequest
from stateless_rag.testing import (
    DeterministicEmbedder,
    DeterministicLLM,
    Empty,
    Faults,
    Hang,
    RateLimited,
    RecordedLLM,
    ServedRequest,
    ServerError,
)
from stateless_rag.testing.deterministic import purpose_of, text_of_chunk
from stateless_rag.types import Message

TEXT = "Ada Lovelace met Charles Babbage in London. He built the Analytical Engine."
PROMPTS = Prompts()
SLOTS = {"language": "English", "entity_types": "Person", "max_entities": "9", "max_records": "9"}
SHARED = Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[3] / "shared"))


def extraction(text: str, *, json_mode: bool = False, purpose: str = "answer") -> LLMRequest:
    system = PROMPTS.extract_json_system if json_mode else PROMPTS.extract_system
    user = PROMPTS.extract_json_user if json_mode else PROMPTS.extract_user
    return LLMRequest(
        prompt=render(user, text=fenced(text), **SLOTS),
        system=render(system, **SLOTS),
        json=json_mode,
        purpose=purpose,
    )


def gleaning(first: LLMRequest, answer: str) -> LLMRequest:
    prompt = PROMPTS.extract_json_continue if first.json else PROMPTS.extract_continue
    history = (Message("user", first.prompt), Message("assistant", answer))
    return LLMRequest(prompt=prompt, system=first.system, history=history, json=first.json)


def summary(*descriptions: str) -> LLMRequest:
    lines = "\n".join(json.dumps({"Description": text}) for text in descriptions)
    return LLMRequest(
        prompt=render(
            PROMPTS.summarize, name="Ada", language="English", summary_length="9", descriptions=lines
        )
    )


def test_what_is_asked_for_follows_from_the_projects_own_prompts() -> None:
    keywords = LLMRequest(prompt=render(PROMPTS.keywords, language="English", question="Who?"), json=True)
    answer = LLMRequest(
        prompt="Who?",
        system=render(
            PROMPTS.answer_system, context=TEXT, response_type="Multiple Paragraphs", user_prompt="n/a"
        ),
    )
    for json_mode in (False, True):
        first = extraction(TEXT, json_mode=json_mode)
        assert purpose_of(first) == "extract"
        assert purpose_of(gleaning(first, "…")) == "glean"
    assert purpose_of(summary("one", "two")) == "summarize"
    assert purpose_of(keywords) == "keywords"
    assert purpose_of(answer) == "answer"
    assert purpose_of(LLMRequest(prompt="Who?", purpose="summarize")) == "summarize"


@given(st.text(max_size=80))
def test_the_chunk_comes_back_out_of_the_prompt(text: str) -> None:
    assert text_of_chunk(extraction(text).prompt) == text


@pytest.mark.parametrize("text", ["```text\nx\n```", "````", "a\n```", "```\n\n"])
def test_a_chunk_with_fences_comes_back_too(text: str) -> None:
    assert text_of_chunk(extraction(text).prompt) == text


async def test_extraction_in_both_formats() -> None:
    llm = DeterministicLLM()
    lines = (await llm.complete(extraction(TEXT))).text.splitlines()
    assert lines[-1] == "<|COMPLETE|>"
    records = [line.split("<|#|>") for line in lines[:-1]]
    names = [record[1] for record in records if record[0] == "entity"]
    pairs = {(record[1], record[2]) for record in records if record[0] == "relation"}
    assert names == ["Ada Lovelace", "Charles Babbage", "London", "He", "Analytical Engine"]
    assert pairs == {
        ("Ada Lovelace", "Charles Babbage"),
        ("Charles Babbage", "London"),
        ("He", "Analytical Engine"),
    }
    assert {len(record) for record in records} == {4, 5}
    body = json.loads((await llm.complete(extraction(TEXT, json_mode=True))).text)
    assert [entity["name"] for entity in body["entities"]] == names
    assert {(relation["source"], relation["target"]) for relation in body["relationships"]} == pairs


async def test_nothing_is_found_in_nothing_and_nothing_is_missing() -> None:
    llm = DeterministicLLM()
    first = extraction("nothing here")
    assert (await llm.complete(first)).text == "<|COMPLETE|>"
    assert (await llm.complete(gleaning(extraction(TEXT), "…"))).text == "<|COMPLETE|>"
    json_first = extraction(TEXT, json_mode=True)
    assert json.loads((await llm.complete(gleaning(json_first, "{}"))).text) == {
        "entities": [],
        "relationships": [],
    }


async def test_known_entities_and_seeds() -> None:
    found = (
        await DeterministicLLM(entities=["plankalkül"]).complete(extraction("zuse wrote plankalkül."))
    ).text
    assert "entity<|#|>plankalkül<|#|>" in found
    assert DeterministicLLM(seed=1).model != DeterministicLLM(seed=2).model
    one, two = [(await DeterministicLLM(seed).complete(extraction(TEXT))).text for seed in (1, 2)]
    assert one != two


async def test_summaries_do_not_depend_on_order() -> None:
    llm = DeterministicLLM()
    one, two = (
        await llm.complete(summary("b text", "a text")),
        await llm.complete(summary("a text", "b text")),
    )
    assert one.text == two.text
    assert "a text b text" in one.text
    assert (await llm.complete(summary("a text", "c text"))).text != one.text


async def test_keywords_are_the_questions() -> None:
    prompt = render(PROMPTS.keywords, language="English", question="Where did Ada Lovelace publish programs?")
    body = json.loads((await DeterministicLLM().complete(LLMRequest(prompt=prompt, json=True))).text)
    assert body == {
        "high_level_keywords": ["publish", "programs"],
        "low_level_keywords": ["Where", "Ada Lovelace"],
    }


async def test_the_stream_says_what_the_reply_says() -> None:
    for llm in (DeterministicLLM(), RecordedLLM({"docs": []})):
        request = extraction(TEXT)
        parts = [part async for part in llm.stream(request)]
        assert "".join(part.text for part in parts) == parts[-1].reply.text  # type: ignore[union-attr]
        assert parts[-1].reply == await llm.complete(request)
        assert isinstance(llm, LLM)


async def test_an_answer_is_cut_at_max_tokens() -> None:
    reply = await DeterministicLLM().complete(LLMRequest(prompt="one two three four", max_tokens=3))
    assert reply.truncated
    assert len(reply.text.split()) == 3


async def test_the_embedder() -> None:
    embedder = DeterministicEmbedder(16)
    assert isinstance(embedder, Embedder)
    vectors = (await embedder.embed(["Ada wrote", "wrote ADA", "", "Zuse"], role="document")).vectors
    assert np.array_equal(vectors[0], vectors[1])
    assert not vectors[2].any()
    assert np.linalg.norm(vectors[3]) == pytest.approx(1.0)


OPENIE: dict[str, Any] = {
    "docs": [
        {
            "passage": "Ada Lovelace\nAda Lovelace wrote programs.",
            "extracted_entities": ["Ada Lovelace", "London"],
            "extracted_triples": [
                ["Ada Lovelace", "wrote", "programs"],
                ["Ada Lovelace", "knew", "ada lovelace"],
                ["two", "parts"],
                ["Ada Lovelace", "met", "Babbage"],
                ["Ada Lovelace", "lived in", "Eng<|#|>land"],
                ["Ada Lovelace", "liked", "mathematics"],
            ],
        },
        {"passage": "Same\nfirst", "extracted_entities": [], "extracted_triples": [["a", "b", "c"]]},
        {"passage": "Same\nsecond", "extracted_entities": [], "extracted_triples": [["d", "e", "f"]]},
    ]
}


async def test_a_recording_is_played_back() -> None:
    llm = RecordedLLM(OPENIE)
    text = (await llm.complete(extraction("Ada Lovelace\nAda Lovelace wrote programs."))).text
    said = "Ada Lovelace wrote programs. Ada Lovelace knew ada lovelace. Ada Lovelace met Babbage."
    assert text.splitlines() == [
        f"entity<|#|>Ada Lovelace<|#|>concept<|#|>{said}",
        "entity<|#|>programs<|#|>concept<|#|>Ada Lovelace wrote programs.",
        "entity<|#|>ada lovelace<|#|>concept<|#|>Ada Lovelace knew ada lovelace.",
        "entity<|#|>Babbage<|#|>concept<|#|>Ada Lovelace met Babbage.",
        "entity<|#|>Eng<#>land<|#|>concept<|#|>Ada Lovelace lived in Eng<#>land.",
        "entity<|#|>mathematics<|#|>concept<|#|>Ada Lovelace liked mathematics.",
        "entity<|#|>London<|#|>concept<|#|>London is mentioned in Ada Lovelace.",
        "relation<|#|>Ada Lovelace<|#|>programs<|#|>wrote<|#|>Ada Lovelace wrote programs.",
        "relation<|#|>Ada Lovelace<|#|>Babbage<|#|>met<|#|>Ada Lovelace met Babbage.",
        "relation<|#|>Ada Lovelace<|#|>Eng<#>land<|#|>lived in<|#|>Ada Lovelace lived in Eng<#>land.",
        "relation<|#|>Ada Lovelace<|#|>mathematics<|#|>liked<|#|>Ada Lovelace liked mathematics.",
        "<|COMPLETE|>",
    ]


async def test_a_passage_is_known_by_text_body_or_own_title() -> None:
    llm = RecordedLLM(OPENIE)
    whole = (await llm.complete(extraction("Ada Lovelace\nAda Lovelace wrote programs."))).text
    for text in ("Ada Lovelace wrote programs.", "Ada Lovelace\nAda"):
        assert (await llm.complete(extraction(text))).text == whole
    assert "<|#|>d<|#|>" in (await llm.complete(extraction("Same\nsecond"))).text
    for text in ("Same\nthird", "Unknown"):
        assert (await llm.complete(extraction(text))).text == "<|COMPLETE|>"
    assert (await llm.complete(gleaning(extraction("Same\nsecond"), "…"))).text == "<|COMPLETE|>"
    assert (await llm.complete(summary("a", "b"))).text.startswith("Summary ")


def test_a_recording_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for path in (tmp_path / "bad.json", tmp_path / "missing.json"):
        with pytest.raises(InvalidInput, match="no recording"):
            RecordedLLM(path)
    with pytest.raises(InvalidInput, match="docs"):
        RecordedLLM({})


@pytest.mark.shared
async def test_the_whole_recording_is_known() -> None:
    path = SHARED / "data/quality/musique_train100/openie.json"
    if not path.exists():
        pytest.skip(f"no recorded extractions at {path}")
    llm = RecordedLLM(path)
    docs = json.loads(path.read_text(encoding="utf-8"))["docs"]
    empty = 0
    for doc in docs:
        text = (await llm.complete(extraction(doc["passage"], purpose="extract"))).text
        assert text.endswith("<|COMPLETE|>")
        assert {len(line.split("<|#|>")) for line in text.splitlines()[:-1]} <= {4, 5}
        if doc["extracted_triples"]:
            assert "\nrelation<|#|>" in text or all(
                len(set(triple)) < 3 for triple in doc["extracted_triples"]
            )
        empty += text == "<|COMPLETE|>"
    assert empty < len(docs) / 100


def request(number: int, text: str = "") -> ServedRequest:
    return ServedRequest(number=number, path="/v1", model="m", stream=False, text=text, digest="")


def test_faults() -> None:
    limited, error = RateLimited(1.0), ServerError(503)
    script = Faults([None, limited, error])
    assert [script.choose(request(n)) for n in (1, 2, 3, 4)] == [None, limited, error, None]
    every = Faults.every(3, error)
    assert [n for n in range(1, 10) if every.choose(request(n))] == [3, 6, 9]
    first = Faults.first(2, Empty())
    assert [n for n in range(1, 10) if first.choose(request(n))] == [1, 2]
    matching = Faults.matching("Ada", Hang(1.0), times=1)
    assert [matching.choose(request(n, text)) for n, text in ((1, "Zuse"), (2, "Ada"), (3, "Ada"))] == [
        None,
        Hang(1.0),
        None,
    ]
    assert Faults(lambda asked: error if asked.text == "x" else None).choose(request(1, "x")) == error


def test_public_names_load() -> None:
    for name in stateless_rag.testing.__all__:
        assert getattr(stateless_rag.testing, name) is not None
    assert sorted(stateless_rag.testing.__all__) == stateless_rag.testing.__all__
    with pytest.raises(AttributeError, match="Nothing"):
        stateless_rag.testing.Nothing  # noqa: B018
