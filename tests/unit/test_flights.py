from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.flights import Flights
from unit.scripted import abandon, settle


class Errand:
    """Fetches one thing for all who want it, as the stages do: lead, or wait and look."""

    def __init__(self, flights: Flights, failures: int = 0) -> None:
        self.flights = flights
        self.failures = failures
        self.kept: dict[str, int] = {}
        self.paid = 0
        self.gate = asyncio.Event()

    async def run(self, digest: str = "d") -> int:
        while True:
            with self.flights.lead([digest]) as led:
                if digest in self.kept:
                    return self.kept[digest]
                if led:
                    self.paid += 1
                    await self.gate.wait()
                    if self.failures:
                        self.failures -= 1
                        raise ConnectionError
                    self.kept[digest] = self.paid
                    return self.paid
            await self.flights.wait(digest)


async def test_one_leads_and_the_others_see_what_it_kept() -> None:
    errand = Errand(Flights())
    tasks = [asyncio.create_task(errand.run()) for _ in range(5)]
    await settle()
    errand.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 5
    assert (errand.paid, len(errand.flights)) == (1, 0)


async def test_different_digests_do_not_wait_for_each_other() -> None:
    flights = Flights()
    with flights.lead(["a"]) as first, flights.lead(["b"]) as second:
        assert first
        assert second
        assert len(flights) == 2
    assert len(flights) == 0


async def test_after_a_leader_failed_one_waiter_takes_over() -> None:
    errand = Errand(Flights(), failures=1)
    tasks = [asyncio.create_task(errand.run()) for _ in range(4)]
    await settle()
    errand.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], ConnectionError)
    assert results[1:] == [2, 2, 2]
    assert (errand.paid, len(errand.flights)) == (2, 0)


async def test_after_a_leader_was_cancelled_one_waiter_takes_over() -> None:
    errand = Errand(Flights())
    tasks = [asyncio.create_task(errand.run()) for _ in range(4)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert errand.paid == 2
    errand.gate.set()
    assert await asyncio.gather(*tasks[1:]) == [2, 2, 2]
    assert len(errand.flights) == 0


async def test_a_cancelled_waiter_changes_nothing() -> None:
    errand = Errand(Flights())
    tasks = [asyncio.create_task(errand.run()) for _ in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    assert len(errand.flights) == 1
    errand.gate.set()
    assert [await tasks[0], await tasks[2]] == [1, 1]


async def test_a_flight_that_landed_between_being_found_and_waited_for_does_not_hold_anyone() -> None:
    flights = Flights()
    with flights.lead(["d"]) as led:

        class Landing(dict[str, Any]):
            def get(self, key: str, default: Any = None) -> Any:
                found = super().get(key, default)
                flights.land(led)
                return found

        flights._flights = Landing(flights._flights)
        async with asyncio.timeout(240):
            await flights.wait("d")
    assert len(flights) == 0


async def test_who_waits_for_one_of_many_digests_is_woken_by_that_one() -> None:
    flights = Flights()
    with flights.lead(["a", "b"]) as led:
        waiting = {digest: asyncio.create_task(flights.wait(digest)) for digest in "ab"}
        await settle()
        flights.land(led, ["b"])
        await settle()
        assert {digest: task.done() for digest, task in waiting.items()} == {"a": False, "b": True}
        flights.land(led)
        await asyncio.gather(*waiting.values())


async def test_leading_takes_what_nobody_leads_and_can_end_a_part_early() -> None:
    flights = Flights()
    with flights.lead(["a", "b"]) as first, flights.lead(["b", "c", "d"]) as second:
        assert (first, second) == ({"a", "b"}, {"c", "d"})
        waiting = asyncio.create_task(flights.wait("c"))
        await settle()
        assert not waiting.done()
        flights.land(second, ["c", "a", "unknown"])  # only its own end
        await waiting
        assert (second, len(flights)) == ({"d"}, 3)
        with flights.lead(["c"]) as again:
            assert again == {"c"}
    assert len(flights) == 0
    await flights.wait("a")


async def test_leading_ends_its_flights_when_the_block_fails() -> None:
    flights = Flights()
    with pytest.raises(ConnectionError), flights.lead(["a", "b"]):
        raise ConnectionError
    assert len(flights) == 0


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("jjcft"), st.integers(0, 9)), max_size=40),
    failures=st.integers(0, 3),
)
def test_storms_leave_nobody_waiting(steps: list[tuple[str, int]], failures: int) -> None:
    async def storm() -> None:
        errand = Errand(Flights(), failures)
        tasks: list[asyncio.Task[int]] = []
        for step, value in steps:
            if step == "j":
                tasks.append(asyncio.create_task(errand.run(str(value % 2))))
            elif step == "t":
                await asyncio.sleep(0)
            elif step == "c" and tasks:
                tasks[value % len(tasks)].cancel()
        errand.gate.set()
        if tasks:
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert len(errand.flights) == 0

    asyncio.run(storm())


@pytest.mark.parametrize("seed", range(3))
def test_loops_in_several_threads_pay_once(seed: int) -> None:
    flights = Flights()
    kept: dict[str, int] = {}
    paid: list[str] = []
    start = threading.Barrier(4)

    async def fetch(digest: str) -> None:
        while True:
            with flights.lead([digest]) as led:
                if digest in kept:
                    return
                if led:
                    paid.append(digest)
                    await asyncio.sleep(0.001)
                    kept[digest] = 1
                    return
            await flights.wait(digest)

    async def main() -> None:
        start.wait()
        await asyncio.gather(*(fetch(str(number % 40)) for number in range(200)))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(paid) == sorted({str(number) for number in range(40)})
    assert len(flights) == 0


async def hold(flights: Flights) -> None:
    with flights.lead(["d"]):
        await asyncio.get_running_loop().create_future()


def test_a_leader_whose_loop_was_closed_is_replaced_once_collected() -> None:
    flights = Flights()
    left = [abandon(hold(flights))]
    assert len(flights) == 1
    left.clear()
    gc.collect()
    assert len(flights) == 0


def test_a_waiter_whose_loop_was_closed_does_not_disturb_landing() -> None:
    flights = Flights()
    left: list[asyncio.Task[None]] = []

    async def main() -> None:
        with flights.lead(["d"]):
            await asyncio.to_thread(lambda: left.append(abandon(hold(flights))))
            waiting = asyncio.create_task(flights.wait("d"))
            await settle()
        await waiting

    asyncio.run(main())
    left.clear()
    gc.collect()
    assert len(flights) == 0
