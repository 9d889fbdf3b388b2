"""A process of its own that fills a library, and saves its files over and over, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentic_synth.cache.vectors.library import Library
from tests.cache.test_library import Desk, P, vectors


async def fill(directory: Path) -> None:
    """Say after each 500 texts how many are durable."""
    desk = Desk(directory, graph_from=100)
    for count in range(500, 100_000, 500):
        await desk.fill(vectors(count, seed=1)[-500:], start=count - 500)
        await desk.library.flush()
        await _look(desk.library, count)
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()


async def _look(library: Library, count: int) -> None:
    await library.nearest(P, vectors(count, seed=1)[0])
    for partition in library._shelf:
        await partition.save()


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1])))
