"""What the limits reach against providers of every temper, and what their stages cost.

    python benchmarks/limits.py [--seeds 20] [--json FILE]

The first table is simulated (virtual time, the very policies of the engine, the providers of
``tests/policies/limit_simulation.py``); the second is measured on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from agentic_synth.clock import SystemClock
from agentic_synth.config import UpstreamConfig
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.policies.breaker import Circuit
from agentic_synth.policies.guard import ProcessGuard
from agentic_synth.policies.pricing import Price
from agentic_synth.policies.spending import Spending
from agentic_synth.stage import chain
from agentic_synth.stages.breaker import Breaker
from agentic_synth.stages.budget import Budget, Purse
from agentic_synth.stages.limiter import Limiter
from agentic_synth.stages.retry import Retry
from agentic_synth.stages.route import Route, Upstream
from agentic_synth.types import Call, Message, Reply, Request, Response, Usage

sys.path[:0] = [str(Path(__file__).parents[1])]

from tests.policies.limit_simulation import (  # noqa: E402 - the simulation belongs to the tests
    KNEES,
    SCENARIOS,
    CpuRule,
    World,
    after_storm,
    at_the_knee,
    play,
    play_scenario,
)

RATE_HEADERS = {
    "content-type": "application/json",
    "date": "Mon, 01 Jan 2026 00:00:00 GMT",
    "x-ratelimit-limit-requests": "1000000000",
    "x-ratelimit-remaining-requests": "999999999",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-limit-tokens": "1000000000000",
    "x-ratelimit-remaining-tokens": "999999999999",
    "x-ratelimit-reset-tokens": "6ms",
}


def simulate(seeds: int) -> list[dict[str, Any]]:
    """One row a scenario: the median and the worst over *seeds* seeds."""
    rows: list[dict[str, Any]] = []
    for name, scenario in SCENARIOS.items():
        scores = [play_scenario(scenario, seed) for seed in range(1, seeds + 1)]
        row: dict[str, Any] = {"scenario": name, "refused_worst": max(score.refused_share for score in scores)}
        row["refused"] = statistics.median(score.refused_share for score in scores)
        if scenario.goodput is None:
            shares = [after_storm(score, scenario.world) for score in scores]
            row |= {
                "after_30_s": statistics.median(shares),
                "after_30_s_worst": min(shares),
                "passed": min(shares) >= 0.9,
            }
        else:
            goods = [score.goodput for score in scores]
            row |= {"goodput": statistics.median(goods), "goodput_worst": min(goods)}
            row["passed"] = min(goods) >= scenario.goodput and row["refused_worst"] < (scenario.refused or 0)
        rows.append(row)
    for name, world in KNEES.items():
        found = [at_the_knee(world, seed) for seed in range(1, seeds + 1)]
        worst = (min(throughput for throughput, _ in found), max(p99 for _, p99 in found))
        rows.append(
            {
                "scenario": name,
                "goodput": statistics.median(throughput for throughput, _ in found),
                "goodput_worst": worst[0],
                "p99_worst": worst[1],
                "passed": worst[0] >= 0.95 and worst[1] <= 1.5,
            }
        )
    blind = play(World(seconds=20.0), CpuRule(), 1)
    rows.append(
        {
            "scenario": "the same, by the client's CPU alone",
            "goodput": blind.goodput,
            "refused": blind.refused_share,
            "passed": False,
        }
    )
    return rows


async def cost(headers: dict[str, str], *, budget: str | None, calls: int = 20_000) -> float:
    """Microseconds of CPU that all stages of this file's chain add to a request."""
    answer = Reply(
        response=Response(text="ok", usage=Usage(100, 50), model="m", upstream="u", seconds=0.01), headers=headers
    )

    async def transport(call: Call) -> Reply:
        return answer

    clock, rng = SystemClock(), Random(1)
    config = UpstreamConfig(reference="openai/m", name="openai", model="m", wire="openai")
    admission = Admission.of(config, concurrency=None, guard=ProcessGuard(), now=clock.now())
    circuit = Circuit()
    purse = Purse(Spending.parse(budget) if budget else Spending())
    stages = (
        Limiter(admission, clock, asyncio.create_task),
        Budget(purse, Price(1.0, 2.0), reference=config.reference),
        Breaker(circuit, clock, rng),
    )
    upstream = Upstream(reference="openai/m", model="m", send=chain(stages, transport), circuit=circuit)
    handler = chain((Retry(Backoff(), RetryBudget(), clock, rng),), Route((upstream,), clock, rng))
    request = Request(model="openai/m", messages=(Message("user", "x" * 500),), parameters={"max_tokens": 200})
    call = Call(request=request, model="m")

    async def timed(ask: Any, item: Any) -> float:
        began = time.process_time()
        for _ in range(calls):
            await ask(item)
        return (time.process_time() - began) / calls * 1e6

    bare = min([await timed(transport, call) for _ in range(3)])
    return min([await timed(handler, request) for _ in range(3)]) - bare


def main() -> None:
    """Print both tables; the exit code says whether every mark was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = simulate(arguments.seeds)
    print(
        f"| scenario ({arguments.seeds} seeds) | goodput % (worst) | refused % (worst) "
        "| 30 s after the storm | p99 / knee's | mark |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        cells = [
            row["scenario"],
            f"{100 * row['goodput']:.1f} ({100 * row.get('goodput_worst', row['goodput']):.1f})"
            if "goodput" in row
            else "",
            f"{100 * row['refused']:.2f} ({100 * row.get('refused_worst', row['refused']):.2f})"
            if "refused" in row
            else "",
            f"{100 * row['after_30_s']:.0f} % ({100 * row['after_30_s_worst']:.0f})" if "after_30_s" in row else "",
            f"{row['p99_worst']:.2f}" if "p99_worst" in row else "",
            "reached" if row["passed"] else "missed",
        ]
        print("| " + " | ".join(cells) + " |")
    costs = {
        "nothing binds, no headers": asyncio.run(cost({}, budget=None)),
        "rate headers on every reply": asyncio.run(cost(RATE_HEADERS, budget=None)),
        "rate headers, and a budget": asyncio.run(cost(RATE_HEADERS, budget="1000000usd")),
    }
    print("\n| retry + route + limiter + budget + breaker | us of CPU a request |\n|---|---|")
    for name, microseconds in costs.items():
        print(f"| {name} | {microseconds:.1f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"scenarios": rows, "cpu_us": costs}, indent=1))
    sys.exit(0 if all(row["passed"] for row in rows[:-1]) and not rows[-1]["passed"] else 1)


if __name__ == "__main__":
    main()
