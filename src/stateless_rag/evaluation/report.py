"""What an evaluation found, in numbers: per arm, per type of question, between arms, and per question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from stateless_rag.evaluation.arms import keywords_of
from stateless_rag.evaluation.bootstrap import paired_intervals
from stateless_rag.evaluation.metrics import METRICS, percentile, scores

if TYPE_CHECKING:
    from stateless_rag.evaluation.arms import Outcome
    from stateless_rag.evaluation.dataset import Question
    from stateless_rag.evaluation.measure import Evaluation

    Outcomes = Mapping[str, Sequence[Outcome]]

__all__ = ["COMPARED", "per_question", "summary"]

COMPARED = ("recall@5", "recall@10")
"""The metrics for which each two arms are compared."""


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers as JSON has them. Metrics go from 0 to 1, times are milliseconds, tokens are means: those of the
    whole context, and those of its first ten passages alone, which every arm has.

    `differences` holds for each metric of `COMPARED` a list of pairs of arms: the mean of `arm` minus that of
    `against`, question by question, with the bounds of its 95 % interval. `types` has the same for the
    questions of each type alone. `ablation` and `cross_validation` are there if they were asked for.
    """
    dataset, made = evaluation.dataset, asdict(evaluation.ingested)
    everything = range(len(dataset.questions))
    by_type = {
        type_: [place for place in everything if dataset.questions[place].type == type_]
        for type_ in dataset.types
    }
    return {
        "dataset": dataset.name,
        "passages": len(dataset.corpus),
        "recorded_passages": dataset.recorded,
        "ingest": {name: made.pop(name) for name in ("seconds", "llm_calls")},
        **made,
        **_part(evaluation, everything),
        "types": {type_: _part(evaluation, places) for type_, places in by_type.items()},
        **_further(evaluation),
    }


def _further(evaluation: Evaluation) -> dict[str, Any]:
    """What was asked for besides: the modes without each of their parts, and the weights of each fold."""
    told: dict[str, Any] = {}
    questions = evaluation.dataset.questions
    if evaluation.ablation:
        told["ablation"] = {
            mode: _ablated(
                {
                    part: [scores(one.ranked, each.gold) for one, each in zip(found, questions, strict=True)]
                    for part, found in without.items()
                }
            )
            for mode, without in evaluation.ablation.items()
        }
    if evaluation.validation is not None:
        weights = evaluation.validation.weights
        told["cross_validation"] = {"folds": len(weights), "weights": [dict(each) for each in weights]}
    return told


def _ablated(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """A row for each part that was left out, with the difference to the first row, in which nothing is."""
    whole, *_ = measured
    rows: list[dict[str, Any]] = []
    for part, found in measured.items():
        row: dict[str, Any] = {"without": part, **_means(found)}
        if part != whole:
            row["differences"] = {
                metric: _differences({part: found, whole: measured[whole]}, metric)[0] for metric in COMPARED
            }
        rows.append(row)
    return rows


def _means(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return _rounded({metric: fmean(row[metric] for row in measured) for metric in METRICS})


def per_question(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For each question what every arm found, its metrics, and the rank of each gold passage, None if it was
    not found.
    """
    return [
        {
            "id": question.id,
            "question": question.text,
            "answer": question.answer,
            "type": question.type,
            "gold": {id_: evaluation.dataset.by_id[id_].title for id_ in question.gold},
            "keywords": asdict(keywords_of(question)),
            "arms": {
                name: _found(question, outcomes[place]) for name, outcomes in evaluation.outcomes.items()
            },
        }
        for place, question in enumerate(evaluation.dataset.questions)
    ]


def _found(question: Question, outcome: Outcome) -> dict[str, Any]:
    ranks = {id_: rank for rank, id_ in enumerate(outcome.ranked, start=1)}
    return {
        "ranked": list(outcome.ranked),
        "gold_ranks": {id_: ranks.get(id_) for id_ in question.gold},
        **_rounded(scores(outcome.ranked, question.gold)),
        "ms": None if outcome.ms is None else round(outcome.ms, 3),
        "context_tokens": outcome.context_tokens,
    }


def _part(evaluation: Evaluation, places: Sequence[int]) -> dict[str, Any]:
    """The numbers for some of the questions."""
    questions = [evaluation.dataset.questions[place] for place in places]
    chosen = {name: [found[place] for place in places] for name, found in evaluation.outcomes.items()}
    measured = {
        name: [scores(found.ranked, question.gold) for found, question in zip(founds, questions, strict=True)]
        for name, founds in chosen.items()
    }
    return {
        "questions": len(questions),
        "arms": {
            name: {
                **_means(measured[name]),
                **_costs(chosen[name], evaluation.tokens),
            }
            for name in chosen
        },
        "differences": {metric: _differences(measured, metric) for metric in COMPARED},
    }


def _costs(outcomes: Sequence[Outcome], tokens: Mapping[str, int]) -> dict[str, Any]:
    """Tokens, times and calls; None where no question's was measured."""
    times = [outcome.ms for outcome in outcomes if outcome.ms is not None]
    steps = {name: 0.0 for outcome in outcomes for name in outcome.steps}
    for name in steps:
        steps[name] = fmean(outcome.steps.get(name, 0.0) for outcome in outcomes)
    context = _mean(outcome.context_tokens for outcome in outcomes)
    passages = fmean(sum(tokens.get(id_, 0) for id_ in outcome.ranked) for outcome in outcomes)
    calls = [outcome.llm_calls for outcome in outcomes if outcome.llm_calls is not None]
    return {
        "context_tokens": None if context is None else round(context, 1),
        "passage_tokens": round(passages, 1),
        "p50_ms": round(percentile(times, 0.5), 3) if times else None,
        "p95_ms": round(percentile(times, 0.95), 3) if times else None,
        "steps_ms": {name: round(ms, 3) for name, ms in steps.items()},
        "llm_calls": sum(calls) if calls else None,
    }


def _mean(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _differences(
    measured: Mapping[str, Sequence[Mapping[str, float]]], metric: str
) -> list[dict[str, str | float]]:
    import numpy as np

    names = list(measured)
    values = np.array([[row[metric] for row in measured[name]] for name in names]).T
    return [
        {"arm": names[one], "against": names[other], **_rounded(asdict(found))}
        for (one, other), found in paired_intervals(values).items()
    ]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}
