"""The retry stage: what is tried again, when, how often, and where."""

import asyncio
from random import Random

import pytest

from agentic_synth.errors import (
    AuthFailed,
    BudgetSpent,
    InvalidRequest,
    Overloaded,
    RateLimited,
    Stopped,
    SynthError,
    UpstreamError,
)
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.stages.retry import Retry
from agentic_synth.stops import Stops
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Request, Response
from tests.stages.scripted import Scripted, asking, cancelled_at_every_await

OK = Response(text="ok")


class Retrying:
    """The stage around a script; it raises *failure* as ``route`` does when no other upstream is left."""

    def __init__(
        self,
        *steps: Response | Exception,
        tries: int = 8,
        minimum: float = 100.0,
        patience: float = 900.0,
        autojump: bool = True,
    ) -> None:
        self.clock = FakeClock(autojump=autojump)
        self.script: Scripted[Request, Response] = Scripted(steps, self.clock)
        self.budget = RetryBudget(0.2, minimum)
        self.stops = Stops()
        self.stage = Retry(Backoff(tries=tries, patience=patience), self.budget, self.clock, Random(1), self.stops)
        self.elsewhere = False

    async def route(self, request: Request, /) -> Response:
        if isinstance(request, Attempt) and request.failure is not None and not self.elsewhere:
            raise request.failure
        return await self.script(request)

    async def __call__(self, request: Request | None = None) -> Response:
        return await self.stage(request or asking(), self.route)


async def test_what_succeeds_is_passed_on_untouched() -> None:
    retry = Retrying(OK)
    request = asking()
    assert await retry(request) is OK
    assert retry.script.asked == [request]


async def test_a_failure_is_tried_again_at_once_and_counted() -> None:
    retry = Retrying(Overloaded("503"), OK)
    response = await retry()
    assert response.attempts == 2
    assert retry.clock.now() < 0.05
    assert [getattr(request, "number", 0) for request in retry.script.asked] == [0, 1]
    assert retry.stage.statistics().retries == 1


async def test_a_stopped_run_tries_nothing_again() -> None:
    retry = Retrying(Overloaded("503", retry_after=60.0), OK, autojump=False)
    waiting = asyncio.create_task(retry(asking(run="mine")))
    await retry.clock.advance(1.0)
    assert retry.clock.sleeping == 1
    retry.stops.stop("mine")
    with pytest.raises(Stopped) as caught:
        await waiting
    assert caught.value.attempts == 1, "what was sent is counted"
    assert len(retry.script.asked) == 1
    assert (retry.clock.now(), retry.clock.sleeping) == (1.0, 0)


@pytest.mark.parametrize("error", [AuthFailed("401"), InvalidRequest("400"), BudgetSpent("no"), SynthError("?")])
async def test_what_cannot_heal_is_not_tried_again(error: SynthError) -> None:
    retry = Retrying(error, OK)
    with pytest.raises(type(error)):
        await retry()
    assert len(retry.script.asked) == 1


async def test_the_tries_are_counted_and_the_last_error_is_told() -> None:
    retry = Retrying(*(Overloaded(str(number)) for number in range(20)), tries=4)
    with pytest.raises(Overloaded, match="3"):
        await retry()
    assert len(retry.script.asked) == 4
    assert retry.stage.statistics().given_up == 1


@pytest.mark.parametrize("seconds", [0.5, 7.0, 40.0])
async def test_retry_after_is_obeyed(seconds: float) -> None:
    retry = Retrying(Overloaded("503", retry_after=seconds), OK)
    await retry()
    assert seconds <= retry.script.instants[1] <= seconds + 0.1


async def test_being_rate_limited_costs_no_try_and_no_budget() -> None:
    retry = Retrying(*[RateLimited("429")] * 60, OK, tries=2, minimum=0.0)
    response = await retry()
    assert response.attempts == 61
    assert retry.budget.granted == 0
    assert retry.stage.statistics().rate_limited == 60


async def test_with_a_gate_the_limiter_waits_not_we() -> None:
    retry = Retrying(RateLimited("429", retry_after=30.0), OK)
    await retry()
    assert retry.clock.now() == 0.0


async def test_patience_with_rate_limits_ends() -> None:
    retry = Retrying(RateLimited("429"), patience=100.0)
    with pytest.raises(RateLimited):
        await retry()
    assert 90.0 < retry.clock.now() <= 100.0


@pytest.mark.parametrize("error", [RateLimited("429", retry_after=50.0), Overloaded("503", retry_after=50.0)])
async def test_a_deadline_is_not_slept_over(error: UpstreamError) -> None:
    retry = Retrying(error, OK)
    with pytest.raises(type(error)):
        await retry(asking(deadline=20.0))
    assert retry.clock.now() == 0.0


async def test_an_empty_budget_postpones_and_loses_nothing() -> None:
    retry = Retrying(Overloaded("503"), OK, minimum=1.0)
    assert retry.budget.withdraw(0.0)
    await retry()
    assert len(retry.script.asked) == 2
    assert retry.clock.now() > 5.0
    assert retry.stage.statistics().postponed > 0


async def test_when_the_tries_are_spent_another_upstream_is_asked() -> None:
    retry = Retrying(*(Overloaded("503", upstream="a") for _ in range(2)), OK)
    retry.elsewhere = True
    assert (await retry()).attempts == 3
    assert retry.clock.now() < 0.05
    last = retry.script.asked[-1]
    assert isinstance(last, Attempt)
    assert (last.spent, str(last.failure)) == (("a",), "503")


async def test_every_upstream_has_its_own_tries_and_then_it_ends() -> None:
    failures = [Overloaded("503", upstream=name) for name in ["a"] * 2 + ["b"] * 90]
    retry = Retrying(*failures, tries=3)
    retry.elsewhere = True

    async def route(request: Request, /) -> Response:
        if isinstance(request, Attempt) and request.failure is not None and set(request.spent) == {"a", "b"}:
            raise request.failure
        return await retry.script(request)

    with pytest.raises(Overloaded) as caught:
        await retry.stage(asking(), route)
    assert len(retry.script.asked) == caught.value.attempts == 2 + 3


async def test_an_empty_budget_sends_to_another_upstream_first() -> None:
    retry = Retrying(Overloaded("503", upstream="a"), OK, minimum=0.0)
    retry.elsewhere = True
    await retry()
    assert retry.clock.now() == 0.0
    last = retry.script.asked[-1]
    assert isinstance(last, Attempt)
    assert last.spent == ("a",)


async def test_cancelled_at_any_moment_it_is_gone() -> None:
    retry = Retrying(Overloaded("503"), Overloaded("503"), OK, autojump=False)
    retry.script.seconds = 1.0

    def start() -> asyncio.Task[object]:
        retry.script.asked.clear()
        return asyncio.ensure_future(retry())

    assert await cancelled_at_every_await(start, retry.clock) > 3
    assert retry.script.running == 0
    assert retry.clock.sleeping == 0
