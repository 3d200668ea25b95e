"""The command `evaluate`, on the example set and on sets that are not whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from integration.command_line import PROJECT, Cli, only_json
from stateless_rag.evaluation import read_dataset
from stateless_rag.settings import WALK_PARTS
from stateless_rag.types import Mode

EXAMPLES = PROJECT / "examples"
METRICS = {"recall@2", "recall@5", "recall@10", "all@5", "all@10", "mrr"}
COSTS = {"context_tokens", "passage_tokens", "p50_ms", "p95_ms", "steps_ms", "llm_calls"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two passages, one of them recorded, and rankings of another program."""
    folder = tmp_path / "small"
    folder.mkdir()
    passage = "Ada Lovelace\nAda Lovelace wrote notes on the Analytical Engine."
    triple = ["Ada Lovelace", "wrote notes on", "Analytical Engine"]
    files: dict[str, Any] = {
        "corpus": [
            {"id": "ada", "title": "Ada Lovelace", "text": passage.partition("\n")[2]},
            {"id": "loom", "title": "Jacquard loom", "text": "The loom reads punched cards."},
        ],
        "questions": [
            {
                "id": "a",
                "question": "Who wrote notes on the Analytical Engine?",
                "type": "1hop",
                "gold": ["ada"],
            },
            {"id": "b", "question": "What reads punched cards?", "gold": ["loom"]},
        ],
        "openie": {
            "docs": [
                {"passage": passage, "extracted_entities": ["Ada Lovelace"], "extracted_triples": [triple]}
            ]
        },
        "other_retrieved": {"modes": {"best": {"a": ["ada"], "b": ["ada"]}}},
    }
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_the_example_set_is_worth_measuring() -> None:
    dataset = read_dataset(EXAMPLES)
    assert len(dataset.corpus) == 36
    assert len(dataset.questions) >= 20
    assert all(len(question.gold) >= 2 for question in dataset.questions)
    assert {f"{len(question.gold)}hop" == question.type for question in dataset.questions} == {True}


def test_json_on_the_example_set(cli: Cli, tmp_path: Path) -> None:
    kept, out = tmp_path / "kept", tmp_path / "out"
    command = ("evaluate", str(EXAMPLES), "--folder", str(kept), "--output", str(out))
    code, printed, _ = cli(*command, "--json")
    assert code == 0
    told = only_json(printed)
    assert told["dataset"] == "examples"
    assert told["embedder"] == "hashing-1-384"
    assert (told["passages"], told["questions"]) == (36, 27)
    assert set(told["arms"]) == (set(get_args(Mode)) - {"bypass", "themes"}) | {"dense", "bm25"}
    for arm in told["arms"].values():
        assert set(arm) == METRICS | COSTS
        assert 0.6 < arm["recall@5"] <= arm["recall@10"] <= 1
        assert 0 < arm["p50_ms"] <= arm["p95_ms"]
        assert arm["context_tokens"] > 0
        assert arm["llm_calls"] == 0
    # Vectors alone and without a bound: each question gets ten passages, of which no entity takes room.
    assert told["arms"]["dense"]["context_tokens"] < told["arms"]["mix"]["context_tokens"]
    pairs = len(told["arms"]) * (len(told["arms"]) - 1) // 2
    assert len(told["differences"]["recall@5"]) == pairs
    assert sum(part["questions"] for part in told["types"].values()) == 27

    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == told
    questions = json.loads((out / "per_question.json").read_text(encoding="utf-8"))
    recalls = [question["arms"]["dense"]["recall@5"] for question in questions]
    assert sum(recalls) / 27 == pytest.approx(told["arms"]["dense"]["recall@5"], abs=1e-4)
    assert all(len(question["arms"]["dense"]["ranked"]) == 10 for question in questions)

    # The corpus is kept: the same again asks, but ingests nothing, and finds the same.
    again = only_json(cli(*command, "--modes", "mix", "--json")[1])
    assert again["workspace"] == told["workspace"]
    assert set(again["arms"]) == {"mix", "dense", "bm25"}
    for name, arm in again["arms"].items():
        assert {metric: arm[metric] for metric in METRICS} == {
            metric: told["arms"][name][metric] for metric in METRICS
        }
    listed = only_json(cli("workspaces", "list", "--root", str(kept), "--json")[1])["workspaces"]
    assert [workspace["name"] for workspace in listed] == [told["workspace"]]


def test_each_part_left_out_and_weights_fitted_without_the_question(cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    asked = json.loads((EXAMPLES / "questions.json").read_text(encoding="utf-8"))
    own.write_text(json.dumps(asked[:6]), encoding="utf-8")
    command = (
        "evaluate",
        str(EXAMPLES),
        "--modes",
        "mix",
        "--questions",
        str(own),
        "--folder",
        str(tmp_path / "kept"),
    )
    code, printed, _ = cli(*command, "--ablate", "--folds", "3", "--json")
    told = only_json(printed)
    assert code == 0
    assert list(told["arms"]) == ["mix", "dense", "bm25", "mix/cross-validated"]
    assert set(told["ablation"]) == {"mix", "walk"}
    whole, *without = told["ablation"]["mix"]
    assert whole["without"] == "nothing"
    assert whole["recall@5"] == told["arms"]["mix"]["recall@5"]
    assert {"names of the question", "facts", "hub damping", "search by words"} <= {
        row["without"] for row in without
    }
    assert {row["recall@2"] for row in without} != {whole["recall@2"]}
    for row in without:
        change = row["differences"]["recall@5"]
        assert change["mean"] == pytest.approx(row["recall@5"] - whole["recall@5"], abs=2e-5)
        assert change["low"] <= change["mean"] <= change["high"]
    assert told["cross_validation"]["folds"] == 3
    assert [set(weights) for weights in told["cross_validation"]["weights"]] == [set(WALK_PARTS)] * 3
    code, printed, _ = cli(*command, "--ablate", "--folds", "2")
    assert code == 0
    assert "MIX WITHOUT" in printed
    assert "Weights fitted for 2 folds" in printed


def test_recordings_take_the_llms_place(cli: Cli, small: Path) -> None:
    command = ("evaluate", str(small), "--modes", "mix", "local", "--embedder", "hashing", "--json")
    code, printed, err = cli(*command, OPENAI_API_KEY="never-used")
    told = only_json(printed)
    assert code == 0
    assert list(told["arms"]) == ["local", "mix", "dense", "bm25", "other/best"]
    assert told["extraction"].startswith("recorded-")
    assert told["recorded_passages"] == 1
    assert "openie.json knows 1 of 2 passages" in err
    assert (told["entities"], told["relations"]) == (2, 1)
    assert told["arms"]["other/best"]["recall@5"] == 0.5
    assert told["arms"]["other/best"]["p50_ms"] is None
    assert told["arms"]["dense"]["recall@2"] == 1.0
    (small / "openie.json").unlink()
    told = only_json(cli("evaluate", str(small), "--modes", "dense", "--json")[1])
    assert list(told["arms"]) == ["dense", "bm25", "other/best"]
    assert told["extraction"] == "built-in"


def test_the_table_for_people(cli: Cli, small: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('[{"question": "Which loom?", "gold": ["loom"], "type": "x"}]', encoding="utf-8")
    code, out, err = cli("evaluate", str(small), "--modes", "mix")
    assert code == 0
    assert "small: 2 questions, 2 passages, 2 entities, 1 relation;" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["ARM"][1:4] == ["R@2", "R@5", "R@10"]
    assert rows["other/best"][1:] == ["50.0"] * 6 + ["–"] * 4
    assert "mix − other/best: +50.0 points, 95 % interval +0.0 to +100.0" in out
    # Rankings of the folder that do not fit other questions are left out; named ones must fit.
    code, out, err = cli("evaluate", str(small), "--modes", "mix", "--questions", str(own))
    assert code == 0
    assert "other/best" not in out
    assert "left out" in err
    rankings = str(small / "other_retrieved.json")
    code, out, err = cli("evaluate", str(small), "--questions", str(own), "--retrieved", rankings)
    assert (code, out) == (2, "")
    assert "no list of ids for question 'q0'" in err


@pytest.mark.parametrize(
    ("spoil", "options", "told"),
    [
        ({"corpus": None}, [], "corpus.json"),
        ({"questions": None}, [], "questions.json"),
        ({"corpus": "[]"}, [], "has no passage"),
        ({"corpus": "[{]"}, [], "holds no JSON"),
        (
            {"questions": '[{"question": "Who?", "gold": ["nobody"]}]'},
            [],
            "'nobody', which the corpus does not have",
        ),
        ({}, ["--modes", "mix,quick"], "no mode 'quick'"),
        ({}, ["--modes", "mix", "quick"], "no mode 'quick'"),
        ({}, ["mix"], "unexpected argument 'mix'"),
        ({}, ["--folds", "1"], "folds is 1; it must be at least 2 and at most 2"),
        ({}, ["--folds", "3"], "folds is 3"),
        ({}, ["--folds", "-2"], "folds"),
        ({}, ["--embedder", "./nowhere"], "there is no folder 'nowhere' to load"),
        ({}, ["--questions", "nowhere.json"], "nowhere.json"),
        ({}, ["--retrieved", "nowhere.json"], "nowhere.json"),
        ({}, ["--output", "/dev/null/out"], "/dev/null/out"),
    ],
)
def test_what_cannot_be_measured(
    cli: Cli, small: Path, spoil: dict[str, str | None], options: list[str], told: str
) -> None:
    for name, content in spoil.items():
        if content is None:
            (small / f"{name}.json").unlink()
        else:
            (small / f"{name}.json").write_text(content, encoding="utf-8")
    code, out, err = cli("evaluate", str(small), *options, "--json")
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_without_matplotlib_the_numbers_are_written(
    cli: Cli, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.backends.backend_agg", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = cli("evaluate", str(small), "--modes", "mix", "--output", str(tmp_path / "new" / "out"))
    assert code == 0
    assert "pip install matplotlib" in err
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == [
        "per_question.json",
        "results.json",
    ]


def test_with_matplotlib_there_is_a_plot(cli: Cli, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _, err = cli("evaluate", str(small), "--modes", "mix", "--output", str(tmp_path / "out"))
    assert code == 0
    assert "matplotlib" not in err
    assert (tmp_path / "out" / "recall.png").read_bytes().startswith(b"\x89PNG")


def test_a_passage_that_cannot_be_ingested_stops_it(
    cli: Cli, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stateless_rag import HashingEmbedder
    from stateless_rag.errors import ProviderRejected

    embed = HashingEmbedder.embed

    async def refuse(self: HashingEmbedder, texts: Any, *, role: Any) -> Any:
        if role == "document":
            raise ProviderRejected("no room")
        return await embed(self, texts, role=role)

    monkeypatch.setattr(HashingEmbedder, "embed", refuse)
    code, out, err = cli("evaluate", str(small), "--json")
    assert (code, out) == (1, "")
    assert "2 of 2 passages could not be ingested, so nothing was measured" in err
    assert "no room" in err


@pytest.mark.parametrize(
    ("times", "recorded", "chunks"),
    [(190, False, 2), (6000, True, 2), (6000, False, 33)],
    ids=["of 1,141 tokens", "recorded", "too long for any context"],
)
def test_a_passage_is_one_chunk_unless_it_is_too_long(
    cli: Cli, small: Path, times: int, recorded: bool, chunks: int
) -> None:
    corpus = json.loads((small / "corpus.json").read_text())
    corpus[1]["text"] = "The loom reads punched cards. " * times
    (small / "corpus.json").write_text(json.dumps(corpus))
    if not recorded:
        (small / "openie.json").unlink()
    kept = str(small / "kept")
    command = ("evaluate", str(small), "--modes", "naive,mix", "--folder", kept, "--output", kept)
    told = only_json(cli(*command, "--json")[1])
    described = only_json(cli("workspaces", "describe", told["workspace"], "--root", kept, "--json")[1])
    assert described["chunks"] >= chunks if chunks > 2 else described["chunks"] == chunks
    # Thirty of its chunks are found before the other document, which is not lost for that.
    for question in json.loads((small / "kept" / "per_question.json").read_text(encoding="utf-8")):
        assert set(question["arms"]["dense"]["ranked"]) == {"ada", "loom"}
    assert told["arms"]["mix"]["recall@2"] == told["arms"]["dense"]["recall@2"] == 1.0
