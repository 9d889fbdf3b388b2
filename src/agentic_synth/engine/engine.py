"""The engine's doors: one request, many requests, a stream, and the way out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from agentic_synth.engine.assembly import Assembly
from agentic_synth.errors import StoreError, SynthError
from agentic_synth.types import Json, Request, Response

if TYPE_CHECKING:
    from agentic_synth.cache.semantics import Looked

__all__ = ["Engine"]


class Engine:
    """Answers requests through the one chain of stages, which stands in :mod:`agentic_synth.engine.assembly`.

    Use it as an async context manager: leaving it waits for nothing, closes every connection and the store, and
    whatever was answered is durable.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._watched = False
        self.stops = assembly.stops
        """Ends a run early: its requests that wait end with Stopped, its calls on the wire go on."""

    @property
    def may_fall_back(self) -> bool:
        """Whether another upstream than the one a request names may answer it."""
        return bool(self._assembly.fallback)

    def submit(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Answer one request; equal to ``stream`` when the request asks for one.

        Raises:
            SynthError: nobody could answer; see :mod:`agentic_synth.errors`.
        """
        if not self._watched:
            self._watched = self._assembly.watch()
        answer = self._assembly.handler(request)
        return self._open_to_feedback(request, answer) if request.reuse == "semantic" else answer

    async def _open_to_feedback(self, request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
        """The answer, which can be rejected if it is another prompt's."""
        response = await answer
        hit = response.hit
        if hit is None or hit.kind != "semantic":
            return response
        loop, assembly = asyncio.get_running_loop(), self._assembly

        def reject() -> None:
            # At once where that can be, so that not even the next request is served it. Else in the order of calls:
            # whoever uses the blocking face has no loop.
            if _is_running(loop):
                assembly.semantic.reject(request, hit)
                return
            try:
                loop.call_soon_threadsafe(assembly.semantic.reject, request, hit)
            except RuntimeError:
                raise StoreError("the response store is closed", mend="reject an answer before you close") from None

        return msgspec.structs.replace(response, feedback=reject)

    async def stream(self, request: Request) -> Response:
        """Answer with the first delta at hand; the others come through ``Response.body``, which must be closed."""
        return await self.submit(msgspec.structs.replace(request, stream=True))

    async def map(
        self, requests: Iterable[Request] | AsyncIterable[Request], *, window: int = 256
    ) -> AsyncGenerator[Response | SynthError, None]:
        """The answer, or the error, of each request, in the order of the requests.

        At most *window* requests are asked and not yet taken, so a slow taker slows the asking. An answer comes as soon
        as it and those before it are there; an error of *requests* itself is raised after them. Closing the iterator
        cancels what is in flight.
        """
        # Tasks in a deque, not a TaskGroup: a generator may be closed from another task than the one that opened it.
        pending: deque[asyncio.Task[Response | SynthError]] = deque()
        room, grown = asyncio.Semaphore(window), asyncio.Event()
        asking = asyncio.create_task(self._ask_each(requests, pending, room, grown))
        try:
            while pending or not asking.done():
                if not pending:
                    await grown.wait()
                    grown.clear()
                    continue
                answer = await pending[0]
                pending.popleft()
                room.release()
                yield answer
            await asking
        finally:
            for task in (asking, *pending):
                task.cancel()
            await asyncio.gather(asking, *pending, return_exceptions=True)

    async def _ask_each(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        pending: deque[asyncio.Task[Response | SynthError]],
        room: asyncio.Semaphore,
        grown: asyncio.Event,
    ) -> None:
        """Ask each request once there is *room* for it; *grown* is set when one was asked, and at the end."""
        try:
            async with aclosing(_each(requests)) as each:
                while True:
                    await room.acquire()
                    pending.append(asyncio.create_task(self._outcome(await anext(each))))
                    grown.set()
        except StopAsyncIteration:
            return
        finally:
            grown.set()

    async def _outcome(self, request: Request) -> Response | SynthError:
        try:
            return await self.submit(request)
        except SynthError as error:
            return error

    def recall(self, request: Request) -> Response | None:
        """The stored answer that *request* would be served, without asking anybody."""
        return self._assembly.cache.recall(request)

    async def near(self, request: Request) -> Looked | None:
        """What was asked before in similar words, each with what the verifier says of it; nothing is asked or changed.

        None where nothing of *request* is said freely, or where its answers cost nothing to make.
        """
        return await self._assembly.semantic.near(request)

    def reject(self, request: Request, reason: str) -> None:
        """Say that the stored answer of *request* is invalid, so that it is never served again as a valid one."""
        self._assembly.reject(request, reason)

    def deadline(self, timeout: float) -> float:
        """The instant of the engine's clock that is *timeout* seconds from now, for ``Request.deadline``."""
        return self._assembly.clock.now() + timeout

    def force(self, reference: str, state: Literal["closed", "open"] | None) -> None:
        """Hold the breaker of an upstream in *state*, for maintenance or against a false alarm; None lets it go on.

        Raises:
            ConfigError: there is no such upstream.
        """
        self._assembly.circuit(reference).force(state)

    async def drain(self) -> None:
        """Wait until nothing is in flight, no streamed answer either."""
        await self._assembly.trace.idle()

    def statistics(self) -> dict[str, Json]:
        """A snapshot of all stages: requests, answers from the store, and per upstream limits, breakers, spending."""
        return self._assembly.statistics()

    async def aclose(self) -> None:
        """Close connections and store; closing twice is allowed."""
        self._watched = True  # whoever asks a closed engine begins nothing
        await self._assembly.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the caller is on *loop*."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def _each(requests: Iterable[Request] | AsyncIterable[Request]) -> AsyncGenerator[Request, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
