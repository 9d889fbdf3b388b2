"""What a caller of the SDK feels of the limits: its own share, its own patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_synth import Synth
from agentic_synth.errors import DeadlinePassed
from agentic_synth.sdk.recipe_run import Run
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess
from tests.sdk.sdk_examples import tickets


@pytest.fixture(scope="module")
def slow() -> Iterator[SimulatorProcess]:
    """A provider that takes a tenth of a second for each call, and an hour where it stalls."""
    with SimulatorProcess(parse_behaviour({"latency": "100ms"})) as process:
        yield process


async def until_waiting(synth: Synth, count: int) -> None:
    """Wait until so many requests wait for a permit."""
    while True:
        told = synth.statistics().get("upstreams", {})
        if sum(one["limiter"]["waiting"] for one in told.values()) >= count:
            return
        await asyncio.sleep(0)


async def test_a_question_beside_a_heavy_run_waits_for_one_permit_only(slow: SimulatorProcess) -> None:
    slow.reset()
    async with Synth("any", base_url=slow.url, concurrency=2) as synth:
        heavy = synth.prepare(tickets(rows=60), window=60)
        running = asyncio.create_task(synth.execute(heavy, out="heavy.jsonl"))
        await until_waiting(synth, 50)
        began = time.monotonic()
        await synth.complete("Is anybody there?")
        waited = time.monotonic() - began
        assert waited < 1.5, "fifty others before it would be 2.5 seconds"
        heavy.stop()
        run = await running
        assert run.state == "interrupted"
        assert 0 < run.rows < 40
        assert slow.statistics()["received"] == run.rows + 1


async def test_two_runs_of_one_synth_take_turns(slow: SimulatorProcess) -> None:
    async with Synth("any", base_url=slow.url, concurrency=4, store=":none:") as synth:
        large = synth.prepare(tickets(rows=200, seed=1))
        first = asyncio.create_task(synth.execute(large, out="large.jsonl"))
        await until_waiting(synth, 8)
        small: Run = await synth.run(tickets(rows=16, seed=2), out="small.jsonl")
        made = large.snapshot().rows_made
        large.stop()
        await first
        assert small.state == "complete"
        assert made < 60, "as many as the small run, and those before it"


async def test_patience_is_the_callers_own(slow: SimulatorProcess, clean_machine: Path) -> None:
    async with Synth("any", base_url=slow.url) as synth:
        assert (await synth.complete("Quick?", timeout=30.0)).text
        with pytest.raises(DeadlinePassed):
            await synth.complete("Too late?", timeout=0.02)
        with pytest.raises(DeadlinePassed):
            await anext(synth.stream("Too late?", timeout=0.02))
        assert "".join([delta.text async for delta in synth.stream("Quick?", timeout=30.0)])
        assert synth.statistics()["in_flight"] == 0
