"""The harness: what is planned, what the arms are given, and what is counted."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from bench.arms.ours import open_arm
from bench.corpus import passages, questions
from bench.encoding import encoding_folder
from bench.meter import Tally, percentile, section, watch_lag
from bench.providers import CountedEmbedder, CountedLLM, RuledLLM, providers
from bench.runs import BASELINE, OURS, Run, Scale
from bench.workloads import plan, workload, workloads
from bench.workloads.slots import busy
from stateless_rag.protocols import LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.text import entity_key

TEXT = "Ada Lovelace\nAda Lovelace met Charles Babbage in London."
DELIMITED = "fields are separated by <|#|>"


@pytest.mark.parametrize("scale", ["quick", "full"])
def test_every_workload_is_planned_and_both_arms_do_the_same(scale: Scale) -> None:
    runs = plan(scale)
    assert {run.workload for run in runs} == {each.name for each in workloads()}
    assert len(set(runs)) == len(runs)
    sized = {
        (run.workload, run.size, run.transport, run.variant, run.count, run.corpus)
        for run in runs
        if run.arm == OURS
    }
    theirs = {
        (run.workload, run.size, run.transport, run.variant, run.count, run.corpus)
        for run in runs
        if run.arm != OURS
    }
    assert theirs <= sized
    assert {name for name, *_ in theirs} >= {"ingest", "slots", "retrieval", "cold_open", "deletion", "calls"}


def test_a_plan_can_be_narrowed() -> None:
    assert {run.workload for run in plan("full", ["hub"])} == {"hub"}
    assert {run.arm for run in plan("full", (), [BASELINE])} == {BASELINE}


def test_arms_alternate_where_repeated() -> None:
    arms = [run.arm for run in plan("full", ["cold_open"])]
    assert arms[: len(arms) // 3] * 3 == arms


def test_generated_passages_hold_what_they_promise() -> None:
    llm = DeterministicLLM()
    keys = [
        entity_key(name) for passage in passages("wide", 200) for name, _, _ in llm.records(passage.text)[0]
    ]
    assert len(set(keys)) == 2000
    for passage in passages("hub", 30):
        assert "Omega Central" in {name for name, _, _ in llm.records(passage.text)[0]}


def test_questions_ask_for_titles_spread_over_the_corpus() -> None:
    asked = questions("wide", 100, 4)
    titles = [passage.title for passage in passages("wide", 100)]
    assert [titles.index(question.low[0]) for question in asked] == [0, 25, 50, 75]


@pytest.mark.parametrize(
    "prompt",
    [
        f"Write down the records.\n\nText:\n```text\n{TEXT}\n```",
        f"---Instructions---\nWrite records.\n```\n{TEXT}\n```\n\n---Output---",
        f"````text\n{TEXT}\n````\n",
    ],
)
async def test_the_text_is_found_in_either_prompt(prompt: str) -> None:
    entities = {name for name, _, _ in DeterministicLLM().records(TEXT)[0]}
    reply = await RuledLLM().complete(LLMRequest(prompt=prompt, system=DELIMITED))
    found = {line.split("<|#|>")[1] for line in reply.text.splitlines() if line.startswith("entity<")}
    assert found == entities
    assert reply.prompt_tokens is not None
    assert reply.prompt_tokens > len(prompt) // 4


async def test_calls_texts_and_tokens_are_counted() -> None:
    tally = Tally()
    llm, embedder = CountedLLM(RuledLLM(), tally), CountedEmbedder(DeterministicEmbedder(8), tally)
    with section(tally) as taken:
        reply = await llm.complete(LLMRequest(prompt="x" * 40, system="y" * 20))
        await embedder.embed(["one", "two", "three"], role="document")
    assert taken.values["llm_calls"] == taken.values["embed_calls"] == 1
    assert taken.values["embed_texts"] == 3
    assert taken.values["tokens_in"] == 15
    assert taken.values["tokens_out"] == -(-len(reply.text) // 4)


async def test_a_section_counts_from_where_it_begins() -> None:
    tally = Tally(llm_calls=7)
    with section(tally) as taken:
        tally.llm_calls += 2
    assert taken.values["llm_calls"] == 2


async def test_overlapping_calls_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 13.0, 20.0, 21.0])
    monkeypatch.setattr("bench.meter.time.perf_counter", lambda: next(now))
    tally = Tally()
    with tally.call(), tally.call():
        pass
    with tally.call():
        pass
    assert tally.waited == 4.0


def test_percentiles_are_values_that_occurred() -> None:
    times = [float(n) for n in range(1, 101)]
    assert [percentile(times, share) for share in (0.5, 0.95, 1.0)] == [50.0, 95.0, 100.0]
    assert percentile([3.0], 0.5) == 3.0


def test_slots_are_busy_for_what_the_llm_works() -> None:
    run = Run(workload="slots", arm=OURS, size=1, latency=0.2, slots=16)
    assert busy(run, 160, 2.0) == pytest.approx(1.0)
    assert busy(run, 160, 4.0) == pytest.approx(0.5)


async def test_lag_of_the_loop_is_noticed() -> None:
    import time

    async with watch_lag() as lag:
        await asyncio.sleep(0.02)
        time.sleep(0.1)  # noqa: ASYNC251 -- the lag to be noticed
        await asyncio.sleep(0.02)
    assert lag.longest_ms > 80


def test_the_encoding_is_what_tiktoken_asks_for(tmp_path: Path) -> None:
    (found,) = encoding_folder(tmp_path / "new").iterdir()
    pinned = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
    assert hashlib.sha256(found.read_bytes()).hexdigest() == pinned
    assert found.name == "fb374d419588a4632f3f557e76b4b70aebbca790"


async def test_our_arm_does_what_the_workloads_ask(tmp_path: Path) -> None:
    run = Run(workload="ingest", arm=OURS, corpus="hub", size=6)
    texts = passages("hub", 6)
    async with (
        providers(None, 0.0) as called,
        open_arm(run, tmp_path, called) as arm,
        arm.open() as subject,
    ):
        await subject.insert(texts)
        assert called.tally.llm_calls == 6
        assert (await subject.sizes())["relations"] == 6
        assert await subject.retrieve(questions("hub", 6, 1)[0], "mix") > 0
        await subject.delete([texts[0].id])
        with pytest.raises(RuntimeError, match="not there"):
            await subject.delete([texts[0].id])


def test_workloads_are_found_by_name() -> None:
    assert all(workload(each.name) is each for each in workloads())
