"""Fail when the branch coverage of the parts that decide about money and loss falls below what it was."""

import json
import sys
from pathlib import Path

FLOORS = {"policies": 90.0, "stages": 90.0, "cache": 90.0}


def main(report: str) -> int:
    files = json.loads(Path(report).read_text())["files"]
    failed = False
    for part, floor in FLOORS.items():
        rows = [f["summary"] for name, f in files.items() if f"/{part}/" in name.replace("\\", "/")]
        have = sum(r["covered_lines"] + r.get("covered_branches", 0) for r in rows)
        want = sum(r["num_statements"] + r.get("num_branches", 0) for r in rows)
        share = 100 * have / max(1, want)
        print(f"coverage of {part}/: {share:.1f} % (floor {floor:.0f} %)")  # noqa: T201
        failed |= share < floor
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
