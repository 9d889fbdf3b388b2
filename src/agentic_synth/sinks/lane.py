"""One job at a time on a thread of its own, in order, for work that would hold up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from agentic_synth.sinks.target import explained

__all__ = ["Lane"]


class Lane:
    """Runs the jobs of the output *name* first come, first served; after a failure no further job runs.

    *error* is what the failed job raised, *told* says that :meth:`settle` has passed it on.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sink")
        self._last: Future[None] | None = None
        self.error: Exception | None = None
        self.told = False

    @property
    def busy(self) -> bool:
        """A job waits or runs."""
        return self._last is not None and not self._last.done()

    def start(self, job: Callable[[], None]) -> None:
        """Queue *job*; waiting first, with :meth:`settle`, is what bounds the queue."""
        self._last = self._threads.submit(self._run, job)

    def fail(self, error: Exception) -> None:
        """Run no further job: *error*, which the caller raises, says that none can succeed."""
        self.error = self.error or error
        self.told = True

    async def settle(self) -> None:
        """Wait for every job so far, and raise what one of them raised.

        Cancellation leaves the jobs alone.
        """
        while self._last is not None and not self._last.done():
            await asyncio.shield(asyncio.wrap_future(self._last))
        if self.error is not None:
            self.told = True
            raise self.error

    async def finish(self, job: Callable[[], None], *, quiet: bool) -> None:
        """Run the last *job*, even after a failure; *quiet* does not raise an error a second time."""
        told = self.told
        self._last = self._threads.submit(self._attempt, job)
        self._threads.shutdown(wait=False)
        try:
            await self.settle()
        except Exception:
            if not (quiet and told):
                raise

    def _run(self, job: Callable[[], None]) -> None:
        if self.error is None:
            self._attempt(job)

    def _attempt(self, job: Callable[[], None]) -> None:
        try:
            with explained(self._name):
                job()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: settle raises it on the loop
            self.error = self.error or error
