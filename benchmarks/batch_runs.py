"""What a whole run through provider batches costs: its passes over the recipe, what is parked, fetched and written.

``python -m benchmarks.batch_runs [ROWS] [--mode batch|mixed|online] [--wire openai|anthropic] [--levels 1|2]`` runs a
recipe against a simulated provider in a process of its own, whose batches take an hour that passes whenever we wait,
and prints CPU microseconds a row, wall time, the resident memory before and at its peak, and what the provider saw.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from agentic_synth.clock import SystemClock
from agentic_synth.config import Config, EngineConfig, StoreConfig, UpstreamConfig
from agentic_synth.sdk.recipe_run import RecipeRun
from agentic_synth.sdk.run_options import Mode
from agentic_synth.sdk.session import Session
from agentic_synth.telemetry.memory import memory_bytes, peak_memory_bytes
from agentic_synth.testing.behaviour import BatchBehaviour, Behaviour
from agentic_synth.testing.serve import SimulatorProcess

SCHEMA = {
    "type": "object",
    "required": ["subject", "body", "priority"],
    "properties": {
        "subject": {"type": "string", "maxLength": 80},
        "body": {"type": "string"},
        "priority": {"enum": ["low", "mid", "high"]},
    },
}
TICKET = {"prompt": "Write ticket {{ number }}, {{ tone }}, about a {{ product }}.", "schema": SCHEMA}
REPLY = {"prompt": "Answer ticket {{ number }}: {{ ticket.subject }}"}


def recipe_of(rows: int, levels: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "number": {"sequence": {"start": 1}},
        "product": ["router", "phone", "tv"],
        "tone": ["calm", "angry", "confused"],
        "ticket": TICKET,
    }
    if levels > 1:
        columns["reply"] = REPLY
    return {"recipe": "tickets", "rows": rows, "seed": 7, "columns": columns}


class ProvidersClock(SystemClock):
    """Whoever waits for a batch lets time pass for the provider."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self._simulator = simulator

    async def sleep(self, seconds: float) -> None:
        self._simulator.advance(600)
        await asyncio.sleep(0)


async def measure(simulator: SimulatorProcess, rows: int, mode: Mode, wire: Any, levels: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        upstream = UpstreamConfig(
            reference="simulated/m", name="simulated", model="m", wire=wire, base_url=simulator.url
        )
        config = Config(engine=EngineConfig(), store=StoreConfig(path=str(place / "store")))
        session = Session(config, lambda reference, base_url: upstream)
        before, cpu, wall = memory_bytes(), time.process_time(), time.perf_counter()
        run = RecipeRun(
            session,
            recipe_of(rows, levels),
            rows=None,
            seeds=None,
            options={"mode": mode},
            said={},
            clock=ProvidersClock(simulator),
        )
        done = await run.execute(str(place / "rows.jsonl"))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        batches = len(session.batches.batches(1_000))
        await session.aclose()
        seen = simulator.statistics()
    peak = peak_memory_bytes() or 0
    print(f"{mode}, {wire}, {levels} level(s): {done.state}, {done.rows:,} rows, {batches} batches")
    print(f"CPU {cpu / rows * 1e6:,.0f} us a row, wall {wall:.1f} s")
    print(f"resident {before / 2**20:.1f} MB before, {peak / 2**20:.1f} MB at its peak")
    print(f"the provider saw {seen['batches']['requests']:,} by batch and {seen['received']:,} in all,", end=" ")
    print(f"{seen['answered_again']:,} answered again")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a run through provider batches.")
    parser.add_argument("rows", type=int, nargs="?", default=20_000)
    parser.add_argument("--mode", choices=["online", "batch", "mixed"], default="batch")
    parser.add_argument("--wire", choices=["openai", "anthropic"], default="openai")
    parser.add_argument("--levels", type=int, choices=[1, 2], default=1)
    given = parser.parse_args()
    with SimulatorProcess(Behaviour(batches=BatchBehaviour(processing=3_600), answers="brief")) as simulator:
        asyncio.run(measure(simulator, given.rows, cast("Mode", given.mode), given.wire, given.levels))


if __name__ == "__main__":
    main()
