"""The library of texts: found at once, durable soon, abreast of other processes, never more than it may hold."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agentic_synth.cache.embedders.embedder import unit
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.vectors import library as module
from agentic_synth.cache.vectors import shelf
from agentic_synth.cache.vectors.library import Library, LibraryConfig
from agentic_synth.cache.vectors.open import IndexName, open_format
from agentic_synth.testing.clock import FakeClock
from tests.cache.cache_examples import ROOT, held

DIMENSIONS = 32
P = b"partition"


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length one in any direction."""
    return unit(np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32))


def key(number: int) -> bytes:
    """A key as an answer has."""
    return number.to_bytes(16, "big")


class Desk:
    """A store with its library, and the tasks that the library starts."""

    def __init__(self, directory: Path, *, store: Any = None, index: IndexName = "ivf", **config: int) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.seconds = 0.0
        self.tasks: set[asyncio.Task[None]] = set()
        self.store: Any = store or SqliteStore(directory)
        self.library = Library(
            self.store,
            "plain",
            directory / "vectors",
            open_format(index),
            self.spawn,
            LibraryConfig(**config),
            clock=self.clock,
            wall=self.wall,
        )

    def wall(self) -> float:
        """Later each time."""
        self.seconds += 1
        return self.seconds

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of the library's."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    async def fill(self, rows: NDArray[np.float32], start: int = 0, partition: bytes = P) -> None:
        """Add a text for each vector."""
        for number, vector in enumerate(rows, start):
            await self.library.add(partition, key(number), f"text {number}", vector)

    async def numbers(self, vector: NDArray[np.float32], k: int = 8, partition: bytes = P) -> list[int]:
        """The numbers of the nearest texts."""
        return [int.from_bytes(entry.key, "big") for entry in await self.library.nearest(partition, vector, k)]

    async def rest(self) -> None:
        """Wait for the tasks, but for one that waits for the clock."""
        timer = self.library._timer
        while tasks := {
            task for task in self.tasks if not task.done() and not (task is timer and self.library._lingers)
        }:
            await asyncio.wait(tasks)
            timer = self.library._timer

    async def aclose(self) -> None:
        """Close the library, then its store."""
        await self.library.aclose()
        await self.store.aclose()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture(params=["sqlite", "memory"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path, store=MemoryStore() if request.param == "memory" else None)
    yield made
    await made.aclose()


async def test_the_nearest_come_first_before_and_after_they_are_durable(desk: Desk) -> None:
    rows = vectors(100)
    await desk.fill(rows)
    expected = np.argsort(-(rows @ rows[3]))[:5].tolist()
    assert desk.library.statistics().waiting == 100
    for _ in range(2):
        found = await desk.library.nearest(P, rows[3], 5)
        assert [int.from_bytes(entry.key, "big") for entry in found] == expected
        assert found[0][:2] == (key(3), "text 3")
        assert [entry.similarity for entry in found] == pytest.approx((rows[expected] @ rows[3]).tolist(), abs=2e-3)
        await desk.library.flush()
    statistics = desk.library.statistics()
    assert (statistics.added, statistics.waiting, statistics.rows, statistics.partitions) == (100, 0, 100, 1)


async def test_partitions_and_embedders_never_mix(desk: Desk) -> None:
    rows = vectors(4)
    await desk.fill(rows[:2], partition=b"a")
    await desk.fill(rows[2:], start=2, partition=b"b")
    other = Library(desk.store, "another", desk.directory, open_format("exact"), desk.spawn, clock=desk.clock)
    for _ in range(2):
        assert set(await desk.numbers(rows[0], partition=b"a")) == {0, 1}
        assert set(await desk.numbers(rows[0], partition=b"b")) == {2, 3}
        assert await other.nearest(b"a", rows[0]) == []
        await desk.library.flush()
    # Vectors of another length are another partition.
    assert await desk.library.nearest(b"a", np.ones(3, np.float32)) == []
    await other.aclose()


async def test_zero_vectors_are_neither_kept_nor_near(desk: Desk) -> None:
    zero = np.zeros(DIMENSIONS, np.float32)
    await desk.library.add(P, key(1), "nothing", zero)
    assert desk.library.statistics().waiting == 0
    assert await desk.library.nearest(P, zero) == []


async def test_texts_wait_a_second_for_company_and_many_do_not_wait(desk: Desk) -> None:
    await desk.fill(vectors(3))
    await desk.clock.advance(0.9)
    assert desk.library.statistics().waiting == 3
    await desk.clock.advance(0.2)
    await desk.rest()
    assert desk.library.statistics().waiting == 0
    await desk.fill(vectors(2), start=10)
    await desk.fill(vectors(255), start=20)
    await desk.rest()
    statistics = desk.library.statistics()
    assert (statistics.waiting, statistics.added) == (0, 260)


async def test_the_same_key_again_is_one_text(desk: Desk) -> None:
    row = vectors(1)
    for _ in range(3):
        await desk.fill(row)
        await desk.fill(row)
        assert await desk.numbers(row[0]) == [0]
        await desk.library.flush()
    assert desk.library.statistics().rows == 1


async def test_what_is_forgotten_is_not_found_again(desk: Desk) -> None:
    rows = vectors(4)
    await desk.fill(rows[:2])
    await desk.library.flush()
    await desk.numbers(rows[0])
    await desk.fill(rows[2:], start=2)
    await desk.library.forget(key(0))
    await desk.library.forget(key(2))
    for _ in range(2):
        assert set(await desk.numbers(rows[0])) == {1, 3}
        await desk.library.flush()


async def test_beyond_its_most_entries_those_used_longest_ago_give_way(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_entries=10)
    rows = vectors(15)
    await desk.fill(rows[:10])
    await desk.library.flush()
    await desk.numbers(rows[0])
    desk.library.mark_used(key(2))
    desk.library.mark_used(key(4))
    await desk.fill(rows[10:], start=10)
    await desk.library.flush()
    assert set(await desk.numbers(rows[0], 20)) == {2, 4, *range(7, 15)}
    statistics = desk.library.statistics()
    assert (statistics.evicted, statistics.rows) == (5, 10)
    await desk.aclose()


async def test_a_large_partition_gets_a_file_which_is_only_a_convenience(tmp_path: Path) -> None:
    rows = vectors(400)
    desk = Desk(tmp_path, graph_from=100)
    await desk.fill(rows[:300])
    await desk.library.flush()
    await desk.numbers(rows[0])
    await desk.library.flush()
    await desk.rest()
    assert desk.library.statistics().saves == 1
    await desk.fill(rows[300:], start=300)
    assert await desk.numbers(rows[7], 1) == [7]
    await desk.aclose()
    (file,) = (tmp_path / "vectors").iterdir()
    whole = file.read_bytes()
    for content in (whole, whole[:-100], b"", None):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        desk = Desk(tmp_path, graph_from=100)
        for number in (7, 250, 350):
            assert await desk.numbers(rows[number], 1) == [number]
        (partition,) = desk.library._shelf
        assert partition.index.saved == (300 if content == whole else 0)
        assert desk.library.statistics().rows == 400
        await desk.aclose()


async def test_a_file_of_another_store_is_not_taken_for_ours(tmp_path: Path) -> None:
    rows = vectors(150)
    for place, offset in (("one", 0), ("two", 1_000)):
        desk = Desk(tmp_path / place, graph_from=100)
        await desk.fill(rows, start=offset)
        await desk.library.flush()
        await desk.numbers(rows[0])
        await desk.library.flush()
        await desk.rest()
        await desk.aclose()
    (ours,), (theirs,) = ((tmp_path / place / "vectors").iterdir() for place in ("one", "two"))
    ours.write_bytes(theirs.read_bytes())
    desk = Desk(tmp_path / "one", graph_from=100)
    assert await desk.numbers(rows[5], 1) == [5]
    (partition,) = desk.library._shelf
    assert partition.index.saved == 0
    await desk.aclose()


async def test_what_other_processes_add_and_delete_is_learnt(tmp_path: Path) -> None:
    rows = vectors(30)
    mine, theirs = Desk(tmp_path), Desk(tmp_path)
    await mine.fill(rows[:10])
    await mine.library.flush()
    assert set(await theirs.numbers(rows[0], 99)) == set(range(10))
    assert set(await mine.numbers(rows[0], 99)) == set(range(10))
    await mine.fill(rows[10:], start=10)
    await mine.library.flush()
    await mine.library.forget(key(0))
    await theirs.clock.advance(1)
    # What was deleted is dropped as it is met, and the next nearest take its place.
    assert await theirs.numbers(rows[0], 3) == await mine.numbers(rows[0], 3)
    assert set(await theirs.numbers(rows[0], 99)) == set(range(1, 30))
    await theirs.aclose()
    await mine.aclose()


async def test_what_the_store_refuses_is_lost_and_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.store.perform(lambda connection: connection.execute("PRAGMA busy_timeout = 1") and None)
    desk.store._writer._connection.execute("PRAGMA busy_timeout = 1")
    await desk.fill(vectors(3))
    with held(desk.store.path):
        await desk.library.flush()
    statistics = desk.library.statistics()
    assert (statistics.lost, statistics.waiting, statistics.added) == (3, 0, 0)
    assert "another process" in statistics.error
    await desk.fill(vectors(3))
    await desk.library.flush()
    assert desk.library.statistics().added == 3
    await desk.aclose()


async def test_a_file_that_cannot_be_written_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = vectors(150)
    (tmp_path / "vectors").write_text("not a directory")
    desk = Desk(tmp_path, graph_from=100)
    await desk.fill(rows)
    await desk.library.flush()
    await desk.numbers(rows[0])
    await desk.library.flush()
    await desk.rest()
    assert "file of vectors" in desk.library.statistics().error
    assert await desk.numbers(rows[9], 1) == [9]
    await desk.aclose()


async def test_partitions_used_longest_ago_are_let_go_and_loaded_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    row = vectors(1)
    for number in range(shelf._PARTITIONS + 5):
        await desk.fill(row, start=number, partition=key(number))
    await desk.library.flush()
    for number in range(shelf._PARTITIONS + 5):
        assert await desk.numbers(row[0], partition=key(number)) == [number]
    assert desk.library.statistics().partitions == shelf._PARTITIONS
    assert await desk.numbers(row[0], partition=key(0)) == [0]
    await desk.aclose()


async def test_more_than_may_wait_waits_for_the_store(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    rows = vectors(module._MOST_WAITING + 10)
    await desk.fill(rows)
    assert desk.library.statistics().waiting <= module._MOST_WAITING
    await desk.library.flush()
    assert desk.library.statistics().added == len(rows)
    await desk.aclose()


@pytest.mark.slow
async def test_a_killed_process_leaves_what_it_was_told_is_durable(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cache.library_child", str(tmp_path)],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        durable = [int(process.stdout.readline()) for _ in range(6)][-1]
        process.kill()
    desk = Desk(tmp_path, graph_from=100)
    rows = vectors(durable, seed=1)
    for number in range(0, durable, 97):
        (found,) = await desk.library.nearest(P, rows[number], 1)
        assert found[:2] == (key(number), f"text {number}")
        assert found.similarity == pytest.approx(1.0, abs=2e-3)
    await desk.aclose()
