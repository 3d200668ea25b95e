"""The sets beside the project: they are whole, and metrics give what was measured of the baseline elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean

import pytest

from stateless_rag.evaluation import find_retrieved, read_dataset, read_retrieved
from stateless_rag.evaluation.metrics import scores
from stateless_rag.stores.ids import id_array
from stateless_rag.stores.words import WordIndex

SHARED = Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[3] / "shared"))
SETS = SHARED / "data" / "quality"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SETS.is_dir(), reason=f"{SETS} is not there (set STATELESS_RAG_SHARED)"),
]


@pytest.mark.parametrize(
    ("name", "passages", "recorded", "types"),
    [
        ("musique_train100", 1890, 1890, {"2hop", "3hop1", "3hop2", "4hop1", "4hop3"}),
        ("hotpotqa_train100", 994, 0, {"bridge", "comparison"}),
    ],
)
def test_a_set_is_whole(name: str, passages: int, recorded: int, types: set[str]) -> None:
    dataset = read_dataset(SETS / name)
    assert (len(dataset.corpus), len(dataset.questions), dataset.recorded) == (passages, 100, recorded)
    assert set(dataset.types) == types


async def test_the_baselines_recall_is_what_the_sets_readme_says() -> None:
    folder = SETS / "musique_train100"
    dataset = read_dataset(folder)
    (file,) = find_retrieved(folder)
    recalls = {}
    for arm in read_retrieved(file, dataset):
        found = [
            scores((await arm.ask(question)).ranked, question.gold)["recall@5"]
            for question in dataset.questions
        ]
        recalls[arm.name.rpartition("/")[2]] = round(100 * fmean(found), 1)
    assert recalls == {"naive": 60.0, "local": 53.5, "global": 60.0, "hybrid": 58.8, "mix": 58.2}


@pytest.mark.parametrize(("name", "least"), [("musique_train100", 0.45), ("hotpotqa_train100", 0.6)])
def test_words_alone_find_about_half(name: str, least: float) -> None:
    dataset = read_dataset(SETS / name)
    texts = {at: item.passage for at, item in enumerate(dataset.corpus)}
    index = WordIndex().apply(texts, id_array(()))
    found = []
    for question in dataset.questions:
        ranked = [dataset.corpus[hit.id].id for hit in index.search(question.text, 10)]
        found.append(scores(ranked, question.gold)["recall@5"])
    assert least < fmean(found) < 0.9
