"""Rankings of other programs, read from files: `{"modes": {mode: {question id: [ids of passages]}}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation.arms import RecordedArm
from stateless_rag.evaluation.dataset import Dataset, read_json

__all__ = ["find_retrieved", "read_retrieved"]

_SUFFIX = "_retrieved"


def find_retrieved(folder: Path) -> list[Path]:
    """The files of rankings in a dataset's folder: those whose names end with `_retrieved.json`."""
    return sorted(folder.glob(f"*{_SUFFIX}.json"))


def read_retrieved(file: Path, dataset: Dataset) -> list[RecordedArm]:
    """An arm for each mode in the file, named `program/mode` after the file and the mode.

    Raises InvalidInput for a file of another shape, a question of the dataset that it does not have, and an
    id of a passage that is not in the corpus.
    """
    value = read_json(file)
    modes = value.get("modes") if isinstance(value, dict) else None
    if not isinstance(modes, dict) or not modes:
        raise InvalidInput(
            f'{file} has the wrong shape; it must be {{"modes": {{mode: {{question: [ids]}}}}}}'
        )
    program = file.stem.removesuffix(_SUFFIX)
    return [RecordedArm(f"{program}/{mode}", _checked(file, mode, modes[mode], dataset)) for mode in modes]


def _checked(file: Path, mode: str, rankings: Any, dataset: Dataset) -> Mapping[str, Sequence[str]]:
    if not isinstance(rankings, dict):
        raise InvalidInput(f"{file}: the mode {mode!r} must have a list of ids for each question")
    for question in dataset.questions:
        ranked = rankings.get(question.id)
        if not isinstance(ranked, list):
            raise InvalidInput(
                f"{file}: the mode {mode!r} has no list of ids for question {question.id!r}; every arm is "
                "asked the same questions"
            )
        unknown = [id_ for id_ in ranked if not isinstance(id_, str) or id_ not in dataset.by_id]
        if unknown:
            raise InvalidInput(
                f"{file}: the mode {mode!r} has {unknown[0]!r} for question {question.id!r}, which is no id "
                "of the corpus"
            )
    return rankings
