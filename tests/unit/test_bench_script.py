"""The script that is played with LightRAG and with the façade: here with the façade alone, and the comparison."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.script.compare import compared
from bench.script.five import Taken, measure, table
from bench.script.script import MODES, play


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    graph = {"labels": ["Ada", "Babbage"], "edges": [["Ada", "Babbage"]], "weights": {"Ada — Babbage": 1.0}}
    same = {key: {"a": 1} for key in ("counts", "answers", "deleted", "changes", "custom graph", "export")}
    row = {"status": "processed", "file_path": "a.md", "chunks_count": 1}
    return {
        **same,
        "statuses": {"a": row},
        "counts after the same again": {"processed": 1},
        **dict.fromkeys(("graph", "graph after deleting", "graph in the end"), graph),
        "passages": {mode: {"Who?": ["one", "two"]} for mode in MODES},
    }


async def test_the_facade_plays_it(tmp_path: Path) -> None:
    told = await play("facade", tmp_path, 1200)
    assert {row["status"] for row in told["statuses"].values()} == {"processed"}
    assert told["counts"]["processed"] == len(told["statuses"]) == 36
    assert told["deleted"].pop("not-there") == "not_found" and set(told["deleted"].values()) == {"success"}
    assert told["custom graph"] == {"description": "drew it", "keywords": "drawing", "weight": 2.5}
    assert all(told["passages"][mode].values() for mode in MODES)
    assert set(told["graph after deleting"]["labels"]) < set(told["graph"]["labels"])


def test_what_is_the_same_up_to_the_case_of_names(seen: Mapping[str, Any]) -> None:
    other = copy.deepcopy(dict(seen))
    other["graph"] = {
        "labels": ["ADA", "Babbage"],
        "edges": [["ADA", "Babbage"]],
        "weights": {"ADA — Babbage": 1.0},
    }
    assert all(row.same for row in compared(seen, other))


@pytest.mark.parametrize(
    ("step", "value", "differs"),
    [
        ("counts", {"a": 2}, {"counts"}),
        ("statuses", {"a": {"status": "failed", "file_path": "a.md", "chunks_count": 1}}, {"statuses"}),
        ("counts after the same again", {"failed": 1}, {"counts after the same again"}),
        (
            "graph",
            {"labels": ["Ada"], "edges": [], "weights": {}},
            {"graph: entities", "graph: relations"},
        ),
        (
            "graph",
            {"labels": ["Ada", "Babbage"], "edges": [["Ada", "Babbage"]], "weights": {"Ada — Babbage": 2.0}},
            {"graph: weights"},
        ),
        (
            "passages",
            {mode: {"Who?": ["one"] if mode == "mix" else ["one", "two"]} for mode in MODES},
            {"passages in mode mix"},
        ),
    ],
)
def test_what_differs_is_told(seen: Mapping[str, Any], step: str, value: Any, differs: set[str]) -> None:
    assert {row.what for row in compared(seen, {**seen, step: value}) if not row.same} == differs


async def test_five_at_once_and_in_turn_do_the_same_work(tmp_path: Path) -> None:
    texts = ["Ada Lovelace wrote notes on the Analytical Engine."]
    taken = [await measure(tmp_path / str(n), texts, at_once=bool(n), latency=0.0) for n in range(2)]
    assert taken[0].calls == taken[1].calls == 5 * 2  # a first pass and one gleaning
    assert all(each.wall > 0 for each in taken)


def test_the_table_of_five_tells_medians() -> None:
    pairs = [
        (Taken(wall, 1.0, 10), Taken(1.0, cpu, 10)) for wall, cpu in ((2.0, 1.0), (4.0, 1.5), (5.0, 9.0))
    ]
    assert table({6: pairs}).splitlines()[2] == "| 6 | 10 | 4.00 | 1.00 | 0.25 | 0.30 |"
