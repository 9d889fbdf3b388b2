"""A small driver of one provider batch, in a process of its own that kills itself where it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request

import msgspec

from agentic_synth.cache.batches import Batch, BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.parked import Parked, Parking
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.config import Timeouts, UpstreamConfig
from agentic_synth.transport.batches.api import BatchApi, BatchLine, BatchResult, Submission
from agentic_synth.transport.batches.finding import resolve
from agentic_synth.transport.batches.open import batch_api
from agentic_synth.types import Message, Request

COUNT = 60
UPSTREAM = "simulated/m"
POINTS = ("parked", "sealed", "submitting", "sent", "submitted", "ended", "put", "settled")


class SharedClock:
    """Whoever sleeps lets time pass for the provider too."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.removesuffix('/v1')}/advance"
        self._now = 0.0

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += seconds
        body = msgspec.json.encode({"seconds": seconds})
        urllib.request.urlopen(urllib.request.Request(self._url, body)).close()  # noqa: S310


def request(number: int) -> Request:
    return Request(model=UPSTREAM, messages=(Message("user", f"question {number}"),))


class Driver:
    def __init__(self, path: str, url: str, wire: str, kill_at: str) -> None:
        self.store = SqliteStore(path)
        self.parking, self.ledger = Parking(self.store), BatchLedger(self.store)
        self.clock = SharedClock(url)
        self.origin = url
        self.kill_at = kill_at
        timeouts = Timeouts(total=20)
        config = UpstreamConfig(
            reference=UPSTREAM, name=UPSTREAM, model="m", wire=wire, base_url=url, timeouts=timeouts  # type: ignore[arg-type]
        )  # fmt: skip
        self.api: BatchApi = batch_api(config)

    def reached(self, point: str) -> None:
        if point == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def run(self) -> None:
        await self.park()
        self.reached("parked")
        await self.ledger.seal(UPSTREAM, self.origin, most_requests=1_000, most_bytes=10**8)
        self.reached("sealed")
        for batch in self.ledger.pending():
            await self.finish(batch)
        await self.api.aclose()
        await self.store.aclose()

    async def park(self) -> None:
        fresh = []
        for asked in map(request, range(COUNT)):
            key = key_of(asked, self.origin).draw
            if self.store.get(key) is None:
                size = self.api.size(BatchLine(key.hex(), asked))
                fresh.append(Parked(key, asked, UPSTREAM, self.origin, size))
        await self.parking.park(fresh)

    async def finish(self, batch: Batch) -> None:
        if batch.state == "submitting":
            batch = await self.look_for(batch)
        if batch.state == "sealed":
            batch = await self.submit(batch)
        if batch.state == "submitted":
            self.reached("submitted")
            while not (await self.api.poll(batch.identity)).state.final:
                await self.clock.sleep(60)
            batch = await self.ledger.ended(batch.number)
            self.reached("ended")
        await self.load(batch)

    async def look_for(self, batch: Batch) -> Batch:
        adopted = await self.ledger.adopt(batch.number)
        assert adopted is not None
        assert adopted.began is not None
        sought = Submission(
            name=adopted.name,
            requests=adopted.requests,
            began=adopted.began,
            mark=adopted.mark,
            known=self.ledger.known(),
        )
        found = await resolve(self.api, sought, self.parking.owns(batch.number), self.clock)
        if found is None:
            return await self.ledger.unsent(batch.number)
        return await self.ledger.submitted(batch.number, found.id)

    async def submit(self, batch: Batch) -> Batch:
        sending = await self.ledger.submitting(batch.number, await self.api.mark())
        assert sending is not None
        self.reached("submitting")
        lines = (BatchLine(one.custom_id, one.request) for one in self.parking.requests(batch.number))
        sent = await self.api.submit(batch.name, lines)
        self.reached("sent")
        return await self.ledger.submitted(batch.number, sent.id)

    async def load(self, batch: Batch) -> None:
        provider = await self.api.poll(batch.identity)
        some: list[BatchResult] = []
        async for result in self.api.results(provider):
            some.append(result)
            if len(some) == 7:
                await self.keep(some)
                some = []
        await self.keep(some)
        await self.ledger.imported(batch.number)

    async def keep(self, results: list[BatchResult]) -> None:
        keys = []
        for result in results:
            one = self.parking.look(result.custom_id)
            if one is not None and result.response is not None:
                key = key_of(one.request, one.origin)
                await self.store.put(key, result.response, Status.COMPLETE)
                keys.append(key.draw)
        self.reached("put")
        await self.parking.settle(keys)
        self.reached("settled")


if __name__ == "__main__":
    asyncio.run(Driver(*sys.argv[1:5]).run())
