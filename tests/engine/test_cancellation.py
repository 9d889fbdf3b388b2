"""A request is cancelled at every await in turn; afterwards nothing is held and nobody else was harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from agentic_synth.config import EngineConfig
from agentic_synth.errors import SynthError
from agentic_synth.types import Response
from tests.engine.engine_examples import Stand, opened, request

Work = Callable[[Stand], Coroutine[Any, Any, object]]


class CancelledAt:
    """*work*, which cancels its own task at its *number*-th await.

    The cancellation comes before what is awaited is there, or (*late*) in the same turn of the loop: the race in
    which a permit or an answer is lost most easily.
    """

    def __init__(self, work: Coroutine[Any, Any, object], number: int, *, late: bool) -> None:
        self._work = work
        self._number = number
        self._late = late
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, object]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._work.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                awaited = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                return end.value
            if self.awaits == self._number:
                self._cancel(task, awaited)
            self.awaits += 1
            try:
                yield awaited
                thrown = None
            except BaseException as error:  # noqa: BLE001 - handed on into the work
                thrown = error

    def _cancel(self, task: asyncio.Task[Any], awaited: asyncio.Future[Any] | None) -> None:
        if not self._late:
            task.cancel()
        elif awaited is None:
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            awaited.add_done_callback(lambda _: task.cancel())


async def ask(stand: Stand) -> None:
    await stand.engine.submit(request("mine"))


async def ask_with_a_deadline(stand: Stand) -> None:
    await stand.engine.submit(request("mine", deadline=stand.engine.deadline(1e6), run="mine"))


async def ask_in_a_stream(stand: Stand) -> None:
    response = await stand.engine.stream(request("mine", parameters={"max_tokens": 4}))
    assert response.body is not None
    try:
        async for _ in response.body:
            pass
    finally:
        await response.body.aclose()


async def run(coroutine: Coroutine[Any, Any, object], number: int, *, late: bool) -> bool:
    """Run it as a task of its own, cancelled at that await; returns whether there was such an await."""
    subject = CancelledAt(coroutine, number, late=late)

    async def task() -> None:
        await subject

    ended = asyncio.create_task(task())
    await asyncio.wait([ended])
    if not ended.cancelled() and (error := ended.exception()) is not None:
        assert isinstance(error, SynthError), error
    return subject.awaits > number


SITUATIONS: dict[str, tuple[EngineConfig, dict[str, Any], int]] = {
    "free": (EngineConfig(), {"sim": {"latency": "10ms+1ms/token"}}, 0),
    "behind others": (EngineConfig(concurrency=1), {"sim": {"latency": "10ms+1ms/token"}}, 3),
    "rate limited": (EngineConfig(), {"sim": {"latency": "10ms", "rate": "60/min:1"}}, 2),
    "failing": (EngineConfig(tries=4), {"sim": {"latency": "10ms", "faults": "error=0.8"}}, 1),
    "fallback": (
        EngineConfig(tries=2),
        {"fallback": ("other/m",), "sim": {"faults": "error=1"}, "other": {"latency": "10ms"}},
        0,
    ),
    "short of money": (EngineConfig(budget="3req"), {"sim": {"latency": "10ms"}}, 3),
    "stalled": (EngineConfig(tries=2), {"sim": {"latency": "10ms", "faults": "stall=1"}}, 0),
}


@pytest.mark.parametrize("late", [False, True], ids=["before", "in the same turn"])
@pytest.mark.parametrize("work", [ask, ask_with_a_deadline, ask_in_a_stream])
@pytest.mark.parametrize("situation", SITUATIONS)
async def test_cancelled_at_every_await(situation: str, work: Work, late: bool) -> None:
    config, more, others = SITUATIONS[situation]
    number = 0
    while True:
        async with opened(config, **more) as stand:
            before = [asyncio.create_task(stand.engine.submit(request(f"before {other}"))) for other in range(others)]
            await asyncio.sleep(0)
            there = await run(work(stand), number, late=late)
            unharmed = await asyncio.gather(*before, return_exceptions=True)
            assert all(isinstance(ended, Response | SynthError) for ended in unharmed)
            await stand.engine.drain()
            assert stand.at_rest() == [], f"cancelled at await {number}"
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert len(left) <= 1, "only the watch on the process is left"
            if situation in ("free", "behind others"):
                assert isinstance(await stand.engine.submit(request("after")), Response), "the permit is there"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if not there:
            break
        number += 1
    assert number > 0, "there was something to cancel"


async def test_a_storm_of_cancellations_loses_no_permit() -> None:
    async with opened(EngineConfig(concurrency=7), sim={"latency": "uniform:1ms:50ms", "faults": "error=0.1"}) as stand:
        asking = [asyncio.create_task(stand.engine.submit(request(f"number {number}"))) for number in range(500)]
        for number, task in enumerate(asking):
            if number % 3 == 0:
                await stand.clock.sleep(0.001)
                task.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert sum(isinstance(one, Response) for one in ended) >= 330
        assert stand.at_rest() == []
        assert stand.limiter()["limit"] == 7
        assert stand.provider.simulation.statistics()["peak_in_flight"] == 7
