"""The page of results: for each dataset a table of all arms, the default mode against each, and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from stateless_rag.evaluation.metrics import METRICS

__all__ = ["page"]

_COMPARED = "recall@5"
_HEAD = """# Quality of retrieval

Written by `make bench-quality` (`python -m bench.quality run`): do not edit. Recall, all@k (all gold passages among
the first k) and MRR are percent of the first ten passages; tokens are those of the context, and times do not count
the question's embedding. Differences are in points, question by question, with 95 % intervals of a paired bootstrap.

`dense` is the nearest passages by cosine, `bm25` the engine's own search by words. Tokens are those of the whole
context, entities and relations included; passages those of its ten passages alone, which can be told of any arm. The
weights of the sum that `mix` ranks by are the only numbers that were fitted to questions: `mix/cross-validated` ranks
each question by weights fitted to the other four fifths, `mix/fitted elsewhere` by weights fitted to the other sets.
"""


def page(results: Sequence[Mapping[str, Any]], default: str, notes: str, plot: str) -> str:
    """The page in Markdown. `plot` is the path of a dataset's plot, with `{dataset}` in it."""
    parts = [_HEAD, f"{fill(notes, 120)}\n"]
    for told in results:
        made = (
            f"{told['questions']} questions, {told['passages']:,} passages, {told['entities']:,} entities, "
            f"{told['relations']:,} relations; extraction {told['extraction']}; embedder {told['embedder']}.\n"
        )
        parts += [
            f"## {told['dataset']}\n",
            made,
            _table(_arms(told)),
            f"![Recall of each arm on {told['dataset']}]({plot.format(dataset=told['dataset'])})\n",
            f"`{default}` against each other arm, {_COMPARED}:\n",
            _table(_differences(told, default)),
        ]
        if told["types"]:
            parts += [f"{_COMPARED} by type of question:\n", _table(_types(told))]
        for mode, rows in told.get("ablation", {}).items():
            parts += [f"`{mode}` with one part left out at a time:\n", _table(_ablation(rows))]
        if "cross_validation" in told:
            weights = told["cross_validation"]["weights"]
            parts += [f"Weights fitted without one of {len(weights)} folds:\n", _table(_weights(weights))]
    return "\n".join(parts)


def _arms(told: Mapping[str, Any]) -> list[list[str]]:
    head = ["arm", *METRICS, "tokens", "passages", "p50 ms", "p95 ms", "LLM calls"]
    return [head, *([name, *_numbers(arm)] for name, arm in told["arms"].items())]


def _numbers(arm: Mapping[str, Any]) -> list[str]:
    costs = [
        "–" if arm[name] is None else f"{arm[name]:,.{digits}f}"
        for name, digits in (
            ("context_tokens", 0),
            ("passage_tokens", 0),
            ("p50_ms", 1),
            ("p95_ms", 1),
            ("llm_calls", 0),
        )
    ]
    return [*(f"{100 * arm[metric]:.1f}" for metric in METRICS), *costs]


def _differences(told: Mapping[str, Any], default: str) -> list[list[str]]:
    """A row for each other arm, a column for all questions and one for each type."""
    parts = {"all": told, **told["types"]}
    others = (other for other in told["arms"] if other != default)
    return [
        ["against", *(f"{name} ({part['questions']})" for name, part in parts.items())],
        *([other, *(_difference(part, default, other) for part in parts.values())] for other in others),
    ]


def _difference(part: Mapping[str, Any], default: str, other: str) -> str:
    for pair in part["differences"][_COMPARED]:
        if {pair["arm"], pair["against"]} == {default, other}:
            sign = 100 if pair["arm"] == default else -100
            low, high = sorted((sign * pair["low"], sign * pair["high"]))
            return f"{sign * pair['mean'] + 0.0:+.1f} ({low + 0.0:+.1f} … {high + 0.0:+.1f})"
    return "–"


def _ablation(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each part left out, with what that changes."""
    shown = ("recall@2", "recall@5", "recall@10", "all@5")
    table = [["without", *shown, f"{_COMPARED}: change"]]
    for row in rows:
        change = row.get("differences", {}).get(_COMPARED)
        told = "–"
        if change is not None:
            mean, low, high = (100 * change[name] + 0.0 for name in ("mean", "low", "high"))
            told = f"{mean:+.1f} ({low:+.1f} … {high:+.1f})"
        table.append([row["without"], *(f"{100 * row[metric]:.1f}" for metric in shown), told])
    return table


def _weights(weights: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """A row for each part, a column for each fold."""
    head = ["part", *(f"without fold {fold}" for fold in range(1, len(weights) + 1))]
    return [head, *([part, *(f"{each[part]:.2f}" for each in weights)] for part in weights[0])]


def _types(told: Mapping[str, Any]) -> list[list[str]]:
    head = ["arm", *(f"{name} ({part['questions']})" for name, part in told["types"].items())]
    return [
        head,
        *(
            [name, *(f"{100 * part['arms'][name][_COMPARED]:.1f}" for part in told["types"].values())]
            for name in told["arms"]
        ),
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))
