"""What bench/quality adds: keywords by a rule for both engines, and the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.quality.__main__ import main, with_others_weights
from bench.quality.keywords import capitalised_runs, with_keywords
from bench.quality.page import page
from stateless_rag.evaluation import Dataset, Evaluation, Item, Outcome, Question, summary
from stateless_rag.evaluation.corpus import Ingested
from stateless_rag.evaluation.fitting import CrossValidation, Ranking
from stateless_rag.settings import WALK_PARTS

DATASET = Dataset(
    name="small",
    corpus=(Item(id="a", title="A", text="a"), Item(id="b", title="B", text="b")),
    questions=(
        Question(id="1", text="what did Ada do?", gold=("a",), type="x"),
        Question(id="2", text="why?", gold=("b",), type="y", high_level=("old",)),
    ),
)


@pytest.mark.parametrize(
    ("question", "runs"),
    [
        ("what did Ada Lovelace write to Mr. Babbage in London?", ("Ada Lovelace", "Mr. Babbage", "London")),
        ("is London in London?", ("London",)),
        ("who is it?", ("who is it?",)),
    ],
)
def test_runs_of_capitalised_words(question: str, runs: tuple[str, ...]) -> None:
    assert capitalised_runs(question) == runs


def test_every_question_is_given_its_keywords() -> None:
    one, two = with_keywords(DATASET).questions
    assert (one.high_level, one.low_level) == (("what did Ada do?",), ("Ada",))
    assert (two.high_level, two.low_level) == (("why?",), ("why?",))
    assert DATASET.questions[1].high_level == ("old",)


def test_the_page_has_every_arm_and_every_difference() -> None:
    outcomes = {
        "old/best": [Outcome(ranked=("a",)), Outcome(ranked=())],
        "mix": [
            Outcome(ranked=("a",), ms=1.25, context_tokens=1200, llm_calls=0),
            Outcome(ranked=("a", "b"), ms=1.25, context_tokens=1300, llm_calls=0),
        ],
    }
    made = Ingested(
        workspace="w", embedder="e", extraction="rules", seconds=1.0, llm_calls=0, entities=3, relations=2
    )
    told = summary(Evaluation(dataset=DATASET, ingested=made, outcomes=outcomes, tokens={"a": 7, "b": 5}))
    written = page([told], "mix", "Notes.", "plots/{dataset}/recall.png")
    assert "## small\n" in written
    assert "(plots/small/recall.png)" in written
    assert "| mix | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 75.0 | 1,250 | 10 | 1.2 | 1.2 | 0 |" in written
    assert "| old/best | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | – | 4 | – | – | – |" in written
    against = next(line for line in written.splitlines() if line.startswith("| old/best | +"))
    assert against == "| old/best | +50.0 (+0.0 … +100.0) | +0.0 (+0.0 … +0.0) | +100.0 (+100.0 … +100.0) |"
    assert "| arm | x (1) | y (1) |\n" in written
    assert "| mix | 100.0 | 100.0 |\n" in written
    assert "| old/best | 100.0 | 0.0 |\n" in written


def test_the_page_has_what_was_left_out_and_the_weights_of_folds() -> None:
    found = [Outcome(ranked=("a",)), Outcome(ranked=("b",))]
    made = Ingested(
        workspace="w", embedder="e", extraction="rules", seconds=1.0, llm_calls=0, entities=3, relations=2
    )
    evaluation = Evaluation(
        dataset=DATASET,
        ingested=made,
        outcomes={"mix": found},
        ablation={"walk": {"nothing": found, "facts": [found[0], Outcome(ranked=())]}},
        validation=CrossValidation(weights=[{"walk": 1.0}, {"walk": 2.5}], outcomes=found),
    )
    written = page([summary(evaluation)], "mix", "Notes.", "{dataset}")
    assert "| nothing | 100.0 | 100.0 | 100.0 | 100.0 | – |\n" in written
    assert "| facts | 50.0 | 50.0 | 50.0 | 50.0 | -50.0 (-100.0 … +0.0) |\n" in written
    assert "| walk | 1.00 | 2.50 |\n" in written


def test_weights_fitted_elsewhere_are_those_of_the_other_sets() -> None:
    def one(part: str) -> Evaluation:
        values = np.zeros((2, len(WALK_PARTS)))
        values[1, list(WALK_PARTS).index(part)] = 1.0
        ranking = Ranking(ids=("b", "a"), values=values, gold=np.array([False, True]))
        made = Ingested(
            workspace="w", embedder="e", extraction="x", seconds=0, llm_calls=0, entities=0, relations=0
        )
        dataset = replace(DATASET, questions=DATASET.questions[:1])
        return Evaluation(dataset=dataset, ingested=made, outcomes={}, rankings=[ranking])

    first, _ = with_others_weights([one("words"), one("title")])
    assert list(first.outcomes) == ["mix/fitted elsewhere"]
    # Nothing that was learnt of the one says anything of the other.
    assert [found.ranked for found in first.outcomes["mix/fitted elsewhere"]] == [("b", "a")]
    same, _ = with_others_weights([one("words"), one("words")])
    assert same.outcomes["mix/fitted elsewhere"][0].ranked == ("a", "b")
    assert with_others_weights([one("words")])[0].outcomes == {}


def test_without_sets_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATELESS_RAG_SHARED", str(tmp_path))
    assert main(["run"]) == 2
    assert "STATELESS_RAG_SHARED" in capsys.readouterr().out
    assert main(["run", str(tmp_path / "nowhere")]) == 1
    assert "there is no folder" in capsys.readouterr().err
