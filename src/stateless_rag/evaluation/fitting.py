"""Cross-validation: how mode mix ranks with weights that were fitted without the question that is asked.

The weights of the sum are the only numbers that were fitted to questions. Here they are fitted anew, for each fold to
the questions of the others: the difference to what ships is what fitting to these very questions is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.checks import whole
from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation.arms import Outcome
from stateless_rag.evaluation.metrics import DEPTH
from stateless_rag.settings import WALK_PARTS, QueryOptions
from stateless_rag.text import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stateless_rag.engine import Engine
    from stateless_rag.evaluation.dataset import Dataset

    Floats = NDArray[np.float64]

__all__ = [
    "CrossValidation",
    "Ranking",
    "checked_folds",
    "cross_validated",
    "fit",
    "fold_of",
    "rankings",
    "reranked",
]

_CANDIDATES = 50  # as many as mode mix ranks at least, where the walk reaches as many
_STEPS = 50
_RIDGE = 1.0
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """What mode mix ranked for a question: passages, what speaks for each (passages, parts), which are gold."""

    ids: tuple[str, ...]
    values: Floats
    gold: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """The weights that were fitted for each fold, without its questions, and what they found for each question."""

    weights: Sequence[Mapping[str, float]]
    outcomes: Sequence[Outcome]


async def rankings(engine: Engine, dataset: Dataset) -> list[Ranking]:
    """What mode mix ranks for each of the questions, with the parts as they are before they are weighed."""
    import numpy as np

    options = QueryOptions(mode="mix", chunk_top_k=_CANDIDATES, max_total_tokens=10_000_000)
    names, weights = zip(*engine.context.settings.walk.parts.items(), strict=True)
    found = []
    for question in dataset.questions:
        retrieval = await engine.retrieve(
            question.text,
            options=options,
            high_level_keywords=question.high_level,
            low_level_keywords=question.low_level,
        )
        rows = [[passage.parts.get(name, 0.0) for name in names] for passage in retrieval.passages]
        ids = tuple(passage.document_id for passage in retrieval.passages)
        found.append(
            Ranking(
                ids=ids,
                values=np.array(rows).reshape(-1, len(names)) / np.array(weights),
                gold=np.isin(np.array(ids, dtype=str), question.gold),
            )
        )
    return found


def fit(found: Sequence[Ranking]) -> dict[str, float]:
    """The weights under which gold passages come before the others: the most likely ones of a logistic choice of
    each gold passage among it and those that are none (McFadden 1974), with a small ridge; by Newton's method.
    """
    import numpy as np

    sets = [
        np.concatenate([one.values[~one.gold], gold[None]]) - gold
        for one in found
        for gold in one.values[one.gold]
    ]
    weights = np.zeros(len(WALK_PARTS))
    for _ in range(_STEPS):
        slope, curve = _RIDGE * weights, _RIDGE * np.eye(len(weights))
        for rows in sets:
            worth = rows @ weights
            chance = np.exp(worth - worth.max())
            chance /= chance.sum()
            mean = chance @ rows
            slope = slope + mean
            curve = curve + (rows.T * chance) @ rows - np.outer(mean, mean)
        step = np.linalg.solve(curve, slope)
        # Where the choice is nearly certain a whole step may go too far; no weight is worth more than this anyway.
        weights = weights - step * min(1.0, 2.0 / max(np.abs(step).max(), _CLOSE))
        if np.abs(step).max() < _CLOSE:
            break
    return dict(zip(WALK_PARTS, weights.round(3).tolist(), strict=True))


def reranked(found: Ranking, weights: Mapping[str, float]) -> Outcome:
    """The passages by the sum of their parts under other weights, ties by how they were ranked before."""
    import numpy as np

    worth = found.values @ np.array([weights[name] for name in WALK_PARTS])
    order = np.argsort(-worth.round(6), kind="stable")
    return Outcome(ranked=tuple(dict.fromkeys(found.ids[at] for at in order.tolist()))[:DEPTH])


def cross_validated(dataset: Dataset, found: Sequence[Ranking], folds: int) -> CrossValidation:
    """Rank what was found for each question by weights fitted to the questions of the other folds."""
    places = fold_of([question.id for question in dataset.questions], folds)
    weights = [
        fit([one for one, place in zip(found, places, strict=True) if place != fold]) for fold in range(folds)
    ]
    outcomes = [reranked(one, weights[place]) for one, place in zip(found, places, strict=True)]
    return CrossValidation(weights=weights, outcomes=outcomes)


def checked_folds(folds: int, dataset: Dataset) -> int:
    """A number of folds that the questions can be divided into, or 0 for none; else InvalidInput."""
    if folds and not 2 <= whole("folds", folds) <= len(dataset.questions):
        raise InvalidInput(
            f"folds is {folds}; it must be at least 2 and at most {len(dataset.questions)}, the number of questions"
        )
    return folds


def fold_of(ids: Sequence[str], folds: int) -> list[int]:
    """The fold of each question, by a digest of its id: folds are of a size, whatever the order of the questions.

    >>> sorted(fold_of(["a", "b", "c", "d"], 2))
    [0, 0, 1, 1]
    """
    ordered = sorted(ids, key=lambda id_: (digest("fold", id_), id_))
    at = {id_: place % folds for place, id_ in enumerate(ordered)}
    return [at[id_] for id_ in ids]
