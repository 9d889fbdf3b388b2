"""Shards and permits, without a network."""

from __future__ import annotations

import asyncio
import random

import pytest

from agentic_synth.errors import QueueFull
from agentic_synth.transport.pool import Lease, ShardedPool


class Client:
    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


def pool_of(
    clients: list[Client], *, room: int = 2, max_shards: int = 3, wait: float = 5, max_age: float = 1e9
) -> ShardedPool[Client]:
    def build() -> Client:
        clients.append(Client())
        return clients[-1]

    return ShardedPool(build, room=room, max_shards=max_shards, wait=wait, max_age=max_age)


async def test_a_shard_is_opened_when_the_others_are_full() -> None:
    clients: list[Client] = []
    pool = pool_of(clients)
    leases = [await pool.acquire() for _ in range(5)]
    assert [clients.index(lease.client) for lease in leases] == [0, 0, 1, 1, 2]
    for lease in leases:
        lease.release()
        lease.release()
    statistics = pool.statistics("HTTP/2")
    assert (statistics.in_flight, statistics.shards, statistics.requests) == (0, 3, 5)


async def test_the_shard_used_last_is_used_first() -> None:
    clients: list[Client] = []
    pool = pool_of(clients, room=1)
    first, second = await pool.acquire(), await pool.acquire()
    second.release()
    first.release()
    assert (await pool.acquire()).client is first.client


async def test_waiters_are_served_in_turn_and_only_so_many_hold_room() -> None:
    pool = pool_of([], room=1, max_shards=2)
    held = [await pool.acquire(), await pool.acquire()]
    order: list[int] = []

    async def wait(number: int) -> None:
        lease = await pool.acquire()
        order.append(number)
        lease.release()

    waiters = [asyncio.ensure_future(wait(n)) for n in range(4)]
    await asyncio.sleep(0)
    assert pool.statistics("").waiting == 4
    held[0].release()
    await asyncio.gather(*waiters)
    assert order == [0, 1, 2, 3]
    assert pool.statistics("").waiting == 0


async def test_no_room_within_the_wait_is_queue_full() -> None:
    pool = pool_of([], room=1, max_shards=1, wait=0.01)
    await pool.acquire()
    with pytest.raises(QueueFull, match="all 1 are in use"):
        await pool.acquire()
    assert pool.statistics("").waiting == 0


async def test_an_old_shard_takes_nothing_new_and_closes_when_it_is_empty() -> None:
    clients: list[Client] = []
    pool = pool_of(clients, room=4, max_age=-1)
    first = await pool.acquire()
    second = await pool.acquire()
    assert first.client is not second.client
    assert clients[0].closed == 0
    first.release()
    await pool.acquire()
    assert clients[0].closed == 1
    await pool.aclose()
    assert clients[1].closed <= 1


async def test_closing_closes_each_client_once() -> None:
    clients: list[Client] = []
    pool = pool_of(clients, room=1)
    leases = [await pool.acquire() for _ in range(3)]
    leases[0].release()
    await pool.aclose()
    for lease in leases:
        lease.release()
    await pool.aclose()
    assert [client.closed for client in clients[:1]] == [1]


@pytest.mark.parametrize("seed", range(5))
async def test_random_use_and_cancellation_keep_the_books(seed: int) -> None:
    rng = random.Random(seed)
    clients: list[Client] = []
    pool = pool_of(clients, room=3, max_shards=4)
    holders: set[Lease[Client]] = set()

    async def use(turns: int) -> None:
        lease = await pool.acquire()
        holders.add(lease)
        try:
            per_client = [sum(other.client is client for other in holders) for client in clients]
            assert max(per_client) <= 3
            assert sum(per_client) <= 12
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            holders.discard(lease)
            lease.release()

    tasks = [asyncio.ensure_future(use(rng.randrange(6))) for _ in range(2_000)]
    for _ in range(300):
        rng.choice(tasks).cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [result for result in results if isinstance(result, Exception)]
    statistics = pool.statistics("")
    assert (statistics.in_flight, statistics.waiting) == (0, 0)
    assert statistics.shards <= 4
