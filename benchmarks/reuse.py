"""What reuse costs: hits, misses, followers of a shared call, leases between processes, pools.

``python -m benchmarks.reuse [--entries 100000] [--pool 1000000]``: every figure is of one core, the stage alone with a
real store in a temporary folder and an upstream that answers at once. ``--pool`` fills a store with that many answers
and measures what the first request of a pool pays for the index; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from agentic_synth.cache.key import key_of
from agentic_synth.cache.leases import FileLeases
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.records import as_stored, row_of
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import ResponseStore, Status
from agentic_synth.stages.cache import Cache
from agentic_synth.stages.dedup import Dedup
from agentic_synth.types import Delta, Draw, Message, Request, Response, Reuse, Usage

ORIGIN = "https://api.example.com/v1"
PROMPT = "Write a calm support ticket about a router that loses its connection every evening. " * 3
ANSWER = Response(text="The router loses its connection. " * 20, usage=Usage(60, 140), model="small", upstream="acme")

Figures = dict[str, float]


def request(number: int = 0, **fields: Any) -> Request:
    parameters = {"temperature": 0, "max_tokens": 300}
    turns = (Message("system", "You write tickets."), Message("user", f"{PROMPT}{number}"))
    return Request(**{"model": "acme/small", "messages": turns, "parameters": parameters, "dedup": False, **fields})


async def upstream(asked: Request, /) -> Response:
    return ANSWER


async def timed(count: int, work: Callable[[int], Awaitable[object]]) -> Figures:
    """Microseconds of *work*, one after the other: percentiles of the wall clock, and the mean CPU of this thread."""
    seconds = []
    cpu = time.thread_time()
    for number in range(count):
        began = time.perf_counter()
        await work(number)
        seconds.append(time.perf_counter() - began)
    cpu = time.thread_time() - cpu
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_us": cuts[49] * 1e6, "p99_us": cuts[98] * 1e6, "cpu_us": cpu / count * 1e6}


def filled(path: Path, entries: int, lineage: str = "", spec: int | None = None) -> None:
    """Write *entries* answers into the store at *path*, past its writer; of one specification, or each its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for number in range(entries):
            asked = request(number if spec is None else spec, draw=Draw(lineage, 0 if spec is None else number))
            row = row_of(key_of(asked, ORIGIN), as_stored(ANSWER, Status.COMPLETE, float(number), ""))
            names, marks = ",".join(row._fields), ",".join("?" * len(row))
            connection.execute(f"INSERT INTO answers ({names}) VALUES ({marks})", row)  # noqa: S608
        connection.execute("COMMIT")


async def hits(store: ResponseStore, entries: int, reuse: Reuse = "exact") -> Figures:
    """Hits, each of another entry; a replay is not counted in the log of accesses."""
    subject = Cache(store, lambda _: ORIGIN)
    step = max(1, entries // 5_000)

    async def hit(number: int) -> None:
        assert (await subject(request(number * step % entries, reuse=reuse), upstream)).stored

    return await timed(5_000, hit)


async def misses(store: ResponseStore, **fields: Any) -> Figures:
    """Misses that are asked and durably stored before they return, one after the other."""
    subject = Cache(store, lambda _: ORIGIN)

    async def miss(number: int) -> None:
        assert not (await subject(request(10_000_000 + number, **fields), upstream)).stored

    return await timed(3_000, miss)


async def followers(count: int = 10_000) -> Figures:
    """Equal requests in flight at once that share one call; the cost of their tasks alone is taken off."""
    answering = asyncio.Event()
    calls = 0

    async def slow(asked: Request, /) -> Response:
        nonlocal calls
        calls += 1
        await answering.wait()
        return ANSWER

    async def wait(proceed: Callable[[Request], Awaitable[Response]]) -> float:
        asked = [request(dedup=True) for _ in range(count)]
        cpu = time.thread_time()
        waiting = [asyncio.ensure_future(proceed(one)) for one in asked]
        await asyncio.sleep(0)
        answering.set()
        await asyncio.gather(*waiting)
        answering.clear()
        return (time.thread_time() - cpu) / count * 1e6

    stage = Dedup(lambda _: ORIGIN, asyncio.create_task)
    bare = min([await wait(slow) for _ in range(3)])
    calls = 0
    shared = min([await wait(lambda asked: stage(asked, slow)) for _ in range(3)])
    assert calls == 3
    return {"cpu_us": shared - bare, "with_its_task_us": shared, "calls": calls / 3}


async def streams(readers: int = 1, deltas: int = 20_000) -> Figures:
    """A delta of a shared stream, for each reader."""

    class Body:
        async def __aiter__(self) -> Any:
            for _ in range(deltas):
                yield Delta(text="word ")
                await asyncio.sleep(0)

        async def aclose(self) -> None:
            """Nothing is held."""

    async def opens(asked: Request, /) -> Response:
        return Response(body=Body())

    async def read(response: Response) -> None:
        assert response.body is not None
        async for _ in response.body:
            pass

    async def cost(dedup: bool) -> float:
        stage = Dedup(lambda _: ORIGIN, asyncio.create_task)
        asked = request(dedup=dedup, stream=True)
        responses = await asyncio.gather(*(stage(asked, opens) for _ in range(readers)))
        cpu = time.thread_time()
        await asyncio.gather(*(read(response) for response in responses))
        return (time.thread_time() - cpu) / deltas / readers * 1e6

    return {"cpu_us": await cost(dedup=True), "alone_us": await cost(dedup=False)}


def leases(path: Path, held: int) -> Figures:
    """Taking and giving back a lease while *held* others are held."""
    table = FileLeases(path)
    for _ in range(held):
        table.take(os.urandom(16))
    keys = [os.urandom(16) for _ in range(5_000)]
    cpu = time.thread_time()
    for key in keys:
        table.take(key)
        table.release(key)
    cpu = (time.thread_time() - cpu) / len(keys) * 1e6
    table.close()
    return {"cpu_us": cpu}


async def durable_leases(store: SqliteStore) -> Figures:
    """What the same would cost as a row of a table: two transactions of the writer's."""
    await store.perform(lambda c: c.execute("CREATE TABLE leases (key BLOB PRIMARY KEY, owner TEXT)") and None)

    async def lease(number: int) -> None:
        key = number.to_bytes(16)
        await store.perform(lambda c: c.execute("INSERT INTO leases VALUES (?, 'me')", (key,)) and None)
        await store.perform(lambda c: c.execute("DELETE FROM leases WHERE key = ?", (key,)) and None)

    cpu = time.process_time()
    figures = await timed(1_000, lease)
    return {**figures, "cpu_of_both_threads_us": (time.process_time() - cpu) * 1e3}


async def pools(folder: Path, entries: int) -> dict[str, Figures]:
    """The first request of a pool, which makes the index, and those after it."""
    store = SqliteStore(folder / "pool.sqlite")
    filled(store.path, entries - 2_000, "1.0")
    filled(store.path, 2_000, "1.0", spec=-1)
    size = store.path.stat().st_size
    subject = Cache(store, lambda _: ORIGIN)

    async def take(asked: Request) -> None:
        response = await subject(asked, upstream)
        assert response.hit is not None
        assert response.hit.kind == "pool"

    began = time.perf_counter()
    await take(request(0, draw=Draw("2.0"), reuse="pool"))
    first = time.perf_counter() - began
    own = await timed(1_000, lambda number: take(request(number + 1, draw=Draw("2.0"), reuse="pool")))
    one = await timed(1_000, lambda number: take(request(-1, draw=Draw("2.0", number), reuse="pool")))
    await store.aclose()
    grown = (store.path.stat().st_size - size) / entries
    return {
        "first": {"seconds": first, "bytes_an_answer": grown},
        "each its own prompt": own,
        "one prompt, 2,000 draws": one,
    }


async def measure(folder: Path, entries: int, pool: int) -> dict[str, Figures]:
    """Every figure, by name."""
    memory, disk = MemoryStore(), SqliteStore(folder / "disk.sqlite", linger=0.02)
    for number in range(min(entries, 10_000)):
        await memory.put(key_of(request(number), ORIGIN), ANSWER, Status.COMPLETE)
    filled(disk.path, entries)
    figures = {
        "hit, memory": await hits(memory, min(entries, 10_000)),
        "hit, memory, replay": await hits(memory, min(entries, 10_000), "replay"),
        "hit, disk": await hits(disk, entries),
        "hit, disk, replay": await hits(disk, entries, "replay"),
        "miss, memory": await misses(memory),
        "miss, disk": await misses(disk),
        "miss, disk, with a lease": await misses(disk, dedup=True, namespace="leased"),
        "follower": await followers(),
        "delta, one reader": await streams(1),
        "delta, ten readers": await streams(10, 2_000),
        "lease": leases(folder / "leases", 0),
        "lease, 1,000 held": leases(folder / "leases", 1_000),
        "lease as a row of a table": await durable_leases(disk),
    }
    await disk.aclose()
    if pool:
        figures |= {f"pool, {name}": told for name, told in (await pools(folder, pool)).items()}
    return figures


def main() -> None:
    """Measure, print a table, and leave the figures in ``benchmarks/results``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--pool", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), given.entries, given.pool))
    for name, told in figures.items():
        print(f"{name:30} " + "  ".join(f"{key} {value:,.2f}" for key, value in told.items()))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "reuse.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
