"""Count every request and time it, on the outermost layer, where the caller feels it."""

from __future__ import annotations

import asyncio

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.policies.body import Ending, WatchedBody
from agentic_synth.stage import Handler
from agentic_synth.telemetry.histogram import Histogram
from agentic_synth.types import Json, Request, Response

__all__ = ["Trace"]


class Trace:
    """How many requests are in the engine, where their answers came from, and how long they took.

    A streamed answer is in the engine until its body is exhausted or closed; its latency is that of the first delta.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._idle = asyncio.Event()
        self._idle.set()
        self._latency = Histogram()
        self.in_flight = 0
        self.requests = 0
        self.stored = 0
        self.failures: dict[str, int] = {}

    async def __call__(self, request: Request, proceed: Handler[Request, Response]) -> Response:
        self.requests += 1
        self.in_flight += 1
        if self.in_flight == 1:
            self._idle.clear()
        started = self._clock.now()
        try:
            response = await proceed(request)
        except BaseException as error:
            self._leave(error)
            raise
        self._latency.record(self._clock.now() - started)
        if response.stored:
            self.stored += 1
        if response.body is not None:
            return msgspec.structs.replace(response, body=WatchedBody(response.body, self._ended))
        self._leave(None)
        return response

    def _ended(self, end: Ending) -> None:
        self._leave(end.error)

    def _leave(self, error: BaseException | None) -> None:
        if error is not None:
            name = type(error).__name__
            self.failures[name] = self.failures.get(name, 0) + 1
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is in the engine."""
        await self._idle.wait()

    def statistics(self) -> dict[str, Json]:
        """A snapshot; latencies in seconds, those of stored answers included."""
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "stored": self.stored,
            "failures": dict(self.failures),
            "latency_seconds": self._latency.summary(),
        }
