"""The one door between blocking callers and the async core: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

from agentic_synth.sdk.loop import new_event_loop

__all__ = ["Portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines for callers that have no event loop, or one that they may not block (a notebook's).

    A waiting caller that is interrupted (Ctrl+C) cancels what it waits for.
    """

    def __init__(self) -> None:
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agentic-synth", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._thread.is_alive()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end and return its result.

        Raises:
            RuntimeError: the portal is closed, or this is its own thread, which would wait for itself.
        """
        if threading.get_ident() == self._thread.ident or not self.alive:
            work.close()
            raise RuntimeError("closed already" if not self.alive else "a blocking call on the loop's own thread")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

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
            self.call(source.aclose())

    def close(self) -> None:
        """End the loop and its thread; closing twice is allowed."""
        if self.alive:
            self.call(self._loop.shutdown_asyncgens())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)
