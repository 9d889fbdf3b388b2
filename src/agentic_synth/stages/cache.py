"""Serve an answer that is stored already, and store every answer that was paid before anybody may use it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from agentic_synth.cache.key import AUDIT, Key, key_of, redraw
from agentic_synth.cache.pool import Pools
from agentic_synth.cache.store import ResponseStore, Status, Stored
from agentic_synth.clock import Clock, SystemClock
from agentic_synth.errors import DeadlinePassed, NotCached
from agentic_synth.policies.body import Relayed, WatchedBody
from agentic_synth.policies.joined import Joined
from agentic_synth.stage import Handler
from agentic_synth.types import Delta, DeltaStream, Draw, Finish, Hit, Request, Response, Reuse

__all__ = ["Cache"]

_STATUS: dict[Finish, Status] = {"length": Status.TRUNCATED, "refusal": Status.REFUSED}
_LOOKED_UP: frozenset[Reuse] = frozenset({"exact", "replay", "pool", "semantic", "only_if_cached"})
_JUDGED_BY_THE_CALLER: frozenset[Reuse] = frozenset({"replay", "pool"})
_SHARED: frozenset[Reuse] = _LOOKED_UP - {"only_if_cached"}
# A replay asks for a run's own draws: a log of them would grow with every run and tell nothing.
_COUNTED: frozenset[Reuse] = frozenset({"exact", "pool", "semantic"})
_PATIENCE_S = 300.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.005, 0.25


class Cache:
    """The exact cache: equal draws of equal requests are answered from the store.

    Only complete, valid answers are served; to one that judges for itself (``replay``, ``pool``, ``Request.judged``)
    also the rejected ones. A
    streamed answer's last delta is held back until the whole answer is durable. An answer that serves another draw
    than its own (from a pool, or from a stage further in that tells so by ``Response.hit``) is stored as a copy, which
    is what a rerun finds. Where another process asks for the same draw, a request that shares calls
    (``Request.dedup``) waits for that answer; whoever asks may die, and after five minutes nobody waits any longer.
    """

    def __init__(
        self, store: ResponseStore, origin: Callable[[Request], str | None], clock: Clock | None = None
    ) -> None:
        """*origin* names where the requested model is (its base URL), or None where answers cost nothing to make."""
        self._store = store
        self._origin = origin
        self._clock = clock or SystemClock()
        self._pools = Pools(store)

    def __call__(self, request: Request, proceed: Handler[Request, Response]) -> Coroutine[Any, Any, Response]:
        origin = self._origin(request)
        if origin is None:
            return proceed(request)
        key = key_of(request, origin)
        if request.reuse in _COUNTED and not request.ahead:
            self._store.accesses.record(key.draw)
        shares = request.dedup and request.reuse in _SHARED
        return (self._share if shares else self._answer)(request, key, proceed)

    async def _share(self, request: Request, key: Key, proceed: Handler[Request, Response]) -> Response:
        """Answer *request* when no other process is doing so."""
        if not await self._turn(request, key):
            return await self._answer(request, key, proceed)
        release = partial(self._store.leases.release, key.draw)
        try:
            response = await self._answer(request, key, proceed)
        except BaseException:
            release()
            raise
        if response.body is None or response.stored:
            release()
            return response
        return msgspec.structs.replace(response, body=WatchedBody(response.body, lambda _: release()))

    async def _turn(self, request: Request, key: Key) -> bool:
        """Take the lease on this draw as soon as no other process has it.

        False, and nothing is held, where the answer is there already or patience ends.
        """
        leases, now = self._store.leases, self._clock.now
        if leases.take(key.draw):
            return True
        if self._look(request, key) is not None:
            return False
        began = now()
        while (waited := now() - began) < _PATIENCE_S:
            if request.deadline is not None and now() >= request.deadline:
                raise DeadlinePassed(
                    f"the deadline came while another process asked {request.model} the same",
                    mend="give it a later deadline, or dedup=False to ask by itself",
                )
            # An eighth of what was waited already: little is added to a long call, and little is looked after it.
            await self._clock.sleep(min(max(waited / 8, _FIRST_WAIT_S), _LONGEST_WAIT_S))
            if leases.take(key.draw):
                return True
        return False

    async def _answer(self, request: Request, key: Key, proceed: Handler[Request, Response]) -> Response:
        if request.reuse in _LOOKED_UP:
            response = self._look(request, key)
            if response is None and request.reuse == "pool":
                response = await self._pooled(request, key)
            if response is not None:
                return _served(response) if request.stream else response
            if request.reuse == "only_if_cached":
                raise NotCached(
                    f"no valid stored answer of {request.model} for this request",
                    mend="drop only_if_cached to ask the model",
                )
        response = await proceed(request)
        if request.reuse == "no_store":
            return response
        if request.reuse == "never":
            # For audit only: under a draw of its own, which no request can name.
            key = redraw(key, Draw(AUDIT, secrets.randbits(63)))
        if (body := response.body) is not None:
            return msgspec.structs.replace(response, body=Relayed(body, _stored(body, response, self._store, key)))
        # A copy is no younger than what it was copied from, or it would outlive its time to live.
        created = response.hit.created if response.hit is not None else None
        await self._store.put(key, response, _STATUS.get(response.finish, Status.COMPLETE), created=created)
        return _served(response) if request.stream else response

    async def keep(self, key: Key, response: Response) -> None:
        """Store a whole answer that came another way than through here; it is durable on return."""
        await self._store.put(key, response, _STATUS.get(response.finish, Status.COMPLETE))

    async def _pooled(self, request: Request, key: Key) -> Response | None:
        """A copy of an answer that another run drew, durable under this draw; None where all are used."""
        while (source := await self._pools.take(key, request.draw.sample)) is not None:
            stored = self._store.get(source)
            if stored is None or stored.status is not Status.COMPLETE:
                continue  # it was deleted, or found invalid, since the pool was read
            hit = Hit(kind="pool", key=source.hex(), created=stored.created)
            copy = msgspec.structs.replace(stored.response, hit=hit)
            await self._store.put(key, copy, Status.COMPLETE, created=stored.created)
            return copy
        return None

    def recall(self, request: Request) -> Response | None:
        """The stored answer that would be served to *request*, if this very draw has one."""
        if request.reuse not in _LOOKED_UP or (origin := self._origin(request)) is None:
            return None
        key = key_of(request, origin)
        return self._shown(request, key, self._store.get(key.draw, counts=False))

    def _look(self, request: Request, key: Key) -> Response | None:
        return self._shown(request, key, self._store.get(key.draw))

    def _shown(self, request: Request, key: Key, stored: Stored | None) -> Response | None:
        """*stored* as it may be served to *request*, if it may."""
        if stored is None:
            return None
        response = stored.response
        if stored.status is not Status.COMPLETE:
            # A semantic copy that somebody said is wrong serves nobody again, also not who judges for himself.
            judged = request.judged or request.reuse in _JUDGED_BY_THE_CALLER
            if not judged or (response.hit is not None and response.hit.kind == "semantic"):
                return None
        if response.hit is not None:
            # A copy says where it is from. One of another wording is for those alone who want such.
            wanted = response.hit.kind != "semantic" or request.reuse == "semantic"
            return response if wanted else None
        return msgspec.structs.replace(response, hit=Hit(kind="exact", key=key.draw.hex()))

    def mark(self, request: Request, status: Status, reason: str) -> None:
        """Give the stored answer of *request* another status, so that it is never served as valid."""
        origin = self._origin(request)
        if origin is not None and request.reuse not in {"no_store", "never"}:
            self._store.mark(key_of(request, origin).draw, status, reason)


def _served(response: Response) -> Response:
    return msgspec.structs.replace(response, body=_Replayed(response))


class _Replayed:
    """A stored answer as a stream of one delta and its end."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[Delta]:
        answer = self._response
        calls = tuple([{**call, "index": index} for index, call in enumerate(answer.tool_calls)])
        yield Delta(text=answer.text, reasoning=answer.reasoning, tool_calls=calls, model=answer.model)
        yield Delta(finish=answer.finish, usage=answer.usage, model=answer.model, cost=answer.cost)

    async def aclose(self) -> None:
        """Nothing is held."""


async def _stored(body: DeltaStream, response: Response, store: ResponseStore, key: Key) -> AsyncGenerator[Delta, None]:
    """The deltas of a live stream, whose end waits for the store; an unfinished answer is not stored."""
    joined = Joined()
    held: list[Delta] = []
    async for delta in body:
        joined.add(delta)
        if joined.finish is not None:
            held.append(delta)
        else:
            yield delta
    if joined.finish is None:
        return  # it never said that it was whole
    whole = joined.response(response)
    await store.put(key, whole, _STATUS.get(joined.finish, Status.COMPLETE))
    for delta in held:
        yield delta
