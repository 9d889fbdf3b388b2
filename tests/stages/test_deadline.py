"""The deadline stage: no answer is waited for after it, whatever the request is doing."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from agentic_synth.errors import ConnectFailed, DeadlinePassed
from agentic_synth.stages.deadline import Deadline
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Delta, Request, Response
from tests.stages.scripted import Body, Scripted, asking

OK = Response(text="ok")


class Timed:
    """The stage around answers that take *seconds*."""

    def __init__(self, *steps: Response | Exception, seconds: float = 1.0) -> None:
        self.clock = FakeClock(autojump=True)
        self.script: Scripted[Request, Response] = Scripted(steps or (OK,), self.clock, seconds)
        self.stage = Deadline(self.clock)

    async def __call__(self, deadline: float | None) -> Response:
        return await self.stage(asking(deadline=deadline), self.script)

    async def rests(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert self.script.running == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.clock.sleeping == 0


@pytest.mark.parametrize("deadline", [None, 1.5])
async def test_an_answer_in_time_is_passed_on_untouched(deadline: float | None) -> None:
    timed = Timed()
    assert await timed(deadline) is OK
    assert timed.clock.now() == 1.0
    await timed.rests()


async def test_a_late_answer_is_not_waited_for() -> None:
    timed = Timed(seconds=100.0)
    with pytest.raises(DeadlinePassed):
        await timed(5.0)
    assert timed.clock.now() == 5.0
    await timed.rests()


async def test_after_the_deadline_nothing_is_asked() -> None:
    timed = Timed()
    await timed.clock.sleep(9.0)
    with pytest.raises(DeadlinePassed):
        await timed(5.0)
    assert timed.script.asked == []
    await timed.rests()


async def test_a_failure_before_the_deadline_is_that_failure() -> None:
    timed = Timed(ConnectFailed("cut"))
    with pytest.raises(ConnectFailed):
        await timed(5.0)
    await timed.rests()


async def test_a_cancellation_is_not_taken_for_the_deadline() -> None:
    timed = Timed(seconds=100.0)
    task = asyncio.create_task(timed(50.0))
    await timed.clock.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await timed.rests()


async def test_a_stream_ends_at_the_deadline() -> None:
    timed = Timed()
    body = Body(timed.clock)
    timed.script.steps = [msgspec.structs.replace(OK, body=body)]
    response = await timed(2.5)
    assert response.body is not None
    deltas = aiter(response.body)
    assert [(await anext(deltas)).text, (await anext(deltas)).text] == ["one ", "two "]
    with pytest.raises(DeadlinePassed):
        await anext(deltas)
    assert timed.clock.now() == 2.5
    assert body.closed
    await timed.rests()


async def test_a_stream_in_time_comes_whole() -> None:
    timed = Timed()
    timed.script.steps = [msgspec.structs.replace(OK, body=Body(timed.clock))]
    response = await timed(3.5)
    assert response.body is not None
    assert [delta.text async for delta in response.body] == ["one ", "two ", ""]
    await response.body.aclose()
    await timed.rests()


async def test_a_stream_that_is_closed_early_is_closed_below() -> None:
    class Endless:
        closed = False

        async def __aiter__(self) -> AsyncIterator[Delta]:
            while True:
                yield Delta(text="more")

        async def aclose(self) -> None:
            self.closed = True

    timed, body = Timed(), Endless()
    timed.script.steps = [msgspec.structs.replace(OK, body=body)]
    response = await timed(3.5)
    assert response.body is not None
    await anext(aiter(response.body))
    await response.body.aclose()
    assert body.closed
    await timed.rests()
