"""The main job against a bare loop: rows/s, CPU a row, and peak memory, on the same work in the same run.

``python -m benchmarks.rows --rows 20000 --runs 3``: each contender runs in a process of its own, in turn, against a
simulated provider in another (log-normal latency, 50 ms median, 100 in flight). Start-up is left out of both: each
makes some rows first. The bare loop has no store, no limits, no retries and no recipe, and holds every answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.flags import parse_latency
from agentic_synth.testing.serve import SimulatorProcess

IN_FLIGHT = 100
WARM_UP = 200
PROMPT = "Write one sentence about the number {} and where one may meet it."


async def bare(url: str, rows: int, first: int) -> int:
    """What people write by hand: aiohttp, a fixed number of workers, a list of answers, a file at the end."""
    import aiohttp

    numbers, answers = iter(range(first, first + rows)), []

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {"model": "m", "messages": [{"role": "user", "content": PROMPT.format(number)}]}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                answer = await reply.json()
            answers.append({"number": number, "text": answer["choices"][0]["message"]["content"]})

    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work(session))
    with tempfile.TemporaryFile("w") as file:
        file.writelines(json.dumps(answer) + "\n" for answer in answers)
    return len(answers)


def ours(folder: str, concurrency: int | None) -> Callable[[str, int, int], Awaitable[int]]:
    """The whole path: recipe, engine, store, limits, sink."""
    from agentic_synth import Synth

    async def make(url: str, rows: int, first: int) -> int:
        recipe: dict[str, Any] = {
            "recipe": "bench",
            "columns": {
                "number": {"sequence": first},
                "text": {"prompt": PROMPT.replace("{}", "{{ number }}")},
            },
        }
        async with Synth("m", base_url=url, store=f"{folder}/store", concurrency=concurrency) as synth:
            run = await synth.run(recipe, rows=rows, out=f"{folder}/out.jsonl")
        return run.rows

    return make


def child(contender: str, url: str, rows: int) -> None:
    """Measure one contender in this process and print the figures."""
    from agentic_synth.sdk.loop import run

    with tempfile.TemporaryDirectory() as folder:
        if contender == "bare aiohttp":
            make: Callable[[str, int, int], Awaitable[int]] = bare
        else:
            make = ours(folder, None if contender.endswith("auto") else IN_FLIGHT)

        async def measure() -> dict[str, float]:
            assert await make(url, WARM_UP, 10_000_000) == WARM_UP
            cpu, began = time.process_time(), time.perf_counter()
            assert await make(url, rows, 0) == rows
            seconds = time.perf_counter() - began
            used = (time.process_time() - cpu) / rows
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return {"rows_per_second": rows / seconds, "cpu_ms_per_row": used * 1e3, "peak_mb": peak / 1024}

        figures = asyncio.run(measure()) if contender == "bare aiohttp" else run(measure())
    print(json.dumps(figures))


def compare(rows: int, runs: int, contenders: list[str]) -> dict[str, dict[str, float]]:
    """Medians of *runs* interleaved runs of each contender."""
    behaviour = Behaviour(latency=parse_latency("lognormal:50ms:0.3"))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    with SimulatorProcess(behaviour) as simulator:
        for _ in range(runs):
            for name in contenders:
                simulator.reset()
                command = [sys.executable, "-m", "benchmarks.rows", "--child", name, "--url", simulator.url]
                done = subprocess.run([*command, "--rows", str(rows)], check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(one[key] for one in figures) for key in figures[0]}
        for name, figures in found.items()
    }


def main() -> None:
    """Compare, print a table, and leave the figures in ``benchmarks/results``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child")
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    if given.child:
        child(given.child, given.url, given.rows)
        return
    table = compare(given.rows, given.runs, ["bare aiohttp", "agentic-synth", "agentic-synth auto"])
    base = table["bare aiohttp"]["rows_per_second"]
    print(f"{given.rows:,} rows, medians of {given.runs} interleaved runs")
    for name, row in table.items():
        share = row["rows_per_second"] / base
        print(
            f"{name:20} {row['rows_per_second']:8,.0f} rows/s {share:7.1%}"
            f" {row['cpu_ms_per_row']:7.3f} ms CPU a row {row['peak_mb']:7.0f} MB"
        )
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / f"rows-{given.rows}.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
