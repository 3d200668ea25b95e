"""The command `evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.engines import embedder_for
from stateless_rag.cli.options import AsJson, Exit, Offline, configuration, execute
from stateless_rag.cli.output import Output, counted, table
from stateless_rag.cli.progress import IngestProgress, QuestionProgress
from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation import (
    chosen_modes,
    draw,
    find_retrieved,
    per_question,
    read_dataset,
    read_retrieved,
    summary,
)
from stateless_rag.evaluation import (
    evaluate as measure,
)
from stateless_rag.evaluation.metrics import METRICS
from stateless_rag.settings import QueryOptions

if TYPE_CHECKING:
    from stateless_rag.evaluation import Dataset, Evaluation, RecordedArm
    from stateless_rag.protocols import Embedder
    from stateless_rag.settings import Configuration

__all__ = ["evaluate"]

_COMPARED = "recall@5"


_Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="A dataset: corpus.json, questions.json and, if extractions were recorded, openie.json.",
    ),
]
_Modes = Annotated[
    list[str] | None,
    typer.Option(
        "--modes",
        metavar="MODES",
        help="Modes to compare, with commas or spaces between; all unless given. May be said again.",
    ),
]
_Model = Annotated[
    str | None,
    typer.Option(
        "--embedder", metavar="PATH_OR_NAME", help="A model of fastembed, its folder, or `hashing`."
    ),
]
_Questions = Annotated[
    Path | None,
    typer.Option("--questions", metavar="FILE", help="Another file of questions about the same corpus."),
]
_Retrieved = Annotated[
    list[Path] | None,
    typer.Option(
        "--retrieved",
        metavar="FILE",
        help="A file of rankings to compare with; those of the folder are anyway.",
    ),
]
_Keep = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="Keep the ingested corpus here, for the next run."),
]
_Out = Annotated[
    Path | None,
    typer.Option("--output", metavar="DIR", help="Write results, every question's ranking and a plot here."),
]
_Ablate = Annotated[
    bool, typer.Option("--ablate", help="Ask walk and mix again without each of their parts.")
]
_Folds = Annotated[
    int,
    typer.Option(
        "--folds", metavar="N", help="Also ask mix with weights fitted to the other of so many folds."
    ),
]


def evaluate(
    context: typer.Context,
    folder: _Folder,
    modes: _Modes = None,
    embedder: _Model = None,
    questions: _Questions = None,
    retrieved: _Retrieved = None,
    keep: _Keep = None,
    out: _Out = None,
    ablate: _Ablate = False,
    folds: _Folds = 0,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval: ingest a corpus, ask its questions, tell recall and time of every mode."""
    chosen, output = configuration(context, None, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        try:
            names = chosen_modes(_named(modes or (), context.args))
            dataset = read_dataset(folder, questions)
            wanted = _Wanted(names, _recorded(dataset, folder, retrieved or (), output), ablate, folds)
            model = _embedder(embedder, chosen, output)
            if out is not None:
                _require_folder(out)
            found = await _measured(output, dataset, keep, model, wanted)
            _tell(found, output)
            if out is not None:
                _write(found, out, output)
        except InvalidInput as error:
            output.error(str(error))
            return Exit.USAGE
        return Exit.OK

    again = "" if keep is None else " What was ingested is kept; run the same command again."
    execute(output, command, interrupted=f"Interrupted.{again}")


def _named(modes: Sequence[str], more: Sequence[str]) -> list[str]:
    """Modes with commas or spaces between; the shell makes further arguments of those after a space."""
    if more and (not modes or any(part.startswith("-") for part in more)):
        raise InvalidInput(
            f"unexpected argument {more[0]!r}; `stateless-rag evaluate --help` tells what there is"
        )
    return [name for part in (*modes, *more) for name in part.replace(",", " ").split()]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to compare."""

    modes: Sequence[str]
    recorded: Sequence[RecordedArm]
    ablate: bool
    folds: int


async def _measured(
    output: Output, dataset: Dataset, keep: Path | None, embedder: Embedder, wanted: _Wanted
) -> Evaluation:
    """Measure, in a folder that is kept or deleted, and close the embedder."""
    async with AsyncExitStack() as stack:
        close = getattr(embedder, "close", None)
        if close is not None:
            stack.push_async_callback(close)
        return await _shown(output, dataset, stack.enter_context(_root(keep)), embedder, wanted)


async def _shown(
    output: Output, dataset: Dataset, root: Path, embedder: Embedder, wanted: _Wanted
) -> Evaluation:
    """Measure, with bars."""
    if dataset.openie is not None and dataset.recorded < len(dataset.corpus):
        output.note(
            f"note: openie.json knows {dataset.recorded:,} of {len(dataset.corpus):,} passages by their text"
        )
    with (
        IngestProgress(output.err, len(dataset.corpus), quiet=output.as_json) as ingesting,
        QuestionProgress(output.err, quiet=output.as_json) as asking,
    ):

        def tell(arm: str, done: int, total: int) -> None:
            ingesting.stop()
            asking(arm, done, total)

        return await measure(
            dataset,
            root,
            embedder,
            wanted.modes,
            recorded=wanted.recorded,
            ablate=wanted.ablate,
            folds=wanted.folds,
            observer=ingesting,
            tell=tell,
        )


def _embedder(given: str | None, chosen: Configuration, output: Output) -> Embedder:
    from stateless_rag.providers import FastEmbedder, HashingEmbedder

    if given is None:
        return embedder_for(chosen, None, output.note)
    name = given.removeprefix("fastembed:")
    return HashingEmbedder() if name == "hashing" else FastEmbedder(name)


@contextmanager
def _root(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with TemporaryDirectory(prefix="stateless-rag-evaluate-") as folder:
        yield Path(folder)


def _recorded(dataset: Dataset, folder: Path, named: Sequence[Path], output: Output) -> list[RecordedArm]:
    """The rankings of the files named, which must fit the questions, and of those in the folder that do."""
    arms = [arm for file in named for arm in read_retrieved(file, dataset)]
    taken = {file.resolve() for file in named}
    for file in find_retrieved(folder):
        if file.resolve() in taken:
            continue
        try:
            arms += read_retrieved(file, dataset)
        except InvalidInput as error:
            output.note(f"note: left out: {error}")
    return list({arm.name: arm for arm in arms}.values())


# ---- what is shown and written -------------------------------------------------------------------------


def _tell(found: Evaluation, output: Output) -> None:
    told = summary(found)
    if output.as_json:
        output.json(told)
        return
    output.text(
        f"{told['dataset']}: {counted(told['questions'], 'question')}, {counted(told['passages'], 'passage')}, "
        f"{counted(told['entities'], 'entity')}, {counted(told['relations'], 'relation')}; extraction "
        f"{told['extraction']}; embedder {told['embedder']}; ingested in {told['ingest']['seconds']:.1f} s\n"
    )
    shown = [metric.replace("recall", "R").upper() for metric in METRICS]
    columns = ("ARM", *(f">{name}" for name in (*shown, "TOKENS", "P50 MS", "P95 MS", "LLM")))
    output.out.print(table(*columns, rows=[_row(name, arm) for name, arm in told["arms"].items()]))
    for line in _differences(told["differences"][_COMPARED]):
        output.text(line)
    if len(told["types"]) > 1:
        output.text()
        output.out.print(_by_type(told))
    for mode, rows in told.get("ablation", {}).items():
        output.text()
        output.out.print(_ablation(mode, rows))
    if "cross_validation" in told:
        output.text(_weights(told["cross_validation"]))


def _row(name: str, arm: Mapping[str, Any]) -> tuple[str, ...]:
    costs = (arm["context_tokens"], arm["p50_ms"], arm["p95_ms"])
    shown = (
        "–" if cost is None else f"{cost:,.{digits}f}" for cost, digits in zip(costs, (0, 1, 1), strict=True)
    )
    calls = "–" if arm["llm_calls"] is None else str(arm["llm_calls"])
    return (name, *(f"{100 * arm[metric]:.1f}" for metric in METRICS), *shown, calls)


def _differences(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The default mode against each other arm, where it was measured."""
    default = QueryOptions().mode
    lines = []
    for pair in pairs:
        if default not in (pair["arm"], pair["against"]):
            continue
        sign = 1 if pair["arm"] == default else -1
        other = pair["against"] if sign == 1 else pair["arm"]
        mean, *bounds = (100 * sign * pair[name] + 0.0 for name in ("mean", "low", "high"))
        low, high = sorted(bounds)
        lines.append(f"  {default} − {other}: {mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}")
    return [f"\n{_COMPARED}, question by question:", *lines] if lines else []


def _by_type(told: Mapping[str, Any]) -> Any:
    types = told["types"]
    columns = (_COMPARED.upper(), *(f">{type_} ({types[type_]['questions']})" for type_ in types))
    rows = [
        (name, *(f"{100 * part['arms'][name][_COMPARED]:.1f}" for part in types.values()))
        for name in told["arms"]
    ]
    return table(*columns, rows=rows)


def _ablation(mode: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """A mode without each of its parts, and what that changes."""
    shown = ("recall@2", "recall@5", "recall@10")
    columns = (
        f"{mode.upper()} WITHOUT",
        *(f">{metric.upper()}" for metric in shown),
        f">± {_COMPARED.upper()}",
    )
    lines = []
    for row in rows:
        change = row.get("differences", {}).get(_COMPARED)
        lines.append(
            (
                row["without"].replace("`", ""),
                *(f"{100 * row[metric]:.1f}" for metric in shown),
                "–"
                if change is None
                else f"{100 * change['mean']:+.1f} ({100 * change['low']:+.1f} … {100 * change['high']:+.1f})",
            )
        )
    return table(*columns, rows=lines)


def _weights(told: Mapping[str, Any]) -> str:
    ranges = ", ".join(
        f"{part} {min(each[part] for each in told['weights']):.1f} to {max(each[part] for each in told['weights']):.1f}"
        for part in told["weights"][0]
    )
    return f"\nWeights fitted for {told['folds']} folds, each without its own questions: {ranges}"


def _require_folder(out: Path) -> None:
    """Make the folder before hours of work are to be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InvalidInput(
            f"--output cannot be the folder {out}: {exc.strerror or exc}; choose one that can be written to"
        ) from exc


def _write(found: Evaluation, out: Path, output: Output) -> None:
    for name, value in (("results", summary(found)), ("per_question", per_question(found))):
        text = json.dumps(value, ensure_ascii=False, indent=1)
        (out / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    try:
        draw(found, out / "recall.png")
    except InvalidInput as error:
        output.note(f"note: {error}; results.json and per_question.json are in {out}")
