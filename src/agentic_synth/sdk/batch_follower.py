"""One batch on its way from step to step, whichever process took the step before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import blake2b

import msgspec

from agentic_synth.cache.batches import Batch, BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.leases import Leases
from agentic_synth.cache.parked import Parking
from agentic_synth.clock import Clock
from agentic_synth.errors import BudgetSpent, Overloaded, SynthError, UpstreamError
from agentic_synth.policies.pricing import Price
from agentic_synth.policies.spending import Cost
from agentic_synth.policies.tokens import output_bound, prompt_bound
from agentic_synth.stages.budget import Purse
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.park import Lot
from agentic_synth.stops import Stops
from agentic_synth.telemetry.run_statistics import Purpose, RunStatistics
from agentic_synth.transport.batches.api import BatchApi, BatchCounts, BatchLine, BatchResult, BatchState, Submission
from agentic_synth.transport.batches.finding import in_doubt, resolve
from agentic_synth.types import Request, Usage

__all__ = ["NOTHING", "SLICE", "BatchOffice", "Counter", "Errand", "Follower"]

SLICE = 500
NOTHING = Cost()
_FAILURES = 8
_FIRST_LOOK = 12
_LIKELY_OUTPUT = 1_536
_MOST_REMEMBERED = 10_000


class BatchOffice(msgspec.Struct, frozen=True):
    """What a session's batches share: where requests wait, which batches there are, answers, money, and stops.

    *leases* keep two engines, of one process even, from handing over the same batch.
    """

    parking: Parking
    ledger: BatchLedger
    leases: Leases
    cache: Cache
    purse: Purse
    stops: Stops


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a batch is looked after: a *run*, its figures, its *clock*, and the longest wait between two looks."""

    run: str
    statistics: RunStatistics
    clock: Clock
    poll: float


class Counter:
    """One upstream as its batches see it: how it is reached, what it charges, and what it said last."""

    def __init__(self, lot: Lot, api: BatchApi, price: Price | None) -> None:
        """*price* is that of a batch, None where it is not known."""
        self.lot = lot
        self.api = api
        self.price = price
        self.counts: dict[int, BatchCounts] = {}
        """How far each batch is that is followed now."""
        self._failures: dict[bytes, SynthError] = {}

    def most(self, request: Request) -> Cost:
        """The most that *request* can cost; the likely most, where nothing bounds the answer."""
        bound = output_bound(request)
        return self.cost(Usage(prompt_bound(request), _LIKELY_OUTPUT if bound is None else bound))

    def cost(self, usage: Usage) -> Cost:
        """What an answer costs."""
        dollars = self.price.cost(usage) if self.price is not None else 0.0
        return Cost(dollars, usage.input_tokens + usage.output_tokens, 1.0)

    def remember(self, key: bytes, error: SynthError) -> None:
        """A batch failed the request of this key with *error*."""
        if len(self._failures) < _MOST_REMEMBERED:
            self._failures[key] = error

    def recall(self, key: bytes) -> SynthError | None:
        """What a batch failed this request with, once."""
        return self._failures.pop(key, None)

    def forgive(self) -> None:
        """Forget every failure."""
        self._failures.clear()
        self.lot.forgive()


class Follower:
    """Takes one batch to its end. Every step is in the ledger before the next one, so any process can go on from it."""

    def __init__(self, office: BatchOffice, counter: Counter, errand: Errand) -> None:
        self._office = office
        self._counter = counter
        self._api = counter.api
        self._errand = errand
        self._reserved = NOTHING
        self._spent = NOTHING
        self._wait = errand.poll / _FIRST_LOOK

    async def follow(self, number: int) -> None:
        """Take every step there is; a failure that may heal is tried again."""
        failures = 0
        while True:
            batch = self._office.ledger.batch(str(number))
            try:
                if batch is None or not await self._step(batch):
                    return
                failures = 0
            except UpstreamError as error:
                failures += 1
                if not error.retryable or failures >= _FAILURES:
                    raise
                await self._pause(max(error.retry_after or 0.0, min(self._errand.poll, 2.0**failures)))

    def settle(self) -> None:
        """Pay for what came, and free what was set aside for the rest."""
        self._office.purse.settle(self._reserved, self._spent)
        self._reserved = self._spent = NOTHING

    async def _step(self, batch: Batch) -> bool:
        """Take the next step; false where there is none."""
        self._counter.counts.setdefault(batch.number, BatchCounts(waiting=batch.requests))
        if batch.state != "sealed" and self._reserved == NOTHING:
            self._reserved = self._most(batch)
            self._office.purse.spending.hold(self._reserved)
        match batch.state:
            case "sealed" | "submitting":
                return await self._hand_over(batch)
            case "submitted":
                await self._look(batch)
            case "ended":
                await self._fetch(batch)
            case _:
                return False
        return True

    def _most(self, batch: Batch) -> Cost:
        if self._office.purse.spending.limit is None:
            return NOTHING
        return sum((self._counter.most(one.request) for one in self._office.parking.requests(batch.number)), NOTHING)

    async def _hand_over(self, batch: Batch) -> bool:
        lease = blake2b(batch.name.encode(), digest_size=16).digest()
        if not self._office.leases.take(lease):
            await self._pause(self._errand.poll / _FIRST_LOOK)
            return True
        try:
            if batch.state == "sealed":
                return await self._submit(batch)
            await self._find(batch)
        finally:
            self._office.leases.release(lease)
        return True

    async def _submit(self, batch: Batch) -> bool:
        office, number = self._office, batch.number
        office.stops.check(self._errand.run)
        if self._reserved == NOTHING:
            cost = self._most(batch)
            try:
                await office.purse.reserve(cost, self._errand.run)
            except BudgetSpent as error:
                # A smaller batch may fit: its requests wait for that.
                await office.ledger.closed(number, "cancelled", error.message)
                return False
            self._reserved = cost
        if await office.ledger.submitting(number, await self._api.mark()) is None:
            return True  # somebody else was faster
        lines = (BatchLine(one.custom_id, one.request) for one in office.parking.requests(number))
        try:
            sent = await self._api.submit(batch.name, lines)
        except SynthError as error:
            if not in_doubt(error):
                await office.ledger.unsent(number)
            raise
        await office.ledger.submitted(number, sent.id)
        return True

    async def _find(self, batch: Batch) -> None:
        """Find out what became of a submission whose sender is gone, or never heard the reply."""
        office = self._office
        adopted = await office.ledger.adopt(batch.number)
        if adopted is None:
            await self._pause(self._errand.poll / _FIRST_LOOK)  # its sender lives
            return
        sought = Submission(
            name=adopted.name,
            requests=adopted.requests,
            began=adopted.began or 0.0,
            mark=adopted.mark,
            known=office.ledger.known(),
        )
        with office.stops.waiting(self._errand.run):
            found = await resolve(self._api, sought, office.parking.owns(batch.number), self._errand.clock)
        if found is None:
            await office.ledger.unsent(batch.number)
        else:
            await office.ledger.submitted(batch.number, found.id)

    async def _look(self, batch: Batch) -> None:
        told = await self._api.poll(batch.identity)
        if told.state.final:
            await self._office.ledger.ended(batch.number)
            return
        if told.counts.total:
            self._counter.counts[batch.number] = told.counts
        await self._pause(self._wait)
        self._wait = min(self._wait * 1.5, self._errand.poll)

    async def _fetch(self, batch: Batch) -> None:
        ledger = self._office.ledger
        told = await self._api.poll(batch.identity)
        if told.state is BatchState.FAILED:
            error = Overloaded(
                f"{batch.upstream} would not work on batch {batch.name}: {told.reason or 'it does not say why'}",
                upstream=batch.upstream,
                mend="the same command submits it again; --mode online does without batches",
            )
            for one in self._office.parking.requests(batch.number):
                self._counter.remember(one.key, error)
            await ledger.closed(batch.number, "failed", told.reason)
            return
        async with aclosing(self._api.results(told)) as results:
            async for some in _slices(results):
                await self._keep(some)
        await ledger.imported(batch.number)

    async def _keep(self, results: list[BatchResult]) -> None:
        """Store the answers, and settle with them what cannot be asked again."""
        counter, office = self._counter, self._office
        settled, writes = [], []
        for result in results:
            one = office.parking.look(result.custom_id)
            if one is None or (result.response is None and result.error is None):
                continue  # settled before, or untouched
            if result.response is not None:
                cost = counter.cost(result.response.usage)
                self._spent += cost
                dollars = cost.usd if counter.price is not None else None
                response = msgspec.structs.replace(result.response, cost=dollars)
                writes.append(office.cache.keep(key_of(one.request, one.origin), response))
                settled.append(one.key)
                self._errand.statistics.record_early(response, _purpose(one.request))
            elif result.error is not None:
                self._spent += Cost(req=1.0)
                self._errand.statistics.record_in_vain(1)
                if isinstance(result.error, UpstreamError) and result.error.retryable:
                    self._counter.remember(one.key, result.error)
                else:
                    counter.lot.refuse(one.key, result.error)
                    settled.append(one.key)
        await asyncio.gather(*writes)
        await office.parking.settle(settled)

    async def _pause(self, seconds: float) -> None:
        with self._office.stops.waiting(self._errand.run):
            await self._errand.clock.sleep(seconds)


def _purpose(request: Request) -> Purpose:
    """What a rung of the ladder it was: a schema's answer is corrected first, then drawn anew."""
    if request.draw.attempt == 0:
        return "answer"
    return "repair" if request.draw.attempt == 1 and request.schema is not None else "regeneration"


async def _slices(results: AsyncGenerator[BatchResult, None]) -> AsyncGenerator[list[BatchResult], None]:
    some: list[BatchResult] = []
    async for result in results:
        some.append(result)
        if len(some) == SLICE:
            yield some
            some = []
    if some:
        yield some
