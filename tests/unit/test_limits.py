from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.errors import DeadlineExceeded, InvalidInput, Overloaded
from stateless_rag.limits import Limits, Priority
from unit.scripted import abandon, settle

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110  (what is waited for happens inside the code under test)
        await asyncio.sleep(0)


def free(limits: Limits) -> bool:
    return limits.in_use("llm") == 0 and limits.waiting("llm") == 0


class Crowd:
    """Tasks that take one slot each, note when they got it, and keep it until they are let go."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.order: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def join(self, name: str, workspace: str = "w", priority: Priority = Priority.INGEST) -> None:
        self.gates[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, workspace, priority))
        await settle()

    async def _hold(self, name: str, workspace: str, priority: Priority) -> None:
        async with self.limits.slot("llm", workspace=workspace, priority=priority):
            self.order.append(name)
            await self.gates[name].wait()

    async def drain(self) -> list[str]:
        done = 0
        while done < len(self.order):
            self.gates[self.order[done]].set()
            await settle()
            done += 1
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return self.order


@pytest.mark.parametrize("bounds", [{"llm": 0}, {"embedder": -1}, {"reranker": True}, {"queue": 1.5}])
def test_bounds_below_one_or_not_whole_are_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(bounds))):
        Limits(**bounds)


async def test_kinds_are_bounded_apart_and_unknown_ones_refused() -> None:
    limits = Limits(llm=1, embedder=2, reranker=3)
    assert [limits.capacity(kind) for kind in ("llm", "embedder", "reranker")] == [1, 2, 3]
    async with (
        limits.slot("llm", workspace="w", priority=Priority.INGEST),
        limits.slot("embedder", workspace="w", priority=Priority.INGEST),
    ):
        assert (limits.in_use("llm"), limits.in_use("embedder"), limits.in_use("reranker")) == (1, 1, 0)
    assert (limits.in_use("llm"), limits.in_use("embedder")) == (0, 0)
    with pytest.raises(InvalidInput, match="printer"):
        limits.in_use("printer")  # type: ignore[arg-type]


def test_a_free_slot_is_entered_and_left_without_suspending() -> None:
    limits = Limits(llm=1)

    async def enter() -> None:
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            assert limits.in_use("llm") == 1

    async def drive() -> None:
        with pytest.raises(StopIteration):
            enter().send(None)

    asyncio.run(drive())
    assert free(limits)


async def test_a_slot_is_given_back_when_the_block_fails() -> None:
    limits = Limits(llm=1)
    with pytest.raises(ZeroDivisionError):
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            _ = 1 / 0
    assert free(limits)


async def test_workspaces_take_turns_and_inside_one_the_first_to_come_goes_first() -> None:
    crowd = Crowd(Limits(llm=1))
    await crowd.join("holder", "z")
    for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
        await crowd.join(name, name[0])
    assert crowd.limits.waiting("llm") == 7
    assert await crowd.drain() == ["holder", "a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_a_workspace_that_asks_again_and_again_alternates_with_a_full_queue() -> None:
    limits = Limits(llm=1)
    served: list[str] = []

    async def call(workspace: str) -> None:
        async with limits.slot("llm", workspace=workspace, priority=Priority.INGEST):
            served.append(workspace)
            await asyncio.sleep(0)

    async def one_by_one() -> None:
        for _ in range(10):
            await call("small")

    await asyncio.gather(*(call("big") for _ in range(100)), one_by_one())
    assert served.index("small") <= 2
    last = max(index for index, workspace in enumerate(served) if workspace == "small")
    assert last <= 25


async def test_queries_go_ahead_of_ingestion() -> None:
    crowd = Crowd(Limits(llm=1))
    await crowd.join("holder")
    for name in ("i1", "i2", "q1", "i3", "q2"):
        await crowd.join(name, name, Priority.QUERY if name[0] == "q" else Priority.INGEST)
    assert await crowd.drain() == ["holder", "q1", "q2", "i1", "i2", "i3"]


async def test_a_crowd_that_asks_without_end_lets_ingestion_through_now_and_then() -> None:
    crowd = Crowd(Limits(llm=1))
    await crowd.join("holder")
    names = [f"i{number}" for number in range(3)] + [f"q{number}" for number in range(40)]
    for name in names:
        await crowd.join(name, name, Priority.QUERY if name[0] == "q" else Priority.INGEST)
    order = await crowd.drain()
    assert [order.index(f"i{number}") for number in range(3)] == [9, 18, 27]
    assert [name for name in order if name[0] == "q"] == [f"q{number}" for number in range(40)]


async def test_newcomers_do_not_overtake_those_who_wait() -> None:
    crowd = Crowd(Limits(llm=1))
    await crowd.join("holder")
    await crowd.join("first")
    crowd.gates["holder"].set()
    crowd.gates["first"].set()
    crowd.gates["late"] = asyncio.Event()
    crowd.gates["late"].set()
    crowd.tasks["late"] = asyncio.create_task(crowd._hold("late", "w", Priority.INGEST))
    await asyncio.gather(*crowd.tasks.values())
    assert crowd.order == ["holder", "first", "late"]


async def test_ingestion_is_bounded_per_workspace_and_does_not_crowd_out_queries() -> None:
    crowd = Crowd(Limits(llm=1, queue=2))
    await crowd.join("holder")
    for name in ("a1", "a2"):
        await crowd.join(name, "a")
    with pytest.raises(Overloaded, match="'a'") as caught:
        async with crowd.limits.slot("llm", workspace="a", priority=Priority.INGEST):
            pass
    assert 0.1 <= caught.value.retry_after <= 60
    await crowd.join("b1", "b")
    await crowd.join("q1", "a", Priority.QUERY)
    await crowd.join("q2", "b", Priority.QUERY)
    with pytest.raises(Overloaded, match="queries"):
        async with crowd.limits.slot("llm", workspace="c", priority=Priority.QUERY):
            pass
    assert crowd.limits.waiting("llm") == 5
    assert await crowd.drain() == ["holder", "q1", "q2", "a1", "b1", "a2"]
    assert free(crowd.limits)


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 0.1), (2.0, 8.0), (500.0, 60.0)])
async def test_time_to_retry_after_follows_the_pace_of_releases(seconds: float, expected: float) -> None:
    now = 1000.0
    crowd = Crowd(Limits(llm=1, queue=4, clock=lambda: now))
    for number in range(5):
        await crowd.join(f"c{number}")
    for number in range(6):  # one comes free every `seconds`, and the queue is filled again
        now += seconds
        crowd.gates[f"c{number}"].set()
        await settle()
        await crowd.join(f"c{number + 5}")
    with pytest.raises(Overloaded) as caught:
        async with crowd.limits.slot("llm", workspace="w", priority=Priority.INGEST):
            pass
    assert caught.value.retry_after == pytest.approx(expected)
    await crowd.drain()


async def test_idle_time_does_not_slow_the_pace() -> None:
    now = 0.0
    limits = Limits(llm=1, queue=1, clock=lambda: now)
    crowd = Crowd(limits)
    await crowd.join("one")
    await crowd.join("two")
    now = 1.0
    await crowd.drain()
    now = 10_000.0
    crowd = Crowd(limits)
    await crowd.join("one")
    await crowd.join("two")
    now = 10_001.0
    crowd.gates["one"].set()
    await settle()
    await crowd.join("three")
    with pytest.raises(Overloaded) as caught:
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            pass
    assert caught.value.retry_after == pytest.approx(1.0)
    await crowd.drain()


async def test_a_deadline_that_passes_while_waiting_is_raised_and_leaves_no_trace() -> None:
    crowd = Crowd(Limits(llm=1))
    await crowd.join("holder")
    with pytest.raises(DeadlineExceeded, match="1 of 1"):
        async with crowd.limits.slot(
            "llm", workspace="w", priority=Priority.INGEST, deadline=time.monotonic() + 0.02
        ):
            pass
    assert (crowd.limits.in_use("llm"), crowd.limits.waiting("llm")) == (1, 0)
    await crowd.drain()
    assert free(crowd.limits)


async def test_a_deadline_that_has_passed_is_raised_even_with_a_free_slot() -> None:
    limits = Limits()
    with pytest.raises(DeadlineExceeded):
        async with limits.slot(
            "llm", workspace="w", priority=Priority.QUERY, deadline=99.0, clock=lambda: 100.0
        ):
            pass
    assert free(limits)


async def test_a_slot_granted_while_the_waiter_is_cancelled_goes_to_the_next() -> None:
    crowd = Crowd(Limits(llm=1))
    for name in ("holder", "cancelled", "next"):
        await crowd.join(name)
    crowd.gates["holder"].set()
    await until(lambda: crowd.limits.waiting("llm") < 2)
    crowd.tasks["cancelled"].cancel()  # the slot is its own by now, but it has not run since
    await settle()
    assert crowd.order == ["holder", "next"]
    await crowd.drain()
    assert crowd.tasks["cancelled"].cancelled()
    assert free(crowd.limits)


@settings(max_examples=50, deadline=None)
@given(
    capacity=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from("jjcrt"), st.integers(0, 9)), max_size=60),
)
def test_storms_of_cancellation_lose_no_slot(capacity: int, steps: list[tuple[str, int]]) -> None:
    async def storm() -> None:
        limits = Limits(llm=capacity)
        crowd = Crowd(limits)
        for number, (step, value) in enumerate(steps):
            names = list(crowd.tasks)
            if step == "j":
                name = str(number)
                crowd.gates[name] = asyncio.Event()
                priority = Priority.QUERY if value == 0 else Priority.INGEST
                crowd.tasks[name] = asyncio.create_task(crowd._hold(name, str(value % 3), priority))
            elif step == "t":
                await asyncio.sleep(0)
            elif names and step == "c":
                crowd.tasks[names[-1 - value % len(names)]].cancel()
            elif names:
                crowd.gates[names[value % len(names)]].set()
            assert limits.in_use("llm") <= capacity
        for gate in crowd.gates.values():
            gate.set()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        await settle()
        assert free(limits)
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            assert limits.in_use("llm") == 1

    asyncio.run(storm())


def in_threads(count: int, main: Callable[[int], Any]) -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            asyncio.run(main(number))
        except BaseException as exc:  # noqa: BLE001  (raised again in the test's own thread)
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_holds_for_several_loops_in_several_threads_under_cancellation(seed: int) -> None:
    limits = Limits(llm=3)
    gauge = threading.Lock()
    running = peak = done = 0

    async def call(dice: random.Random) -> None:
        nonlocal running, peak, done
        deadline = time.monotonic() + 0.002 if dice.random() < 0.1 else None
        priority = dice.choice(list(Priority))
        with suppress(DeadlineExceeded):
            async with limits.slot("llm", workspace=str(dice.random()), priority=priority, deadline=deadline):
                with gauge:
                    running += 1
                    peak = max(peak, running)
                try:
                    await asyncio.sleep(dice.choice([0, 0, 0.0005]))
                finally:
                    with gauge:
                        running -= 1
                        done += 1

    async def main(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        tasks = [asyncio.create_task(call(dice)) for _ in range(150)]
        for _ in range(50):
            await asyncio.sleep(0)
            dice.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    in_threads(4, main)
    assert 1 < peak <= 3
    assert done > 100
    assert free(limits)


def test_waiters_on_another_loop_are_woken() -> None:
    limits = Limits(llm=1)
    held, release = threading.Event(), threading.Event()
    order: list[int] = []

    async def main(number: int) -> None:
        if number == 0:
            async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
                held.set()
                await asyncio.to_thread(release.wait)
                order.append(0)
        else:
            await asyncio.to_thread(held.wait)
            waiting = asyncio.create_task(take())
            await until(lambda: limits.waiting("llm") > 0)
            release.set()
            await waiting

    async def take() -> None:
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            order.append(1)

    in_threads(2, main)
    assert order == [0, 1]
    assert free(limits)


async def hold(limits: Limits) -> None:
    async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
        await asyncio.get_running_loop().create_future()


def test_a_waiter_whose_loop_was_closed_is_passed_over() -> None:
    limits = Limits(llm=1)
    left: list[asyncio.Task[None]] = []

    async def main() -> None:
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            await asyncio.to_thread(lambda: left.extend(abandon(hold(limits)) for _ in range(3)))
            assert limits.waiting("llm") == 3
        assert free(limits)

    asyncio.run(main())
    left.clear()
    gc.collect()
    assert free(limits)


def test_slots_held_on_a_loop_that_was_closed_come_back_and_are_not_given_twice() -> None:
    limits = Limits(llm=2)
    left = [abandon(hold(limits)), abandon(hold(limits))]
    assert limits.in_use("llm") == 2

    async def main() -> None:
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            assert limits.in_use("llm") == 1
            left.clear()
            gc.collect()
            assert limits.in_use("llm") == 1

    asyncio.run(main())
    assert free(limits)


def test_leaving_never_blocks_on_a_lock_held_by_its_own_thread() -> None:
    # as when the collector of cycles closes a coroutine in the middle of another one's entering
    limits = Limits(llm=1)

    async def main() -> None:
        slot = limits.slot("llm", workspace="w", priority=Priority.INGEST)
        await slot.__aenter__()
        with limits._pools["llm"]._lock:
            await slot.__aexit__(None, None, None)
            assert limits.in_use("llm") == 1
        async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
            assert limits.in_use("llm") == 1

    asyncio.run(main())
    assert free(limits)


async def test_ten_thousand_waiters_come_and_go_in_linear_time() -> None:
    limits = Limits(llm=1)
    async with limits.slot("llm", workspace="w", priority=Priority.INGEST):
        tasks = [asyncio.create_task(hold(limits)) for _ in range(10_000)]
        await settle()
        assert limits.waiting("llm") == 10_000
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert free(limits)
