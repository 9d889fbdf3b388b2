"""The engine's doors, and the whole chain behind them on simulated providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import msgspec
import pytest

from agentic_synth.config import EngineConfig
from agentic_synth.errors import (
    AuthFailed,
    BudgetSpent,
    ConfigError,
    NotCached,
    Overloaded,
    StoreError,
    SynthError,
    UnknownModel,
)
from agentic_synth.types import Call, Draw, Reply, Request, Response
from tests.engine.engine_examples import Stand, opened, request, upstream


class Locked:
    """A transport whose key is refused."""

    calls = 0
    closed = False

    async def __call__(self, call: Call) -> Reply:
        self.calls += 1
        raise AuthFailed("wrong key", upstream="locked", status=401)

    async def aclose(self) -> None:
        self.closed = True


def texts(answers: list[Response | SynthError]) -> list[str]:
    return [answer.text if isinstance(answer, Response) else type(answer).__name__ for answer in answers]


async def test_one_request_goes_through_the_whole_chain() -> None:
    async with opened(sim={"latency": "50ms"}) as stand:
        response = await stand.engine.submit(request())
        assert response.text
        assert (response.model, response.upstream, response.attempts) == ("m", "sim", 1)
        usage = response.usage
        assert response.cost == pytest.approx((usage.input_tokens * 10 + usage.output_tokens * 20) / 1e6)
        again = await stand.engine.submit(request())
        assert (again.text, again.stored) == (response.text, True)
        told = stand.engine.statistics()
        assert (told["requests"], told["stored"], told["store"]["hits"]) == (2, 1, 1)
        assert told["spending"]["requests"] == 1
        assert told["spending"]["dollars"] == pytest.approx(response.cost)
        assert told["upstreams"]["sim/m"]["limiter"]["success"] == 1
        assert told["upstreams"]["sim/m"]["breaker"]["state"] == "closed"
        msgspec.json.encode(told)


async def test_a_stream_gives_what_a_plain_request_gives() -> None:
    async with opened(sim={"latency": "10ms+1ms/token"}) as stand:
        response = await stand.engine.stream(request())
        assert response.body is not None
        assert stand.limiter()["in_flight"] == 1, "the permit is held as long as the stream"
        text = "".join([delta.text async for delta in response.body])
        assert stand.limiter()["in_flight"] == 0
        plain = await stand.engine.submit(request())
        assert (plain.text, plain.stored) == (text, True)


async def test_a_stream_is_stored_with_its_cost() -> None:
    async with opened(sim={"latency": "10ms+1ms/token"}) as stand:
        response = await stand.engine.stream(request())
        assert response.body is not None
        *_, last = [delta async for delta in response.body]
        stored = await stand.engine.submit(request())
        assert stored.stored
        cost = (stored.usage.input_tokens * 10 + stored.usage.output_tokens * 20) / 1e6
        assert last.cost == stored.cost == pytest.approx(cost)
        assert stand.engine.statistics()["spending"]["dollars"] == pytest.approx(cost)
        again = await stand.engine.stream(request())
        assert again.body is not None
        assert [delta.cost async for delta in again.body][-1] == last.cost


async def test_a_stream_that_is_closed_gives_everything_back() -> None:
    async with opened(sim={"latency": "10ms+1ms/token"}) as stand:
        response = await stand.engine.stream(request())
        assert response.body is not None
        await anext(aiter(response.body))
        await response.body.aclose()
        assert stand.at_rest() == []
        with pytest.raises(NotCached):
            await stand.engine.submit(request(reuse="only_if_cached"))


async def test_map_answers_in_the_order_of_the_requests() -> None:
    async with opened(sim={"latency": "uniform:1ms:900ms", "faults": "error=0.2"}) as stand:
        asked = [request(f"number {number}") for number in range(40)]
        answers = texts([answer async for answer in stand.engine.map(asked, window=16)])
        assert answers == [(await stand.engine.submit(one)).text for one in asked]


async def test_map_takes_a_stream_of_requests_and_gives_errors_as_answers() -> None:
    async def asked() -> AsyncIterator[Request]:
        yield request("one")
        yield request(model="nobody/knows")
        yield request("two", reuse="only_if_cached")
        yield request("one")

    async with opened() as stand:
        answers = [answer async for answer in stand.engine.map(asked())]
        assert texts(answers)[1:3] == ["ConfigError", "NotCached"]
        assert texts(answers)[0] == texts(answers)[3]


async def test_map_asks_no_more_than_its_window_ahead_of_its_taker() -> None:
    pulled = 0

    def asked() -> Iterator[Request]:
        nonlocal pulled
        for number in range(100):
            pulled += 1
            yield request(f"number {number}")

    async with opened(sim={"latency": "100ms"}) as stand:
        taken = 0
        async with aclosing(stand.engine.map(asked(), window=5)) as answers:
            async for _ in answers:
                taken += 1
                await stand.clock.sleep(10)
                assert pulled <= taken + 5
        assert taken == 100
        assert stand.provider.simulation.statistics()["peak_in_flight"] == 5


async def test_map_gives_an_answer_as_soon_as_it_is_there() -> None:
    async with opened(sim={"latency": "1s"}) as stand:

        async def asked() -> AsyncIterator[Request]:
            for number in range(4):
                yield request(f"number {number}")
                await stand.clock.sleep(10)

        async with aclosing(stand.engine.map(asked(), window=256)) as answers:
            instants = [stand.clock.now() async for _ in answers]
        assert instants == pytest.approx([1, 11, 21, 31], abs=0.1)


async def test_map_gives_the_answers_that_came_before_its_source_broke() -> None:
    async def asked() -> AsyncIterator[Request]:
        yield request("one")
        yield request("two")
        raise OSError("the file is gone")

    async with opened(sim={"latency": "1s"}) as stand:
        answers = stand.engine.map(asked())
        assert texts([await anext(answers), await anext(answers)]) == [
            (await stand.engine.submit(request(text))).text for text in ("one", "two")
        ]
        with pytest.raises(OSError, match="gone"):
            await anext(answers)


async def test_closing_map_early_closes_its_source() -> None:
    closed = False

    async def asked() -> AsyncIterator[Request]:
        nonlocal closed
        try:
            while True:
                yield request()
                await stand.clock.sleep(3600)
        finally:
            closed = True

    async with opened() as stand:
        async with aclosing(stand.engine.map(asked())) as answers:
            await anext(answers)
        assert closed


async def test_closing_map_early_cancels_what_is_in_flight() -> None:
    async with opened(sim={"latency": "uniform:1s:9s"}) as stand:
        async with aclosing(stand.engine.map([request(f"number {number}") for number in range(50)])) as answers:
            await anext(answers)
        assert stand.at_rest() == []
        assert stand.provider.simulation.in_flight == 0
        assert stand.limiter()["success"] < 50


async def test_a_taker_of_map_that_is_cancelled_leaves_nothing_behind() -> None:
    async with opened(sim={"latency": "5s"}) as stand:

        async def take() -> None:
            async with aclosing(stand.engine.map([request(f"number {number}") for number in range(9)])) as answers:
                async for _ in answers:
                    pass

        taking = asyncio.create_task(take())
        await stand.clock.sleep(1)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert stand.at_rest() == []


async def test_requests_that_cannot_be_made_end_map_with_their_error() -> None:
    def asked() -> Iterator[Request]:
        yield request()
        raise OSError("the file is gone")

    async with opened(sim={"latency": "1s"}) as stand:
        with pytest.raises(OSError, match="gone"):
            _ = [answer async for answer in stand.engine.map(asked())]
        assert stand.at_rest() == []


async def test_drain_waits_for_requests_and_streams() -> None:
    async with opened(sim={"latency": "1s+1s/token"}) as stand:
        response = await stand.engine.stream(request("stream", parameters={"max_tokens": 5}))
        plain = asyncio.create_task(stand.engine.submit(request("plain", parameters={"max_tokens": 2})))
        draining = asyncio.create_task(stand.engine.drain())
        await plain
        assert not draining.done()
        assert response.body is not None
        async for _ in response.body:
            pass
        await draining
        assert stand.at_rest() == []


async def test_closing_twice_and_asking_a_closed_engine() -> None:
    async with opened() as stand:
        await stand.engine.submit(request())
    await stand.engine.aclose()
    with pytest.raises(StoreError):
        await stand.engine.submit(request())


async def test_every_fault_heals_and_nothing_is_paid_twice() -> None:
    faults = "error=0.05,stall=0.02,cut=0.05,malformed=0.05,reset=0.05"
    async with opened(sim={"latency": "20ms", "faults": faults}) as stand:
        asked = [request(f"number {number}") for number in range(300)]
        answers = [answer async for answer in stand.engine.map(asked, window=50)]
        assert all(isinstance(answer, Response) for answer in answers)
        assert max(answer.attempts for answer in answers if isinstance(answer, Response)) > 1
        books = stand.provider.statistics()
        assert (books["answered"], books["answered_again"]) == (300, 0)
        assert stand.engine.statistics()["retry"]["retries"] == books["repeated"]


async def test_a_rate_limit_shuts_the_gate_and_everybody_still_gets_an_answer() -> None:
    async with opened(sim={"latency": "50ms", "rate": "600/min:20"}) as stand:
        asked = [request(f"number {number}") for number in range(200)]
        answers = [answer async for answer in stand.engine.map(asked, window=200)]
        assert all(isinstance(answer, Response) for answer in answers)
        seconds = stand.clock.now()
        assert seconds > 170 / 10, "600 a minute are 10 a second"
        assert seconds < 200 / 10 * 1.3
        refused = stand.provider.simulation.statistics()["statuses"]
        assert isinstance(refused, dict)
        assert refused.get("429", 0) == stand.limiter()["rate_limited"]
        assert refused.get("429", 0) < 60


async def test_the_fallback_that_answered_is_told() -> None:
    config = EngineConfig(tries=2)
    async with opened(config, fallback=("other/m",), sim={"faults": "error=1"}, other={"latency": "1ms"}) as stand:
        response = await stand.engine.submit(request())
        assert (response.upstream, response.model) == ("other", "m")
        assert stand.engine.statistics()["route"]["fallbacks"] == 1
        stored = stand.engine.recall(request())
        assert stored is not None
        assert stored.upstream == "other"
        assert stand.engine.may_fall_back


async def test_with_fallback_forbidden_nobody_else_answers() -> None:
    config = EngineConfig(tries=2, fallback=False)
    async with opened(config, fallback=("other/m",), sim={"faults": "error=1"}, other={}) as stand:
        with pytest.raises(Overloaded):
            await stand.engine.submit(request())
        assert stand.providers["other"].statistics()["received"] == 0
        assert not stand.engine.may_fall_back


async def test_a_model_that_nobody_knows_is_an_error_at_once() -> None:
    async with opened(sim={"models": "another"}) as stand:
        with pytest.raises(UnknownModel):
            await stand.engine.submit(request())
        with pytest.raises(ConfigError, match="nobody/here"):
            await stand.engine.submit(request(model="nobody/here"))
        assert stand.provider.statistics()["statuses"] == {"404": 1}


async def test_a_key_that_is_refused_is_not_tried_again() -> None:
    locked = Locked()
    async with opened() as stand:
        stand.assembly.add("locked/m", upstream("locked/m"), locked)
        with pytest.raises(AuthFailed):
            await stand.engine.submit(request(model="locked/m"))
    assert locked.calls == 1
    assert locked.closed


async def test_the_budget_is_a_hard_stop_and_what_was_answered_is_kept() -> None:
    async with opened(EngineConfig(budget="10req"), sim={"latency": "10ms"}) as stand:
        asked = [request(f"number {number}") for number in range(30)]
        answers = [answer async for answer in stand.engine.map(asked, window=7)]
        assert texts(answers)[10:] == ["BudgetSpent"] * 20
        assert stand.provider.statistics()["received"] == 10
        assert stand.engine.statistics()["spending"]["requests"] == 10
        again = [answer async for answer in stand.engine.map(asked[:10])]
        assert texts(again) == texts(answers)[:10]


async def test_dollars_are_never_overspent_where_the_answer_is_bounded() -> None:
    async with opened(EngineConfig(budget="0.005usd"), sim={"latency": "10ms", "faults": "malformed=0.2"}) as stand:
        asked = (request(f"number {number}", parameters={"max_tokens": 20}) for number in range(200))
        kinds = set()
        async for answer in stand.engine.map(asked, window=40):
            kinds.add(type(answer))
        assert BudgetSpent in kinds
        assert Response in kinds
        assert 0.0035 < stand.engine.statistics()["spending"]["dollars"] <= 0.005


async def test_a_rejected_answer_is_replayed_but_never_served() -> None:
    async with opened() as stand:
        first = await stand.engine.submit(request())
        stand.engine.reject(request(), "it is no haiku")
        assert stand.engine.recall(request()) is None
        assert (await stand.engine.submit(request(reuse="replay"))).text == first.text
        assert stand.provider.statistics()["received"] == 1
        second = await stand.engine.submit(request(draw=Draw(attempt=1)))
        assert second.text != first.text


async def test_ten_thousand_requests_leave_nothing_behind() -> None:
    async with opened(EngineConfig(concurrency=200), sim={"answers": "brief", "latency": "10ms"}) as stand:
        asked = (request(f"number {number}", reuse="no_store") for number in range(10_000))
        count = 0
        async for answer in stand.engine.map(asked, window=400):
            assert isinstance(answer, Response)
            count += 1
        assert count == 10_000
        assert stand.provider.simulation.statistics()["peak_in_flight"] == 200
        assert len(asyncio.all_tasks()) <= 2, "this test and the watch on the process"


async def test_a_transport_that_cannot_be_closed_keeps_nothing_else_open() -> None:
    class Stuck(Locked):
        async def aclose(self) -> None:
            raise OSError("stuck")

    stand, other = Stand(), Locked()
    stand.assembly.add("other/m", upstream("other/m"), other)
    stand.assembly.add("stuck/m", upstream("stuck/m"), Stuck())
    with pytest.raises(OSError, match="stuck"):
        await stand.engine.aclose()
    assert other.closed
    with pytest.raises(StoreError):
        stand.store.get(b"")


async def test_whoever_waits_for_a_permit_is_told_when_the_engine_closes() -> None:
    stand = Stand(EngineConfig(concurrency=1), sim={"latency": "3600s"})
    requests = [request(str(number), dedup=False) for number in range(3)]
    asked = [asyncio.create_task(stand.engine.submit(one)) for one in requests]
    while stand.limiter()["waiting"] < 2:
        await asyncio.sleep(0)
    await stand.engine.aclose()
    asked[0].cancel()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["CancelledError", "QueueFull", "QueueFull"]


async def test_a_late_call_is_hedged_where_that_was_asked_for() -> None:
    async with opened(EngineConfig(concurrency=8, hedge=True), sim={"latency": "lognormal:50ms:1.5"}) as stand:
        requests = [request(str(number)) for number in range(400)]
        answers = [answer async for answer in stand.engine.map(requests, window=4)]
        hedged = stand.engine.statistics()["upstreams"]["sim/m"]["hedge"]
    assert len(answers) == 400
    assert 0 < hedged["hedges"] <= 0.06 * 400


async def test_a_breaker_that_is_forced_open_lets_nothing_through() -> None:
    async with opened(fallback=("other/m",), sim={"latency": "1ms"}, other={"latency": "1ms"}) as stand:
        stand.engine.force("sim/m", "open")
        assert (await stand.engine.submit(request("one"))).upstream == "other"
        stand.engine.force("sim/m", None)
        assert (await stand.engine.submit(request("two"))).upstream == "sim"
        told = stand.engine.statistics()["upstreams"]
        assert told["other/m"]["route"] == {"retries": 0, "fallbacks": 1}
        assert told["sim/m"]["route"] == {"retries": 0, "fallbacks": 0}
        with pytest.raises(ConfigError):
            stand.engine.force("nobody/m", "open")


async def test_equal_requests_in_flight_share_one_call() -> None:
    async with opened(sim={"latency": "50ms"}) as stand:
        answers = await asyncio.gather(*(stand.engine.submit(request("the same")) for _ in range(50)))
        assert stand.provider.simulation.statistics()["answered"] == 1
        assert sorted(answer.stored for answer in answers) == [False] + [True] * 49
        assert stand.engine.statistics()["dedup"] == {"in_flight": 0, "followers": 49}
