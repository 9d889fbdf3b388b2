"""One upstream's batches, with a provider that says whatever a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any

import pytest

from agentic_synth.cache.batches import BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.parked import Parking
from agentic_synth.cache.store import Status
from agentic_synth.errors import AuthFailed, BudgetSpent, ConnectFailed, InvalidRequest, Overloaded, SynthError
from agentic_synth.policies.pricing import Price
from agentic_synth.policies.spending import Spending
from agentic_synth.sdk.batch_desk import BatchDesk
from agentic_synth.sdk.batch_follower import BatchOffice, Counter, Errand
from agentic_synth.stages.budget import Purse
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.park import Lot
from agentic_synth.stops import Stops
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.testing.clock import FakeClock
from agentic_synth.transport.batches.api import (
    BatchCounts,
    BatchLimits,
    BatchLine,
    BatchResult,
    BatchState,
    Finding,
    ProviderBatch,
    Submission,
)
from agentic_synth.types import Message, Request, Response, Usage

NAME, ORIGIN = "there/m", "http://there/v1"
ANSWER = Response(text="an answer", usage=Usage(100, 50), upstream=NAME)


class Provider:
    """A batch API: every *state* is that of one more batch, whose requests all become *outcome*.

    *failures* are raised by submissions, one each, before they succeed; ``heard`` says that they arrived all the same.
    """

    limits = BatchLimits(100, 10**6)

    def __init__(self) -> None:
        self.states = [BatchState.COMPLETED]
        self.outcome: Response | SynthError | None = ANSWER
        self.failures: list[SynthError] = []
        self.heard = False
        self.listings: list[SynthError] = []
        self.running = 0
        self.batches: dict[str, tuple[ProviderBatch, list[str]]] = {}

    def size(self, line: BatchLine) -> int:
        return 100

    async def mark(self) -> str:
        return ""

    async def submit(self, name: str, lines: Iterable[BatchLine]) -> ProviderBatch:
        failure = self.failures.pop(0) if self.failures else None
        names = [line.custom_id for line in lines]
        if failure is None or self.heard:
            state = self.states[min(len(self.batches), len(self.states) - 1)]
            batch = ProviderBatch(id=f"b{len(self.batches)}", state=state, name=name, reason="too much enqueued")
            self.batches[batch.id] = (batch, names)
        if failure is not None:
            raise failure
        return batch

    async def find(self, submission: Submission, owns: Callable[[str], bool]) -> Finding:
        return Finding(next((batch for batch, _ in self.batches.values() if batch.name == submission.name), None))

    async def poll(self, identity: str) -> ProviderBatch:
        batch, names = self.batches[identity]
        if self.running:
            self.running -= 1
            return ProviderBatch(
                id=identity, state=BatchState.RUNNING, counts=BatchCounts(waiting=len(names) - 1, succeeded=1)
            )
        return batch

    async def results(self, batch: ProviderBatch) -> AsyncGenerator[BatchResult, None]:
        for name in self.batches[batch.id][1]:
            error = self.outcome if isinstance(self.outcome, SynthError) else None
            yield BatchResult(name, self.outcome if isinstance(self.outcome, Response) else None, error)

    async def cancel(self, identity: str) -> ProviderBatch:
        return self.batches[identity][0]

    async def list(self) -> AsyncIterator[ProviderBatch]:
        if self.listings:
            raise self.listings.pop(0)
        for batch, _ in self.batches.values():
            yield batch

    async def aclose(self) -> None:
        """Nothing is held."""


class Bench:
    """A desk, and everything that it needs."""

    def __init__(self, budget: str | None = None) -> None:
        self.store = MemoryStore()
        self.parking, self.ledger = Parking(self.store), BatchLedger(self.store)
        self.purse, self.stops = Purse(Spending.parse(budget) if budget else Spending()), Stops()
        cache = Cache(self.store, lambda request: ORIGIN)
        self.provider = Provider()
        self.tasks: set[asyncio.Task[None]] = set()
        lot = Lot(NAME, ORIGIN, self.parking, lambda name, request: 100, self.spawn)
        office = BatchOffice(self.parking, self.ledger, self.store.leases, cache, self.purse, self.stops)
        self.desk = BatchDesk(office, Counter(lot, self.provider, Price(1.0, 2.0)))
        self.statistics = RunStatistics()
        self.clock = FakeClock()
        self.errand = Errand(run="r", statistics=self.statistics, clock=self.clock, poll=60.0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def park(self, count: int) -> list[Request]:
        requests = [
            Request(model=NAME, messages=(Message("user", f"question {number}"),), parameters={"max_tokens": 100})
            for number in range(count)
        ]
        await asyncio.gather(*map(self.desk.lot.park, requests))
        return requests

    async def round(self) -> None:
        """Seal what waits, and bring it to an end, whatever time that takes."""
        numbers = await self.desk.seal()
        following = asyncio.gather(*(self.desk.follow(number, self.errand) for number in numbers))
        while not following.done():
            await self.clock.advance(1.0)
        await following

    def stored(self, requests: Sequence[Request]) -> list[Status | None]:
        found = [self.store.get(key_of(request, ORIGIN).draw) for request in requests]
        return [one.status if one is not None else None for one in found]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.store.aclose()


async def test_answers_are_stored_under_the_keys_of_their_requests_and_billed(bench: Bench) -> None:
    requests = await bench.park(3)
    await bench.round()
    assert bench.stored(requests) == [Status.COMPLETE] * 3
    assert bench.purse.spending.statistics().dollars == pytest.approx(3 * 200e-6)
    told = bench.statistics.as_dict(1.0)
    assert (told["requests"]["attempts"], told["dollars"]) == (3, pytest.approx(3 * 200e-6))
    assert bench.desk.waiting() == 0


async def test_it_tells_what_waits_while_it_waits(bench: Bench) -> None:
    await bench.park(3)
    bench.provider.running = 2
    (number,) = await bench.desk.seal()
    following = asyncio.create_task(bench.desk.follow(number, bench.errand))
    await bench.clock.advance(1.0)
    assert bench.desk.told() == "3 in 1 batch at there: 1 done"
    while not following.done():
        await bench.clock.advance(10.0)
    assert bench.desk.told() == ""


async def test_a_batch_that_is_refused_whole_is_tried_once_more_and_then_fails_with_the_reason(bench: Bench) -> None:
    bench.provider.states = [BatchState.FAILED]
    (request,) = await bench.park(1)
    for waiting in (1, 0):
        await bench.round()
        assert bench.desk.waiting() == waiting
    await bench.desk.give_up()
    with pytest.raises(Overloaded, match="too much enqueued"):
        await bench.desk.lot.park(request)
    await bench.desk.begin()
    assert await bench.desk.lot.park(request) is None


async def test_what_is_wrong_itself_is_not_asked_twice(bench: Bench) -> None:
    bench.provider.outcome = InvalidRequest("no such parameter")
    (request,) = await bench.park(1)
    await bench.round()
    assert bench.desk.waiting() == 0
    with pytest.raises(InvalidRequest, match="no such parameter"):
        await bench.desk.lot.park(request)


async def test_what_two_batches_never_got_to_fails_as_that(bench: Bench) -> None:
    bench.provider.outcome, bench.provider.states = None, [BatchState.EXPIRED]
    (request,) = await bench.park(1)
    await bench.round()
    await bench.round()
    await bench.desk.give_up()
    with pytest.raises(Overloaded, match="2 batches ended without an answer"):
        await bench.desk.lot.park(request)


@pytest.mark.parametrize("heard", [True, False])
async def test_a_lost_reply_is_no_second_batch(bench: Bench, heard: bool) -> None:
    bench.provider.failures, bench.provider.heard = [ConnectFailed("cut")], heard
    requests = await bench.park(2)
    await bench.round()
    assert bench.stored(requests) == [Status.COMPLETE] * 2
    assert len(bench.provider.batches) == 1


async def test_a_refusal_that_cannot_heal_is_told_and_nothing_is_in_doubt(bench: Bench) -> None:
    bench.provider.failures = [AuthFailed("wrong key")]
    await bench.park(2)
    with pytest.raises(AuthFailed):
        await bench.round()
    assert [batch.state for batch in bench.ledger.pending()] == ["sealed"]
    await bench.desk.begin()
    assert bench.ledger.pending() == []
    assert bench.desk.waiting() == 0


async def test_a_provider_that_stumbles_is_asked_again_whether_it_has_batches(bench: Bench) -> None:
    bench.provider.listings = [Overloaded("busy"), ConnectFailed("cut")]
    checking = asyncio.create_task(bench.desk.check(bench.errand))
    while not checking.done():
        await bench.clock.advance(1.0)
    await checking
    bench.provider.listings = [AuthFailed("wrong key")]
    with pytest.raises(AuthFailed):
        await bench.desk.check(bench.errand)


async def test_the_most_a_batch_can_cost_is_set_aside_and_settled() -> None:
    bench = Bench("0.001usd")
    requests = await bench.park(10)
    most = bench.desk._counter.most(requests[0]).usd
    assert 2 * most < 0.001 < 10 * most
    bench.provider.running = 1
    (number,) = await bench.desk.seal()
    following = asyncio.create_task(bench.desk.follow(number, bench.errand))
    await bench.clock.advance(0.5)
    spending = bench.purse.spending
    first = len(bench.provider.batches["b0"][1])
    assert spending.reserved == pytest.approx(first * most)
    assert spending.reserved <= 0.001
    while not following.done():
        await bench.clock.advance(1.0)
    assert spending.reserved == 0
    assert spending.spent == pytest.approx(first * 200e-6)
    with pytest.raises(BudgetSpent):
        await _spend(bench)
    assert spending.spent <= 0.001
    await bench.store.aclose()


async def _spend(bench: Bench) -> None:
    while True:
        await bench.round()
