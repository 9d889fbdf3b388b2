"""Asking ahead through a real engine and a store in a file: only when nobody asks, within its share, never twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentic_synth.cache import warmth
from agentic_synth.cache.accesses import popularities
from agentic_synth.cache.prune import Bounds, prune_file
from agentic_synth.cache.sqlite import SqliteStore
from agentic_synth.config import WarmingConfig
from agentic_synth.engine.warming import Warmed, Warmer, likely
from agentic_synth.policies.warming import Spent
from agentic_synth.testing.clock import FakeClock
from tests.engine.engine_examples import Stand, opened, request

DAY = 86_400.0
BEGAN = 20_000 * DAY + 10.5 * 3_600.0
ALMOST_A_DAY = DAY - 3_600.0
TTL = 3_600.0
OFTEN = 60


class Place:
    """A store that may be opened again and again, at an instant that the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = BEGAN

    @asynccontextmanager
    async def opened(self, *, warms: bool = True, **more: Any) -> AsyncIterator[tuple[Stand, SqliteStore, Warmer]]:
        """An engine on the store that warms in the background, with all that real requests cost as its share."""
        config = WarmingConfig(enabled=True, share=more.pop("share", 1.0))
        store = SqliteStore(self.folder, ttl=TTL, wall=lambda: self.now)
        # Patient, for the store works in a thread; and nobody watches the process, which would wake up all the time.
        clock = FakeClock(autojump=True, patience=0.02)
        async with opened(more.pop("config", None), store=store, clock=clock, **more) as stand:
            warmer = Warmer(
                stand.assembly,
                stand.assembly.handler,
                store,
                store.accesses,
                config,
                ttl=TTL,
                connect=lambda name: name in stand.assembly,
                wall=lambda: self.now,
            )
            if warms:
                stand.assembly.spawn(warmer.run())
            yield stand, store, warmer
            await stand.assembly.trace.idle()

    async def fill(self, *texts: str, times: int = OFTEN) -> None:
        """Ask each of *texts* so many times, the first time paid; then let almost a day go by."""
        async with self.opened(warms=False) as (stand, _, _):
            for text in texts:
                for _ in range(times):
                    await stand.assembly.handler(request(text))
        self.now += ALMOST_A_DAY


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def until(stand: Stand, true: Callable[[], bool]) -> None:
    """Wait for it, at most ten minutes of the engine's clock."""
    end = stand.clock.now() + 600
    while not true():
        assert stand.clock.now() < end, "it never came true"
        await stand.clock.sleep(3)


def asked(stand: Stand) -> int:
    """The calls that the provider saw."""
    return int(str(stand.provider.statistics()["received"]))


async def spent(store: SqliteStore, now: float) -> Spent:
    """What stands in the store once everything is told."""
    store.accesses.flush()
    return await store.perform(lambda connection: warmth.spent(connection, now))


async def test_what_expired_is_asked_before_anybody_does(place: Place) -> None:
    await place.fill("hot", "cool")
    async with place.opened() as (stand, store, warmer):
        await until(stand, lambda: warmer.statistics().asked == 2)
        hit = await stand.assembly.handler(request("hot"))
        assert (hit.stored, asked(stand)) == (True, 2)
        top = await store.accesses.top(2, place.now)
        known = store.read(lambda connection: popularities(connection, [key for key, _ in top]))
        assert sorted(one.lookups for one in known.values()) == [OFTEN, OFTEN + 1], "asking ahead is no demand"
        assert (await spent(store, place.now)).ahead_calls == 2


async def test_what_was_pruned_is_asked_again(place: Place) -> None:
    await place.fill("hot")
    async with place.opened() as (stand, store, warmer):
        told = prune_file(store.path, Bounds(max_entries=0), place.now)
        assert (told.entries, told.left) == (1, 0)
        await until(stand, lambda: warmer.statistics().asked == 1)
        assert (await stand.assembly.handler(request("hot"))).stored


async def test_nothing_fresh_and_nothing_unlikely_is_asked(place: Place) -> None:
    await place.fill("fresh")
    await place.fill("seldom", times=1)
    async with place.opened(warms=False) as (stand, _, _):
        await stand.assembly.handler(request("fresh"))
    place.now += TTL / 2
    async with place.opened() as (stand, _, warmer):
        await stand.clock.sleep(300)
        assert (asked(stand), warmer.statistics().asked) == (0, 0)


async def test_nothing_is_asked_twice_until_somebody_asked_for_it(place: Place) -> None:
    await place.fill("hot")
    for paid in (1, 0, 0):
        async with place.opened() as (stand, _, _):
            await stand.assembly.handler(request(f"something that costs {place.now}"))
            await stand.clock.sleep(200)
            assert asked(stand) == 1 + paid
        place.now += DAY
    async with place.opened(warms=False) as (stand, _, _):
        await stand.assembly.handler(request("hot"))
    place.now += ALMOST_A_DAY
    async with place.opened() as (stand, _, _):
        await stand.clock.sleep(200)
        assert asked(stand) == 1


@pytest.mark.parametrize("behaviour", [{"rate": "2/min"}, {}], ids=["a limit", "the breaker"])
async def test_nothing_is_asked_while_a_limit_binds(place: Place, behaviour: dict[str, str]) -> None:
    await place.fill("hot")
    async with place.opened(sim={**behaviour, "latency": "50ms"}) as (stand, _, warmer):
        if behaviour:
            for number in range(2):  # its headers tell that this was all for a while
                await stand.assembly.handler(request(f"real {number}"))
            assert stand.assembly.would_wait(request("hot"))
        else:
            stand.engine.force("sim/m", "open")
        before = asked(stand)
        await stand.clock.sleep(10)
        assert asked(stand) == before
        stand.engine.force("sim/m", None)
        await until(stand, lambda: warmer.statistics().asked == 1)


async def test_it_stops_at_once_when_real_work_arrives(place: Place) -> None:
    await place.fill("a", "b", "c")
    async with place.opened(sim={"latency": "10s"}) as (stand, _, warmer):
        await until(stand, lambda: asked(stand) == 1)
        real = [asyncio.create_task(stand.assembly.handler(request(f"real {number}"))) for number in range(3)]
        await asyncio.gather(*real)
        assert warmer.statistics().asked == 1, "what is on the wire is finished"
        assert asked(stand) == 4, "and nothing more is sent"
        await until(stand, lambda: warmer.statistics().asked == 3)


async def test_what_failed_is_not_tried_again(place: Place) -> None:
    await place.fill("hot")
    async with place.opened(sim={"faults": "error=1"}) as (stand, store, warmer):
        await until(stand, lambda: warmer.statistics().failed == 1)
        assert asked(stand) == 1
        assert not await store.perform(lambda connection: likely(connection, 9, place.now, ttl=TTL))


async def test_somebody_who_asks_the_same_shares_the_call(place: Place) -> None:
    await place.fill("hot")
    async with place.opened(sim={"latency": "10s"}) as (stand, _, warmer):
        await until(stand, lambda: asked(stand) == 1)
        answer = await stand.assembly.handler(request("hot"))
        assert answer.stored
        await until(stand, lambda: warmer.statistics().asked == 1)
        assert asked(stand) == 1


async def test_it_keeps_to_its_share_across_restarts(place: Place) -> None:
    await place.fill(*map(str, range(30)), times=20)
    total = 0
    for _ in range(4):
        async with place.opened(share=0.1) as (stand, store, _):
            await stand.clock.sleep(400)
            total += asked(stand)
            told = await spent(store, place.now)
        place.now += 300
    assert total == 3
    assert told.ahead_calls == 3 <= 0.1 * told.calls
    assert told.ahead_dollars <= 0.1 * told.dollars


async def test_a_failing_upstream_is_asked_less_and_less(place: Place) -> None:
    await place.fill(*"abcdefghij")
    async with place.opened(sim={"faults": "error=1"}) as (stand, store, warmer):
        await stand.clock.sleep(1_000)
        failed = warmer.statistics().failed
        assert 3 <= failed == asked(stand) <= 5, "after about 2, 124, 366 and 848 seconds"
        assert warmer.statistics().error == "sim had an error"
        assert (await spent(store, place.now)).ahead_calls == failed, "they may have been paid"


async def test_closing_ends_a_call_and_lets_it_be_claimed_again(place: Place) -> None:
    await place.fill("hot")
    async with place.opened(sim={"latency": "10s"}) as (stand, _, _):
        await until(stand, lambda: asked(stand) == 1)
        await stand.engine.aclose()
    async with place.opened(warms=False) as (_, store, _):
        (one,) = await store.perform(lambda connection: likely(connection, 9, place.now, ttl=TTL))
        assert (await spent(store, place.now)).ahead_calls == 1, "the call on the wire may have been paid"
        assert one.wanted.reason == "expired"


async def test_what_cannot_be_asked_as_it_was_is_left_alone(place: Place) -> None:
    await place.fill("hot")
    async with place.opened(warms=False) as (_, store, _):
        (one,) = await store.perform(lambda connection: likely(connection, 9, place.now, ttl=TTL))
    async with place.opened(other={}) as (stand, _, warmer):
        assert await warmer.ask(one.wanted) is Warmed.SKIPPED
        assert asked(stand) == 0


async def test_two_engines_claim_each_request_once(place: Place) -> None:
    await place.fill("hot")
    async with place.opened(warms=False) as (_, store, one), place.opened(warms=False) as (_, _, other):
        (hot,) = await store.perform(lambda connection: likely(connection, 9, place.now, ttl=TTL))
        went = await asyncio.gather(one.ask(hot.wanted), other.ask(hot.wanted))
        assert sorted(went) == [Warmed.ASKED, Warmed.SKIPPED]
