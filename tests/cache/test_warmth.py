"""What the store knows for warming: what is wanted, what was spent, and that a claim is made once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentic_synth.cache import warmth
from agentic_synth.cache.key import key_of, request_of
from agentic_synth.cache.prune import Bounds, prune_file
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.cache.store import Status
from agentic_synth.cache.warmth import Wanted
from agentic_synth.policies.warming import Spent
from tests.cache.cache_examples import ORIGIN, answer, ask

NOW = 1_800_000_000.0
HOUR = 3_600.0


class Wall:
    """A unix clock under the test's hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def store(tmp_path: Path, wall: Wall) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path, wall=wall)
    yield made
    await made.aclose()


async def fill(store: SqliteStore, **times: int) -> None:
    """Store an answer to each text and ask for it so many times."""
    for text, count in times.items():
        await store.put(ask(text), answer(), Status.COMPLETE)
        for _ in range(count):
            store.accesses.record(ask(text).draw)
    await store.accesses.top(1, NOW)  # and now it is written


async def wanted(store: SqliteStore, now: float, count: int = 10, model: str | None = None) -> list[Wanted]:
    return await store.perform(lambda connection: warmth.wanted(connection, count, now, ttl=HOUR, model=model))


async def spent(store: SqliteStore, now: float) -> Spent:
    return await store.perform(lambda connection: warmth.spent(connection, now))


async def reserved(store: SqliteStore, one: Wanted, now: float, share: float | None = None) -> bool:
    return await store.perform(lambda connection: warmth.reserve(connection, one, now, share))


async def test_what_expired_is_wanted_in_order_of_its_popularity(store: SqliteStore) -> None:
    await fill(store, a=1, b=5, c=3)
    assert await wanted(store, NOW + HOUR) == [], "all is fresh"
    found = await wanted(store, NOW + HOUR + 1)
    assert [one.key for one in found] == [ask(text).draw for text in "bca"]
    assert (found[0].reason, found[0].dollars, found[0].popularity.lookups) == ("expired", 0.25, 5)
    assert len(await wanted(store, NOW + HOUR + 1, 2)) == 2
    assert await wanted(store, NOW + HOUR + 1, model="acme/large") == []
    assert len(await wanted(store, NOW + HOUR + 1, model="acme/small")) == 3
    request, origin = request_of(found[0].canonical, found[0].lineage)
    assert key_of(request, origin) == ask("b")
    assert origin == ORIGIN


async def test_what_was_answered_badly_or_is_unknown_is_not_wanted(store: SqliteStore) -> None:
    await fill(store, bad=9)
    store.mark(ask("bad").draw, Status.INVALID, "no")
    store.accesses.record(ask("never stored").draw)
    store.accesses.flush()
    assert await wanted(store, NOW + 2 * HOUR) == []


async def test_a_popular_request_outlives_its_pruned_answer(store: SqliteStore) -> None:
    await fill(store, often=5, once=1)
    prune_file(store.path, Bounds(max_entries=0), NOW)
    (found,) = await wanted(store, NOW)
    assert (found.key, found.reason, found.dollars) == (ask("often").draw, "pruned", 0.25)
    await fill(store, often=1)
    assert await wanted(store, NOW) == [], "it is stored again"


async def test_what_was_cleared_is_not_remembered(store: SqliteStore) -> None:
    await fill(store, often=5, more=2)
    prune_file(store.path, Bounds(max_entries=1), NOW)
    assert len(await wanted(store, NOW)) == 1
    store.clear()
    assert await wanted(store, NOW) == []


async def test_a_claim_is_made_once_until_somebody_asks_again(store: SqliteStore, wall: Wall) -> None:
    await fill(store, hot=5)
    later = NOW + 2 * HOUR
    (hot,) = await wanted(store, later)
    assert [await reserved(store, hot, later) for _ in range(2)] == [True, False]
    assert await wanted(store, later) == []
    wall.now = later + 1
    store.accesses.record(ask("hot").draw)
    store.accesses.flush()
    (again,) = await wanted(store, later + 1)
    assert await reserved(store, again, later + 1)


async def test_spending_adds_up_and_leaves_after_a_day(store: SqliteStore) -> None:
    await fill(store, a=2, b=2)
    (one, other) = await wanted(store, NOW + 2 * HOUR)
    assert await spent(store, NOW) == Spent(0.5, 2)
    assert not await reserved(store, one, NOW, share=0.4)
    assert await reserved(store, one, NOW, share=0.5)
    assert not await reserved(store, other, NOW, share=0.5)
    assert await spent(store, NOW) == Spent(0.5, 2, 0.25, 1)
    await store.put(ask("a"), answer(cost=0.125), Status.COMPLETE)
    store.accesses.flush()
    await store.perform(lambda connection: warmth.settle(connection, one, NOW, 0.125))
    assert await spent(store, NOW) == Spent(0.5, 2, 0.125, 1), "what is asked ahead is no spending of its own"
    assert await spent(store, NOW + 24 * HOUR) == Spent()


@pytest.mark.parametrize("sent", [True, False])
async def test_a_claim_that_is_given_up_may_be_made_again(store: SqliteStore, sent: bool) -> None:
    await fill(store, hot=5)
    (hot,) = await wanted(store, NOW + 2 * HOUR)
    assert await reserved(store, hot, NOW)
    await store.perform(lambda connection: warmth.release(connection, hot, NOW, sent=sent))
    assert (await spent(store, NOW)).ahead_calls == sent
    assert await wanted(store, NOW + 2 * HOUR) == [hot]


async def test_what_is_remembered_is_bounded(store: SqliteStore) -> None:
    texts = [str(number) for number in range(1_100)]
    await fill(store, **dict.fromkeys(texts, 2))
    prune_file(store.path, Bounds(max_entries=0), NOW)
    assert len(await wanted(store, NOW, 2_000)) == 1_000
