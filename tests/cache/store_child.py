"""A process of its own that writes to a store, begins a run, or holds a lease, until it is done or killed."""

from __future__ import annotations

import asyncio
import sys

from agentic_synth.cache.ledger import Ledger, Run
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from tests.cache.cache_examples import answer, ask


async def write(path: str, start: int, stop: int) -> None:
    """Write the answers from *start* to *stop*, fifty at a time, and say each number once it is durable."""
    store = SqliteStore(path)
    numbers = iter(range(start, stop))

    async def work() -> None:
        for number in numbers:
            await store.put(ask(f"question {number}"), answer(f"answer {number}"), Status.COMPLETE)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(work() for _ in range(50)))
    await store.aclose()


async def begin(path: str, identity: str) -> None:
    """Begin a run, say so, and wait to be killed."""
    store = SqliteStore(path)
    await Ledger(store).begin(Run(id=identity, recipe="r", out="/o.jsonl", started=1.0))
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def lease(path: str) -> None:
    """Take the lease on the plain request, say so, and wait to be killed."""
    assert SqliteStore(path).leases.take(ask().draw)
    sys.stdout.write("leased\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    mode, place, *rest = sys.argv[1:]
    match mode:
        case "write":
            asyncio.run(write(place, int(rest[0]), int(rest[1])))
        case "begin":
            asyncio.run(begin(place, rest[0]))
        case "lease":
            asyncio.run(lease(place))
