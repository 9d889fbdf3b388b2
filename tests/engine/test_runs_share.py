"""Several runs in one engine: they share an upstream fairly, and one is stopped without harm to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentic_synth.config import EngineConfig
from agentic_synth.errors import CircuitOpen, DeadlinePassed, Stopped
from agentic_synth.types import Delta, Response
from tests.engine.engine_examples import Stand, opened, request


async def asked(stand: Stand, text: str, **fields: object) -> float:
    """When the answer was there."""
    await stand.engine.submit(request(text, **fields))
    return stand.clock.now()


async def test_a_heavy_run_starves_no_single_question() -> None:
    async with opened(EngineConfig(concurrency=4), sim={"latency": "1s"}) as stand:
        heavy = [asyncio.create_task(asked(stand, f"heavy {number}", run="heavy")) for number in range(400)]
        await stand.clock.sleep(10.5)
        began = stand.clock.now()
        assert stand.limiter()["waiting"] > 300
        assert await asked(stand, "single") - began < 2.0, "the wait for one permit, and the answer"
        assert max(await asyncio.gather(*heavy)) == pytest.approx(401 / 4, abs=1.0)


async def test_two_runs_have_equal_shares_and_priorities_go_first() -> None:
    async with opened(EngineConfig(concurrency=4), sim={"latency": "1s"}) as stand:
        large = [asyncio.create_task(asked(stand, f"large {number}", run="large")) for number in range(200)]
        await stand.clock.sleep(0.5)
        small = [asyncio.create_task(asked(stand, f"small {number}", run="small")) for number in range(40)]
        urgent = [
            asyncio.create_task(asked(stand, f"urgent {number}", run="large", priority=-1)) for number in range(8)
        ]
        last = max(await asyncio.gather(*urgent))
        assert last <= 4.0, "eight of priority, four at a time, before everybody else"
        assert max(await asyncio.gather(*small)) == pytest.approx(last + 40 / 2, abs=1.5), "two of the four permits"
        assert max(await asyncio.gather(*large)) == pytest.approx(248 / 4, abs=1.5)


@pytest.mark.parametrize(
    "behaviour",
    [
        {"latency": "1s"},
        {"latency": "10ms", "rate": "60/min:1"},
        {"latency": "10ms", "faults": "error=0.9"},
        {"latency": "10ms", "faults": "error=1"},
    ],
    ids=["behind others", "rate limited", "failing", "in an outage"],
)
async def test_at_the_stop_nothing_more_is_sent(behaviour: dict[str, str]) -> None:
    async with opened(EngineConfig(concurrency=4), sim=behaviour) as stand:
        mine = [asyncio.create_task(stand.engine.submit(request(f"mine {n}", run="mine"))) for n in range(50)]
        await stand.clock.sleep(2.5)
        received = stand.provider.statistics()["received"]
        stopped_at = stand.clock.now()
        stand.engine.stops.stop("mine")
        outcomes = await asyncio.gather(*mine, return_exceptions=True)
        assert stand.clock.now() - stopped_at <= 1.0, "no longer than what was in flight"
        assert stand.provider.statistics()["received"] == received
        kinds = {type(outcome) for outcome in outcomes}
        assert Stopped in kinds
        assert kinds <= {Stopped, Response, CircuitOpen}
        answered = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Response)]
        assert all(stand.engine.recall(request(f"mine {n}")) for n in answered), "what was in flight is kept"
        with pytest.raises(Stopped):
            await stand.engine.submit(request("more", run="mine"))
        if "faults" not in behaviour:
            assert isinstance(await stand.engine.submit(request("another's", run="other")), Response)
            stand.engine.stops.forget("mine")
            assert isinstance(await stand.engine.submit(request("more", run="mine")), Response)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "behaviour", [{"latency": "10ms+1ms/token"}, {"latency": "10ms", "faults": "error=0.5", "rate": "600/min:2"}]
)
async def test_stopped_at_any_moment_nothing_is_held_and_nobody_else_is_harmed(
    behaviour: dict[str, str], stream: bool
) -> None:
    async def mine(stand: Stand, number: int) -> None:
        response = await stand.engine.submit(request(f"mine {number}", run="mine", stream=stream))
        async for _ in response.body or Empty():
            pass

    for moment in range(0, 160, 4):
        async with opened(EngineConfig(concurrency=2, hedge=True), sim=behaviour) as stand:
            others = [asyncio.create_task(stand.engine.submit(request(f"other {n}", run="other"))) for n in range(3)]
            stopped = [asyncio.create_task(mine(stand, n)) for n in range(5)]
            for _ in range(moment):
                await asyncio.sleep(0)
            stand.engine.stops.stop("mine")
            outcomes = await asyncio.gather(*stopped, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} <= {Stopped, type(None)}
            assert all(isinstance(outcome, Response) for outcome in await asyncio.gather(*others))
            await stand.engine.drain()
            assert stand.at_rest() == [], moment
        assert asyncio.all_tasks() == {asyncio.current_task()}


class Empty:
    """A stream of nothing."""

    async def __aiter__(self) -> AsyncIterator[Delta]:
        return
        yield


async def test_who_shares_a_call_with_a_stopped_run_gets_an_answer_all_the_same() -> None:
    async with opened(EngineConfig(concurrency=1), sim={"latency": "1s"}) as stand:
        before = asyncio.create_task(stand.engine.submit(request("before")))
        await stand.clock.sleep(0.1)
        mine = asyncio.create_task(stand.engine.submit(request("the same", run="mine")))
        await stand.clock.sleep(0.1)
        other = asyncio.create_task(stand.engine.submit(request("the same", run="other")))
        await stand.clock.sleep(0.1)
        stand.engine.stops.stop("mine")
        outcomes = await asyncio.gather(before, mine, other, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Response, Stopped, Response]


async def test_who_waits_for_money_is_let_go() -> None:
    parameters = {"max_tokens": 100}
    async with opened(EngineConfig(budget="300tok"), sim={"latency": "1s"}) as stand:
        mine = [
            asyncio.create_task(stand.engine.submit(request(f"mine {n}", run="mine", parameters=parameters)))
            for n in range(9)
        ]
        await stand.clock.sleep(0.5)
        stand.engine.stops.stop("mine")
        outcomes = await asyncio.gather(*mine, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert 0 < kinds.count(Response) == stand.provider.statistics()["received"]
        assert kinds.count(Stopped) + kinds.count(Response) == 9


@pytest.mark.parametrize(
    "behaviour", [{"latency": "60s"}, {"rate": "1/min:1"}, {"faults": "error=1"}, {"faults": "stall=1"}]
)
async def test_a_deadline_holds_wherever_the_request_is(behaviour: dict[str, str]) -> None:
    async with opened(EngineConfig(concurrency=1), sim=behaviour) as stand:
        await asyncio.gather(stand.engine.submit(request("before", deadline=0.001)), return_exceptions=True)
        outcomes = await asyncio.gather(
            *(stand.engine.submit(request(f"number {number}", deadline=7.0)) for number in range(5)),
            return_exceptions=True,
        )
        assert stand.clock.now() <= 7.0
        assert any(isinstance(outcome, DeadlinePassed) for outcome in outcomes) or "error=1" in str(behaviour)
        assert not any(isinstance(outcome, Response) for outcome in outcomes[1:])
        assert stand.at_rest() == []
