"""What packing saves: calls, prompt tokens and validity of the same rows, asked alone and packed.

``python -m benchmarks.packing --rows 2000``: support tickets (a system prompt, a task, a schema) from a simulated
provider over real sockets that answers 3 % of all rows against the schema, and of packed rows leaves out 1 %, answers
0.5 % twice and 0.5 % under a wrong id. Its tokens are a quarter of the characters. What packing does to the quality of
a real model's answers is not told by this: ``pack: auto`` measures it on the run itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from agentic_synth.testing.behaviour import Behaviour, Faults
from agentic_synth.testing.flags import parse_latency
from agentic_synth.testing.serve import SimulatorProcess

SYSTEM = (
    "You are a support agent who writes realistic tickets. Keep to the facts that are given. Never invent names of "
    "people. Write plain English in short sentences."
)
PROMPT = (
    "Write a {{ tone }} support ticket about a {{ product }}, number {{ n }}. Say what happened, what was tried, and "
    "what the customer wants now. Give a subject of at most eight words."
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["subject", "body", "priority"],
    "properties": {
        "subject": {"type": "string", "maxLength": 80},
        "body": {"type": "string"},
        "priority": {"enum": ["low", "mid", "high"]},
    },
}


def recipe(pack: int | str | None) -> dict[str, Any]:
    """The same rows, packed or not."""
    ticket = {"prompt": PROMPT, "schema": SCHEMA, "regenerate": 0, **({"pack": pack} if pack else {})}
    columns: dict[str, Any] = {
        "product": {"choice": ["router", "phone", "tv"]},
        "tone": {"choice": ["calm", "angry", "confused"]},
        "n": {"sequence": 1},
        "ticket": ticket,
    }
    return {"recipe": "tickets", "system": SYSTEM, "refills": 0, "columns": columns}


async def measure(simulator: SimulatorProcess, pack: int | str | None, rows: int) -> dict[str, Any]:
    from agentic_synth import Synth

    simulator.reset()
    with tempfile.TemporaryDirectory() as folder:
        async with Synth("m", base_url=simulator.url, store=folder) as synth:
            run = await synth.run(recipe(pack), rows=rows, out=f"{folder}/rows.jsonl")
            (upstream,) = synth.statistics()["upstreams"].values()
    books = simulator.statistics()
    return {
        "rows": run.rows,
        "calls": books["received"],
        "input_tokens": books["input_tokens"],
        "output_tokens": books["output_tokens"],
        "accounted": run.usage.input_tokens == books["input_tokens"],
        "left_out": upstream["batch"]["left_out"],
        "pack_size": upstream["batch"]["pack_size"],
    }


def main() -> None:
    """Measure each way of asking, print a table, and leave the figures in ``benchmarks/results``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000)
    given = parser.parse_args()
    faults = Faults(invalid=0.03, omitted=0.01, doubled=0.005, misnamed=0.005)
    behaviour = Behaviour(latency=parse_latency("lognormal:50ms:0.3"), faults=faults)
    table: dict[str, dict[str, Any]] = {}
    with SimulatorProcess(behaviour) as simulator:
        for pack in (None, 4, 8, 16, "auto"):
            table[str(pack or "alone")] = asyncio.run(measure(simulator, pack, given.rows))
    alone = table["alone"]
    print(f"{given.rows:,} rows of tickets")
    for name, row in table.items():
        print(
            f"{name:6} {row['rows']:6,} rows {row['calls']:6,} calls ({1 - row['calls'] / alone['calls']:6.1%} saved) "
            f"{row['input_tokens']:9,} prompt tokens ({1 - row['input_tokens'] / alone['input_tokens']:6.1%} saved) "
            f"{row['left_out']:4} left out"
        )
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "packing.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
