"""One call for equal requests in flight."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from agentic_synth.cache.key import key_of
from agentic_synth.errors import DeadlinePassed, Rejected, Stopped
from agentic_synth.policies.broadcast import Broadcast, Place
from agentic_synth.stage import Handler
from agentic_synth.types import Delta, DeltaStream, Hit, Json, Request, Response, Reuse

__all__ = ["Dedup"]

_JOINT: frozenset[Reuse] = frozenset({"exact", "replay", "pool", "semantic", "only_if_cached"})
_ITS_OWN_AFFAIR = (DeadlinePassed, Stopped)
_READ_AHEAD = 16
_DEDUP = Hit(kind="dedup")


class Dedup:
    """Equal draws that are asked at the same time share one call.

    The call is a task of the engine's own, so a waiter that is cancelled harms nobody; when the last one is gone, it is
    cancelled. A failure reaches every waiter as an error of its own and is not remembered; one that came from the terms
    of whoever asked first (a deadline, a stopped run) reaches nobody else. Followers' responses say ``stored``: they
    were not paid for.

    Streams share a stream, from its beginning however late they come (:class:`Broadcast` tells the bounds). A stream
    waits for an equal plain request and is then served from the store. A plain request does not wait for a stream,
    which is only as fast as it is read. Requests that say so (``Request.dedup``), and those that want an answer of
    their own (``never``, ``refresh``, ``no_store``), go alone.
    """

    def __init__(
        self,
        origin: Callable[[Request], str | None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """*origin* is the one of the cache; *spawn* starts a task that ends with the engine at the latest."""
        self._origin = origin
        self._spawn = spawn
        self._flights: dict[bytes, _Flight] = {}
        self._followers = 0

    def __call__(self, request: Request, proceed: Handler[Request, Response]) -> Coroutine[Any, Any, Response]:
        if not request.dedup or request.reuse not in _JOINT or (origin := self._origin(request)) is None:
            return proceed(request)
        return self._join(request, origin, proceed)

    async def _join(self, request: Request, origin: str, proceed: Handler[Request, Response]) -> Response:
        key = key_of(request, origin).draw + request.reuse.encode() + b"!" * request.judged
        if request.stream:
            while (plain := self._flights.get(key)) is not None:
                await plain.outcome()  # the store has its answer now, if there is one
            key += b"~"
        while True:
            flight = self._flights.get(key)
            follows = flight is not None
            if flight is None:
                flight = self._flights[key] = _Flight(self._flights, key)
                flight.leader = self._spawn(flight.lead(request, proceed))
                flight.leader.add_done_callback(flight.ended)
            elif not flight.joinable:
                return await proceed(request)
            self._followers += follows
            outcome = await (flight.stream() if request.stream else flight.outcome())
            if isinstance(outcome, Response):
                return flight.followed(outcome) if follows else outcome
            if not follows or not isinstance(outcome, _ITS_OWN_AFFAIR):
                raise copy.copy(outcome) from outcome

    def statistics(self) -> dict[str, Json]:
        """A snapshot: calls that are shared now, and requests that did not need a call of their own."""
        return {"in_flight": len(self._flights), "followers": self._followers}


class _Flight:
    """A call on its way, and whoever waits for its answer or reads its stream; the last to leave cancels it."""

    def __init__(self, flights: dict[bytes, _Flight], key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._head: Response | Exception | None = None
        self._shown: Response | None = None
        # A future for each who waits: one that all await would be cancelled with the first of them.
        self._waiting: set[asyncio.Future[None]] = set()
        self._broadcast = Broadcast()
        self._demand = asyncio.Event()
        self._ending: Exception | None = None
        self._landed = False
        self.leader: asyncio.Task[None]

    @property
    def joinable(self) -> bool:
        """Whether who comes now gets the whole answer."""
        return self._broadcast.joinable

    async def lead(self, request: Request, proceed: Handler[Request, Response]) -> None:
        """Ask, tell all who wait, and hand a stream on."""
        answer: Response | Exception
        try:
            answer = await proceed(request)
        except Exception as error:  # noqa: BLE001 - a task boundary: a defect of ours is the waiters' to raise
            answer = error
        if isinstance(answer, Response) and answer.body is not None:
            self._head = answer
            self._tell()
            self._ending = await self._relay(answer.body)
        self._land(answer)

    def ended(self, leader: asyncio.Task[None]) -> None:
        """The leader's task is over; it may never have begun."""
        if not self._landed:
            self._ending = Rejected("the engine was closed while this request was asked")
            self._land(self._ending)

    async def outcome(self) -> Response | Exception:
        """What the call came to."""
        try:
            await self._told()
        finally:
            if not self._waiting:
                self._abandon()
        assert self._head is not None
        return self._head

    async def stream(self) -> Response | Exception:
        """What the call came to, with a body of the caller's own."""
        reader = _Reader(self, self._broadcast.join())
        try:
            if self._head is None:
                await self._told()
        except BaseException:
            reader.leave()
            raise
        assert self._head is not None
        if isinstance(self._head, Exception):
            reader.leave()
            return self._head
        return msgspec.structs.replace(self._head, body=reader)

    def followed(self, response: Response) -> Response:
        """*response* as those are told who did not ask first; without a body they are all told the same one."""
        if response.hit is not None:
            return response  # it came from the store for all of them
        if response.body is not None:
            return msgspec.structs.replace(response, stored=True, hit=_DEDUP)
        if self._shown is None:
            self._shown = msgspec.structs.replace(response, stored=True, hit=_DEDUP)
        return self._shown

    async def next(self, place: Place) -> Delta:
        """The next delta for this reader."""
        while (delta := self._broadcast.take(place)) is None:
            if self._landed:
                if self._ending is not None:
                    raise copy.copy(self._ending) from self._ending
                raise StopAsyncIteration
            await self._told()
        if self._broadcast.ahead < _READ_AHEAD:
            self._demand.set()
        return delta

    def leave(self, place: Place) -> None:
        """This reader wants no more."""
        if self._broadcast.leave(place):
            self._abandon()

    async def _told(self) -> None:
        """Wait until there is news: the answer, or the next delta."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    async def _relay(self, body: DeltaStream) -> Exception | None:
        """Hand on what comes, a little ahead of the fastest reader; how it broke, None where it did not."""
        try:
            async for delta in body:
                self._broadcast.add(delta)
                self._tell()
                while self._broadcast.ahead >= _READ_AHEAD:
                    self._demand.clear()
                    await self._demand.wait()
        except Exception as error:  # noqa: BLE001 - a task boundary: the readers raise it
            return error
        finally:
            await body.aclose()
        return None

    def _tell(self) -> None:
        """Wake all who wait."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _land(self, outcome: Response | Exception) -> None:
        self._landed = True
        self._forget()
        self._head = self._head or outcome
        self._tell()

    def _abandon(self) -> None:
        if not self._landed:
            self._forget()
            self.leader.cancel()

    def _forget(self) -> None:
        if self._flights.get(self._key) is self:
            del self._flights[self._key]


class _Reader:
    """The body of one who shares a stream."""

    def __init__(self, flight: _Flight, place: Place) -> None:
        self._flight = flight
        self._place = place
        self._closed = False

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> Delta:
        if self._closed:
            raise StopAsyncIteration
        try:
            return await self._flight.next(self._place)
        except asyncio.CancelledError:
            raise  # the taker may come back
        except BaseException:
            self.leave()
            raise

    async def aclose(self) -> None:
        """Leave; the last one to leave ends the upstream's stream, and waits for that."""
        self.leave()
        if self._flight.leader.cancelling():
            await asyncio.wait([self._flight.leader])

    def leave(self) -> None:
        """Want no more."""
        if not self._closed:
            self._closed = True
            self._flight.leave(self._place)

    def __del__(self) -> None:
        # A consumer that forgets to close must not take a permit with it.
        self.leave()
