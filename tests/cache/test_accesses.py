"""The access log: what it counts, when it writes, and how it stays small."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from agentic_synth.cache.accesses import Accesses, AccessesInMemory, Day, Tally, asked_most, days, popularities, trim
from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.errors import NotCached
from agentic_synth.stages.cache import Cache
from agentic_synth.types import Message, Request, Response, Reuse
from tests.cache.cache_examples import ORIGIN, answer, ask

NOW = 1_800_000_000.0


class Wall:
    """A unix clock under the test's hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore | MemoryStore]:
    made = SqliteStore(tmp_path, wall=Wall()) if request.param == "sqlite" else MemoryStore(wall=Wall())
    yield made
    await made.aclose()


async def test_the_most_asked_comes_first(store: SqliteStore | MemoryStore) -> None:
    for text, times in (("a", 1), ("b", 5), ("c", 3)):
        for _ in range(times):
            store.accesses.record(ask(text).draw)
    top = await store.accesses.top(2, NOW)
    assert [key for key, _ in top] == [ask("b").draw, ask("c").draw]
    assert top[0][1] > top[1][1]


async def test_the_hour_decides_between_equals(store: SqliteStore | MemoryStore) -> None:
    morning = NOW - NOW % 86_400 + 8 * 3_600
    wall = store._wall
    assert isinstance(wall, Wall)
    for day in range(10):
        for hour, text in ((0, "morning"), (12, "evening")):
            wall.now = morning + day * 86_400 + hour * 3_600
            for _ in range(5):
                store.accesses.record(ask(text).draw)
            await store.accesses.top(1, wall.now)
    for hour, text in ((0, "morning"), (12, "evening")):
        ((key, _),) = await store.accesses.top(1, morning + 10 * 86_400 + hour * 3_600)
        assert key == ask(text).draw


async def test_it_outlives_the_process_and_adds_up(tmp_path: Path) -> None:
    for _ in range(2):
        store = SqliteStore(tmp_path, wall=Wall())
        for _ in range(3):
            store.accesses.record(ask("a").draw)
        await store.aclose()
    store = SqliteStore(tmp_path, wall=Wall())
    (known,) = store.read(lambda connection: popularities(connection, [ask("a").draw])).values()
    assert (known.lookups, known.last) == (6, NOW)
    await store.aclose()


async def test_hits_and_misses_are_kept_day_by_day(tmp_path: Path) -> None:
    wall = Wall()
    today = int(NOW // 86_400)
    for day in range(2):
        wall.now = NOW + day * 86_400
        store = SqliteStore(tmp_path, wall=wall)
        if not day:
            await store.put(ask(), answer(cost=0.5), Status.COMPLETE)
        store.get(ask().draw)
        store.get(ask("unknown").draw)
        await store.aclose()
    store = SqliteStore(tmp_path, wall=wall)
    told = store.read(lambda connection: days(connection, today))
    assert told == [Day(today, 1, 1, 0.5), Day(today + 1, 1, 1, 0.5)]
    await store.aclose()


class Log:
    """What an access log posts, done at once on tables in memory."""

    def __init__(self, wall: Wall, *, batch: int = 1_000, most_keys: int = 1_000) -> None:
        self.store = MemoryStore(wall=wall)
        self.posts = 0
        self.accesses = Accesses(self.store, self.post, Tally, wall, batch=batch, most_keys=most_keys)

    def post(self, work: object) -> None:
        self.posts += 1
        assert callable(work)
        self.store.read(work)

    def held(self) -> int:
        def count(connection: sqlite3.Connection) -> int:
            return int(connection.execute("SELECT count(*) FROM accesses").fetchone()[0])

        return self.store.read(count)


def test_it_writes_every_few_seconds_and_not_at_every_lookup() -> None:
    wall = Wall()
    log = Log(wall)
    for _ in range(100):
        log.accesses.record(b"a")
    assert log.posts == 0
    wall.now += 11
    log.accesses.record(b"a")
    assert log.posts == 1
    log.accesses.flush()
    assert log.posts == 1, "nothing gathered"


def test_what_waits_to_be_written_is_bounded() -> None:
    log = Log(Wall(), batch=10)
    for number in range(100):
        log.accesses.record(number.to_bytes(16, "big"))
    assert (log.posts, log.held()) == (10, 100)


def test_the_log_keeps_the_most_popular_keys() -> None:
    log = Log(Wall(), batch=10, most_keys=50)
    for number in range(1_000):
        log.accesses.record(number.to_bytes(16, "big"))
        log.accesses.record(b"often")
    log.accesses.flush()
    assert log.held() <= 60
    kept = log.store.read(lambda connection: popularities(connection, [b"often"]))
    assert kept[b"often"].lookups == 1_000
    log.store.read(lambda connection: trim(connection, 1))
    assert log.held() == 1


def test_a_clock_that_jumps_back_harms_nothing() -> None:
    wall = Wall()
    log = Log(wall)
    log.accesses.record(b"a")
    log.accesses.flush()
    wall.now -= 86_400
    log.accesses.record(b"a")
    log.accesses.flush()
    known = log.store.read(lambda connection: popularities(connection, [b"a"]))[b"a"]
    assert (known.lookups, known.last) == (2, NOW)


async def test_without_a_file_the_log_is_bounded_and_keeps_what_is_popular() -> None:
    wall = Wall()
    log = AccessesInMemory(wall, most_keys=50)
    for number in range(5_000):
        log.record(number.to_bytes(16, "big"))
        if not number % 40:
            for _ in range(3):
                log.record(b"now and then")
        wall.now += 1
    told = await log.top(1_000, wall.now)
    assert len(told) == 50
    assert told[0][0] == b"now and then"
    assert told[0][1] > 300


async def test_without_a_file_no_lookup_writes() -> None:
    store = MemoryStore(wall=Wall())
    statements: list[str] = []
    store.read(lambda connection: connection.set_trace_callback(statements.append))
    for number in range(5_000):
        store.accesses.record(number.to_bytes(16, "big"))
    assert statements == []
    await store.aclose()


async def test_what_is_asked_most_is_told_in_words(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, wall=Wall())
    await store.put(ask("write a haiku"), answer(), Status.COMPLETE)
    for text in ("write a haiku", "write a haiku", "gone"):
        store.accesses.record(ask(text).draw)
    await store.accesses.top(1, NOW)
    (told,) = store.read(lambda connection: asked_most(connection, 10, NOW))
    assert (told.prompt, told.model, told.lookups) == ("write a haiku", "acme/small", 2)
    await store.aclose()


async def test_two_processes_add_to_one_log(tmp_path: Path) -> None:
    stores = [SqliteStore(tmp_path, wall=Wall()) for _ in range(2)]
    for store in stores:
        store.accesses.record(ask("a").draw)
    await asyncio.gather(*(store.aclose() for store in stores))
    store = SqliteStore(tmp_path, wall=Wall())
    ((key, score),) = await store.accesses.top(5, NOW)
    assert key == ask("a").draw
    assert score > 1.9
    await store.aclose()


@pytest.mark.parametrize("reuse", get_args(Reuse))
async def test_only_what_another_time_may_answer_is_counted(reuse: Reuse) -> None:
    store = MemoryStore(wall=Wall())
    asked = Request(model="acme/small", messages=(Message("user", "hello"),), reuse=reuse, dedup=False)

    async def upstream(_: Request, /) -> Response:
        return answer()

    with suppress(NotCached):
        await Cache(store, lambda _: ORIGIN)(asked, upstream)
    counted = await store.accesses.top(1, NOW)
    assert bool(counted) == (reuse in {"exact", "pool", "semantic"})
