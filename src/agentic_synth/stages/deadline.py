"""The caller's own patience: an answer that comes after the deadline is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.errors import DeadlinePassed
from agentic_synth.policies.body import Relayed
from agentic_synth.stage import Handler
from agentic_synth.stops import Wait
from agentic_synth.types import Delta, DeltaStream, Request, Response

__all__ = ["Deadline"]


class Deadline:
    """Ends a request at its deadline, wherever it is then: in a queue, between tries, on the wire, in the midst of a
    stream.

    It stands outside dedup, so that a call which others wait for goes on. A request without a deadline passes by.

    Raises:
        DeadlinePassed: the deadline came before the answer; also in the midst of a stream.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, request: Request, proceed: Handler[Request, Response], /) -> Coroutine[Any, Any, Response]:
        if request.deadline is None:
            return proceed(request)
        return self._hold(request, request.deadline, proceed)

    async def _hold(self, request: Request, deadline: float, proceed: Handler[Request, Response]) -> Response:
        async with _Until(deadline, self._clock):
            response = await proceed(request)
        if (body := response.body) is None:
            return response
        return msgspec.structs.replace(response, body=Relayed(body, _timed(body, deadline, self._clock)))


class _Until:
    """A block that raises DeadlinePassed at an instant of the engine's clock."""

    def __init__(self, deadline: float, clock: Clock) -> None:
        self._deadline = deadline
        self._clock = clock
        self._wait = Wait()

    async def __aenter__(self) -> None:
        if self._clock.now() >= self._deadline:
            raise _passed()
        self._alarm = asyncio.create_task(self._ring())
        self._wait.__enter__()

    async def __aexit__(self, *ended: object) -> None:
        self._alarm.cancel()
        self._wait.__exit__(*ended)  # type: ignore[arg-type]

    async def _ring(self) -> None:
        await self._clock.sleep(self._deadline - self._clock.now())
        self._wait.end(_passed())


async def _timed(body: DeltaStream, deadline: float, clock: Clock) -> AsyncGenerator[Delta, None]:
    """The deltas of *body*, of which none comes after the deadline."""
    source = aiter(body)
    while True:
        try:
            async with _Until(deadline, clock):
                delta = await anext(source)
        except StopAsyncIteration:
            return
        except DeadlinePassed:
            await body.aclose()
            raise
        yield delta


def _passed() -> DeadlinePassed:
    return DeadlinePassed("the request's deadline came before its answer", mend="allow more time")
