"""The route stage: who is asked, in which order, and what happens when nobody can."""

import asyncio
from random import Random

import pytest

from agentic_synth.errors import (
    AuthFailed,
    CircuitOpen,
    ConfigError,
    ConnectFailed,
    InvalidRequest,
    Overloaded,
    QuotaSpent,
    Stopped,
    SynthError,
    Unreachable,
)
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.policies.breaker import Circuit
from agentic_synth.stage import chain
from agentic_synth.stages.breaker import Breaker
from agentic_synth.stages.retry import Retry
from agentic_synth.stages.route import Route, Upstream
from agentic_synth.stops import Stops
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Reply, Request, Response
from tests.stages.scripted import Scripted, asking, cancelled_at_every_await, reply


class Routing:
    """Upstreams p/m, b/m, c/m behind real breakers; each answers as scripted."""

    def __init__(
        self, *, fallback: tuple[str, ...] = ("b/m", "c/m"), autojump: bool = True, **steps: Reply | Exception
    ) -> None:
        self.clock = FakeClock(autojump=autojump)
        self.rng = Random(1)
        self.circuits: dict[str, Circuit] = {}
        self.scripts: dict[str, Scripted[Call, Reply]] = {}
        upstreams = []
        for name in ("p", "b", "c"):
            step = steps.get(name, Reply(response=Response(text=name)))
            self.scripts[name] = Scripted([step], self.clock)
            self.circuits[name] = Circuit()
            send = chain((Breaker(self.circuits[name], self.clock, self.rng),), self.scripts[name])
            upstreams.append(
                Upstream(reference=f"{name}/m", model=f"{name}-model", send=send, circuit=self.circuits[name])
            )
        self.stops = Stops()
        self.route = Route(upstreams, self.clock, self.rng, fallback=fallback, stops=self.stops)

    def counts(self) -> dict[str, int]:
        return {name: len(script.asked) for name, script in self.scripts.items()}

    def succeed_once(self, name: str) -> None:
        self.circuits[name].answered = True


async def test_the_named_upstream_answers() -> None:
    routing = Routing()
    response = await routing.route(asking())
    assert (response.text, response.upstream, response.model) == ("p", "p/m", "p-model")
    [call] = routing.scripts["p"].asked
    assert (call.model, call.try_number) == ("p-model", 0)
    assert routing.counts() == {"p": 1, "b": 0, "c": 0}


async def test_what_the_upstream_says_of_itself_stays() -> None:
    routing = Routing(p=reply())
    assert (await routing.route(asking())).model == "m"


async def test_the_number_of_the_try_is_told() -> None:
    routing = Routing()
    await routing.route(Attempt.of(asking(), 3, (), None))
    assert routing.scripts["p"].asked[0].try_number == 3


@pytest.mark.parametrize("error", [AuthFailed("401"), QuotaSpent("402")])
async def test_what_cannot_heal_goes_to_the_next_in_order(error: SynthError) -> None:
    routing = Routing(p=error)
    response = await routing.route(asking())
    assert (response.text, response.upstream, response.model) == ("b", "b/m", "b-model")
    assert routing.route.statistics().fallbacks == 1


async def test_what_may_heal_is_left_to_the_retry() -> None:
    routing = Routing(p=Overloaded("503"))
    with pytest.raises(Overloaded) as caught:
        await routing.route(asking())
    assert caught.value.upstream == "p/m"
    assert routing.counts() == {"p": 1, "b": 0, "c": 0}


async def test_a_wrong_request_is_wrong_everywhere() -> None:
    routing = Routing(p=InvalidRequest("400"))
    with pytest.raises(InvalidRequest):
        await routing.route(asking())
    assert routing.counts()["b"] == 0


async def test_an_open_circuit_is_skipped_without_any_wait() -> None:
    routing = Routing()
    routing.circuits["p"].force("open")
    assert (await routing.route(asking())).upstream == "b/m"
    assert routing.clock.now() == 0.0
    assert routing.counts() == {"p": 0, "b": 1, "c": 0}


async def test_the_failure_that_opens_the_circuit_is_answered_by_the_next() -> None:
    routing = Routing(p=ConnectFailed("refused"))
    for _ in range(4):
        with pytest.raises(ConnectFailed):
            await routing.route(asking())
    assert (await routing.route(asking())).upstream == "b/m"
    assert (await routing.route(asking())).upstream == "b/m"
    assert routing.counts()["p"] == 5


async def test_spent_upstreams_are_not_asked_again() -> None:
    routing = Routing()
    response = await routing.route(Attempt.of(asking(), 1, ("p/m", "b/m"), Overloaded("503")))
    assert response.upstream == "c/m"


async def test_when_all_are_spent_the_failure_is_told() -> None:
    routing = Routing()
    failure = Overloaded("the last one")
    with pytest.raises(Overloaded) as caught:
        await routing.route(Attempt.of(asking(), 1, ("p/m", "b/m", "c/m"), failure))
    assert caught.value is failure


async def test_each_is_asked_at_most_once() -> None:
    routing = Routing(p=AuthFailed("1"), b=AuthFailed("2"), c=AuthFailed("3"), fallback=("b/m", "c/m", "b/m", "p/m"))
    with pytest.raises(AuthFailed, match="3"):
        await routing.route(asking())
    assert routing.counts() == {"p": 1, "b": 1, "c": 1}


async def test_without_fallback_nobody_else_answers() -> None:
    routing = Routing(p=AuthFailed("401"), fallback=())
    with pytest.raises(AuthFailed):
        await routing.route(asking())
    assert routing.counts() == {"p": 1, "b": 0, "c": 0}


async def test_an_unknown_upstream_is_named() -> None:
    with pytest.raises(ConfigError, match="x/y"):
        await Routing().route(Request(model="x/y", messages=()))
    assert "p/m" in Routing().route


async def test_a_stopped_run_does_not_wait_for_the_end_of_an_outage() -> None:
    routing = Routing(p=Overloaded("503"), fallback=(), autojump=False)
    routing.succeed_once("p")
    for _ in range(5):
        with pytest.raises(Overloaded):
            await routing.route(asking())
    waiting = asyncio.create_task(routing.route(asking(run="mine")))
    await routing.clock.advance(0.1)
    assert routing.clock.sleeping == 1
    routing.stops.stop("mine")
    with pytest.raises(Stopped):
        await waiting
    assert (routing.clock.now(), routing.clock.sleeping) == (0.1, 0)
    assert routing.counts()["p"] == 5


async def test_an_outage_of_all_is_waited_out() -> None:
    """Down for 20 seconds: no request is lost, and no more than the probes knock meanwhile."""
    routing = Routing(p=ConnectFailed("refused"), fallback=())
    routing.succeed_once("p")
    for _ in range(5):
        with pytest.raises(ConnectFailed):
            await routing.route(asking())

    async def heal() -> None:
        await routing.clock.sleep(20.0)
        routing.scripts["p"].steps = [reply()]

    async def ask() -> str:
        while True:
            try:
                return (await routing.route(asking())).text
            except ConnectFailed:
                await routing.clock.sleep(0.1)

    healing = asyncio.ensure_future(heal())
    answers = await asyncio.gather(*(ask() for _ in range(50)))
    await healing
    assert answers == ["ok"] * 50
    assert routing.clock.now() < 60.0
    assert routing.counts()["p"] < 50 + 5 + 20
    assert routing.route.statistics().outages > 0


async def test_what_never_answered_is_given_up_soon_with_its_last_failure() -> None:
    routing = Routing(p=Overloaded("nobody serves this"), fallback=())

    async def ask() -> None:
        while True:
            try:
                await routing.route(asking())
            except Overloaded:
                await routing.clock.sleep(0.01)

    with pytest.raises(CircuitOpen, match=r"nobody serves this"):
        await ask()
    assert routing.clock.now() < 40.0


async def test_a_deadline_is_not_waited_over() -> None:
    routing = Routing(fallback=())
    routing.circuits["p"].force("open")
    with pytest.raises(CircuitOpen):
        await routing.route(asking(deadline=5.0))
    assert routing.clock.now() == 0.0


async def test_a_sick_upstream_never_delays_a_healthy_one() -> None:
    routing = Routing(p=ConnectFailed("refused"), fallback=())
    routing.succeed_once("p")
    for _ in range(5):
        with pytest.raises(ConnectFailed):
            await routing.route(asking())
    sick = [asyncio.ensure_future(routing.route(asking())) for _ in range(20)]
    healthy = await routing.route(Request(model="b/m", messages=()))
    assert (healthy.upstream, routing.clock.now()) == ("b/m", 0.0)
    for task in sick:
        task.cancel()
    await asyncio.gather(*sick, return_exceptions=True)


async def test_cancelled_at_any_moment_no_probe_is_lost() -> None:
    routing = Routing(fallback=(), autojump=False)
    routing.scripts["p"].seconds = 1.0
    circuit = routing.circuits["p"]
    assert await cancelled_at_every_await(lambda: asyncio.ensure_future(routing.route(asking())), routing.clock) > 1
    assert circuit.available(routing.clock.now())
    assert routing.clock.sleeping == 0


async def test_where_nobody_ever_answers_trying_soon_ends() -> None:
    routing = Routing(fallback=(), p=ConnectFailed("http://lab: connection refused"))
    handler = chain((Retry(Backoff(), RetryBudget(), routing.clock, routing.rng),), routing.route)
    began = routing.clock.now()
    results = await asyncio.gather(*(handler(asking()) for _ in range(10)), return_exceptions=True)
    unreachable = [error for error in results if isinstance(error, Unreachable)]
    assert len(unreachable) == 10
    assert "connection refused" in unreachable[0].message
    assert unreachable[0].attempts >= 1
    assert routing.clock.now() - began < 10


async def test_an_upstream_that_answered_before_is_waited_for() -> None:
    routing = Routing(fallback=(), p=ConnectFailed("http://lab: connection refused"))
    routing.succeed_once("p")
    handler = chain((Retry(Backoff(), RetryBudget(), routing.clock, routing.rng),), routing.route)
    began = routing.clock.now()
    with pytest.raises(SynthError) as caught:
        await handler(asking())
    assert not isinstance(caught.value, Unreachable)
    assert routing.clock.now() - began > 10
