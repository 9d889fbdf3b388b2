"""``make bench``: the main figures, one suite after the other (about ten minutes)."""

import subprocess
import sys

SUITES = (
    ["benchmarks.rows", "--rows", "2000"],
    ["benchmarks.rows", "--rows", "20000"],
    ["benchmarks.resume"],
    ["benchmarks.transport", "cpu", "latency", "idle"],
    ["benchmarks.limits", "--seeds", "5"],
    ["benchmarks.scenarios"],
)

for suite in SUITES:
    print(f"== {' '.join(suite)}", flush=True)
    subprocess.run([sys.executable, "-m", *suite], check=True)
