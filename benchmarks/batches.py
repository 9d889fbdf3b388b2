"""What 50,000 requests cost on their way through a provider's batch: parked, sealed, submitted, fetched, settled.

``python -m benchmarks.batches [COUNT] [--wire openai|anthropic]`` prints, for each step, CPU microseconds a request,
the wall time, and the resident memory at its end and at its peak so far. The provider is simulated, in a process of its
own.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

from agentic_synth.cache.batches import BatchLedger
from agentic_synth.cache.key import key_of
from agentic_synth.cache.parked import Parked, Parking
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.config import UpstreamConfig
from agentic_synth.telemetry.memory import memory_bytes, peak_memory_bytes
from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.serve import SimulatorProcess
from agentic_synth.transport.batches.api import BatchApi, BatchLine, BatchResult, ProviderBatch
from agentic_synth.transport.batches.open import batch_api
from agentic_synth.types import Message, Request

UPSTREAM = "simulated/m"
SLICE = 500
PROMPT = "Write a support ticket about a router that drops its connection every evening. " * 8
SCHEMA = {
    "type": "object",
    "required": ["subject", "body", "priority"],
    "properties": {
        "subject": {"type": "string"},
        "body": {"type": "string"},
        "priority": {"enum": ["low", "mid", "high"]},
    },
}


class Meter:
    """Prints what each step cost."""

    def __init__(self, count: int) -> None:
        self._count = count
        print(f"{'step':<10}{'CPU us a request':>18}{'wall s':>10}{'RSS MB':>10}{'peak MB':>10}")
        self.tell("start", 0.0, 0.0)
        self._begin()

    def _begin(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def step(self, name: str) -> None:
        self.tell(name, time.process_time() - self._cpu, time.perf_counter() - self._wall)
        self._begin()

    def tell(self, name: str, cpu: float, wall: float) -> None:
        resident, peak = memory_bytes() / 2**20, (peak_memory_bytes() or 0) / 2**20
        print(f"{name:<10}{cpu / self._count * 1e6:>18.1f}{wall:>10.2f}{resident:>10.1f}{peak:>10.1f}")


def parked(api: BatchApi, origin: str, count: int) -> Iterator[Parked]:
    for number in range(count):
        messages = (Message("system", "You write support tickets."), Message("user", f"{PROMPT}{number}"))
        request = Request(model=UPSTREAM, messages=messages, schema=SCHEMA, parameters={"max_tokens": 400})
        key = key_of(request, origin).draw
        yield Parked(key, request, UPSTREAM, origin, api.size(BatchLine(key.hex(), request)))


async def slices(results: AsyncIterator[BatchResult]) -> AsyncIterator[list[BatchResult]]:
    some: list[BatchResult] = []
    async for result in results:
        some.append(result)
        if len(some) == SLICE:
            yield some
            some = []
    yield some


async def fetch(api: BatchApi, batch: ProviderBatch, parking: Parking, store: SqliteStore) -> int:
    settled = 0
    async for some in slices(api.results(batch)):
        writes, keys = [], []
        for result in some:
            one = parking.look(result.custom_id)
            if one is not None and result.response is not None:
                key = key_of(one.request, one.origin)
                keys.append(key.draw)
                writes.append(store.put(key, result.response, Status.COMPLETE))
        await asyncio.gather(*writes)
        settled += await parking.settle(keys)
    return settled


async def measure(count: int, wire: str, url: str, folder: Path) -> None:
    store = SqliteStore(folder)
    parking, ledger = Parking(store), BatchLedger(store)
    config = UpstreamConfig(reference=UPSTREAM, name=UPSTREAM, model="m", wire=wire, base_url=url)  # type: ignore[arg-type]
    api = batch_api(config)
    meter = Meter(count)
    waiting = parked(api, url, count)
    while some := list(islice(waiting, SLICE)):
        await parking.park(some)
    meter.step("park")
    limits = api.limits
    (batch,) = await ledger.seal(UPSTREAM, url, most_requests=limits.requests, most_bytes=limits.size_bytes)
    meter.step("seal")
    await ledger.submitting(batch.number, await api.mark())
    lines = (BatchLine(one.custom_id, one.request) for one in parking.requests(batch.number))
    sent = await api.submit(batch.name, lines)
    await ledger.submitted(batch.number, sent.id)
    meter.step("submit")
    done = await api.poll(sent.id)
    meter.step("poll")
    await ledger.ended(batch.number)
    settled = await fetch(api, done, parking, store)
    assert (settled, await ledger.imported(batch.number)) == (count, 0)
    meter.step("import")
    await api.aclose()
    await store.aclose()
    size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
    print(f"{batch.size_bytes / 2**20:.1f} MB submitted; the store is {size:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the way through a provider's batch.")
    parser.add_argument("count", type=int, nargs="?", default=50_000)
    parser.add_argument("--wire", choices=["openai", "anthropic"], default="openai")
    given = parser.parse_args()
    with SimulatorProcess(Behaviour(answers="brief")) as simulator, tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given.count, given.wire, simulator.url, Path(folder)))


if __name__ == "__main__":
    main()
