"""Keywords by a rule that needs no engine, so that the baseline and this project can be given the same."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateless_rag.evaluation.dataset import Dataset, Question

__all__ = ["capitalised_runs", "with_keywords"]

_RUN = re.compile(r"[A-Z][\w'’.-]*(?:\s+[A-Z][\w'’.-]*)*")


def capitalised_runs(question: str) -> tuple[str, ...]:
    """The runs of capitalised words in a question, each once; the question itself if there are none.

    >>> capitalised_runs("who wrote to Ada Lovelace in London?")
    ('Ada Lovelace', 'London')
    """
    runs = (run.group().rstrip(".'’-") for run in _RUN.finditer(question))
    return tuple(dict.fromkeys(run for run in runs if run)) or (question,)


def with_keywords(dataset: Dataset) -> Dataset:
    """The dataset with keywords for every question: the question, and its capitalised runs."""

    def given(question: Question) -> Question:
        return replace(question, high_level=(question.text,), low_level=capitalised_runs(question.text))

    return replace(dataset, questions=tuple(given(question) for question in dataset.questions))
