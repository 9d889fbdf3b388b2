"""Who may use which connection pool: permits with a deadline, shards by the peer's stream limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from agentic_synth.errors import QueueFull
from agentic_synth.transport.client import HttpStatistics

__all__ = ["Lease", "ShardedPool"]


class Closable(Protocol):
    async def close(self) -> object: ...


C = TypeVar("C", bound=Closable)


class Shard(Generic[C]):
    """One native client with its own connections."""

    __slots__ = ("born", "client", "in_flight")

    def __init__(self, client: C, born: float) -> None:
        self.client = client
        self.born = born
        self.in_flight = 0


class Lease(Generic[C]):
    """Room in one shard, held from *started* (in the event loop's time) until it is released."""

    __slots__ = ("_pool", "_shard", "client", "started")

    def __init__(self, pool: ShardedPool[C], shard: Shard[C], started: float) -> None:
        self._pool = pool
        self._shard: Shard[C] | None = shard
        self.client = shard.client
        self.started = started

    def age(self) -> float:
        """Seconds since the lease began, which is the time on the wire."""
        return self._pool.loop.time() - self.started

    def release(self) -> None:
        """Give the room back; never waits, and only the first time counts."""
        shard, self._shard = self._shard, None
        if shard is not None:
            self._pool.release(shard)


class ShardedPool(Generic[C]):
    """Native clients, each with room for so many exchanges at once, opened when the others are full.

    Over HTTP/2 a shard is one connection and its room the peer's stream limit; over HTTP/1.1 there is one shard with
    room for all. The shard used last is used first (LIFO), so that idle connections can expire. A shard older than
    *max_age* seconds takes no new exchange and is closed when its last one ends: names are resolved anew, and load
    balancers see us again. Acquire and release cost O(1).
    """

    def __init__(self, build: Callable[[], C], *, room: int, max_shards: int, wait: float, max_age: float) -> None:
        self._build = build
        self._room = room
        self._wait = wait
        self._max_age = max_age
        self._capacity = room * max_shards
        self._permits = asyncio.Semaphore(self._capacity)
        self._free: list[Shard[C]] = []
        self._shards: set[Shard[C]] = set()
        self._retired: list[Shard[C]] = []
        self.loop = asyncio.get_running_loop()
        self._requests = 0
        self._in_flight = 0
        self._waiting = 0

    def statistics(self, protocol: str) -> HttpStatistics:
        return HttpStatistics(
            requests=self._requests,
            in_flight=self._in_flight,
            waiting=self._waiting,
            shards=len(self._shards),
            protocol=protocol,
        )

    async def acquire(self) -> Lease[C]:
        """Wait for room, first come, first served, and take it.

        Raises:
            QueueFull: there was no room within the wait deadline.
        """
        while self._retired:
            await self._retired.pop().client.close()
        if self._permits.locked():
            await self._queue()
        else:
            await self._permits.acquire()
        return self._take()

    async def _queue(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait):
                await self._permits.acquire()
        except TimeoutError:
            raise QueueFull(
                f"no connection became free within {self._wait:g} s: all {self._capacity} are in use",
                mend="raise timeouts.pool or max_connections, or lower the concurrency",
            ) from None
        finally:
            self._waiting -= 1

    def _take(self) -> Lease[C]:
        now = self.loop.time()
        free = self._free
        while free and now - free[-1].born > self._max_age:
            old = free.pop()
            self._shards.discard(old)
            if old.in_flight == 0:
                self._retired.append(old)
        if free:
            shard = free[-1]
        else:
            shard = Shard(self._build(), now)
            self._shards.add(shard)
            free.append(shard)
        shard.in_flight += 1
        if shard.in_flight >= self._room:
            free.pop()
        self._requests += 1
        self._in_flight += 1
        return Lease(self, shard, now)

    def release(self, shard: Shard[C]) -> None:
        """Called by the lease, once."""
        self._permits.release()
        self._in_flight -= 1
        shard.in_flight -= 1
        if shard not in self._shards:
            if shard.in_flight == 0:
                self._retired.append(shard)
        elif shard.in_flight == self._room - 1:
            self._free.append(shard)

    async def aclose(self) -> None:
        """Close every connection; exchanges under way end with an error."""
        closing = [*self._shards, *self._retired]
        self._shards.clear()
        self._free.clear()
        self._retired.clear()
        for shard in closing:
            await shard.client.close()
