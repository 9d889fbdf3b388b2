"""The breaker stage: what it tells the circuit."""

import asyncio
from random import Random

import pytest

from agentic_synth.errors import CircuitOpen, ConnectFailed, InvalidRequest, Overloaded, RateLimited, SynthError
from agentic_synth.policies.breaker import Circuit, CircuitRules
from agentic_synth.stages.breaker import Breaker
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Reply
from tests.stages.scripted import Body, Scripted, calling, cancelled_at_every_await, reply


class Breaking:
    def __init__(self, *steps: Reply | Exception, seconds: float = 0.0, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock(autojump=True)
        self.script: Scripted[Call, Reply] = Scripted(steps, self.clock, seconds)
        self.circuit = Circuit(CircuitRules())
        self.stage = Breaker(self.circuit, self.clock, Random(1))

    async def __call__(self) -> Reply:
        return await self.stage(calling(), self.script)

    async def fails(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(SynthError):
                await self()


async def test_it_opens_and_turns_away_at_once() -> None:
    breaker = Breaking(Overloaded("503"))
    await breaker.fails(5)
    with pytest.raises(CircuitOpen):
        await breaker()
    assert len(breaker.script.asked) == 5
    told = breaker.stage.statistics()
    assert (told.state, told.trips, told.turned_away) == ("open", 1, 1)


@pytest.mark.parametrize("error", [RateLimited("429"), InvalidRequest("400"), SynthError("ours")])
async def test_what_does_not_count(error: SynthError) -> None:
    breaker = Breaking(error)
    await breaker.fails(100)
    assert breaker.stage.statistics().state == "closed"


async def test_it_heals_by_probes() -> None:
    breaker = Breaking(*[Overloaded("503")] * 5, reply())
    await breaker.fails(5)
    await breaker.clock.sleep(2.0)
    breaker.script.seconds = 0.0
    for _ in range(3):
        await breaker()
    assert breaker.stage.statistics().state == "closed"


async def test_its_last_changes_are_told() -> None:
    breaker = Breaking(*[Overloaded("503")] * 5, reply())
    await breaker.fails(5)
    await breaker.clock.sleep(2.0)
    for _ in range(3):
        await breaker()
    await breaker.clock.sleep(10.0)
    changes = breaker.stage.statistics().changes
    assert [change.state for change in changes] == ["open", "half_open", "closed"]
    assert [change.seconds_ago for change in changes] == [12.0, pytest.approx(11.0, abs=0.25), 10.0]
    for _ in range(50):
        breaker.script.asked.clear()
        await breaker.fails(5)
        await breaker.clock.sleep(60.0)
        breaker.script.steps = [reply()]
        for _ in range(3):
            await breaker()
        breaker.script.steps = [Overloaded("503")]
    assert len(breaker.stage.statistics().changes) == 16


async def test_only_so_many_probe_at_once() -> None:
    breaker = Breaking(*[Overloaded("503")] * 5, reply(), seconds=0.1)
    await breaker.fails(5)
    await breaker.clock.sleep(2.0)
    results = await asyncio.gather(*(breaker() for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, Reply) for result in results) == 3


async def test_a_stream_that_breaks_is_a_failure() -> None:
    clock = FakeClock(autojump=True)
    breaker = Breaking(*(reply(body=Body(clock, ConnectFailed("cut"))) for _ in range(5)))

    async def read() -> None:
        streamed = (await breaker()).response.body
        assert streamed is not None
        with pytest.raises(ConnectFailed):
            async for _ in streamed:
                pass

    await asyncio.gather(*(read() for _ in range(5)))
    # Each began well, so there are five successes and five failures.
    assert breaker.stage.statistics().state == "open"


async def test_cancelled_probes_do_not_wedge_it() -> None:
    breaker = Breaking(*[Overloaded("503")] * 5, reply(), clock=FakeClock())
    await breaker.fails(5)
    await breaker.clock.advance(2.0)
    breaker.script.seconds = 1.0
    await cancelled_at_every_await(lambda: asyncio.ensure_future(breaker()), breaker.clock)
    breaker.script.seconds = 0.0
    for _ in range(3):
        await breaker()
    assert breaker.stage.statistics().state == "closed"
