"""Without an LLM: a question that has nothing to do with a workspace finds nothing, and is told why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stateless_rag import Document, Engine, sync
from stateless_rag.testing import DeterministicLLM

PROJECT = Path(__file__).parents[2]
QUESTIONS = [
    question["question"] for question in json.loads((PROJECT / "examples" / "questions.json").read_bytes())
]
UNRELATED = [
    "How do I bake sourdough bread?",
    "What is the capital of Mongolia?",
    "Wie wird das Wetter morgen?",
    "怎么做红烧肉？",
    "Hello",
]
MODES = ("naive", "local", "global", "hybrid", "walk", "mix")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sync.Engine]:
    with sync.Engine.open(tmp_path_factory.mktemp("unrelated")) as engine:
        articles = sorted((PROJECT / "examples" / "corpus").glob("*.md"))
        engine.insert([Document(path.read_text(encoding="utf-8"), source=path.name) for path in articles])
        yield engine


@pytest.mark.parametrize("question", UNRELATED)
def test_nothing_is_found_and_why(engine: sync.Engine, question: str) -> None:
    for mode in MODES:
        found = engine.retrieve(question, mode=mode)
        assert (found.passages, found.entities, found.relations, found.empty) == ((), (), (), True), mode
        assert any("the question's words" in note for note in found.degraded), mode
    assert engine.query(question).no_context
    lost = engine.explain(question, expect=engine.documents()[0].id)
    assert lost.expected is not None and lost.expected.rank is None


def test_questions_about_it_are_answered_as_without_a_floor(engine: sync.Engine) -> None:
    assert len(QUESTIONS) > 20
    for question in QUESTIONS:
        found = engine.retrieve(question, mode="naive")
        whole = engine.retrieve(question, mode="naive", min_similarity=0.05)
        assert found.passages and found.passages == whole.passages
        assert found.degraded == ()


def test_who_says_how_near_is_near_enough_is_shown_what_is_nearest(engine: sync.Engine) -> None:
    found = engine.retrieve(UNRELATED[0], mode="naive", min_similarity=0.0)
    assert found.passages and not found.degraded


@pytest.mark.parametrize(("question", "count"), [("Who was Ada?", 1), ("Bread and butter?", 0)])
async def test_among_few_passages_one_word_is_enough(tmp_path: Path, question: str, count: int) -> None:
    async with Engine.open(tmp_path / "root") as engine:
        empty = await engine.retrieve(question)
        assert (empty.passages, empty.degraded) == ((), ())
        await engine.insert(Document("Ada Lovelace wrote notes about an engine, and much besides.", id="a"))
        assert len((await engine.retrieve(question, mode="naive")).passages) == count


async def test_an_llm_may_know_other_words(tmp_path: Path) -> None:
    async with Engine.open(tmp_path / "root", llm=DeterministicLLM()) as engine:
        await engine.insert(Document("Ada Lovelace wrote notes about an engine.", id="a"))
        found = await engine.retrieve("Bread and butter with notesy?", mode="naive", min_similarity=None)
        assert not any("the question's words" in note for note in found.degraded)
