"""Whole runs over real sockets against a provider that misbehaves: time, lost rows, rejected calls, recovery.

``python -m benchmarks.scenarios [NAME ...]``: each scenario starts a simulated provider in a process of its own, runs
the command line (or the SDK) against it, and reads the provider's books twice a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from agentic_synth import Synth
from agentic_synth.errors import SynthError
from agentic_synth.testing.flags import parse_behaviour
from agentic_synth.testing.serve import SimulatorProcess

RECIPE = """recipe: scenario
columns:
  number: {sequence: 1}
  text: {prompt: "Write one sentence about the number {{ number }}."}
"""
Figures = dict[str, Any]


@contextmanager
def provider(**flags: str) -> Iterator[SimulatorProcess]:
    """A provider that answers briefly and misbehaves as *flags* say."""
    with SimulatorProcess(parse_behaviour({"latency": "lognormal:50ms:0.3", "answers": "brief", **flags})) as simulator:
        yield simulator


class Books:
    """What a provider has answered, twice a second, from its first answer on."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self._simulator = simulator
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.answered: list[tuple[float, int]] = []

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            answered = self._simulator.statistics()["answered"]
            if answered:
                self.answered.append((time.perf_counter(), answered))

    def __enter__(self) -> Books:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def rate(self, begin: float, end: float) -> float:
        """Answers a second between two instants, in seconds since the first answer."""
        first = self.answered[0][0]
        inside = [(at - first, count) for at, count in self.answered if begin <= at - first <= end]
        (at, count), (later, more) = inside[0], inside[-1]
        return (more - count) / (later - at)


def generate(folder: Path, url: str, rows: int, *flags: str) -> subprocess.Popen[bytes]:
    """Begin a run of the command line."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "agentic_synth.cli.main", "generate", "recipe.yaml", "--rows", str(rows)]
    command += ["--out", "out.jsonl", "--model", "m", "--base-url", url, "--quiet", "--store", "store"]
    return subprocess.Popen([*command, *flags], cwd=folder)


def whole(folder: Path, url: str, rows: int) -> float:
    """Run to the end; the seconds it took, start-up included."""
    began = time.perf_counter()
    with generate(folder, url, rows) as run:
        assert run.wait() == 0, "rows are missing"
    return time.perf_counter() - began


def rejected(simulator: SimulatorProcess) -> float:
    """The share of calls that were refused for their rate."""
    books = simulator.statistics()
    return float(books["statuses"].get("429", 0) / books["received"])


def errors_and_limit(folder: Path) -> Figures:
    """(a) 2,000 rows, 5 % errors, 9,000 requests a minute; the best possible is 13.0 s."""
    with provider(faults="error=0.05", rate="9000/min") as simulator:
        seconds = whole(folder, simulator.url, 2_000)
        share = rejected(simulator)
    return {"seconds": seconds, "rejected": share, "passed": seconds <= 13.7 and share < 0.01}


def storm(folder: Path) -> Figures:
    """(b) nine of ten calls rejected for 60 s, without headers; then 100 a second are allowed."""
    with provider(rate="10/s", headers="absent", retry_after="absent", schedule="60s rate=100/s") as simulator:
        with Books(simulator) as books:
            seconds = whole(folder, simulator.url, 6_000)
        rate = books.rate(90, 105)
        share = rejected(simulator)
    return {"seconds": seconds, "rate_30_s_later": rate, "rejected": share, "passed": rate >= 90}


def dead_primary(folder: Path) -> Figures:
    """(c) the primary refuses connections; the fallback answers."""

    async def run() -> tuple[list[float], int]:
        times: list[float] = []
        with provider() as simulator:
            config = f'[upstreams.spare]\nbase_url = "{simulator.url}"\n[upstreams.dead]\nbase_url = "http://127.0.0.1:9/v1"\n'
            (folder / "synth.toml").write_text(config)
            lost = 0
            async with Synth("dead/m", fallback=["spare/m"], store=":none:") as synth:
                for number in range(1_000):
                    began = time.perf_counter()
                    try:
                        reply = await synth.complete(f"number {number}")
                        times.append(time.perf_counter() - began - reply.seconds)
                    except SynthError:
                        lost += 1
        return times, lost

    here = Path.cwd()
    os.chdir(folder)
    try:
        times, lost = asyncio.run(run())
    finally:
        os.chdir(here)
    before, after = max(times[:20]), statistics.quantiles(times[100:], n=100)[98]
    passed = lost == 0 and before < 0.05 and after < 0.001
    return {"lost": lost, "added_before_open_s": before, "added_p99_once_open_s": after, "passed": passed}


def moved_limit(folder: Path) -> Figures:
    """(d) 600 requests a minute become 6,000 at 30 s; truthful headers."""
    with provider(rate="600/min", schedule="30s rate=6000/min") as simulator:
        with Books(simulator) as books:
            seconds = whole(folder, simulator.url, 3_000)
        rate = books.rate(45, 52)
        share = rejected(simulator)
    return {"seconds": seconds, "rate_15_s_later": rate, "rejected": share, "passed": rate >= 90 and share < 0.01}


def two_processes(folder: Path) -> Figures:
    """(e) two processes on one key of 6,000 requests a minute."""
    with provider(rate="6000/min") as simulator, Books(simulator) as books:
        runs = [generate(folder / name, simulator.url, 2_000) for name in ("one", "two")]
        assert [run.wait() for run in runs] == [0, 0]
        share = rejected(simulator)
    rate = books.rate(2, books.answered[-1][0] - books.answered[0][0] - 4)
    return {"rate": rate, "of_limit": rate / 100, "rejected": share, "passed": rate >= 90 and share < 0.03}


def knee(folder: Path) -> Figures:
    """(f) a self-hosted server that slows down beyond 64 in flight; after 1,500 rows of warm-up."""

    async def run(url: str, concurrency: int | None) -> Figures:
        recipe = yaml.safe_load(RECIPE)
        async with Synth("m", base_url=url, store=":none:", concurrency=concurrency) as synth:
            await synth.run(recipe, rows=1_500, out=str(folder / "warm.jsonl"))
            done = await synth.run(recipe, rows=8_000, seed=1, out=str(folder / "out.jsonl"))
        told = done.statistics
        return {"rows_per_second": told["rows_per_second"], "p99_s": told["latency_seconds"]["p99"]}

    figures: Figures = {}
    for name, concurrency in {"adaptive": None, "fixed at the knee": 64}.items():
        with provider(knee="64", latency="lognormal:200ms:0.2") as simulator:
            figures[name] = asyncio.run(run(simulator.url, concurrency))
    ours, best = figures["adaptive"], figures["fixed at the knee"]
    throughput, tail = ours["rows_per_second"] / best["rows_per_second"], ours["p99_s"] / best["p99_s"]
    return {**figures, "throughput": throughput, "p99": tail, "passed": throughput >= 0.95 and tail <= 1.5}


SCENARIOS: dict[str, Callable[[Path], Figures]] = {
    "a": errors_and_limit,
    "b": storm,
    "c": dead_primary,
    "d": moved_limit,
    "e": two_processes,
    "f": knee,
}


def main() -> None:
    """Run the scenarios and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SCENARIOS))
    given = parser.parse_args()
    results: dict[str, Figures] = {}
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = SCENARIOS[name](Path(folder))
        print(SCENARIOS[name].__doc__, json.dumps(results[name]), sep="\n  ", flush=True)
    file = Path(__file__).parent / "results" / "scenarios.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | results, indent=2) + "\n")


if __name__ == "__main__":
    main()
