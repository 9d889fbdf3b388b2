"""Vector indexes side by side, and the latency of a semantic hit: embedding, search and the store.

``python -m benchmarks.vectors --entries 10000 100000`` prints the table of indexes, on vectors made to resemble
embeddings (``--data clustered``) or on the embeddings of real questions in ever new wordings (``--data real``).
``python -m benchmarks.vectors --hits 100000`` prints what a hit costs, and how long the event loop is held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentic_synth.cache.embedders.embedder import unit
from agentic_synth.cache.embedders.open import open_embedder
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.vectors.layered import LayeredIndex
from agentic_synth.cache.vectors.library import Library, LibraryConfig
from agentic_synth.cache.vectors.open import open_format
from agentic_synth.cache.vectors.usearch import UsearchFormat
from agentic_synth.telemetry.memory import memory_bytes

DATA = Path(__file__).parents[2] / "shared" / "data"
DIMENSIONS = 256
QUERIES = 1_000
K = 8
OPENINGS = ("", "Please tell me: ", "In a few words, ", "A customer asks: ", "For a beginner: ", "Help me out. ")
ENDINGS = ("", " Thanks.", " Give one example.", " Answer in {} lines.", " I have {} minutes.", " This is case {}.")

Vectors = NDArray[np.float32]


def clustered(count: int) -> tuple[Vectors, Vectors]:
    """Topics of some fifty texts each, around a common direction: cosines of .77 within a topic, .15 beyond it.

    The queries are texts of the same topics that are not in the index.
    """
    rng = np.random.default_rng(7)
    common = 0.42 * rng.standard_normal(DIMENSIONS)
    topics = rng.standard_normal((max(2, count // 50), DIMENSIONS)) + common
    chosen = topics[rng.integers(0, len(topics), count + QUERIES)]
    vectors = unit((chosen + 0.58 * rng.standard_normal(chosen.shape)).astype(np.float32))
    return vectors[:count], vectors[count:]


def questions() -> list[str]:
    """Every question of the development data, once."""
    found: dict[str, None] = {}
    for line in (DATA / "paraphrase_pairs.tsv").read_text().splitlines()[1:]:
        found.update(dict.fromkeys(part for part in line.split("\t") if len(part) > 12))
    for name, field in (("gsm8k_test.jsonl", "question"), ("alpaca_seed_tasks.jsonl", "instruction")):
        found.update(dict.fromkeys(json.loads(line)[field] for line in (DATA / name).read_text().splitlines()))
    return list(found)


def wordings(count: int) -> list[str]:
    """*count* different texts: each question as it is, then with openings, endings and numbers around it."""
    rng, asked, made = np.random.default_rng(3), questions(), dict[str, None]()
    made.update(dict.fromkeys(asked[:count]))
    while len(made) < count:
        opening, ending = OPENINGS[rng.integers(len(OPENINGS))], ENDINGS[rng.integers(len(ENDINGS))]
        made[opening + asked[rng.integers(len(asked))] + ending.format(rng.integers(2, 60))] = None
    return list(made)


async def real(count: int) -> tuple[Vectors, Vectors]:
    """wordllama's vectors of questions in many wordings; the queries are wordings that are not in the index."""
    texts = wordings(count + QUERIES)
    np.random.default_rng(5).shuffle(texts)
    vectors = await open_embedder("wordllama").embed(texts)
    return vectors[:count], vectors[count:]


def timed(work: Callable[[], object], times: int = 1, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Milliseconds of each run, ascending; with ``time.thread_time`` those that others did not take away."""
    taken = []
    for _ in range(times):
        start = clock()
        work()
        taken.append((clock() - start) * 1e3)
    return sorted(taken)


class Layered:
    """One of ours, as the library uses it."""

    def __init__(self, name: str, directory: str) -> None:
        numbers = {"usearch-i8": "i8", "usearch-bf16": "bf16", "usearch-f16": "f16"}
        self._format = UsearchFormat(numbers[name]) if name in numbers else open_format(name)  # type: ignore[arg-type]
        self._path = Path(directory) / "index"
        self.open()

    def open(self) -> None:
        """Open the file, whatever it holds."""
        self.index = LayeredIndex(self._format, DIMENSIONS, self._path, b"bench")

    def build(self, vectors: Vectors) -> None:
        """Make the file."""
        self.index.add(range(len(vectors)), vectors)
        self.index.save(len(vectors))

    def add(self, identity: int, vector: Vectors) -> None:
        """Add one."""
        self.index.add([identity], vector[None])

    def merge(self) -> None:
        """Write what was added to the file."""
        self.index.save(0)

    def search(self, vector: Vectors) -> list[int]:
        """The ids of the nearest."""
        return [identity for identity, _ in self.index.search(vector, K)]

    def remove(self, identity: int) -> None:
        """Take one out."""
        self.index.remove(identity)

    def disk(self) -> int:
        """Bytes of the file."""
        return self._path.stat().st_size


class RuvectorGraph:
    """Ruvector's HnswIndex, which lives in memory only, or its Collection, which wraps one."""

    def __init__(self, name: str, directory: str) -> None:
        import ruvector

        self._collection = name == "ruvector-collection"
        self._path = str(Path(directory) / "collection")
        made: Any = ruvector.Collection if self._collection else ruvector.HnswIndex
        self.index = made.create(DIMENSIONS)

    def open(self) -> None:
        """Only a collection can be: its vectors are read, its graph is built again."""
        if self._collection:
            import ruvector

            self.index.save(self._path)
            self.index = ruvector.Collection.load(self._path)

    def build(self, vectors: Vectors) -> None:
        """Insert everything."""
        if self._collection:
            self.index.insert_batch(vectors)
        else:
            self.index.insert_batch([str(number) for number in range(len(vectors))], vectors)

    def add(self, identity: int, vector: Vectors) -> None:
        """Add one."""
        if self._collection:
            self.index.insert(vector)
        else:
            self.index.insert(str(identity), vector)

    def merge(self) -> None:
        """There is nothing to merge."""

    def search(self, vector: Vectors) -> list[int]:
        """The ids of the nearest."""
        found = self.index.search(vector, K)
        return [int(one.id if self._collection else one[0]) for one in found]

    def remove(self, identity: int) -> None:
        """Take one out."""
        self.index.delete(identity if self._collection else str(identity))

    def disk(self) -> int:
        """Bytes of what a collection saves."""
        return sum(file.stat().st_size for file in Path(self._path).parent.iterdir())


NAMES = (
    "ivf",
    "exact",
    "usearch-i8",
    "usearch-bf16",
    "usearch-f16",
    "ruvector",
    "ruvector-hnsw",
    "ruvector-collection",
)


def measure(name: str, count: int, data: str) -> dict[str, Any]:
    """All figures of one index, in this process alone."""
    vectors, queries = clustered(count) if data == "clustered" else asyncio.run(real(count))
    best = np.array([int(np.argmax(vectors @ query)) for query in queries])
    before = memory_bytes()
    with TemporaryDirectory() as directory:
        kind = RuvectorGraph if name in {"ruvector-hnsw", "ruvector-collection"} else Layered
        index: Any = kind(name, directory)
        build = timed(lambda: index.build(vectors))[0]
        opened = timed(index.open)[0]
        found = [index.search(query) for query in queries]
        resident, disk = memory_bytes() - before, index.disk()
        waiting = iter(queries)
        query = timed(lambda: index.search(next(waiting)), QUERIES)
        waiting = iter(queries)
        query_cpu = timed(lambda: index.search(next(waiting)), QUERIES, time.thread_time)
        extra = iter(range(count, count + QUERIES))
        add = timed(lambda: index.add(number := next(extra), queries[number - count]), QUERIES)
        merge = timed(index.merge)[0]
        gone = iter(best.tolist())
        remove = timed(lambda: index.remove(next(gone)), QUERIES)
        lies = sum(bool({*index.search(one)} & {*best.tolist()}) for one in queries[:100])
        return {
            "index": name,
            "build_s": round(build / 1e3, 2),
            "query_p50_ms": round(query[QUERIES // 2], 3),
            "query_p99_ms": round(query[QUERIES * 99 // 100], 3),
            "query_cpu_p99_ms": round(query_cpu[QUERIES * 99 // 100], 3),
            "recall_1": round(float(np.mean([ids[:1] == [one] for ids, one in zip(found, best, strict=True)])), 4),
            "recall_1_of_8": round(float(np.mean([one in ids for ids, one in zip(found, best, strict=True)])), 4),
            "disk_bytes": round(disk / count),
            "resident_bytes": round(resident / count),
            "add_ms": round(add[QUERIES // 2], 4),
            "merge_1000_s": round(merge / 1e3, 2),
            "delete_us": round(remove[QUERIES // 2] * 1e3, 1),
            "open_ms": round(opened, 1),
            "deleted_found": lies,
        }


async def hits(count: int) -> dict[str, Any]:
    """Embedding and search of what means the same, with the library in a store of *count* texts."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    texts, tasks = wordings(count), set[asyncio.Task[None]]()
    embedder = open_embedder("wordllama")
    vectors = await embedder.embed(texts)
    with TemporaryDirectory() as directory:
        store = SqliteStore(directory)

        def spawn(work: Any) -> asyncio.Task[None]:
            task: asyncio.Task[None] = asyncio.create_task(work)
            tasks.add(task)
            return task

        def opened() -> Library:
            config = LibraryConfig(max_entries=2 * count)
            return Library(store, embedder.name, Path(directory) / "vectors", open_format(), spawn, config)

        library = opened()
        start = time.perf_counter()
        for number, text in enumerate(texts):
            await library.add(b"p", number.to_bytes(16, "big"), text, vectors[number])
        await library.flush()
        added = time.perf_counter() - start
        start = time.perf_counter()
        await library.nearest(b"p", vectors[0])
        loaded = time.perf_counter() - start
        await library.flush()
        await asyncio.gather(*tasks, return_exceptions=True)  # a timer that gave way is cancelled
        saved = time.perf_counter() - start - loaded
        await library.aclose()
        library = opened()
        start = time.perf_counter()
        await library.nearest(b"p", vectors[0])
        reopened = time.perf_counter() - start
        asked = [f"{text} Thank you!" for text in texts[: 2 * QUERIES]]
        figures = await _hit_latency(library, embedder, asked, count)
        await library.aclose()
        await store.aclose()
    return {
        "add_us": round(added / count * 1e6, 1),
        "load_s": round(loaded, 2),
        "graph_s": round(saved, 1),
        "reopen_ms": round(reopened * 1e3, 1),
        **figures,
    }


async def _hit_latency(library: Library, embedder: Any, texts: Sequence[str], count: int) -> dict[str, Any]:
    taken, cpu = [], []
    for text in texts:
        start, start_cpu = time.perf_counter(), time.thread_time()
        vector = (await embedder.embed([text]))[0]
        found = await library.nearest(b"p", vector)
        # Nothing here waits, so the loop is held as long.
        taken.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.thread_time() - start_cpu) * 1e3)
        assert len(found) == min(K, count)
    taken.sort()
    cpu.sort()
    short, long = "How do I reset the password of my router at home?", ("What is the best way to learn? " * 50)[:1_200]
    embedding: dict[str, float] = {}
    for name, text in (("short", short), ("1200", long)):
        each = []
        for _ in range(QUERIES):
            start = time.perf_counter()
            await embedder.embed([text])
            each.append((time.perf_counter() - start) * 1e3)
        each.sort()
        embedding |= {f"embed_{name}_p50_ms": round(each[QUERIES // 2], 3)}
        embedding |= {f"embed_{name}_p99_ms": round(each[QUERIES * 99 // 100], 3)}
    return {
        "hit_mean_ms": round(sum(taken) / len(taken), 3),
        "hit_p99_ms": round(taken[len(taken) * 99 // 100], 3),
        "hit_cpu_mean_ms": round(sum(cpu) / len(cpu), 3),
        "hit_cpu_p99_ms": round(cpu[len(cpu) * 99 // 100], 3),
        "hit_cpu_max_ms": round(cpu[-1], 3),
        **embedding,
    }


def main() -> None:
    """Measure what the command line asks for, each index in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=__doc__)
    parser.add_argument("--entries", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--data", choices=["clustered", "real"], default="clustered")
    parser.add_argument("--index", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--hits", type=int)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.hits:
        print(json.dumps(asyncio.run(hits(chosen.hits)), indent=1))
        return
    if chosen.alone:
        print(json.dumps(measure(chosen.index[0], chosen.entries[0], chosen.data)))
        return
    for count in chosen.entries:
        print(f"{count:,} vectors of {DIMENSIONS} numbers, {chosen.data}", flush=True)
        for name in chosen.index:
            command = [sys.executable, "-m", "benchmarks.vectors", "--alone", "--index", name]
            ended = subprocess.run(
                [*command, "--entries", str(count), "--data", chosen.data], capture_output=True, text=True, check=False
            )
            print(ended.stdout.strip() or f"{name}: {ended.stderr[-300:]}", flush=True)


if __name__ == "__main__":
    main()
