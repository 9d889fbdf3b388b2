"""Waiting for room at an upstream, and telling its limits how each call went."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.errors import DeadlinePassed, QueueFull, UpstreamError
from agentic_synth.policies.admission import Admission, AdmissionStatistics
from agentic_synth.policies.body import Ending, watch
from agentic_synth.policies.queue import FairQueue
from agentic_synth.policies.rate import Amounts, Sent
from agentic_synth.policies.rate_headers import RateHeaders, parse_rate_headers
from agentic_synth.stage import Handler
from agentic_synth.stops import Stops
from agentic_synth.types import Call, DeltaStream, Reply, Request, Usage

__all__ = ["Limiter", "LimiterStatistics"]

_NOTHING = RateHeaders()
_LONGEST_NAP = 1.0
_SOME_DEADLINES = 64


class LimiterStatistics(AdmissionStatistics, frozen=True, kw_only=True):
    """A snapshot of the limits and of the queue before them; *waited_seconds* is the sum over *waits*."""

    waiting: int
    waits: int
    waited_seconds: float


class _Waiter:
    """One request in the queue; *room* is set to what was taken for it."""

    __slots__ = ("amounts", "deadline", "room")

    def __init__(self, amounts: Amounts, deadline: float | None, room: asyncio.Future[Sent]) -> None:
        self.amounts = amounts
        self.deadline = deadline
        self.room = room


class Limiter:
    """Lets a call through when its upstream has room, and holds the permit until the answer is whole.

    Waiters are served by priority, in turn between flows (by default a run within a namespace), then first come first
    served. Whoever is cancelled while waiting loses no permit. A streamed answer holds its permit until its body
    is exhausted or closed. *spawn* starts the one task that wakes waiters when time alone makes room; it runs only
    while somebody waits.

    Raises:
        DeadlinePassed: the request's deadline came first.
        Stopped: the run of the request was stopped; at once, also for those who wait.
        QueueFull: *max_waiting* requests wait already; raised at once.
    """

    def __init__(
        self,
        admission: Admission,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        max_waiting: int = 10_000,
        flow: Callable[[Request], Hashable] = lambda request: (request.namespace, request.run),
        stops: Stops | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._spawn = spawn
        self._max_waiting = max_waiting
        self._flow = flow
        self._stops = stops or Stops()
        self._wall = wall
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._deadlines: list[tuple[float, int, _Waiter]] = []
        self._pushed = 0
        self._timer: asyncio.Task[None] | None = None
        self._wake_at = math.inf
        self._waits = 0
        self._waited = 0.0

    @property
    def binds(self) -> bool:
        """Whether requests wait here now."""
        return len(self._queue) > 0

    def would_hold(self, call: Call) -> bool:
        """Whether *call* could not go at once."""
        return self.binds or self._admission.delay(self._admission.amounts(call), self._clock.now()) > 0.0

    async def __call__(self, call: Call, proceed: Handler[Call, Reply], /) -> Reply:
        admission = self._admission
        self._stops.check(call.request.run)
        amounts = admission.amounts(call)
        sent = None if self._queue else admission.admit(amounts, self._clock.now())
        if sent is None:
            sent = await self._wait(call.request, amounts)
        try:
            reply = await proceed(call)
        except UpstreamError as error:
            self._fail(sent, error)
            raise
        except BaseException:
            admission.cancel(sent)
            self._serve()
            raise
        if reply.response.body is not None:
            return self._watch(sent, reply, reply.response.body)
        now = self._clock.now()
        if reply.headers and admission.listens(now):
            admission.observe(sent, parse_rate_headers(reply.headers, now_wall=self._wall()), now)
        response = reply.response
        if response.ttft is not None:
            admission.succeed(sent, response.usage, response.ttft, 0, now)
        else:
            usage = response.usage
            # Embeddings have no output: the more texts, the longer it takes.
            size = usage.input_tokens if call.request.kind == "embedding" else usage.output_tokens
            admission.succeed(sent, usage, now - sent.at, size, now)
        if self._queue:
            self._serve()
        return reply

    def statistics(self) -> LimiterStatistics:
        """A snapshot."""
        return LimiterStatistics(
            **msgspec.structs.asdict(self._admission.statistics(self._clock.now())),
            waiting=len(self._queue),
            waits=self._waits,
            waited_seconds=self._waited,
        )

    def close(self) -> None:
        """Let nobody wait any longer: every waiter gets an error."""
        while self._queue:
            waiter = self._queue.pop()
            if not waiter.room.done():
                waiter.room.set_exception(QueueFull("the engine was closed while this request waited for its upstream"))
        self._stop_timer()

    async def _wait(self, request: Request, amounts: Amounts) -> Sent:
        began = self._clock.now()
        if request.deadline is not None and began >= request.deadline:
            raise _too_late()
        if len(self._queue) >= self._max_waiting:
            raise QueueFull(
                f"{len(self._queue):,} requests wait for this upstream already",
                mend="send fewer at a time, or let the queue be longer",
            )
        waiter = _Waiter(amounts, request.deadline, asyncio.get_running_loop().create_future())
        self._queue.push(waiter, request.priority, self._flow(request))
        if waiter.deadline is not None:
            self._note_deadline(waiter, waiter.deadline)
        self._serve()
        with self._stops.waiting(request.run):
            try:
                sent = await waiter.room
            except asyncio.CancelledError:
                self._abandon(waiter)
                raise
        self._waits += 1
        self._waited += self._clock.now() - began
        return sent

    def _abandon(self, waiter: _Waiter) -> None:
        """The waiter was cancelled; room that it got in the same turn of the loop goes to the next."""
        self._queue.discard(waiter)
        if waiter.room.done() and not waiter.room.cancelled() and waiter.room.exception() is None:
            self._admission.cancel(waiter.room.result())
        self._serve()

    def _serve(self) -> None:
        """Let in whoever may go, in order, and see to it that the next is woken in time."""
        now = self._clock.now()
        self._expire(now)
        queue, admission = self._queue, self._admission
        while queue:
            waiter = queue.peek()
            if waiter.room.done():
                queue.pop()
                continue
            sent = admission.admit(waiter.amounts, now)
            if sent is None:
                self._wake_in(admission.delay(waiter.amounts, now), now)
                return
            queue.pop()
            waiter.room.set_result(sent)
        self._stop_timer()

    def _expire(self, now: float) -> None:
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][2] not in self._queue):
            _, _, waiter = heapq.heappop(deadlines)
            if waiter in self._queue:
                self._queue.discard(waiter)
                if not waiter.room.done():
                    waiter.room.set_exception(_too_late())

    def _note_deadline(self, waiter: _Waiter, deadline: float) -> None:
        self._pushed += 1
        heapq.heappush(self._deadlines, (deadline, self._pushed, waiter))
        if len(self._deadlines) > 2 * len(self._queue) + _SOME_DEADLINES:
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._queue]
            heapq.heapify(self._deadlines)

    def _wake_in(self, delay: float, now: float) -> None:
        at = now + delay
        if self._deadlines:
            at = min(at, self._deadlines[0][0])
        if math.isinf(at):
            self._stop_timer()
        elif self._timer is None or self._timer.done():
            self._wake_at = at
            self._timer = self._spawn(self._tick())
        elif at < self._wake_at and self._timer is not asyncio.current_task():
            self._timer.cancel()
            self._wake_at = at
            self._timer = self._spawn(self._tick())
        else:
            self._wake_at = at

    async def _tick(self) -> None:
        """Wake the queue at the instants when time alone makes room."""
        while self._queue and not math.isinf(self._wake_at):
            await self._clock.sleep(min(self._wake_at - self._clock.now(), _LONGEST_NAP))
            self._serve()

    def _stop_timer(self) -> None:
        self._wake_at = math.inf
        timer, self._timer = self._timer, None
        if timer is not None and timer is not asyncio.current_task():
            timer.cancel()

    def _fail(self, sent: Sent, error: UpstreamError) -> None:
        headers = parse_rate_headers(error.headers, now_wall=self._wall()) if error.headers else _NOTHING
        if error.retry_after is not None and headers.retry_after_s is None:
            headers = msgspec.structs.replace(headers, retry_after_s=error.retry_after)
        self._admission.fail(sent, error, headers, self._clock.now())
        self._serve()

    def _watch(self, sent: Sent, reply: Reply, body: DeltaStream) -> Reply:
        """Hold the permit until the body is over."""
        began = self._clock.now()
        if reply.headers and self._admission.listens(began):
            self._admission.observe(sent, parse_rate_headers(reply.headers, now_wall=self._wall()), began)
        ttft = reply.response.ttft
        latency = began - sent.at if ttft is None else ttft

        def ended(end: Ending) -> None:
            if isinstance(end.error, UpstreamError):
                self._fail(sent, end.error)
            elif end.whole:
                self._admission.succeed(sent, end.usage or Usage(), latency, 0, self._clock.now())
                self._serve()
            else:
                self._admission.cancel(sent)
                self._serve()

        return watch(reply, body, ended)


def _too_late() -> DeadlinePassed:
    return DeadlinePassed(
        "the request's deadline passed while it waited for its upstream", mend="allow more time, or ask less at a time"
    )
