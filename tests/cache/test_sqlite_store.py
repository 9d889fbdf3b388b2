"""How the SQLite store groups, waits, is cancelled and closed."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import stat
from pathlib import Path

import msgspec
import pytest

from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.errors import StoreError
from tests.cache.cache_examples import answer, ask, held


async def _put_all(store: SqliteStore, count: int) -> list[asyncio.Task[None]]:
    """Submit *count* answers and return before any of them need be durable."""
    tasks = [
        asyncio.create_task(store.put(ask(str(number)), answer(str(number)), Status.COMPLETE))
        for number in range(count)
    ]
    await asyncio.sleep(0)
    return tasks


def _durable(path: Path) -> int:
    store = SqliteStore(path)
    count = sum(store.contents().entries.values())
    asyncio.run(store.aclose())
    return count


async def test_answers_that_come_together_share_a_commit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with held(store.path):
        tasks = await _put_all(store, 300)
        assert store.statistics().waiting == 300
    await asyncio.gather(*tasks)
    # The first may go alone, before the others were there; the rest go 256 and less at a time.
    assert store.statistics().groups <= 3
    assert (store.statistics().written, store.statistics().waiting) == (300, 0)
    await store.aclose()


async def test_a_caller_who_writes_alone_has_each_answer_in_a_commit_of_its_own(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, linger=1_000_000.0)  # never lingered for, or this test would not end
    for number in range(20):
        await store.put(ask(str(number)), answer(), Status.COMPLETE)
    assert store.statistics().groups == 20
    await store.aclose()


async def test_closing_does_not_linger(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, linger=1_000_000.0)
    with held(store.path):
        first = await _put_all(store, 10)
    await asyncio.gather(*first)
    second = await _put_all(store, 20)
    await store.aclose()
    await asyncio.gather(*second)


async def test_an_answer_still_queued_is_found(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with held(store.path):
        (task,) = await _put_all(store, 1)
        stored = store.get(ask("0").draw)
        assert stored is not None
        assert (stored.response.text, stored.response.stored) == ("0", True)
        assert not task.done()
    await task
    await store.aclose()


@pytest.mark.parametrize("cancelled", [range(0, 50, 2), range(50)])
async def test_cancelled_waiters_lose_no_write_and_harm_no_other(tmp_path: Path, cancelled: range) -> None:
    store = SqliteStore(tmp_path)
    with held(store.path):
        tasks = await _put_all(store, 50)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.sleep(0)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, end in enumerate(ends) if end is not None] == list(cancelled)
    await store.aclose()
    assert store.statistics().waiting == 0
    assert await asyncio.to_thread(_durable, tmp_path) == 50


async def test_closing_commits_what_is_queued_even_if_the_closing_is_cancelled(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with held(store.path):
        tasks = await _put_all(store, 50)
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    await asyncio.gather(*tasks)
    await store.aclose()
    assert await asyncio.to_thread(_durable, tmp_path) == 50


async def test_one_answer_that_cannot_be_written_harms_no_other(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with held(store.path):
        tasks = await _put_all(store, 10)
        bad = asyncio.create_task(store.put(ask("bad"), answer(), Status.FAILED, "half a character: \ud83d"))
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(store.put(ask("after"), answer(), Status.COMPLETE))]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    with pytest.raises(StoreError, match="cannot be written"):
        await bad
    assert (store.statistics().written, store.statistics().failed) == (11, 1)
    assert store.get(ask("bad").draw) is None
    with pytest.raises(StoreError, match="cannot be written"):
        await store.put(ask("bad"), answer("\ud83d"), Status.COMPLETE)
    await store.aclose()


async def test_work_and_answers_are_done_in_order_and_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM answers")
        connection.execute("SELECT one FROM nowhere")

    with held(store.path):
        before = await _put_all(store, 3)
        counted = asyncio.create_task(store.perform(count))
        failed = asyncio.create_task(store.perform(fail))
        await asyncio.sleep(0)
        after = asyncio.create_task(store.put(ask("after"), answer(), Status.COMPLETE))
        await asyncio.sleep(0)
    assert await counted == 3
    with pytest.raises(StoreError, match="nowhere"):
        await failed
    await asyncio.gather(*before, after)
    assert store.read(count) == 4
    with pytest.raises(StoreError, match="nowhere"):
        store.read(fail)
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        store.read(count)


async def test_a_mark_the_file_refuses_becomes_a_warning(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.put(ask(), answer(), Status.COMPLETE)
    store.mark(ask().draw, Status.INVALID, "half a character: \ud83d")
    await store.perform(lambda connection: None)
    assert len(store.warnings) == 1
    assert "cannot be written" in store.warnings[0]
    await store.aclose()


def test_a_loop_that_is_gone_loses_no_write(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)

    async def give_up() -> None:
        for task in await _put_all(store, 5):
            task.cancel()

    with held(store.path):
        asyncio.run(give_up())
    asyncio.run(store.aclose())
    assert store.statistics().waiting == 0
    assert _durable(tmp_path) == 5


def test_a_store_serves_one_loop_after_another(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for number in range(3):
        asyncio.run(store.put(ask(str(number)), answer(), Status.COMPLETE))
    asyncio.run(store.aclose())
    assert _durable(tmp_path) == 3


async def test_waiting_for_one_refused_answer_keeps_no_other_alive(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for _ in range(5):
        with pytest.raises(StoreError):
            await store.put(ask(), answer(), Status.FAILED, "\ud83d")
    gc.collect()
    assert store.statistics().waiting == 0
    assert store.get(ask().draw) is None
    await store.aclose()


async def test_the_log_stays_bounded_under_load_and_reads_do_not_hold_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    large = answer("x" * 20_000)
    log = store.path.with_name("store.sqlite-wal")
    longest = 0
    for start in range(0, 2_400, 100):
        await asyncio.gather(
            *(store.put(ask(str(number)), large, Status.COMPLETE) for number in range(start, start + 100))
        )
        assert store.get(ask(str(start)).draw) is not None
        longest = max(longest, log.stat().st_size)
    # 48 MB of answers went through it.
    assert longest < 12 << 20
    await store.aclose()
    assert not log.exists()


async def test_an_answer_in_words_of_another_version_is_a_miss(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for text in ("status", "answer", "finish"):
        await store.put(ask(text), answer(), Status.COMPLETE)
    unknown = msgspec.msgpack.encode({"text": "hi", "finish": "teleported"})

    def alter(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE answers SET status = 'pondered' WHERE key = ?", (ask("status").draw,))
        connection.execute("UPDATE answers SET response = x'c1' WHERE key = ?", (ask("answer").draw,))
        connection.execute("UPDATE answers SET response = ? WHERE key = ?", (unknown, ask("finish").draw))

    await store.perform(alter)
    for text in ("status", "answer", "finish"):
        assert store.get(ask(text).draw) is None
        await store.put(ask(text), answer("anew"), Status.COMPLETE)
        assert store.get(ask(text).draw) is not None
    await store.aclose()


async def test_clearing_gives_the_room_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for number in range(100):
        await store.put(ask(str(number)), answer("x" * 10_000), Status.COMPLETE)
    before = store.contents().file_bytes
    assert before > 1_000_000
    assert store.clear() == 100
    assert store.contents().file_bytes < 150_000
    await store.put(ask(), answer(), Status.COMPLETE)
    assert store.get(ask().draw) is not None
    await store.aclose()


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
async def test_full_synchronous_is_asked_of_the_writing_connection(
    tmp_path: Path, synchronous: str, level: int
) -> None:
    store = SqliteStore(tmp_path, "full" if synchronous == "full" else "normal")
    asked = await store.perform(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
    assert asked == (level,)
    await store.aclose()


async def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "made" / "here")
    await store.put(ask(), answer(), Status.COMPLETE)
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in store.path.parent.iterdir()}
    assert modes == {"store.sqlite": 0o600, "store.sqlite-wal": 0o600, "store.sqlite-shm": 0o600}
    await store.aclose()
