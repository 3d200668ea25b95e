"""Measuring retrieval: a dataset's questions, asked of every mode and of plain search.

`read_dataset` reads what to ask, `evaluate` asks it, `summary` and `per_question` say what came of it. The
command line's `evaluate` does all three.
"""

from __future__ import annotations

from stateless_rag.evaluation.arms import Arm, Outcome, RecordedArm, chosen_modes
from stateless_rag.evaluation.bootstrap import Interval, paired_intervals
from stateless_rag.evaluation.dataset import Dataset, Item, Question, read_dataset
from stateless_rag.evaluation.measure import Evaluation, evaluate
from stateless_rag.evaluation.plot import draw
from stateless_rag.evaluation.report import per_question, summary
from stateless_rag.evaluation.retrieved import find_retrieved, read_retrieved

__all__ = [
    "Arm",
    "Dataset",
    "Evaluation",
    "Interval",
    "Item",
    "Outcome",
    "Question",
    "RecordedArm",
    "chosen_modes",
    "draw",
    "evaluate",
    "find_retrieved",
    "paired_intervals",
    "per_question",
    "read_dataset",
    "read_retrieved",
    "summary",
]
