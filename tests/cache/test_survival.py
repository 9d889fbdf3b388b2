"""What befalls real stores: killed processes, rivals, full disks. Nothing that was durable is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.errors import StoreError
from tests.cache.cache_examples import answer, ask, child, held


def _sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def _missing(store: SqliteStore, numbers: set[int]) -> list[int]:
    found = {number: store.get(ask(f"question {number}").draw) for number in numbers}
    return [n for n, stored in found.items() if stored is None or stored.response.text != f"answer {n}"]


@pytest.mark.slow
async def test_a_killed_process_loses_nothing_it_was_told_is_durable(tmp_path: Path) -> None:
    rng = random.Random(5)
    durable: set[int] = set()
    for turn in range(4):
        process = child("write", str(tmp_path), str(turn * 100_000), str((turn + 1) * 100_000))
        with process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 1_500)):
                durable.add(int(process.stdout.readline()))
            process.kill()
            # A last line may be cut by the kill.
            durable |= {int(line) for line in process.stdout.readlines() if line.endswith("\n")}
        assert process.returncode == -9
        store = SqliteStore(tmp_path)
        assert _missing(store, durable) == []
        entries = sum(store.contents().entries.values())
        # Beyond what was told: at most what was in flight when each process died.
        assert len(durable) <= entries <= len(durable) + 50 * (turn + 1)
        await store.aclose()
        assert _sound(store.path)


@pytest.mark.slow
async def test_processes_that_make_and_write_one_store_at_once(tmp_path: Path) -> None:
    processes = [child("write", str(tmp_path), str(start), str(start + 600)) for start in (0, 400, 800)]
    store = SqliteStore(tmp_path)
    for number in range(2_000, 2_100):
        await store.put(ask(f"question {number}"), answer(f"answer {number}"), Status.COMPLETE)
    for process in processes:
        output, _ = await asyncio.to_thread(process.communicate, timeout=50)
        assert (process.returncode, len(output.splitlines())) == (0, 600)
    # One process sees what the others wrote, and what two of them wrote is there once.
    assert _missing(store, {*range(1_400), *range(2_000, 2_100)}) == []
    assert store.contents().entries == {"complete": 1_500}
    await store.aclose()
    assert _sound(store.path)


async def test_looking_after_a_store_drops_none_of_its_locks(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.put(ask(), answer(), Status.COMPLETE)
    store.contents()
    list(store.export())
    await SqliteStore(tmp_path).aclose()
    # Another process that could change the journal now would think itself alone with the file, and destroy it.
    rival = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode = DELETE')"
    ended = subprocess.run([sys.executable, "-c", rival, str(store.path)], capture_output=True, text=True, check=False)
    assert "database is locked" in ended.stderr
    await store.aclose()


async def test_a_rival_that_never_lets_go_is_told_as_such(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.perform(lambda connection: None)
    with held(store.path):
        impatient = asyncio.create_task(_put_impatiently(store))
        with pytest.raises(StoreError, match="another process") as caught:
            await impatient
    assert "other process" in caught.value.mend
    await store.put(ask(), answer(), Status.COMPLETE)
    await store.aclose()


async def _put_impatiently(store: SqliteStore) -> None:
    store._writer._connection.execute("PRAGMA busy_timeout = 1")
    await store.put(ask(), answer(), Status.COMPLETE)


@contextlib.contextmanager
def _small_disk(point: Path) -> Iterator[None]:
    point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(point)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("making a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


async def _fill(store: SqliteStore, start: int) -> tuple[set[int], StoreError]:
    durable: set[int] = set()
    for number in range(start, start + 1_000):
        try:
            await store.put(ask(f"question {number}"), answer(f"answer {number}"), Status.COMPLETE)
        except StoreError as error:
            return durable, error
        durable.add(number)
    raise AssertionError("the disk never filled up")


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk):
        filler = disk / "filler"
        store = SqliteStore(disk)
        filler.write_bytes(bytes(1 << 20))
        durable, error = await _fill(store, 0)
        assert "the disk is full" in error.message
        assert "make room" in error.mend
        assert len(durable) > 10
        # Reading goes on while the disk is full, and a group that cannot be written tells each of its waiters.
        assert _missing(store, durable) == []
        together = await asyncio.gather(
            *(store.put(ask(str(number)), answer("x" * 5_000), Status.COMPLETE) for number in range(20)),
            return_exceptions=True,
        )
        assert {type(end) for end in together} == {StoreError}
        filler.unlink()
        await store.put(ask("question 5000"), answer("answer 5000"), Status.COMPLETE)
        await store.aclose()
        store = SqliteStore(disk)
        assert _missing(store, durable | {5000}) == []
        await store.aclose()
        assert _sound(store.path)


async def test_a_disk_full_from_the_start_is_told_when_opening(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk):
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4_096))
        with pytest.raises(StoreError) as caught:
            SqliteStore(disk)
        assert "full" in caught.value.message
        (disk / "filler").unlink()
        store = SqliteStore(disk)
        await store.put(ask(), answer(), Status.COMPLETE)
        await store.aclose()


async def test_a_read_only_directory_is_told_with_the_mend(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk):
        await SqliteStore(disk).aclose()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreError, match="cannot be opened for writing") as caught:
            SqliteStore(disk)
        assert "--store" in caught.value.mend
