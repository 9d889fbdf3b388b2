"""One call for equal requests in flight."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from agentic_synth.cache.key import key_of
from agentic_synth.errors import Rejected
from agentic_synth.stage import Handler
from agentic_synth.types import Json, Request, Response

__all__ = ["Dedup"]

_JOINT = frozenset({"exact", "replay", "only_if_cached"})


class _Flight:
    """A call on its way: *waiters* of it are counted, and the last one that leaves cancels it."""

    __slots__ = ("answer", "leader", "waiters")

    def __init__(self, answer: asyncio.Future[Response | Exception]) -> None:
        self.answer = answer
        self.leader: asyncio.Task[None]
        self.waiters = 0


class Dedup:
    """Equal draws that are asked at the same time share one call.

    The leader is a task of the engine's own, so a waiter that is cancelled harms nobody; when the last one is gone, the
    call is cancelled. A failure reaches every waiter as an error of its own and is not remembered. Followers' responses
    say ``stored``: they were not paid for. Requests that say so (``Request.dedup``), streams, and requests that want an
    answer of their own (``never``, ``refresh``, ``no_store``) go alone.
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

    async def __call__(self, request: Request, proceed: Handler[Request, Response]) -> Response:
        if not request.dedup or request.stream or request.reuse not in _JOINT:
            return await proceed(request)
        origin = self._origin(request)
        if origin is None:
            return await proceed(request)
        key = key_of(request, origin).draw + request.reuse.encode()
        flight = self._flights.get(key)
        follows = flight is not None
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.get_running_loop().create_future())
            flight.leader = self._spawn(self._lead(key, flight, request, proceed))
        self._followers += follows
        return await self._join(key, flight, follows=follows)

    async def _join(self, key: bytes, flight: _Flight, *, follows: bool) -> Response:
        flight.waiters += 1
        try:
            answer = await asyncio.shield(flight.answer)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.answer.done():
                self._forget(key, flight)
                flight.leader.cancel()
        if isinstance(answer, Exception):
            raise copy.copy(answer) from answer
        return msgspec.structs.replace(answer, stored=True) if follows else answer

    async def _lead(self, key: bytes, flight: _Flight, request: Request, proceed: Handler[Request, Response]) -> None:
        outcome: Response | Exception = Rejected("the engine was closed while this request was asked")
        try:
            outcome = await proceed(request)
        except Exception as error:  # noqa: BLE001 - a task boundary: a defect of ours is the waiters' to raise
            outcome = error
        finally:
            self._forget(key, flight)
            if not flight.answer.done():
                flight.answer.set_result(outcome)

    def _forget(self, key: bytes, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def statistics(self) -> dict[str, Json]:
        """A snapshot: calls that are shared now, and requests that did not need a call of their own."""
        return {"in_flight": len(self._flights), "followers": self._followers}
