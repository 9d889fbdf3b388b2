"""Any mixture of failures, lost replies and cancellations: every request is answered, and paid for, once."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentic_synth.cache.batches import Batch
from agentic_synth.cache.key import key_of
from agentic_synth.errors import UpstreamError
from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.serve import SimulatorProcess
from tests.runs.batch_child import COUNT, UPSTREAM, Driver, request

SHARES = st.sampled_from([0, 0.2, 0.5])
FAULTS = st.fixed_dictionaries(dict.fromkeys(("failed", "upload", "submit", "lost", "poll", "results"), SHARES))


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(Behaviour(answers="brief")) as running:
        yield running


class StormDriver(Driver):
    """Begins again after every failure, and cancels a batch now and then."""

    def __init__(self, path: str, url: str, wire: str, rng: random.Random) -> None:
        super().__init__(path, url, wire, "")
        self.rng = rng

    async def run(self) -> None:
        await self.park()
        most = self.rng.choice([7, 20, 100])
        turns = 0
        while (
            await self.ledger.seal(UPSTREAM, self.origin, most_requests=most, most_bytes=10**8, most_tries=1_000)
            or self.ledger.pending()
        ):
            turns += 1
            assert turns < 1_000
            for batch in self.ledger.pending():
                try:
                    await self.finish(batch)
                except UpstreamError:
                    continue
        assert all(self.store.get(key_of(request(number), self.origin).draw) for number in range(COUNT))
        await self.api.aclose()
        await self.store.aclose()

    async def submit(self, batch: Batch) -> Batch:
        submitted = await super().submit(batch)
        if self.rng.random() < 0.2:
            await self.clock.sleep(self.rng.choice([0, 200]))
            await self.api.cancel(submitted.identity)
            await self.clock.sleep(1)
        return submitted


@pytest.mark.slow
@pytest.mark.timeout(180)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=FAULTS,
    seed=st.integers(0, 2**32),
    wire=st.sampled_from(["openai", "anthropic"]),
)
def test_every_request_is_answered_once(
    simulator: SimulatorProcess, faults: dict[str, float], seed: int, wire: str
) -> None:
    told = ",".join(f"{name}={share}" for name, share in faults.items())
    simulator.reset(batches=f"processing=600s,{told}", answers="brief", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_drive(folder, simulator.url, wire, seed))
    books = simulator.statistics()
    assert books["answered"] == COUNT
    assert books["answered_again"] == 0


async def _drive(folder: str, url: str, wire: str, seed: int) -> None:
    await StormDriver(folder, url, wire, random.Random(seed)).run()
