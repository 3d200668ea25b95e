"""`python -m bench.quality run` measures all arms on the sets beside the project; `baseline` makes the rankings of
the baseline that it compares with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.quality.baseline import rank
from bench.quality.keywords import with_keywords
from bench.quality.page import page
from bench.runner import BASELINE_PYTHON
from stateless_rag import FastEmbedder, QueryOptions, StatelessRagError
from stateless_rag.evaluation import (
    Evaluation,
    chosen_modes,
    draw,
    evaluate,
    find_retrieved,
    per_question,
    read_dataset,
    read_retrieved,
    summary,
)
from stateless_rag.evaluation.fitting import fit, reranked

_ROOT = Path(__file__).parents[2]
_FOLDS = 5
_ELSEWHERE = "mix/fitted elsewhere"
_NOTES = {
    "capitalised": (
        "All arms are given the same keywords: the question, and its runs of capitalised words. Those named after "
        "a program are what it returned when it was run as a black box."
    ),
    "builtin": "Keywords are those that the built-in reader finds.",
}


async def _measure(folder: Path, given: argparse.Namespace, root: Path) -> Evaluation:
    """Measure one dataset."""
    dataset = read_dataset(folder)
    recorded = [arm for file in find_retrieved(folder) for arm in read_retrieved(file, dataset)]
    asked = with_keywords(dataset) if given.keywords == "capitalised" else dataset
    print(f"{dataset.name}: {len(dataset.corpus):,} passages …", flush=True)
    return await evaluate(
        asked,
        root,
        FastEmbedder(given.embedder, threads=1),
        chosen_modes(given.modes),
        recorded=recorded,
        ablate=True,
        folds=_FOLDS,
        tell=lambda arm, done, total: print(f"  {arm}", flush=True) if done == total else None,
    )


def with_others_weights(found: Sequence[Evaluation]) -> list[Evaluation]:
    """The evaluations, each with an arm that ranks by weights fitted to the questions of the other sets."""
    if len(found) < 2:
        return list(found)
    made = []
    for one in found:
        weights = fit([ranking for other in found if other is not one for ranking in other.rankings])
        outcomes = [reranked(ranking, weights) for ranking in one.rankings]
        made.append(replace(one, outcomes={**one.outcomes, _ELSEWHERE: outcomes}))
    return made


def _write(found: Evaluation, place: Path) -> dict[str, Any]:
    """Write what came of one dataset."""
    out = place / found.dataset.name
    out.mkdir(parents=True, exist_ok=True)
    told = summary(found)
    for name, value in (("results", told), ("per_question", per_question(found))):
        (out / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    draw(found, out / "recall.png")
    return told


def _run(given: argparse.Namespace) -> int:
    sets = given.sets or sorted(path.parent for path in (given.shared / "data/quality").glob("*/corpus.json"))
    if not sets:
        print(
            f"there are no sets in {given.shared / 'data/quality'}; name folders, or set STATELESS_RAG_SHARED"
        )
        return 2
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) if given.keep is None else given.keep
        found = with_others_weights([asyncio.run(_measure(folder, given, root)) for folder in sets])
    results = [_write(one, given.out) for one in found]
    plot = f"{Path(os.path.relpath(given.out, given.page.parent)).as_posix()}/{{dataset}}/recall.png"
    written = page(results, QueryOptions().mode, _NOTES[given.keywords], plot)
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(written, encoding="utf-8")
    print(f"written: {given.page}, {given.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    shared = Path(os.environ.get("STATELESS_RAG_SHARED", _ROOT.parent / "shared"))
    model = shared / "models" / "all-MiniLM-L6-v2"
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.set_defaults(shared=shared)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure all arms and write numbers, plots and the page")
    run.add_argument(
        "sets", nargs="*", type=Path, help="folders of datasets; by default those beside the project"
    )
    run.add_argument("--modes", nargs="+", default=())
    run.add_argument("--keywords", choices=sorted(_NOTES), default="capitalised")
    run.add_argument("--keep", type=Path, help="a folder that keeps the ingested corpora for the next run")
    run.add_argument("--out", type=Path, default=_ROOT / "docs" / "quality")
    run.add_argument("--page", type=Path, default=_ROOT / "docs" / "quality.md")
    theirs = commands.add_parser(
        "baseline", help="rankings of the baseline; takes 40 minutes for 1,890 passages"
    )
    theirs.add_argument("folder", type=Path)
    theirs.add_argument(
        "--output", type=Path, required=True, help="what ends with _retrieved.json is found later"
    )
    theirs.add_argument("--passages", type=int, help="only the first so many, to see that it works")
    theirs.add_argument("--python", type=Path, default=BASELINE_PYTHON)
    for command in (run, theirs):
        command.add_argument("--embedder", type=Path, default=model, help="the folder of a model")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and do what it says; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "run":
            return _run(given)
        return rank(given.folder, given.embedder, given.output, given.python, passages=given.passages)
    except StatelessRagError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
