"""Time moves only when told to, in one order, on every loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from agentic_synth.clock import Clock
from agentic_synth.testing.clock import FakeClock

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop, uvloop.new_event_loop]


def run(factory: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(main, 20))


@pytest.mark.parametrize("factory", LOOPS)
def test_advance_wakes_sleepers_in_order_of_their_instants_and_lets_tasks_run_between(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        clock: Clock = FakeClock(100.0)
        trace: list[tuple[str, float]] = []

        async def tick(name: str, every: float, times: int) -> None:
            for _ in range(times):
                await clock.sleep(every)
                trace.append((name, clock.now()))

        tasks = [asyncio.create_task(tick("slow", 3, 2)), asyncio.create_task(tick("fast", 2, 3))]
        assert isinstance(clock, FakeClock)
        await clock.advance(5)
        assert trace == [("fast", 102), ("slow", 103), ("fast", 104)]
        assert clock.now() == 105
        await clock.advance(1)
        assert trace[3:] == [("slow", 106), ("fast", 106)]
        await asyncio.gather(*tasks)

    run(factory, main())


@pytest.mark.parametrize("factory", LOOPS)
def test_an_hour_of_backoff_passes_by_itself(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        clock = FakeClock(autojump=True)
        for wait in (600.0, 1200.0, 1800.0):
            await clock.sleep(wait)
        assert clock.now() == 3600.0
        assert clock.sleeping == 0

    run(factory, main())


@pytest.mark.parametrize("factory", LOOPS)
def test_time_stands_still_while_any_task_can_go_on(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        clock = FakeClock(autojump=True)
        seen: list[float] = []

        async def work() -> None:
            for _ in range(40):
                await asyncio.sleep(0)
                seen.append(clock.now())

        await asyncio.gather(clock.sleep(5), work())
        assert seen == [0.0] * 40
        assert clock.now() == 5.0

    run(factory, main())


async def test_an_autojumped_run_gives_the_same_trace_each_time() -> None:
    async def trace() -> list[tuple[int, float]]:
        clock = FakeClock(autojump=True)
        seen: list[tuple[int, float]] = []
        gate = asyncio.Semaphore(7)

        async def one(number: int) -> None:
            async with gate:
                await clock.sleep(0.1 + number * 7 % 13 / 10)
            seen.append((number, clock.now()))

        await asyncio.gather(*(one(number) for number in range(200)))
        return seen

    first = await trace()
    assert first == await trace()
    assert [instant for _, instant in first] == sorted(instant for _, instant in first)


async def test_results_of_threads_come_before_time_jumps_if_the_clock_is_patient() -> None:
    clock = FakeClock(autojump=True, patience=0.05)
    done: list[float] = []

    async def in_thread() -> None:
        await asyncio.to_thread(lambda: sum(range(1000)))
        done.append(clock.now())

    await asyncio.gather(clock.sleep(60), in_thread())
    assert done == [0.0]
    assert clock.now() == 60


async def test_cancelled_sleepers_neither_hold_time_nor_pile_up() -> None:
    clock = FakeClock()
    first = asyncio.create_task(clock.sleep(1))
    for _ in range(1000):
        task = asyncio.create_task(clock.sleep(600))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert clock.sleeping == 1
    assert len(clock._sleepers) <= 70
    await clock.advance(1)
    assert first.done()
    await clock.run_until_idle()
    assert clock.now() == 1
    assert clock.sleeping == 0


async def test_run_until_idle_goes_to_the_last_sleeper_or_to_the_limit() -> None:
    clock = FakeClock()
    finished = asyncio.create_task(clock.sleep(90))
    await clock.run_until_idle()
    assert finished.done()
    assert clock.now() == 90

    async def endless() -> None:
        while True:
            await clock.sleep(10)

    forever = asyncio.create_task(endless())
    await clock.run_until_idle(limit=35)
    assert clock.now() == 120
    forever.cancel()


@pytest.mark.parametrize("seconds", [0, -3])
async def test_a_sleep_that_is_not_positive_only_yields(seconds: float) -> None:
    clock = FakeClock(50)
    await clock.sleep(seconds)
    assert clock.now() == 50
    assert clock.sleeping == 0


async def test_a_sleep_without_end_is_never_jumped_to() -> None:
    clock = FakeClock(autojump=True)
    endless = asyncio.create_task(clock.sleep(math.inf))
    await clock.sleep(5)
    await clock.run_until_idle()
    assert not endless.done()
    assert clock.now() == 5
    endless.cancel()


async def test_the_clock_goes_on_after_all_had_woken() -> None:
    clock = FakeClock(autojump=True)
    await clock.sleep(1)
    await asyncio.sleep(0)
    await clock.sleep(1)
    assert clock.now() == 2
