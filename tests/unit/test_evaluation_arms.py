"""Arms: what is asked, what is measured, and what results say of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

from stateless_rag import FastEmbedder, HashingEmbedder
from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation import Dataset, Evaluation, Item, Outcome, Question, per_question, summary
from stateless_rag.evaluation.arms import EngineArm, chosen_modes, engine_arms, keywords_of, query_texts
from stateless_rag.evaluation.corpus import Ingested, ingest, open_corpus
from stateless_rag.evaluation.embedding import MeasuredEmbedder
from stateless_rag.protocols import Embedder, Embeddings
from stateless_rag.stores.ids import id_array
from stateless_rag.stores.words import WordIndex
from stateless_rag.types import Mode, Usage

CORPUS = tuple(
    Item(id=id_, title=title, text=text)
    for id_, title, text in [
        ("ada", "Ada Lovelace", "She wrote notes on the engine."),
        ("babbage", "Charles Babbage", "He designed the engine."),
        ("loom", "Loom", "It reads cards."),
    ]
)
QUESTIONS = (
    Question(id="one", text="Who wrote notes?", gold=("ada",), type="1hop"),
    Question(id="two", text="Who designed what reads cards?", gold=("babbage", "loom"), type="2hop"),
    Question(id="three", text="What?", gold=("loom",), low_level=("cards",)),
)
DATASET = Dataset(name="small", corpus=CORPUS, questions=QUESTIONS)


# ---- modes and keywords --------------------------------------------------------------------------------


def test_all_modes_that_rank_passages_unless_some_are_named() -> None:
    assert set(chosen_modes()) == set(get_args(Mode)) - {"bypass", "themes"}
    assert chosen_modes(["mix", "naive"]) == ("naive", "mix")
    assert chosen_modes(["dense", "mix"]) == ("mix",)
    assert chosen_modes(["bm25"]) == ()


@pytest.mark.parametrize("name", ["bypass", "nothing", "Mix"])
def test_a_mode_that_there_is_not(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"no mode '{name}' to compare; choose of naive"):
        chosen_modes(["mix", name])


def test_keywords_are_those_of_the_file_else_the_built_in_readers() -> None:
    assert keywords_of(QUESTIONS[2]).low_level == ("cards",)
    assert keywords_of(QUESTIONS[2]).high_level == ()
    assert "notes" in keywords_of(QUESTIONS[0]).high_level
    texts = query_texts(QUESTIONS)
    assert {question.text for question in QUESTIONS} < set(texts)
    assert "cards" in texts
    assert "" not in texts


# ---- the embedder --------------------------------------------------------------------------------------


class Slow:
    """An embedder whose calls take as many seconds as they have texts, on a clock of its own."""

    model, dimension, max_tokens, max_batch, max_batch_tokens = "slow", 2, 7, 2, None
    now = 0.0

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def clock(self) -> float:
        return self.now

    async def embed(self, texts: Sequence[str], *, role: Any) -> Embeddings:
        self.asked.append((role, list(texts)))
        self.now += len(texts)
        return Embeddings(vectors=np.array([[len(text), 1] for text in texts], dtype=np.float32), tokens=9)


async def test_questions_are_embedded_once_and_waiting_for_them_is_counted() -> None:
    slow = Slow()
    embedder = MeasuredEmbedder(slow, slow.clock)
    assert isinstance(embedder, Embedder)
    await embedder.prepare(["a", "bb", "a", "ccc"])
    assert slow.asked == [("query", ["a", "bb"]), ("query", ["ccc"])]
    assert embedder.waited == 0.0
    found = await embedder.embed(["ccc", "a"], role="query")
    assert found.vectors.tolist() == [[3, 1], [1, 1]]
    assert len(slow.asked) == 2
    assert embedder.waited == 0.0
    found = await embedder.embed(["a", "dddd"], role="query")
    assert found.vectors.tolist() == [[1, 1], [4, 1]]
    assert slow.asked[2:] == [("query", ["dddd"])]
    assert embedder.waited == 1.0
    await embedder.embed(["a"], role="document")
    assert slow.asked[3:] == [("document", ["a"])]
    assert embedder.waited == 1.0


def test_passages_stay_whole_for_models_that_cut_texts_themselves() -> None:
    assert MeasuredEmbedder(FastEmbedder("BAAI/bge-small-en-v1.5")).max_tokens is None
    assert MeasuredEmbedder(Slow()).max_tokens == 7
    assert MeasuredEmbedder(Slow()).min_similarity is None
    assert MeasuredEmbedder(HashingEmbedder()).min_similarity == HashingEmbedder().min_similarity


# ---- the engine ----------------------------------------------------------------------------------------


class Found:
    """A retrieval for which a clock goes on by 3 seconds, of which 2 are the embedder's."""

    def __init__(self, embedder: Any) -> None:
        self.now = 0.0
        self.context = SimpleNamespace(
            clock=SimpleNamespace(monotonic=lambda: self.now), tokenizer=SimpleNamespace(count=len)
        )
        self.asked: list[dict[str, Any]] = []
        self._embedder = embedder

    async def retrieve(self, question: str, **given: Any) -> Any:
        self.asked.append({"question": question, **given})
        self.now += 3.0
        self._embedder.waited += 2.0
        return SimpleNamespace(
            passages=[SimpleNamespace(document_id=id_) for id_ in ("b", "a", "b", *"cdefghijkl")],
            context="four",
            timings={"embed": 2500.0, "search": 500.0},
            usage={"embed_query": Usage(calls=7), "rerank": Usage(calls=1), "keywords": Usage(calls=2)},
        )


async def test_what_is_measured_of_the_engine() -> None:
    embedder: Any = SimpleNamespace(waited=1.0)
    engine: Any = Found(embedder)
    arm = EngineArm(engine, embedder, "dense", {"mode": "naive", "min_similarity": -1.0})
    outcome = await arm.ask(QUESTIONS[2])
    assert outcome.ranked == tuple("bacdefghij")
    assert outcome.ms == 1000.0
    assert outcome.steps == {"embed": 500.0, "search": 500.0}
    assert (outcome.context_tokens, outcome.llm_calls) == (4, 2)
    (asked,) = engine.asked
    assert asked["question"] == "What?"
    assert (asked["low_level_keywords"], asked["high_level_keywords"]) == (("cards",), ())
    options = asked["options"]
    assert (options.mode, options.min_similarity, options.chunk_top_k) == ("naive", -1.0, 10)


# ---- words ---------------------------------------------------------------------------------------------


async def test_the_arm_for_words_is_the_engines_own_search_by_words(tmp_path: Path) -> None:
    embedder = MeasuredEmbedder(HashingEmbedder())
    corpus = tuple(
        Item(id=item.id, title=item.title, text=f"{item.text} " + "Nothing of this is asked about. " * at)
        for at, item in enumerate(CORPUS)
    )
    dataset = replace(DATASET, corpus=corpus)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_corpus(dataset, tmp_path, embedder))
        engine = await stack.enter_async_context(opened.engine())
        await ingest(engine, dataset)
        *_, arm = await engine_arms(opened, engine, embedder, (), stack)
        assert arm.name == "bm25"
        for question in (QUESTIONS[1], replace(QUESTIONS[0], text="Who wrote the notes on cards?")):
            outcome = await arm.ask(question)
            index = WordIndex().apply({at: item.passage for at, item in enumerate(corpus)}, id_array(()))
            expected = tuple(corpus[hit.id].id for hit in index.search(question.text, 10))
            assert outcome.ranked == expected
            assert outcome.llm_calls == 0
            assert outcome.context_tokens
        nothing = await arm.ask(Question(id="x", text="Zebra", gold=("ada",)))
        assert (nothing.ranked, nothing.context_tokens) == ((), 0)


# ---- results -------------------------------------------------------------------------------------------

INGESTED = Ingested(
    workspace="w", embedder="e", extraction="built-in", seconds=1.0, llm_calls=5, entities=3, relations=2
)


def evaluation() -> Evaluation:
    good = [
        Outcome(ranked=("ada",), ms=1.0, steps={"search": 0.5}, context_tokens=10, llm_calls=0),
        Outcome(
            ranked=("loom", "ada", "babbage"), ms=3.0, steps={"search": 1.5}, context_tokens=20, llm_calls=1
        ),
        Outcome(
            ranked=("loom",), ms=2.0, steps={"search": 1.0, "embed": 0.3}, context_tokens=60, llm_calls=1
        ),
    ]
    bad = [Outcome(ranked=()), Outcome(ranked=("ada", "loom")), Outcome(ranked=("ada", "loom"))]
    return Evaluation(
        dataset=DATASET,
        ingested=INGESTED,
        outcomes={"good": good, "bad": bad},
        tokens={"ada": 3, "babbage": 5, "loom": 7},
    )


def test_the_summary_by_hand() -> None:
    told = summary(evaluation())
    assert {name: told[name] for name in ("dataset", "passages", "questions", "embedder")} == {
        "dataset": "small",
        "passages": 3,
        "questions": 3,
        "embedder": "e",
    }
    assert told["ingest"] == {"seconds": 1.0, "llm_calls": 5}
    assert (told["entities"], told["relations"], told["recorded_passages"]) == (3, 2, 0)
    good, bad = told["arms"]["good"], told["arms"]["bad"]
    assert good["recall@2"] == pytest.approx((1 + 1 / 2 + 1) / 3, abs=1e-5)
    assert (good["recall@5"], good["all@5"], good["mrr"]) == (1.0, 1.0, 1.0)
    assert (good["context_tokens"], good["p50_ms"], good["p95_ms"], good["llm_calls"]) == (30.0, 2.0, 2.9, 2)
    assert (good["passage_tokens"], bad["passage_tokens"]) == (8.3, 6.7)
    assert good["steps_ms"] == {"search": 1.0, "embed": 0.1}
    assert bad["recall@5"] == pytest.approx((0 + 1 / 2 + 1) / 3, abs=1e-5)
    assert bad["all@10"] == pytest.approx(1 / 3, abs=1e-5)
    assert bad["mrr"] == pytest.approx((0 + 1 / 2 + 1 / 2) / 3, abs=1e-5)
    assert (bad["context_tokens"], bad["p50_ms"], bad["p95_ms"], bad["llm_calls"]) == (None,) * 4


def test_differences_and_types() -> None:
    told = summary(evaluation())
    (difference,) = told["differences"]["recall@5"]
    assert (difference["arm"], difference["against"]) == ("good", "bad")
    assert difference["mean"] == pytest.approx(0.5, abs=1e-5)
    assert 0 <= difference["low"] <= 0.5 <= difference["high"] <= 1
    assert set(told["types"]) == {"1hop", "2hop"}
    one = told["types"]["1hop"]
    assert one["questions"] == 1
    assert one["arms"]["good"]["recall@5"] == 1.0
    assert one["arms"]["bad"]["recall@5"] == 0.0
    assert one["differences"]["recall@5"][0]["mean"] == 1.0


def test_every_question_shows_where_its_gold_is() -> None:
    _, two, three = per_question(evaluation())
    assert two["gold"] == {"babbage": "Charles Babbage", "loom": "Loom"}
    assert two["arms"]["good"]["gold_ranks"] == {"babbage": 3, "loom": 1}
    assert two["arms"]["bad"]["gold_ranks"] == {"babbage": None, "loom": 2}
    assert two["arms"]["good"]["ranked"] == ["loom", "ada", "babbage"]
    assert two["arms"]["bad"]["recall@5"] == 0.5
    assert three["keywords"]["low_level"] == ("cards",)


def test_what_was_left_out_is_compared_with_nothing_left_out() -> None:
    whole, less = evaluation().outcomes.values()
    told = summary(replace(evaluation(), ablation={"mix": {"nothing": whole, "facts": less}}))
    nothing, facts = told["ablation"]["mix"]
    assert (nothing["without"], nothing["recall@5"], "differences" in nothing) == ("nothing", 1.0, False)
    assert (facts["without"], facts["recall@5"]) == ("facts", 0.5)
    assert facts["differences"]["recall@5"]["mean"] == -0.5
    assert "ablation" not in summary(evaluation())
