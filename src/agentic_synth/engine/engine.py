"""The engine's doors: one request, many requests, a stream, and the way out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Self

import msgspec

from agentic_synth.cache.store import Status
from agentic_synth.engine.assembly import Assembly
from agentic_synth.errors import SynthError
from agentic_synth.types import Json, Request, Response

__all__ = ["Engine"]


class Engine:
    """Answers requests through the one chain of stages, which stands in :mod:`agentic_synth.engine.assembly`.

    Use it as an async context manager: leaving it waits for nothing, closes every connection and the store, and
    whatever was answered is durable.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    @property
    def may_fall_back(self) -> bool:
        """Whether another upstream than the one a request names may answer it."""
        return bool(self._assembly.fallback)

    async def submit(self, request: Request) -> Response:
        """Answer one request; equal to ``stream`` when the request asks for one.

        Raises:
            SynthError: nobody could answer; see :mod:`agentic_synth.errors`.
        """
        return await self._assembly.handler(request)

    async def stream(self, request: Request) -> Response:
        """Answer with the first delta at hand; the others come through ``Response.body``, which must be closed."""
        return await self._assembly.handler(msgspec.structs.replace(request, stream=True))

    async def map(
        self, requests: Iterable[Request] | AsyncIterable[Request], *, window: int = 256
    ) -> AsyncGenerator[Response | SynthError, None]:
        """The answer, or the error, of each request, in the order of the requests.

        At most *window* requests are asked and not yet taken, so a slow taker slows the asking; answers come once that
        many are asked, or all are. Closing the iterator cancels what is in flight.
        """
        # Tasks in a deque, not a TaskGroup: a generator may be closed from another task than the one that opened it.
        pending: deque[asyncio.Task[Response | SynthError]] = deque()
        try:
            async with aclosing(_each(requests)) as asked:
                async for request in asked:
                    if len(pending) >= window:
                        yield await pending.popleft()
                    pending.append(asyncio.create_task(self._outcome(request)))
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _outcome(self, request: Request) -> Response | SynthError:
        try:
            return await self.submit(request)
        except SynthError as error:
            return error

    def recall(self, request: Request) -> Response | None:
        """The stored answer that *request* would be served, without asking anybody."""
        return self._assembly.cache.recall(request)

    def reject(self, request: Request, reason: str) -> None:
        """Say that the stored answer of *request* is invalid, so that it is never served again as a valid one."""
        self._assembly.cache.mark(request, Status.INVALID, reason)

    async def drain(self) -> None:
        """Wait until nothing is in flight, no streamed answer either."""
        await self._assembly.trace.idle()

    def statistics(self) -> dict[str, Json]:
        """A snapshot of all stages: requests, answers from the store, and per upstream limits, breakers, spending."""
        return self._assembly.statistics()

    async def aclose(self) -> None:
        """Close connections and store; closing twice is allowed."""
        await self._assembly.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _each(requests: Iterable[Request] | AsyncIterable[Request]) -> AsyncGenerator[Request, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
