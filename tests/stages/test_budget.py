"""The budget stage: reserved before, settled after, never passed."""

import asyncio

import pytest

from agentic_synth.errors import (
    AttemptTimeout,
    BadReply,
    BudgetSpent,
    CircuitOpen,
    ConfigError,
    ConnectFailed,
    Overloaded,
    RateLimited,
    Stopped,
    SynthError,
)
from agentic_synth.policies.pricing import Price
from agentic_synth.policies.spending import Spending
from agentic_synth.stages.budget import Budget, Purse
from agentic_synth.stops import Stops
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Reply, Usage
from tests.stages.scripted import Body, Scripted, calling, cancelled_at_every_await, reply

PRICE = Price(1.0, 10.0)


class Budgeting:
    def __init__(
        self, budget: str | None, *steps: Reply | Exception, price: Price | None = PRICE, autojump: bool = True
    ) -> None:
        self.clock = FakeClock(autojump=autojump)
        self.script: Scripted[Call, Reply] = Scripted(steps or (reply(Usage(20, 100)),), self.clock, 1.0)
        self.stops = Stops()
        self.purse = Purse(Spending.parse(budget) if budget else Spending(), self.stops)
        self.stage = Budget(self.purse, price, reference="p/m")

    def start(self, max_tokens: int | None = 100, run: str = "") -> asyncio.Task[object]:
        parameters = {"max_tokens": max_tokens} if max_tokens else {}
        return asyncio.ensure_future(self.stage(calling(parameters=parameters, run=run), self.script))


async def test_a_response_gets_its_cost() -> None:
    budget = Budgeting(None)
    answered = await budget.start()
    assert isinstance(answered, Reply)
    assert answered.response.cost == pytest.approx((20 * 1 + 100 * 10) / 1e6)
    told = budget.stage.statistics()
    assert (told.tokens, told.requests, told.limit) == (120, 1, None)


async def test_without_a_price_there_is_no_cost_but_a_count() -> None:
    budget = Budgeting("1000tok", price=None)
    answered = await budget.start()
    assert isinstance(answered, Reply)
    assert answered.response.cost is None
    assert budget.stage.statistics().tokens == 120


def test_dollars_without_a_price_are_refused_at_the_start() -> None:
    with pytest.raises(ConfigError) as caught:
        Budgeting("5usd", price=None)
    assert "add a price" in caught.value.mend


@pytest.mark.parametrize("unit", ["usd", "tok", "req"])
async def test_it_is_never_passed_and_nearly_used_up(unit: str) -> None:
    """Two hundred calls at once, of which each may cost its bound; what is asked is answered or refused."""
    written = {"usd": "0.05usd", "tok": "8000tok", "req": "49req"}[unit]
    budget = Budgeting(written)
    results = await asyncio.gather(*(budget.start() for _ in range(200)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BudgetSpent)]
    spending = budget.purse.spending
    assert len(budget.script.asked) + len(refused) == 200
    assert spending.limit is not None
    assert 0.97 * spending.limit <= spending.spent <= spending.limit
    assert spending.reserved == pytest.approx(0.0, abs=1e-9)
    assert budget.purse.waiting == 0


async def test_who_does_not_fit_beside_the_others_waits_for_them() -> None:
    """Two reserve what they can cost, cost less, and leave enough for the third."""
    budget = Budgeting("420tok")
    await asyncio.gather(budget.start(), budget.start(), budget.start())
    assert budget.clock.now() == 2.0
    assert budget.purse.spending.spent == 360


async def test_who_waits_for_money_is_let_go_when_its_run_stops() -> None:
    budget = Budgeting("420tok")
    asked = [budget.start(run="mine") for _ in range(3)]
    await asyncio.sleep(0)
    assert budget.purse.waiting == 1
    budget.stops.stop("mine")
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Reply, Reply, Stopped]
    assert (budget.purse.waiting, budget.purse.spending.reserved) == (0, 0.0)


async def test_what_is_in_flight_finishes() -> None:
    budget = Budgeting("2req")
    results = await asyncio.gather(*(budget.start() for _ in range(3)), return_exceptions=True)
    assert [isinstance(result, Reply) for result in results] == [True, True, False]


async def test_without_a_bound_it_is_passed_by_what_is_in_flight_at_most() -> None:
    budget = Budgeting("5000tok", reply(Usage(20, 3_000)))
    await asyncio.gather(*(budget.start(None) for _ in range(20)), return_exceptions=True)
    assert len(budget.script.asked) <= 4
    assert budget.purse.spending.spent <= 5_000 + 3_020 * 4


@pytest.mark.parametrize(
    ("error", "tokens", "requests"),
    [
        (RateLimited("429"), False, 1),
        (Overloaded("503"), False, 1),
        (ConnectFailed("refused"), False, 1),
        (CircuitOpen("open"), False, 0),
        (AttemptTimeout("silent"), True, 1),
        (BadReply("malformed"), True, 1),
    ],
)
async def test_failed_calls_cost_what_they_cost(error: SynthError, tokens: bool, requests: int) -> None:
    budget = Budgeting("10000tok", error)
    with pytest.raises(type(error)):
        await budget.start()
    told = budget.stage.statistics()
    assert (told.tokens > 0, told.requests, told.reserved) == (tokens, requests, 0.0)


async def test_a_stream_is_settled_with_its_usage() -> None:
    budget = Budgeting("10000tok")
    budget.script.steps = [reply(body=Body(budget.clock))]
    body = (await budget.stage(calling(stream=True), budget.script)).response.body
    assert body is not None
    assert budget.stage.statistics().reserved > 0
    costs = [delta.cost async for delta in body]
    assert costs == [None, None, pytest.approx((10 * 1 + 3 * 10) / 1e6)]
    told = budget.stage.statistics()
    assert (told.tokens, told.reserved) == (13, 0.0)


async def test_a_stream_without_a_price_has_no_cost() -> None:
    budget = Budgeting(None, price=None)
    budget.script.steps = [reply(body=Body(budget.clock))]
    body = (await budget.stage(calling(stream=True), budget.script)).response.body
    assert body is not None
    assert [delta.cost async for delta in body] == [None, None, None]


async def test_a_stream_that_is_given_up_costs_what_came() -> None:
    budget = Budgeting("10000tok")
    budget.script.steps = [reply(body=Body(budget.clock))]
    body = (await budget.stage(calling(stream=True), budget.script)).response.body
    assert body is not None
    await anext(aiter(body))
    await body.aclose()
    told = budget.stage.statistics()
    assert told.tokens > 0
    assert told.reserved == 0.0


async def test_cancelled_at_any_moment_nothing_stays_reserved() -> None:
    budget = Budgeting("500tok", autojump=False)
    others: list[asyncio.Task[object]] = []

    def start() -> asyncio.Task[object]:
        budget.purse.spending.spent = 0.0
        others.append(budget.start())
        others.append(budget.start())
        return budget.start()

    assert await cancelled_at_every_await(start, budget.clock) > 3
    while not all(task.done() for task in others):
        await budget.clock.advance(1.0)
    await asyncio.gather(*others, return_exceptions=True)
    assert budget.purse.spending.reserved == pytest.approx(0.0, abs=1e-6)
    assert budget.purse.waiting == 0
