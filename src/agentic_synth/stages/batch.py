"""Requests of any callers travel in one call where a model takes many at once; each gets its own part of the reply."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Callable, Coroutine, Hashable
from random import Random
from typing import Any, TypeAlias

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.errors import AttemptTimeout, InvalidRequest, Rejected, SynthError, UpstreamError
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.batching import Batch, Batching
from agentic_synth.policies.bisection import Bisection
from agentic_synth.policies.company import Arrays, Company, Joint
from agentic_synth.policies.packs import Packs
from agentic_synth.policies.tokens import prompt_bound, prompt_tokens
from agentic_synth.stage import Handler
from agentic_synth.types import Call, Reply, Request, Response

__all__ = ["BatchStatistics", "Batcher"]

_SUSPECT_SHARE = 1 / 8
_LaneKey: TypeAlias = tuple[str, Hashable, str, int, int]


class BatchStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: calls sent, the requests in them, batches refused and split, requests that a joined answer left out,
    who waits, the size aimed at (in tokens), and how many rows share a packed call (0 where none are packed).
    """

    calls: int
    requests: int
    splits: int
    left_out: int
    waiting: int
    goal: float
    pack_size: int


class _Waiter:
    """One request on its way: in an open batch, then in a flight."""

    __slots__ = ("answer", "call", "flight", "left_out")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.left_out = False
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.flight: _Flight | None = None


class _Flight:
    """One call under way; *living* counts those who still want its answer, *goes_on* says that others carry them."""

    __slots__ = ("batch", "goes_on", "living", "split", "task", "waiters")

    task: asyncio.Task[None]

    def __init__(self, batch: Batch[_Waiter], split: Bisection | None) -> None:
        self.batch = batch
        self.split = split
        self.goes_on = False
        self.waiters = [waiter for waiter in batch.items if not waiter.answer.done()]
        self.living = len(self.waiters)
        for waiter in self.waiters:
            waiter.flight = self


class _Lane:
    """The requests that may travel together: asked alike, of equal run and priority, and equally often failed.

    *landed* is set whenever one of its calls is over.
    """

    __slots__ = ("batching", "company", "key", "landed", "proceed", "timer")

    def __init__(self, key: _LaneKey, company: Company, proceed: Handler[Call, Reply]) -> None:
        self.key = key
        self.company = company
        self.batching: Batching[_Waiter] = company.batching
        self.proceed = proceed
        self.timer: asyncio.Task[None] | None = None
        self.landed = asyncio.Event()


class Batcher:
    """Joins texts to embed into arrays, and rows that may be packed into one prompt; everything else passes by.

    A text that finds nobody under way goes at once and alone; others wait for company, *linger* seconds at most, or
    while calls before them wait for a permit (*binds*): there they would only wait as well, each for its own. A call
    belongs to nobody's task: a caller who is cancelled leaves it, and only when the last one leaves is it cancelled.

    A call that is refused for what is in it (an error that is *divisible*) is halved until what is wrong stands alone,
    and only that fails. Any other failure is each request's own: they come back together, as one retry of one call, but
    from the second failure on in ever smaller company, so that a text which breaks the server ends up alone. A request
    that the answer to a joined call leaves out joins another, and the second time it goes alone.
    """

    def __init__(
        self,
        arrays: Arrays,
        packs: Packs | None,
        clock: Clock,
        rng: Random,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        binds: Callable[[], bool] = lambda: False,
    ) -> None:
        """*packs* None packs nothing; *spawn* starts a task that ends with the engine at the latest."""
        self._arrays = arrays
        self._packs = packs
        self._clock = clock
        self._rng = rng
        self._spawn = spawn
        self._binds = binds
        self._lanes: dict[_LaneKey, _Lane] = {}
        self._is_closed = False
        self._calls = self._requests = self._splits = self._left_out = 0

    def __call__(self, call: Call, proceed: Handler[Call, Reply], /) -> Coroutine[Any, Any, Reply]:
        alone = call.request.kind != "embedding" and call.request.pack is None
        return proceed(call) if alone else self._answer(call, proceed)

    async def _answer(self, call: Call, proceed: Handler[Call, Reply]) -> Reply:
        request = call.request
        if self._is_closed:
            raise _closed()
        lane = self._lane(request, proceed)
        if lane is None:
            return await proceed(call)
        if not lane.company.admits():
            self._forget(lane)
            reply = await proceed(call)
            lane.company.answered(request, reply.response, 1)
            return reply
        waiter = _Waiter(call)
        self._wait(lane, waiter)
        try:
            return await waiter.answer
        except asyncio.CancelledError:
            self._leave(lane, waiter)
            raise

    def reject(self, request: Request) -> None:
        """The answer to *request* could not be used; whoever packs should know."""
        if self._packs is not None:
            self._packs.reject(request)

    def _wait(self, lane: _Lane, waiter: _Waiter) -> None:
        request, now = waiter.call.request, self._clock.now()
        tokens, size_bytes = prompt_tokens(request), prompt_bound(request)
        if waiter.left_out:
            self._fly(lane, lane.batching.alone(waiter, tokens, size_bytes, now))
            return
        for batch in lane.batching.add(waiter, tokens, size_bytes, now):
            self._fly(lane, batch)
        if lane.timer is None and lane.batching.waiting:
            lane.timer = self._spawn(self._tick(lane))

    def statistics(self) -> BatchStatistics:
        """A snapshot."""
        return BatchStatistics(
            calls=self._calls,
            requests=self._requests,
            splits=self._splits,
            left_out=self._left_out,
            waiting=sum(lane.batching.waiting for lane in self._lanes.values()),
            goal=self._arrays.size.goal,
            pack_size=self._packs.size if self._packs is not None else 0,
        )

    def close(self) -> None:
        """Let nobody wait for company any longer: everyone who does gets an error."""
        self._is_closed = True
        for lane in self._lanes.values():
            _fail(lane.batching.drain(), _closed())
        self._lanes.clear()

    def _lane(self, request: Request, proceed: Handler[Call, Reply]) -> _Lane | None:
        joint: Joint | None = self._arrays if request.kind == "embedding" else self._packs
        alike = joint.lane(request) if joint is not None else None
        if joint is None or alike is None:
            return None
        failures = request.failures if isinstance(request, Attempt) else 0
        key = (request.kind, alike, request.run, request.priority, failures)
        lane = self._lanes.get(key)
        if lane is None:
            # The first failure is most likely the server's; a storm of small calls would not help it.
            share = _SUSPECT_SHARE ** max(0, failures - 1)
            lane = self._lanes[key] = _Lane(key, joint.open(alike, request, share), proceed)
        return lane

    async def _tick(self, lane: _Lane) -> None:
        """Close the lane's batches when their time has come; ends when nobody waits there."""
        batching = lane.batching
        while not math.isinf(batching.due):
            await self._clock.sleep(batching.due - self._clock.now())
            if batching.in_flight and self._binds():
                lane.landed.clear()
                await lane.landed.wait()
            elif (batch := batching.close_due(self._clock.now())) is not None:
                self._fly(lane, batch)
        lane.timer = None
        self._forget(lane)

    def _fly(self, lane: _Lane, batch: Batch[_Waiter], split: Bisection | None = None) -> None:
        flight = _Flight(batch, split)
        flight.task = self._spawn(self._carry(lane, flight))
        # A callback and no `finally`: a task that is cancelled before its first step never gets to one.
        flight.task.add_done_callback(lambda _: self._ended(lane, flight))

    async def _carry(self, lane: _Lane, flight: _Flight) -> None:
        if not flight.living:
            return
        try:
            await self._ask(lane, flight)
            if flight.split is not None:
                flight.split.passed += len(flight.waiters)
        except Exception as error:  # noqa: BLE001 - a task boundary: a defect of ours is the waiters' to raise
            self._failed(lane, flight, error)

    def _ended(self, lane: _Lane, flight: _Flight) -> None:
        if not flight.goes_on:
            _fail(flight.waiters, _closed())
            if flight.split is not None:
                flight.split.end(lane.company.size)
        if (batch := lane.batching.end()) is not None:
            self._fly(lane, batch)
        lane.landed.set()
        self._forget(lane)

    async def _ask(self, lane: _Lane, flight: _Flight) -> None:
        waiters, company = flight.waiters, lane.company
        calls = [waiter.call for waiter in waiters]
        call = company.join(calls) if len(calls) > 1 else calls[0]
        self._calls += 1
        self._requests += len(calls)
        began = self._clock.now()
        try:
            reply = await lane.proceed(call)
        except AttemptTimeout:
            company.learn(flight.batch, len(calls), self._clock.now() - began)
            raise
        company.learn(flight.batch, len(calls), reply.response.seconds or self._clock.now() - began)
        if len(calls) == 1:
            company.answered(call.request, reply.response, 1)
            _give(waiters[0], reply)
        else:
            self._give_parts(lane, flight, company.parts(call, reply))

    def _give_parts(self, lane: _Lane, flight: _Flight, parts: list[Response | None]) -> None:
        """Give everyone its own part; whoever has none tries again."""
        waiters, flight.waiters = flight.waiters, []
        for waiter, part in zip(waiters, parts, strict=True):
            lane.company.answered(waiter.call.request, part, len(waiters))
            if part is not None:
                _give(waiter, Reply(response=part))
                flight.waiters.append(waiter)
            elif not waiter.answer.done():
                self._left_out += 1
                waiter.flight = None
                self._wait(lane, waiter)
                waiter.left_out = True

    def _failed(self, lane: _Lane, flight: _Flight, error: Exception) -> None:
        """Tell the requests of a failed call, or send them again in halves."""
        waiters, split = flight.waiters, flight.split
        if self._is_closed:
            pass
        elif isinstance(error, SynthError) and error.divisible and len(waiters) > 1:
            self._splits += 1
            flight.goes_on = True
            halves = Bisection(len(waiters), split) if isinstance(error, InvalidRequest) else None
            for half in lane.batching.split(flight.batch):
                self._fly(lane, half, halves)
            return
        elif isinstance(error, UpstreamError) and len(waiters) > 1:
            # One failed call is one retry, however many share it, and they come back at one instant.
            error.sharers = len(waiters)
            error.chance = self._rng.random()
        elif isinstance(error, InvalidRequest) and split is not None:
            split.refused += 1
        _fail(waiters, error)

    def _leave(self, lane: _Lane, waiter: _Waiter) -> None:
        """The caller of *waiter* was cancelled."""
        lane.batching.discard(waiter)
        flight = waiter.flight
        if flight is not None:
            flight.living -= 1
            if not flight.living:
                flight.task.cancel()

    def _forget(self, lane: _Lane) -> None:
        if lane.batching.idle and lane.timer is None and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]


def _give(waiter: _Waiter, reply: Reply) -> None:
    if not waiter.answer.done():
        waiter.answer.set_result(reply)


def _fail(waiters: list[_Waiter], error: Exception) -> None:
    for waiter in waiters:
        if not waiter.answer.done():
            waiter.answer.set_exception(copy.copy(error))


def _closed() -> Rejected:
    return Rejected("the engine was closed while this request waited for its upstream")
