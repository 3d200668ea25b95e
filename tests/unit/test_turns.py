"""Turns: as many steps of ingestion in a round of an event loop as there is time for."""

import asyncio
from itertools import pairwise

import pytest

from stateless_rag.limits import Limits, Priority
from stateless_rag.right_of_way import RightOfWay
from stateless_rag.turns import Turns


class Processor:
    """Seconds of the processor, as steps say that they take them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def _rounds_of(callers: int, seconds: float) -> list[int]:
    """The rounds in which steps of so many seconds were made, all of which became ready in the same one."""
    processor, together, rounds, beat = Processor(), asyncio.Event(), list[int](), [0]
    turns, order = Turns(processor), list[int]()

    async def step(number: int) -> None:
        await together.wait()
        await turns.take(RightOfWay())
        order.append(number)
        rounds.append(beat[0])
        processor.seconds += seconds

    tasks = [asyncio.create_task(step(number)) for number in range(callers)]
    await asyncio.sleep(0)
    together.set()
    while len(rounds) < callers:
        await asyncio.sleep(0)
        beat[0] += 1
    await asyncio.gather(*tasks)
    assert order == list(range(callers)), "first come, first served"
    assert turns.waiting() == 0
    return rounds


@pytest.mark.parametrize("callers", [1, 2, 50])
async def test_long_steps_that_become_ready_together_go_one_in_each_round(callers: int) -> None:
    rounds = await _rounds_of(callers, 0.006)
    assert len(set(rounds)) == callers, f"two steps in one round: {rounds}"


@pytest.mark.parametrize("seconds", [0.0005, 0.001, 0.002])
async def test_no_round_takes_much_longer_than_five_milliseconds(seconds: float) -> None:
    rounds = await _rounds_of(100, seconds)
    fullest = max(rounds.count(number) for number in rounds)
    assert 0.0025 <= fullest * seconds <= 0.01


async def test_short_steps_share_a_round() -> None:
    assert len(set(await _rounds_of(200, 0.0))) < 15


async def test_one_step_is_made_in_every_round_however_long_others_take() -> None:
    processor = Processor()
    turns = Turns(processor)

    async def other() -> None:
        while True:
            processor.seconds += 1.0
            await asyncio.sleep(0)

    busy = asyncio.create_task(other())
    steps = [asyncio.create_task(turns.take(RightOfWay())) for _ in range(20)]
    for _ in range(60):
        await asyncio.sleep(0)
    assert all(step.done() for step in steps)
    busy.cancel()


async def test_who_is_asked_without_end_takes_documents_in_too() -> None:
    processor, rounds, beat = Processor(), list[int](), [0]
    turns = Turns(processor)

    async def other() -> None:
        while True:
            processor.seconds += 0.5
            await asyncio.sleep(0)
            beat[0] += 1

    async def step() -> None:
        await turns.take(RightOfWay())
        processor.seconds += 0.002
        rounds.append(beat[0])

    busy = asyncio.create_task(other())
    await asyncio.gather(*(step() for _ in range(1000)))
    busy.cancel()
    late = [rounds.count(number) for number in sorted(set(rounds))[10:-1]]
    assert min(late) * 0.002 > 0.1, "a fifth of the time and more"
    assert max(late) * 0.002 < 0.3, "and no more than others have"


async def test_a_long_step_after_many_short_ones_ends_its_round() -> None:
    processor, beat, long_at, order = Processor(), [0], list[int](), list[int]()
    turns = Turns(processor)

    async def step(number: int, seconds: float) -> None:
        await turns.take(RightOfWay())
        processor.seconds += seconds
        order.append(number)
        if seconds:
            long_at.append(beat[0])

    tasks = [asyncio.create_task(step(number, 0.0)) for number in range(200)]
    tasks += [asyncio.create_task(step(number, 0.006)) for number in range(200, 220)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        beat[0] += 1
    assert len(set(long_at)) == 20, long_at
    assert order == list(range(220)), "who had no time comes first in the next round"


async def test_others_run_between_two_long_steps() -> None:
    processor, seen = Processor(), list[str]()
    turns = Turns(processor)

    async def step() -> None:
        await turns.take(RightOfWay())
        seen.append("step")
        processor.seconds += 0.1

    async def question() -> None:
        for _ in range(10):
            seen.append("question")
            await asyncio.sleep(0)

    await asyncio.gather(*(step() for _ in range(10)), question())

    assert ("step", "step") not in list(pairwise(seen)), seen


async def test_a_turn_that_nobody_else_wants_does_not_suspend() -> None:
    turns = Turns()
    for _ in range(2):
        taking = turns.take(RightOfWay())
        with pytest.raises(StopIteration):
            taking.send(None)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_who_is_cancelled_while_waiting_leaves_the_turn_to_the_next() -> None:
    processor, went = Processor(), list[int]()
    turns = Turns(processor)

    async def step(number: int) -> None:
        await turns.take(RightOfWay())
        went.append(number)
        processor.seconds += 1.0

    tasks = [asyncio.create_task(step(number)) for number in range(5)]
    await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    assert went == [0, 4]
    assert [type(each) for each in ended] == [type(None), *[asyncio.CancelledError] * 3, type(None)]
    assert turns.waiting() == 0


def test_a_loop_that_was_closed_in_between_holds_nobody_up() -> None:
    turns = Turns()

    async def leave_one_waiting() -> None:
        await turns.take(RightOfWay())
        asyncio.get_running_loop().create_task(turns.take(RightOfWay()))
        await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        runner.run(leave_one_waiting())  # its end cancels who waits

    async def go_on() -> None:
        await asyncio.wait_for(asyncio.gather(*(turns.take(RightOfWay()) for _ in range(3))), 60)
        for _ in range(3):
            await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        runner.run(go_on())
    assert turns.waiting() == 0


async def test_questions_never_wait_for_the_steps_of_an_ingest() -> None:
    limits = Limits()
    ingesting = [asyncio.create_task(limits.turn(Priority.INGEST, RightOfWay())) for _ in range(20)]
    await asyncio.sleep(0)
    asking = limits.turn(Priority.QUERY, RightOfWay())
    with pytest.raises(StopIteration):
        asking.send(None)
    assert not all(task.done() for task in ingesting)
    await asyncio.gather(*ingesting)


async def test_no_step_is_begun_while_a_question_has_the_right_of_way() -> None:
    seconds = [1.0]
    way, turns, went = RightOfWay(lambda: seconds[0]), Turns(), list[int]()

    async def step(number: int) -> None:
        await turns.take(way)
        went.append(number)

    with way.question():
        tasks = [asyncio.create_task(step(number)) for number in range(5)]
        await asyncio.sleep(0.02)
        assert went == []
    await asyncio.wait_for(asyncio.gather(*tasks), 240)
    assert went == list(range(5))
