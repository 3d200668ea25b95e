"""The harness: each run in a process of its own, and whatever becomes of it is reported."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import runner as runner_module
from bench.providers import DIMENSION, RuledLLM
from bench.runner import Runner, run_all
from bench.runs import BASELINE, OURS, Machine, Outcome, Run
from stateless_rag.testing import DeterministicEmbedder, FakeOpenAIServer

RUN = Run(workload="ingest", arm=OURS, corpus="hub", size=8, limit=120)
MACHINE = Machine(
    processor="p", cores=2, memory_gib=1, system="s", python="3", versions={}, commit="c", started="t"
)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path, tmp_path)


@pytest.mark.parametrize("transport", ["in-process", "http"])
def test_a_run_gives_its_values_and_asks_the_server_over_http_only(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, transport: Any
) -> None:
    server = FakeOpenAIServer(RuledLLM(), DeterministicEmbedder(DIMENSION))

    @contextmanager
    def serving(*_: object) -> Iterator[str]:
        with server.in_thread():
            yield server.base_url

    monkeypatch.setattr(runner_module, "serving", serving)
    outcome = runner.run(replace(RUN, transport=transport))
    assert outcome.status == "ok", outcome.error
    assert outcome.values["llm_calls"] >= 8
    assert outcome.values["entities"] >= 9
    assert outcome.values["peak_mib"] > 10
    chats = [record for record in server.log if record.path.endswith("/chat/completions")]
    assert len(chats) == (outcome.values["llm_calls"] if transport == "http" else 0)


def test_what_is_prepared_is_prepared_once_and_not_changed(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[str] = []
    phase = Runner._phase

    def noted(self: Runner, run: Run, name: Any, folder: Path, limit: float) -> Outcome:
        phases.append(name)
        return phase(self, run, name, folder, limit)

    monkeypatch.setattr(Runner, "_phase", noted)
    deletion = replace(RUN, workload="deletion", count=2)
    first, second = runner.run(deletion), runner.run(deletion)
    assert phases == ["prepare", "measure", "measure"]
    assert first.status == second.status == "ok", first.error
    assert first.values["relations"] == second.values["relations"] == 6


def test_what_cannot_be_prepared_is_not_tried_again(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[str] = []

    def fails(self: Runner, run: Run, name: Any, folder: Path, limit: float) -> Outcome:
        phases.append(name)
        return Outcome(run=run, status="time limit", error="prepare: too long")

    monkeypatch.setattr(Runner, "_phase", fails)
    runs = [replace(RUN, workload="deletion", repetition=number) for number in (1, 2)]
    outcomes = [runner.run(run) for run in runs]
    assert phases == ["prepare"]
    assert [outcome.run for outcome in outcomes] == runs
    assert {(outcome.status, outcome.error) for outcome in outcomes} == {("time limit", "prepare: too long")}


def test_a_time_limit_is_reported(runner: Runner) -> None:
    outcome = runner.run(replace(RUN, limit=0.05))
    assert (outcome.status, outcome.values) == ("time limit", {})
    assert "0.05 s" in outcome.error


def test_a_run_that_falls_over_is_reported_with_its_error(runner: Runner) -> None:
    outcome = runner.run(replace(RUN, corpus="2wiki", size=10_000_000))
    assert outcome.status == "failed"
    assert "Error" in outcome.error


def test_a_missing_baseline_says_how_to_get_it(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner_module, "BASELINE_PYTHON", tmp_path / "none")
    outcome = runner.run(replace(RUN, arm=BASELINE))
    assert outcome.status == "failed"
    assert "make bench-env" in outcome.error


def test_results_are_on_disk_after_every_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = tmp_path / "new" / "results.json"
    seen: list[int] = []

    def fake(self: Runner, run: Run) -> Outcome:
        seen.append(len(json.loads(results.read_text())["outcomes"]) if results.exists() else 0)
        return Outcome(run=run, status="ok", values={"wall": 1.0})

    monkeypatch.setattr(Runner, "run", fake)
    told: list[str] = []
    outcomes = run_all([RUN, replace(RUN, repetition=2), replace(RUN, size=9)], MACHINE, results, told.append)
    assert seen == [0, 1, 2]
    assert len(told) == 3
    written = json.loads(results.read_text())
    assert [Outcome.from_json(each) for each in written["outcomes"]] == outcomes
    assert Machine(**written["machine"]) == MACHINE
    assert not list(tmp_path.rglob("*.new"))


def test_the_time_for_all_runs_bounds_each_and_what_is_left_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = iter([100.0, 100.0, 130.0, 160.0])
    limits: list[float] = []

    def fake(self: Runner, run: Run) -> Outcome:
        limits.append(run.limit)
        return Outcome(run=run, status="ok", values={"wall": 1.0})

    monkeypatch.setattr(Runner, "run", fake)
    runs = [replace(RUN, repetition=number, limit=40.0) for number in (1, 2, 3)]
    outcomes = run_all(
        runs, MACHINE, tmp_path / "r.json", lambda _: None, seconds=60.0, clock=lambda: next(now)
    )
    assert limits == [40.0, 30.0]
    assert [outcome.status for outcome in outcomes] == ["ok", "ok", "time limit"]
    assert len({outcome.run.case for outcome in outcomes}) == 1


def test_children_get_nothing_of_the_callers_settings(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("MAX_ASYNC_LLM", "1")
    for run in (RUN, replace(RUN, arm=BASELINE)):
        assert not {"OPENAI_API_KEY", "MAX_ASYNC_LLM"} & runner._environment(run).keys()
    assert "TIKTOKEN_CACHE_DIR" in runner._environment(replace(RUN, arm=BASELINE))


def test_what_an_ingest_leaves_is_what_later_runs_start_from(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[str] = []
    phase = Runner._phase

    def noted(self: Runner, run: Run, name: Any, folder: Path, limit: float) -> Outcome:
        phases.append(name)
        return phase(self, run, name, folder, limit)

    monkeypatch.setattr(Runner, "_phase", noted)
    assert runner.run(RUN).status == "ok"
    assert runner.run(replace(RUN, workload="deletion", count=2)).status == "ok"
    assert phases == ["measure", "measure"]


def test_a_kept_folder_keeps_what_the_baseline_wrote_alone(tmp_path: Path) -> None:
    names = ["prepared-lightrag-2wiki-9", "prepared-lightrag-faiss-2wiki-9", "prepared-stateless-rag-2wiki-9"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "failed-lightrag-2wiki-8.json").write_text("{}")
    with Runner.in_folder(tmp_path):
        kept = sorted(path.name for path in tmp_path.glob("*lightrag*"))
    assert kept == names[:2]
    assert not (tmp_path / names[2]).exists()


def test_results_of_an_earlier_sitting_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Runner, "run", lambda _, run: Outcome(run=run, status="ok", values={"wall": 1.0}))
    earlier = Outcome(run=RUN, status="ok", values={"wall": 2.0}, commit="earlier", started="then")
    results = tmp_path / "results.json"
    run_all([replace(RUN, size=9)], MACHINE, results, lambda _: None, known=[earlier])
    read = [Outcome.from_json(each) for each in json.loads(results.read_text())["outcomes"]]
    assert read[0] == earlier
    assert [(each.run.size, each.commit) for each in read] == [(8, "earlier"), (9, "c")]
    assert read[1].started
