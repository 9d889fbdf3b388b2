"""One upstream's batches: sealed, handed over once, looked after, and fetched, whichever process began them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from agentic_synth.cache.batches import Batch
from agentic_synth.cache.parked import Parked
from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import BudgetSpent, Overloaded, SynthError, UpstreamError
from agentic_synth.policies.pricing import Price
from agentic_synth.sdk.batch_follower import NOTHING, SLICE, BatchOffice, Counter, Errand, Follower
from agentic_synth.stages.park import Lot
from agentic_synth.transport.batches.api import BatchLine
from agentic_synth.transport.batches.open import batch_api
from agentic_synth.types import Request

__all__ = ["BatchDesk", "open_desk"]

_TRIES = 2


def open_desk(
    name: str,
    config: UpstreamConfig,
    office: BatchOffice,
    price: Price | None,
    spawn: Callable[[Coroutine[Any, Any, None]], object],
) -> BatchDesk:
    """The desk of the upstream that requests call *name*; nothing is connected yet.

    Raises:
        ConfigError: its wire format has no batches.
    """
    api = batch_api(config)

    def size(custom_id: str, request: Request) -> int:
        return api.size(BatchLine(custom_id, request))

    return BatchDesk(office, Counter(Lot(name, config.base_url, office.parking, size, spawn), api, price))


class BatchDesk:
    """Every step of a batch is in the ledger before the next one is taken, so any process can take that next step.

    What a batch ends without is parked once more. What two batches failed may be asked online, or is refused.
    """

    def __init__(self, office: BatchOffice, counter: Counter) -> None:
        self.lot = counter.lot
        self.api = counter.api
        self._office = office
        self._counter = counter
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def check(self, errand: Errand) -> None:
        """Ask the upstream whether it has batches at all.

        Raises:
            SynthError: it has none, or cannot be reached.
        """
        for wait in (1.0, 5.0, 20.0, None):
            try:
                async for _ in self.api.list():
                    break
            except UpstreamError as error:
                if wait is None or not error.retryable:
                    raise
                with self._office.stops.waiting(errand.run):
                    await errand.clock.sleep(wait)
            else:
                return

    async def begin(self) -> None:
        """Forget what earlier runs left behind and no provider has seen: who still wants it parks it again."""
        self._counter.forgive()
        for batch in self._office.ledger.pending():
            if batch.state == "sealed" and self._is_mine(batch):
                await self._office.ledger.closed(batch.number, "cancelled", "left behind by an earlier run")
        await self.forget()

    async def forget(self) -> None:
        """Let nothing wait any more that is in no batch."""
        await self._settle(self._waiting(0))

    @property
    def is_bounded(self) -> bool:
        """Whether a budget bounds what may be sent."""
        return self._office.purse.spending.limit is not None

    def waiting(self) -> int:
        """How many requests the next batch may take."""
        return self._office.parking.waiting(self.lot.upstream, self.lot.origin, most_tries=_TRIES).requests

    async def give_up(self) -> None:
        """Refuse, with the error it had, what two batches failed to answer."""
        for one in self._waiting(_TRIES):
            self.lot.refuse(one.key, self._counter.recall(one.key) or self._unanswered())
        await self._settle(self._waiting(_TRIES))

    async def seal(self) -> list[int]:
        """Close what waits into batches that provider and budget allow; their numbers.

        Raises:
            BudgetSpent: not one request can be paid for.
        """
        limits, lot = self.api.limits, self.lot
        affordable = self._affordable()
        sealed = await self._office.ledger.seal(
            lot.upstream,
            lot.origin,
            most_requests=min(limits.requests, affordable or limits.requests),
            most_bytes=limits.size_bytes,
            most_tries=_TRIES,
            most_batches=1 if affordable is not None else None,
        )
        return [batch.number for batch in sealed]

    def _affordable(self) -> int | None:
        """How many of those that wait could be paid, from the first on, if each cost the most it can; None if all."""
        if not self.is_bounded:
            return None
        spending = self._office.purse.spending
        total = NOTHING
        for count, one in enumerate(self._waiting(0)):
            total += self._counter.most(one.request)
            if not spending.room_for(total):
                if not count:
                    limit = f"{spending.limit:,.10g} {spending.unit}"
                    raise BudgetSpent(
                        f"the budget of {limit} is spent as far as a request could need",
                        mend="raise it with --budget; what was answered is kept, and a rerun goes on from there",
                    )
                return count
        return None

    async def follow(self, number: int, errand: Errand) -> None:
        """Bring a batch to its end, from wherever it stands, and store what it has answered.

        Raises:
            SynthError: it cannot be done now; the batch goes on at the provider, and can be followed again.
            Stopped: the run was stopped meanwhile; likewise.
        """
        async with self._locks[number]:
            follower = Follower(self._office, self._counter, errand)
            try:
                await follower.follow(number)
            finally:
                follower.settle()
                self._counter.counts.pop(number, None)

    def told(self) -> str:
        """What waits here, in words."""
        counts = self._counter.counts.values()
        if not counts:
            return ""
        total = sum(count.total for count in counts)
        done = total - sum(count.waiting for count in counts)
        batches = "1 batch" if len(counts) == 1 else f"{len(counts):,} batches"
        return f"{total:,} in {batches} at {self.lot.upstream.partition('/')[0]}: {done:,} done"

    async def aclose(self) -> None:
        """Close all connections."""
        await self.api.aclose()

    def _is_mine(self, batch: Batch) -> bool:
        return (batch.upstream, batch.origin) == (self.lot.upstream, self.lot.origin)

    def _waiting(self, tries: int) -> Iterator[Parked]:
        return self._office.parking.stragglers(self.lot.upstream, self.lot.origin, tries=tries)

    async def _settle(self, waiting: Iterator[Parked]) -> None:
        keys: list[bytes] = []
        for one in waiting:
            keys.append(one.key)
            if len(keys) == SLICE:
                await self._office.parking.settle(keys)
                keys = []
        if keys:
            await self._office.parking.settle(keys)

    def _unanswered(self) -> SynthError:
        return Overloaded(
            f"{self.lot.upstream}: {_TRIES} batches ended without an answer to this request",
            upstream=self.lot.upstream,
            mend="the same command asks again; --mode mixed asks online what batches leave over",
        )
