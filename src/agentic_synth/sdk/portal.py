"""The one door between blocking callers and the async core: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, wait
from typing import Any, Generic, TypeVar

from agentic_synth.sdk.loop import new_event_loop

__all__ = ["Portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines for callers that have no event loop, or one that they may not block (a notebook's).

    A waiting caller that is interrupted (Ctrl+C) cancels what it waits for, and goes on when that has tidied up.
    """

    def __init__(self) -> None:
        self._loop = new_event_loop()
        self._open = True
        self._entering = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agentic-synth", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end and return its result.

        Raises:
            RuntimeError: the portal is closed, or this is its own thread, which would wait for itself.
            CancelledError: the portal was closed meanwhile, from another thread.
        """
        return self._begin(work).result()

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items of *source*, fetched one by one; leaving early closes it."""
        try:
            while True:
                try:
                    item = self.call(_next(source))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            # An iterator that is collected on the loop's own thread, or after its end: the loop closes the source.
            if self._open and not self._inside():
                self.call(source.aclose())

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what still runs, run *last*, and end the loop and its thread; closing twice is allowed."""
        if not self._open:
            return
        end = self._begin(_end(self._loop, last), closing=True)
        try:
            end.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _begin(self, work: Coroutine[Any, Any, T], *, closing: bool = False) -> _Begun[T]:
        with self._entering:
            if not self._open or self._inside():
                work.close()
                raise RuntimeError("a blocking call on the loop's own thread" if self._open else "closed already")
            self._open = not closing
            return _Begun(work, self._loop)

    def _inside(self) -> bool:
        return threading.get_ident() == self._thread.ident


class _Begun(Generic[T]):
    """*work* on its way in *loop*, and the thread that waits for it."""

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        self._answer: Future[T] = Future()
        loop.call_soon_threadsafe(self._start)

    def result(self) -> T:
        """Wait for the end of the work."""
        try:
            return self._answer.result()
        except BaseException:
            if not self._answer.done():
                # What is cancelled tidies up first: whoever goes on from here may close what it works on.
                self._loop.call_soon_threadsafe(self._cancel)
                wait([self._answer])
            raise

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._tell)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _tell(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._answer.set_exception(CancelledError())
        elif (error := task.exception()) is not None:
            self._answer.set_exception(error)
        else:
            self._answer.set_result(task.result())


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


async def _end(loop: asyncio.AbstractEventLoop, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    try:
        await last()
    finally:
        await loop.shutdown_default_executor()
