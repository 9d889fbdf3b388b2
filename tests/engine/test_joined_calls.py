"""What carries many requests counts as what it is: one call, one permit, one retry, and the tokens of them all."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import msgspec
import pytest

from agentic_synth.cache.memory import MemoryStore
from agentic_synth.config import EngineConfig, UpstreamConfig
from agentic_synth.engine.assembly import Assembly
from agentic_synth.engine.engine import Engine
from agentic_synth.errors import Overloaded, SynthError, UpstreamError
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.policies.pricing import Price, Prices
from agentic_synth.policies.spending import Spending
from agentic_synth.policies.tokens import call_bound, call_tokens
from agentic_synth.stages.budget import Budget, Purse
from agentic_synth.stages.retry import Retry
from agentic_synth.testing.clock import FakeClock
from agentic_synth.types import Call, Message, Reply, Request, Response, Usage


def text(words: str, **fields: Any) -> Request:
    return Request(**{"model": "p/e", "messages": (Message("user", words),), "kind": "embedding", **fields})


def joined(*texts: str) -> Call:
    requests = tuple(text(one) for one in texts)
    return Call(request=requests[0], model="e", joined=requests)


def test_a_rate_of_tokens_sees_the_sum_and_no_output() -> None:
    upstream = UpstreamConfig(
        reference="p/e", name="p", model="e", wire="openai", input_tokens_per_minute=1e6, output_tokens_per_minute=1e6
    )
    admission = Admission.of(upstream, concurrency=4)
    call = joined("a" * 40, "b" * 80, "c")
    assert admission.amounts(call) == (1.0, 31.0, 31.0, 0.0)
    assert call_tokens(call) == 31
    assert call_bound(call) >= 121


async def test_the_budget_reserves_and_settles_the_sum() -> None:
    purse = Purse(Spending.parse("1000tok"))
    budget = Budget(purse, Price(10.0, 0.0), reference="p/e")
    call = joined("a" * 100, "b" * 200)
    reserved = []

    async def proceed(call: Call, /) -> Reply:
        reserved.append(purse.spending.statistics().reserved)
        return Reply(response=Response(usage=Usage(80)), parts=(Response(), Response()))

    reply = await budget(call, proceed)
    assert reserved == [call_bound(call)]
    assert reply.response.cost == pytest.approx(80 * 10 / 1e6)
    assert purse.spending.statistics().tokens == 80


class Shared:
    """A hundred requests behind one retry stage whose first call fails for all of them."""

    def __init__(self, *, chance: float | None, sharers: int) -> None:
        self.clock = FakeClock(autojump=True)
        self.budget = RetryBudget(0.0, minimum=2.0)
        self.retry = Retry(Backoff(base=4.0, cap=60.0, tries=4), self.budget, self.clock, Random(1))
        self.came_back: list[float] = []
        self.error = Overloaded("503", status=503)
        self.error.chance = chance
        self.error.sharers = sharers

    async def proceed(self, request: Request, /) -> Response:
        if isinstance(request, Attempt) and request.failure is not None:
            raise request.failure  # as route does where there is no other upstream
        if self.clock.now() == 0.0:
            error: UpstreamError = Overloaded("503", status=503)
            error.chance, error.sharers = self.error.chance, self.error.sharers
            raise error
        self.came_back.append(self.clock.now())
        return Response()

    async def run(self) -> None:
        await asyncio.gather(*(self.retry(text(f"{number}"), self.proceed) for number in range(100)))


async def test_those_who_failed_in_one_call_come_back_together_for_the_price_of_one_retry() -> None:
    shared = Shared(chance=0.7, sharers=100)
    await shared.run()
    assert len(set(shared.came_back)) == 1
    assert shared.budget.balance == pytest.approx(1.0)
    assert shared.retry.statistics().postponed == 0


async def test_those_who_failed_alone_come_back_one_by_one() -> None:
    shared = Shared(chance=None, sharers=1)
    await shared.run()
    assert len(set(shared.came_back)) > 90
    assert shared.retry.statistics().postponed > 0


class Brittle:
    """A server on which one text breaks every call that holds it."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def __call__(self, call: Call, /) -> Reply:
        requests = call.joined or (call.request,)
        self.calls.append(len(requests))
        if any(one.messages[0].content == "poison" for one in requests):
            raise Overloaded("500", status=500)
        parts = tuple(Response(vector=str(one.messages[0].content).encode(), usage=Usage(1)) for one in requests)
        usage = Usage(len(parts))
        return Reply(response=msgspec.structs.replace(parts[0], usage=usage), parts=parts if call.joined else ())

    async def aclose(self) -> None:
        """Nothing is held."""


async def test_a_text_that_breaks_the_server_costs_no_other_text_its_answer() -> None:
    brittle, clock = Brittle(), FakeClock(autojump=True)
    assembly = Assembly(EngineConfig(), MemoryStore(), Prices.load(), clock=clock, rng=Random(3))
    upstream = UpstreamConfig(reference="p/e", name="p", model="e", wire="openai", base_url="http://p.example.com/v1")
    assembly.add("p/e", upstream, brittle)
    words = [*(f"text {number}" for number in range(150)), "poison", *(f"more {number}" for number in range(150))]
    async with Engine(assembly) as engine:
        answers = [answer async for answer in engine.map([text(word) for word in words], window=400)]
        told = engine.statistics()["upstreams"]["p/e"]
    wrong = [word for word, answer in zip(words, answers, strict=True) if isinstance(answer, SynthError)]
    assert wrong == ["poison"]
    assert isinstance(answers[150], Overloaded)
    assert all(
        isinstance(answer, SynthError) or answer.vector == word.encode()
        for word, answer in zip(words, answers, strict=True)
    )
    assert len(brittle.calls) < len(words) / 4
    assert told["batch"]["waiting"] == told["limiter"]["in_flight"] == told["limiter"]["waiting"] == 0


class Steady(Brittle):
    """A server that takes a tenth of a second a call."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    async def __call__(self, call: Call, /) -> Reply:
        await self.clock.sleep(0.1)
        return await super().__call__(call)


async def test_while_calls_wait_for_a_permit_the_next_one_grows() -> None:
    clock = FakeClock(autojump=True)
    steady = Steady(clock)
    assembly = Assembly(EngineConfig(concurrency=1), MemoryStore(), Prices.load(), clock=clock, rng=Random(3))
    upstream = UpstreamConfig(reference="p/e", name="p", model="e", wire="openai", base_url="http://p.example.com/v1")
    assembly.add("p/e", upstream, steady)
    waits: list[float] = []

    async def ask(number: int) -> None:
        await clock.sleep(number * 0.002)
        came = clock.now()
        answer = await engine.submit(text(f"text {number}"))
        assert answer.vector == f"text {number}".encode()
        waits.append(clock.now() - came)

    async with Engine(assembly) as engine, asyncio.TaskGroup() as group:
        for number in range(1_000):
            group.create_task(ask(number))
    assert len(steady.calls) <= 23
    assert max(waits) <= 0.35
