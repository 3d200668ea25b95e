"""A plot of an evaluation: recall of each arm, with 95 % intervals. Needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation.bootstrap import bootstrap_means, interval
from stateless_rag.evaluation.metrics import scores
from stateless_rag.evaluation.report import COMPARED

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from stateless_rag.evaluation.measure import Evaluation

__all__ = ["draw"]

_COLORS = ("#1b6ca8", "#e0a458")


def draw(evaluation: Evaluation, path: Path) -> None:
    """Draw recall@5 and recall@10 of each arm into a PNG file. InvalidInput if matplotlib is not there."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise InvalidInput("the plot needs matplotlib: pip install matplotlib") from exc
    figure = Figure(figsize=(7, 1.4 + 0.45 * len(evaluation.outcomes)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _bars(axes, evaluation)
    dataset = evaluation.dataset
    axes.set_title(
        f"{dataset.name}: {len(dataset.questions)} questions, {len(dataset.corpus):,} passages; "
        "lines are 95 % intervals",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=len(COMPARED), fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _bars(axes: Axes, evaluation: Evaluation) -> None:
    import numpy as np

    names = list(evaluation.outcomes)
    questions = evaluation.dataset.questions
    height = 0.8 / len(COMPARED)
    for row, (metric, color) in enumerate(zip(COMPARED, _COLORS, strict=True)):
        values = np.array(
            [
                [
                    100 * scores(found.ranked, question.gold)[metric]
                    for found, question in zip(evaluation.outcomes[name], questions, strict=True)
                ]
                for name in names
            ]
        ).T
        resampled = bootstrap_means(values)
        found = [interval(mean, resampled[:, place]) for place, mean in enumerate(values.mean(axis=0))]
        errors = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
        axes.barh(
            [place + row * height for place in range(len(names))],
            [each.mean for each in found],
            height,
            xerr=np.maximum(errors, 0.0),
            color=color,
            label=metric,
            error_kw={"linewidth": 1},
        )
    axes.set_yticks([place + height / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="%")
    axes.grid(visible=True, axis="x", alpha=0.25)
