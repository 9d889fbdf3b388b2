"""What a ``kill -9`` in the middle of a run costs: answers that are paid twice, of 2,000 rows at 100 in flight.

``python -m benchmarks.resume --runs 5``: the command line makes 2,000 rows against a simulated provider (50 ms median),
is killed about half way, and runs again; the provider's books say how many answers were paid twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agentic_synth.testing.behaviour import Behaviour
from agentic_synth.testing.flags import parse_latency
from agentic_synth.testing.serve import SimulatorProcess

ROWS = 2_000
RECIPE = """recipe: resume
columns:
  number: {sequence: 1}
  text: {prompt: "Write one sentence about the number {{ number }}."}
"""


def paid_twice(folder: Path, simulator: SimulatorProcess) -> int:
    """Kill one run half way, finish it, and return how many answers were paid again."""
    (folder / "recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "agentic_synth.cli.main", "generate", "recipe.yaml", "--rows", str(ROWS)]
    command += ["--out", "out.jsonl", "--model", "m", "--base-url", simulator.url, "--concurrency", "100", "--quiet"]
    command += ["--store", str(folder / "store")]
    simulator.reset()
    with subprocess.Popen(command, cwd=folder) as run:
        while simulator.statistics()["answered"] < ROWS // 2:
            time.sleep(0.01)
        run.kill()
    subprocess.run(command, cwd=folder, check=True)
    assert len((folder / "out.jsonl").read_text().splitlines()) == ROWS
    books = simulator.statistics()
    return int(books["answered"]) + int(books["abandoned"]) - ROWS


def main() -> None:
    """Kill some runs and print what each cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    found = []
    with SimulatorProcess(Behaviour(latency=parse_latency("lognormal:50ms:0.3"))) as simulator:
        for _ in range(given.runs):
            with tempfile.TemporaryDirectory() as folder:
                found.append(paid_twice(Path(folder), simulator))
    print(f"paid or begun twice after kill -9, of {ROWS:,}: {sorted(found)}, median {statistics.median(found):g}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "resume.json").write_text(json.dumps({"rows": ROWS, "paid_twice": found}) + "\n")


if __name__ == "__main__":
    main()
