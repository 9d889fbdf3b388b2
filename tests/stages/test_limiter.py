"""The limiter stage: who waits, in which order, and that no permit is ever lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from agentic_synth.errors import (
    ConnectFailed,
    DeadlinePassed,
    InvalidRequest,
    Overloaded,
    QueueFull,
    RateLimited,
    Stopped,
)
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.concurrency import FixedLimit
from agentic_synth.policies.rate import RateLimit
from agentic_synth.stages.limiter import Limiter
from agentic_synth.stops import Stops
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Reply
from tests.stages.scripted import Body, Scripted, calling, cancelled_at_every_await, reply


class Limiting:
    """The stage with room for *limit* calls, around a script that takes *seconds* a call."""

    def __init__(
        self,
        *steps: Reply | Exception,
        limit: int = 2,
        seconds: float = 1.0,
        per_minute: float | None = None,
        max_waiting: int = 1_000,
        autojump: bool = True,
    ) -> None:
        self.clock = FakeClock(autojump=autojump)
        self.script: Scripted[Call, Reply] = Scripted(steps or (reply(),), self.clock, seconds)
        self.admission = Admission(FixedLimit(limit), RateLimit((per_minute, None, None, None)))
        self.tasks: set[asyncio.Task[None]] = set()
        self.stops = Stops()
        self.stage = Limiter(
            self.admission, self.clock, self.spawn, max_waiting=max_waiting, stops=self.stops, wall=lambda: 0.0
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def start(self, text: str = "hi", **fields: object) -> asyncio.Task[object]:
        return asyncio.ensure_future(self.stage(calling(text, **fields), self.script))

    def texts(self) -> list[object]:
        return [call.request.messages[0].content for call in self.script.asked]

    async def rests(self) -> None:
        """Nothing is in flight, nobody waits, and no task is left behind."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        told = self.stage.statistics()
        assert (told.in_flight, told.waiting, len(self.tasks)) == (0, 0, 0)


async def test_never_more_than_the_limit_and_first_come_first_served() -> None:
    limiter = Limiting(limit=3)
    await asyncio.gather(*(limiter.start(str(number)) for number in range(10)))
    assert limiter.script.most == 3
    assert limiter.texts() == [str(number) for number in range(10)]
    assert limiter.clock.now() == 4.0
    told = limiter.stage.statistics()
    assert (told.waits, told.waited_seconds, told.success) == (7, 1 + 1 + 1 + 2 + 2 + 2 + 3, 10)
    await limiter.rests()


async def test_priorities_go_first() -> None:
    limiter = Limiting(limit=1)
    tasks = [limiter.start("running")]
    await asyncio.sleep(0)
    tasks += [limiter.start("late", priority=5), limiter.start("usual"), limiter.start("urgent", priority=-1)]
    await asyncio.gather(*tasks)
    assert limiter.texts() == ["running", "urgent", "usual", "late"]


@pytest.mark.parametrize("what", ["namespace", "run"])
async def test_runs_take_turns(what: str) -> None:
    limiter = Limiting(limit=1)
    tasks = [limiter.start(f"a{number}", **{what: "a"}) for number in range(4)]
    await asyncio.sleep(0)
    tasks += [limiter.start(f"b{number}", **{what: "b"}) for number in range(2)]
    await asyncio.gather(*tasks)
    assert limiter.texts() == ["a0", "a1", "b0", "a2", "b1", "a3"]


async def test_a_rate_is_kept_by_time_alone() -> None:
    limiter = Limiting(limit=100, per_minute=600.0, seconds=0.0)
    await asyncio.gather(*(limiter.start() for _ in range(30)))
    assert limiter.clock.now() == pytest.approx(2.0, abs=0.01)
    await limiter.rests()


async def test_a_deadline_ends_the_wait_on_time_and_tells_the_limit_nothing() -> None:
    limiter = Limiting(limit=1, seconds=100.0)
    first = limiter.start()
    await asyncio.sleep(0)
    late, later = limiter.start(deadline=7.0), limiter.start(deadline=3.0)
    with pytest.raises(DeadlinePassed):
        await later
    assert limiter.clock.now() == 3.0
    with pytest.raises(DeadlinePassed):
        await late
    assert limiter.clock.now() == 7.0
    await first
    assert limiter.stage.statistics().ignored == 0
    await limiter.rests()


async def test_a_deadline_that_has_passed_is_told_at_once_when_there_is_no_room() -> None:
    limiter = Limiting(limit=1)
    first = limiter.start()
    await asyncio.sleep(0)
    with pytest.raises(DeadlinePassed):
        await limiter.start(deadline=0.0)
    await first


async def test_the_queue_is_bounded() -> None:
    limiter = Limiting(limit=1, max_waiting=2)
    tasks = [limiter.start() for _ in range(5)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, QueueFull) for result in results] == [False, False, False, True, True]


async def test_retry_after_holds_everybody_back() -> None:
    limiter = Limiting(RateLimited("429", retry_after=30.0), reply(), limit=10, seconds=0.0)
    with pytest.raises(RateLimited):
        await limiter.start()
    await limiter.start()
    assert limiter.script.instants == [0.0, pytest.approx(30.0, abs=3.0)]


async def test_the_spellings_of_the_headers_reach_the_limit() -> None:
    error = RateLimited("429", headers={"retry-after-ms": "1500"})
    limiter = Limiting(error, reply(), limit=10, seconds=0.0)
    with pytest.raises(RateLimited):
        await limiter.start()
    assert limiter.stage.statistics().gated_seconds == pytest.approx(1.5)


async def test_stated_limits_are_kept() -> None:
    told = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "58s",
    }
    limiter = Limiting(reply(headers=told), reply(), limit=100, seconds=0.1)
    await limiter.start()
    await asyncio.gather(*(limiter.start() for _ in range(6)))
    assert limiter.clock.now() > 2.5


@pytest.mark.parametrize("error", [Overloaded("503"), InvalidRequest("400"), ValueError("a bug")])
async def test_whatever_fails_gives_its_permit_back(error: Exception) -> None:
    limiter = Limiting(error)
    for _ in range(10):
        with pytest.raises(type(error)):
            await limiter.start()
    await limiter.rests()


async def test_a_stream_holds_its_permit_until_it_is_exhausted() -> None:
    limiter = Limiting(limit=1, seconds=0.0)
    limiter.script.steps = [reply(body=Body(limiter.clock)), reply()]
    streamed = await limiter.stage(calling(stream=True), limiter.script)
    waiting = limiter.start()
    assert streamed.response.body is not None
    assert [delta.text async for delta in streamed.response.body] == ["one ", "two ", ""]
    await waiting
    assert limiter.script.instants == [0.0, 2.0]
    await limiter.rests()


async def test_a_stream_that_is_closed_early_or_breaks_gives_its_permit_back() -> None:
    limiter = Limiting(limit=1, seconds=0.0)
    limiter.script.steps = [reply(body=Body(limiter.clock)), reply(body=Body(limiter.clock, ConnectFailed("cut")))]
    body = (await limiter.stage(calling(stream=True), limiter.script)).response.body
    assert body is not None
    await body.aclose()
    body = (await limiter.stage(calling(stream=True), limiter.script)).response.body
    assert body is not None
    with pytest.raises(ConnectFailed):
        async for _ in body:
            pass
    told = limiter.stage.statistics()
    assert (told.ignored, told.dropped) == (1, 1)
    await limiter.rests()


async def test_a_forgotten_stream_gives_its_permit_back() -> None:
    limiter = Limiting(limit=1, seconds=0.0)
    limiter.script.steps = [reply(body=Body(limiter.clock))]
    forgotten: Reply | None = await limiter.stage(calling(stream=True), limiter.script)
    assert limiter.stage.statistics().in_flight == 1
    limiter.script.steps = [reply()]
    assert forgotten is not None
    del forgotten
    await limiter.rests()


@pytest.mark.parametrize("per_minute", [None, 60.0])
async def test_cancelled_at_any_moment_no_permit_is_lost(per_minute: float | None) -> None:
    limiter = Limiting(limit=1, seconds=1.0, per_minute=per_minute, autojump=False)

    others: list[asyncio.Task[object]] = []

    def start_both() -> asyncio.Task[object]:
        others.append(limiter.start("before"))
        return limiter.start("this one")

    assert await cancelled_at_every_await(start_both, limiter.clock) > 5
    while not all(task.done() for task in others):
        await limiter.clock.advance(1.0)
    await limiter.rests()


async def test_a_permit_that_comes_with_the_cancellation_goes_to_the_next() -> None:
    limiter, gate = Limiting(limit=1), asyncio.Event()

    async def gated(call: Call, /) -> Reply:
        await gate.wait()
        return reply()

    first, second, third = (asyncio.ensure_future(limiter.stage(calling(), gated)) for _ in range(3))
    await asyncio.sleep(0)
    gate.set()
    while not first.done():
        await asyncio.sleep(0)
    # The second has been given the permit, and has not woken up yet.
    assert limiter.stage.statistics().in_flight == 1
    second.cancel()
    await third
    assert second.cancelled()
    await limiter.rests()


async def test_a_stopped_run_sends_nothing_more_and_gets_what_is_on_its_way() -> None:
    limiter = Limiting(limit=2)
    mine = [limiter.start(f"mine {number}", run="mine", priority=number % 3) for number in range(9)]
    others = [limiter.start(f"other {number}", run=run) for number, run in enumerate(("other", ""))]
    await asyncio.sleep(0)
    limiter.stops.stop("mine")
    outcomes = await asyncio.gather(*mine, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Reply] * 2 + [Stopped] * 7
    assert limiter.clock.now() == 1.0
    with pytest.raises(Stopped):
        await limiter.start(run="mine")
    await asyncio.gather(*others)
    assert sorted(map(str, limiter.texts())) == ["mine 0", "mine 1", "other 0", "other 1"]
    assert limiter.stage.statistics().ignored == 0
    await limiter.rests()


@pytest.mark.parametrize("per_minute", [None, 60.0])
async def test_stopped_at_any_moment_no_permit_is_lost(per_minute: float | None) -> None:
    for moment in range(40):
        limiter = Limiting(limit=2, per_minute=per_minute, autojump=False)
        tasks = [limiter.start(run="mine" if number % 2 else "") for number in range(6)]
        for step in range(moment):
            await (asyncio.sleep(0) if step % 4 < 3 else limiter.clock.advance(0.3))
        limiter.stops.stop("mine")
        sent = len(limiter.script.asked)
        while not all(task.done() for task in tasks):
            await limiter.clock.advance(1.0)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {Reply, Stopped}
        assert all(isinstance(outcome, Reply) for outcome in outcomes[::2]), "the others are not stopped"
        assert all(call.request.run == "" for call in limiter.script.asked[sent:]), "nothing was sent after the stop"
        await limiter.rests()


async def test_many_that_give_up_leave_nothing_behind() -> None:
    limiter = Limiting(limit=1, seconds=1_000.0, max_waiting=10_000)
    first = limiter.start()
    await asyncio.sleep(0)
    for _ in range(500):
        with pytest.raises(DeadlinePassed):
            await limiter.start(deadline=limiter.clock.now() + 0.01)
    gone = [limiter.start(deadline=limiter.clock.now() + 900.0) for _ in range(300)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    assert limiter.stage.statistics().waiting == 0
    assert not limiter.stage.binds
    await first
    await limiter.rests()
