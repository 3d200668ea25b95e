"""The right of way: work on an ingest waits while a question is looked up, and for two thirds of the time at most."""

import asyncio
import threading
from itertools import pairwise
from pathlib import Path

from stateless_rag import Document, Engine, Store
from stateless_rag.right_of_way import RightOfWay
from stateless_rag.settings import StoreSettings


class Clock:
    """Seconds, as a test says that they pass."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _taken_at(way: RightOfWay, clock: Clock, milliseconds: int) -> list[int]:
    """In which of the next milliseconds work had to wait."""
    taken = []
    for number in range(milliseconds):
        if way.is_taken():
            taken.append(number)
        clock.seconds += 0.001
    return taken


def test_nobody_waits_where_nobody_asks() -> None:
    way, clock = RightOfWay(), Clock()
    assert _taken_at(way, clock, 5) == []
    way.give()


def test_work_waits_for_a_question_and_for_those_beside_it() -> None:
    clock = Clock()
    way = RightOfWay(clock)
    with way.question():
        with way.question():
            assert _taken_at(way, clock, 10) == list(range(10))
        assert way.is_taken()
    assert not way.is_taken()


def test_after_a_question_the_next_one_waits_half_as_long_as_work_did() -> None:
    clock = Clock()
    way = RightOfWay(clock)
    with way.question():
        clock.seconds += 0.010
    with way.question():
        taken = _taken_at(way, clock, 30)
    assert taken == list(range(taken[0], 30)) and 4 <= taken[0] <= 6


def test_questions_without_end_have_two_thirds_of_the_time() -> None:
    clock = Clock()
    way = RightOfWay(clock)
    with way.question():
        taken = _taken_at(way, clock, 1000)
    assert 630 <= len(taken) <= 700
    assert max(after - before for before, after in pairwise(taken)) >= 20


def test_short_questions_without_a_pause_have_two_thirds_of_the_time() -> None:
    clock = Clock()
    way = RightOfWay(clock)
    taken = 0
    for _ in range(100):
        with way.question():
            taken += len(_taken_at(way, clock, 10))
    assert 580 <= taken <= 720


def test_a_thread_that_gives_way_goes_on_when_the_question_has_ended() -> None:
    clock = Clock()
    way, steps, gave = RightOfWay(clock), list[str](), threading.Event()

    def work() -> None:
        steps.append("begun")
        gave.set()
        way.give()
        steps.append("went on")

    with way.question():
        thread = threading.Thread(target=work)
        thread.start()
        assert gave.wait(240)
        thread.join(0.2)
        assert steps == ["begun"]  # the clock stands still: the question's time is not over
    thread.join(240)
    assert steps == ["begun", "went on"]


async def test_an_ingest_ends_while_somebody_always_asks(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store, Engine.open(store, "busy") as engine:
        with store.way.question():
            report = await engine.insert(Document(f"Ada met Number {n}.", id=f"d{n}") for n in range(20))
        assert not report.failed and len(report.documents) == 20


async def test_a_question_waits_for_no_thread_that_folds(tmp_path: Path) -> None:
    async with (
        Store.open(tmp_path, StoreSettings(readers=1)) as store,
        Engine.open(store, "busy") as engine,
    ):
        workspace, begun, asked = engine.workspace, threading.Event(), threading.Event()

        def fold(_: object) -> bool:
            begun.set()
            return asked.wait(20)

        folding = [asyncio.create_task(workspace.read_basis(fold)) for _ in range(2)]
        assert await asyncio.to_thread(begun.wait, 240)
        await workspace.read(lambda _: asked.set())
        assert await asyncio.gather(*folding) == [True, True]
