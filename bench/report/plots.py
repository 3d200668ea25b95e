"""Plots: growth on logarithmic axes, latencies and slots as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.cases import Case, cases, find
from bench.runs import BASELINE, BASELINE_FAISS, OURS, Outcome
from bench.workloads.retrieval import MODES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_ARMS = (OURS, BASELINE, BASELINE_FAISS)
_COLORS = ("#1b6ca8", "#c8553d", "#e0a458")


def draw(outcomes: Sequence[Outcome], out: Path) -> list[tuple[Path, str]]:
    """Draw what there are outcomes for; gives each file and what it shows."""
    found = cases(outcomes)
    drawn = []
    for name, caption, paint in (
        (
            "ingest",
            "Ingest: seconds for so many passages, an LLM that answers at once",
            _growth("wall", "seconds"),
        ),
        ("per_passage", "Ingest: milliseconds per passage", _growth("ms_per_passage", "ms per passage")),
        ("memory", "Ingest: peak memory", _growth("peak_mib", "MiB")),
        ("retrieval", "Retrieval: p50 (bar) and p95 (line) per mode, embedding not counted", _latencies),
        ("slots", "Share of the LLM's slots that are busy at 200 ms per call", _busy),
        ("hub", "One entity in every chunk: seconds per batch", _hub),
    ):
        path = out / f"{name}.png"
        if _painted(found, path, caption, paint):
            drawn.append((path, caption))
    return drawn


def _painted(found: Sequence[Case], path: Path, caption: str, paint: Any) -> bool:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if not paint(axes, found):
        return False
    axes.set_title(caption, fontsize=10)
    axes.grid(visible=True, which="both", alpha=0.25)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return True


def _growth(value: str, label: str) -> Any:
    def paint(axes: Axes, found: Sequence[Case]) -> bool:
        any_drawn = False
        for arm, color in zip(_ARMS, _COLORS, strict=True):
            for transport, style in (("in-process", "o-"), ("http", "s--")):
                points = [
                    (case.run.size, measured)
                    for case in find(found, "ingest", arm, transport=transport)
                    if (measured := case.measured(value)) is not None
                ]
                if points:
                    any_drawn = True
                    middle = [measured.median for _, measured in points]
                    below = [measured.median - measured.lowest for _, measured in points]
                    above = [measured.highest - measured.median for _, measured in points]
                    label_ = arm if transport == "in-process" else f"{arm}, HTTP"
                    axes.errorbar(
                        [size for size, _ in points],
                        middle,
                        yerr=[below, above],
                        fmt=style,
                        color=color,
                        label=label_,
                    )
        axes.set(xscale="log", yscale="log", xlabel="passages", ylabel=label)
        return any_drawn

    return paint


def _latencies(axes: Axes, found: Sequence[Case]) -> bool:
    groups = [
        case
        for arm in _ARMS
        for case in (*find(found, "retrieval", arm), *find(found, "retrieval", arm, corpus="wide"))
        if case.measured("mix_p50") is not None
    ]
    width = 0.8 / max(1, len(groups))
    for place, case in enumerate(groups):
        middle = [_of(case, f"{mode}_p50") for mode in MODES]
        high = [_of(case, f"{mode}_p95") - _of(case, f"{mode}_p50") for mode in MODES]
        at = [index + place * width for index in range(len(MODES))]
        label = (
            f"{case.run.arm}, {case.run.size:,} {'generated ' if case.run.corpus != '2wiki' else ''}passages"
        )
        zeros = [0.0] * len(high)
        axes.bar(at, middle, width, yerr=[zeros, high], label=label, error_kw={"linewidth": 1})
    axes.set(yscale="log", ylabel="ms")
    axes.set_xticks([index + 0.4 - width / 2 for index in range(len(MODES))], MODES)
    return bool(groups)


def _busy(axes: Axes, found: Sequence[Case]) -> bool:
    shown = [case for arm in _ARMS for case in find(found, "slots", arm) if case.measured("busy") is not None]
    names = [f"{case.run.arm}\n{case.run.size:,}" for case in shown]
    colors = [_COLORS[_ARMS.index(case.run.arm)] for case in shown]
    axes.bar(names, [100 * _of(case, "busy") for case in shown], color=colors)
    axes.set(ylabel="% busy", ylim=(0, 100))
    return bool(shown)


def _hub(axes: Axes, found: Sequence[Case]) -> bool:
    shown = [
        case
        for arm in _ARMS
        for case in find(found, "hub", arm, corpus="hub")
        if case.measured("batch_01") is not None
    ]
    for case in shown:
        names = sorted(name for name in case.outcomes[0].values if name.startswith("batch_"))
        seconds = [_of(case, name) for name in names]
        each = case.run.size // len(names)
        axes.plot(range(1, len(names) + 1), seconds, "o-", label=f"{case.run.arm}, batches of {each:,}")
    axes.set(xlabel="batch", ylabel="seconds", yscale="log")
    return bool(shown)


def _of(case: Case, name: str) -> float:
    measured = case.measured(name)
    return 0.0 if measured is None else measured.median
