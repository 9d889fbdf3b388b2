"""The hedge stage: a second call for the unusually late, and no more than its share."""

import asyncio

import pytest

from agentic_synth.errors import Overloaded
from agentic_synth.policies.hedging import Hedging
from agentic_synth.stages.hedge import Hedge
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Reply
from tests.stages.scripted import Body, calling, cancelled_at_every_await, reply


class Hedged:
    """Calls take the given seconds in turn; all that ran and were not finished are counted as cancelled."""

    def __init__(self, *seconds: float, autojump: bool = True) -> None:
        self.clock = FakeClock(autojump=autojump)
        self.seconds = list(seconds)
        self.answers: list[Reply | Exception] = [reply()]
        self.calls = self.finished = self.running = 0
        self.binds = False
        self.whole, self.streamed = Hedging(), Hedging()
        self.stage = Hedge(self.whole, self.streamed, self.clock, lambda: self.binds)
        for _ in range(200):
            self.whole.record(1.0)
            self.streamed.record(1.0)
        for _ in range(40):
            self.whole.deposit()
            self.streamed.deposit()

    async def upstream(self, call: Call, /) -> Reply:
        number, self.calls = self.calls, self.calls + 1
        self.running += 1
        try:
            await self.clock.sleep(self.seconds[min(number, len(self.seconds) - 1)])
        finally:
            self.running -= 1
        self.finished += 1
        answer = self.answers[min(number, len(self.answers) - 1)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def __call__(self, *, stream: bool = False) -> Reply:
        return await self.stage(calling(stream=stream), self.upstream)


async def test_what_is_in_time_is_asked_once() -> None:
    hedge = Hedged(0.5)
    await hedge()
    assert (hedge.calls, hedge.clock.now(), hedge.clock.sleeping) == (1, 0.5, 0)


async def test_the_late_are_asked_again_and_the_loser_is_cancelled() -> None:
    hedge = Hedged(60.0, 0.5)
    await hedge()
    assert (hedge.calls, hedge.finished, hedge.running) == (2, 1, 0)
    assert hedge.clock.now() == 1.5
    told = hedge.stage.statistics()
    assert (told.hedges, told.won) == (1, 1)


async def test_the_first_may_win_after_all() -> None:
    hedge = Hedged(1.2, 60.0)
    await hedge()
    assert hedge.clock.now() == 1.2
    assert hedge.stage.statistics().won == 0


async def test_never_while_a_limit_binds() -> None:
    hedge = Hedged(60.0)
    hedge.binds = True
    await hedge()
    assert hedge.calls == 1


async def test_no_more_than_the_share() -> None:
    hedge = Hedged(2.0)
    hedge.whole.quantile = 0.5
    for _ in range(200):
        hedge.whole.record(1.0)
        await hedge()
    assert hedge.stage.statistics().hedges <= 0.05 * 200 + 1


async def test_a_failure_of_the_first_is_told_at_once() -> None:
    hedge = Hedged(0.5)
    hedge.answers = [Overloaded("503")]
    with pytest.raises(Overloaded):
        await hedge()
    assert (hedge.calls, hedge.clock.now()) == (1, 0.5)


async def test_one_failure_of_two_is_not_the_end() -> None:
    hedge = Hedged(2.0, 2.0)
    hedge.answers = [Overloaded("503"), reply()]
    assert (await hedge()).response.text == "ok"
    assert hedge.clock.now() == 3.0


async def test_when_both_fail_the_first_failure_is_told() -> None:
    hedge = Hedged(2.0, 2.0)
    hedge.answers = [Overloaded("first"), Overloaded("second")]
    with pytest.raises(Overloaded, match="first"):
        await hedge()


async def test_streams_are_compared_among_themselves() -> None:
    hedge = Hedged(10.0, 0.1)
    for _ in range(300):
        hedge.streamed.record(20.0)
    await hedge(stream=True)
    assert hedge.calls == 1


async def test_a_late_stream_that_lost_is_closed() -> None:
    hedge = Hedged(1.5, 0.5)
    bodies = [Body(hedge.clock), Body(hedge.clock)]
    hedge.answers = [reply(body=body) for body in bodies]
    won = (await hedge(stream=True)).response.body
    assert [body.closed or body is won for body in bodies].count(True) >= 1
    assert hedge.running == 0


async def test_nothing_is_known_at_first_and_nothing_is_hedged() -> None:
    hedge = Hedged(60.0)
    hedge.stage = Hedge(Hedging(), Hedging(), hedge.clock, lambda: False)
    await hedge()
    assert hedge.calls == 1


async def test_cancelled_at_any_moment_nothing_runs_on() -> None:
    hedge = Hedged(2.0, 2.0, autojump=False)

    def start() -> asyncio.Task[object]:
        for _ in range(20):
            hedge.whole.deposit()
        return asyncio.ensure_future(hedge())

    assert await cancelled_at_every_await(start, hedge.clock) > 5
    assert (hedge.running, hedge.clock.sleeping) == (0, 0)
