"""The look at this process: what cannot keep up lowers its limits, and they come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentic_synth.config import EngineConfig
from agentic_synth.engine.watch import process_guard, watch_process
from agentic_synth.policies.guard import ProcessGuard
from agentic_synth.telemetry.memory import memory_bytes, memory_limit_bytes
from tests.engine.engine_examples import opened, request


class LateClock:
    """A clock whose sleeps end *lags* late, one after the other; then they never end."""

    def __init__(self, *lags: float) -> None:
        self.lags = list(lags)
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if not self.lags:
            await asyncio.Event().wait()
        self.time += seconds + self.lags.pop(0)


async def shares(guard: ProcessGuard, *lags: float) -> float:
    """The guard's share after looks of which each came so late."""
    clock = LateClock(*lags)
    watching = asyncio.create_task(watch_process(guard, clock))
    while clock.lags:
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return guard.share


async def test_a_loop_that_lags_lowers_every_limit_until_it_is_well() -> None:
    guard = ProcessGuard(lag=0.25)
    assert await shares(guard, 0.0, 0.1, 0.2) == 1.0
    assert await shares(guard, *[1.0] * 3) == 0.8**3
    assert guard.lower(100) == 51
    assert await shares(guard, *[0.0] * 20) == 1.0


async def test_a_process_that_takes_too_much_memory_sends_less() -> None:
    assert await shares(ProcessGuard(memory_bytes=memory_bytes() / 2), 0.0, 0.0) < 1.0
    assert await shares(ProcessGuard(memory_bytes=memory_bytes() * 100), 0.0, 0.0) == 1.0


async def test_the_engine_says_how_much_it_bears() -> None:
    async with opened(EngineConfig(concurrency=100), sim={"latency": "1s"}) as stand:
        await stand.engine.submit(request())
        assert stand.engine.statistics()["guard"] == {"share": 1.0}
        assert stand.limiter()["limit"] == 100


def test_in_a_container_its_limit_counts(tmp_path: Path) -> None:
    machine = memory_limit_bytes(tmp_path)
    assert machine is None or machine > memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit_bytes(tmp_path) == machine
    (tmp_path / "memory.max").write_text("50000000\n")
    assert memory_limit_bytes(tmp_path) == 50_000_000
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("40000000\n")
    assert memory_limit_bytes(tmp_path) == 40_000_000
    assert process_guard().lower(10) == 10
