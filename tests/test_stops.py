"""A run that is stopped: whoever waits hears of it at once, and nobody else does."""

import asyncio

import pytest

from agentic_synth.errors import DeadlinePassed, Stopped
from agentic_synth.stops import Stops, Wait


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_only_the_waits_of_the_stopped_run_end() -> None:
    stops, gate = Stops(), asyncio.Event()

    async def wait(run: str) -> str:
        with stops.waiting(run):
            await gate.wait()
        return run

    waiting = [asyncio.create_task(wait(run)) for run in ("a", "a", "b", "")]
    await turns()
    stops.stop("a")
    await turns()
    assert [task.done() for task in waiting] == [True, True, False, False]
    gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Stopped, Stopped, str, str]


async def test_a_stopped_run_may_neither_send_nor_wait_until_it_is_forgotten() -> None:
    stops = Stops()
    stops.check("a")
    stops.stop("a")
    stops.stop("a")
    with pytest.raises(Stopped):
        stops.check("a")
    with pytest.raises(Stopped):
        stops.waiting("a")
    stops.check("b")
    stops.forget("a")
    stops.forget("a")
    stops.check("a")
    with stops.waiting("a"):
        await asyncio.sleep(0)


async def test_what_came_before_the_stop_is_kept() -> None:
    stops = Stops()
    with stops.waiting("a"):
        await asyncio.sleep(0)
    stops.stop("a")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.parametrize("first", ["stop", "cancel"])
async def test_a_cancellation_at_the_same_moment_stays_one(first: str) -> None:
    stops = Stops()

    async def wait() -> None:
        with stops.waiting("a"):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await turns()
    for what in (first, "cancel" if first == "stop" else "stop"):
        if what == "stop":
            stops.stop("a")
        else:
            waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_is_awaited_tidies_up_and_may_still_fail() -> None:
    stops, tidied = Stops(), asyncio.Event()

    async def wait() -> None:
        with stops.waiting("a"):
            try:
                await asyncio.Event().wait()
            finally:
                tidied.set()

    async def fail() -> None:
        with stops.waiting("a"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("the disk") from None

    waiting, failing = asyncio.create_task(wait()), asyncio.create_task(fail())
    await turns()
    stops.stop("a")
    outcomes = await asyncio.gather(waiting, failing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Stopped, OSError]
    assert tidied.is_set()


async def test_a_wait_ends_once_and_only_while_it_lasts() -> None:
    wait, loop = Wait(), asyncio.get_running_loop()
    wait.end(Stopped("too early"))
    loop.call_soon(wait.end, DeadlinePassed("first"))
    loop.call_soon(wait.end, Stopped("second"))
    with pytest.raises(DeadlinePassed, match="first"), wait:
        await asyncio.Event().wait()
    wait.end(Stopped("too late"))
    await asyncio.sleep(0)
