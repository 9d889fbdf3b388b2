"""An answer lives as long as the reader's settings say, however often it is asked; and a memory store stays small."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentic_synth.cache.memory import MemoryStore
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from tests.cache.cache_examples import answer, ask

NOW, TTL = 1_800_000_000.0, 100.0


class Wall:
    """A unix clock under the test's hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, wall: Wall) -> AsyncIterator[SqliteStore | MemoryStore]:
    made = SqliteStore(tmp_path, ttl=TTL, wall=wall) if request.param == "sqlite" else MemoryStore(ttl=TTL, wall=wall)
    yield made
    await made.aclose()


async def test_an_old_answer_is_a_miss_and_reading_does_not_keep_it_young(
    store: SqliteStore | MemoryStore, wall: Wall
) -> None:
    await store.put(ask(), answer(), Status.COMPLETE)
    for _ in range(10):
        wall.now += TTL / 10
        assert store.get(ask().draw) is not None
    wall.now += 0.001
    assert store.get(ask().draw) is None
    assert (store.statistics().hits, store.statistics().misses) == (10, 1)


async def test_a_new_answer_takes_the_place_of_an_old_one(store: SqliteStore | MemoryStore, wall: Wall) -> None:
    await store.put(ask(), answer("old"), Status.COMPLETE)
    wall.now += 2 * TTL
    await store.put(ask(), answer("new"), Status.COMPLETE)
    stored = store.get(ask().draw)
    assert stored is not None
    assert (stored.response.text, stored.created) == ("new", NOW + 2 * TTL)


async def test_a_clock_that_jumped_back_expires_nothing(store: SqliteStore | MemoryStore, wall: Wall) -> None:
    await store.put(ask(), answer(), Status.COMPLETE)
    wall.now -= 10 * TTL
    assert store.get(ask().draw) is not None


async def test_the_reader_decides_what_is_old(tmp_path: Path, wall: Wall) -> None:
    stores = [SqliteStore(tmp_path, ttl=ttl, wall=wall) for ttl in (None, TTL, 3 * TTL)]
    await stores[0].put(ask(), answer(), Status.COMPLETE)
    wall.now += 2 * TTL
    assert [store.get(ask().draw) is not None for store in stores] == [True, False, True]
    for store in stores:
        await store.aclose()


async def test_a_memory_store_never_holds_more_than_it_may() -> None:
    store = MemoryStore(capacity=50, max_bytes=400_000)
    for number in range(500):
        await store.put(ask(str(number)), answer("x" * (number % 20) * 1_000), Status.COMPLETE)
        held = list(store.export())
        assert len(held) <= 50
        assert sum(len(one["response"].get("text", "")) for one in held) <= 200_000
    assert len(list(store.export())) > 5


async def test_an_answer_too_large_for_a_memory_store_is_not_kept() -> None:
    store = MemoryStore(max_bytes=10_000)
    await store.put(ask("small"), answer(), Status.COMPLETE)
    await store.put(ask("large"), answer("x" * 50_000), Status.COMPLETE)
    assert store.get(ask("large").draw) is None
    assert store.get(ask("small").draw) is not None


async def test_what_is_asked_again_and_again_survives_what_is_asked_once() -> None:
    store = MemoryStore(capacity=100)
    for number in range(5_000):
        for key in (ask(f"often {number % 20}"), ask(f"once {number}")):
            if store.get(key.draw) is None:
                await store.put(key, answer(), Status.COMPLETE)
    assert all(store.get(ask(f"often {number}").draw) for number in range(20))


async def test_a_copy_is_as_old_as_it_is_said_to_be(store: SqliteStore | MemoryStore, wall: Wall) -> None:
    await store.put(ask(), answer(), Status.COMPLETE, created=NOW - TTL + 1)
    stored = store.get(ask().draw)
    assert stored is not None
    assert stored.created == NOW - TTL + 1
    wall.now += 2
    assert store.get(ask().draw) is None


async def test_who_only_looks_is_counted_nowhere(store: SqliteStore | MemoryStore, wall: Wall) -> None:
    await store.put(ask(), answer(), Status.COMPLETE)
    assert store.get(ask().draw, counts=False) is not None
    assert store.get(b"?" * 16, counts=False) is None
    wall.now += TTL + 1
    assert store.get(ask().draw, counts=False) is None
    assert (store.statistics().hits, store.statistics().misses) == (0, 0)
