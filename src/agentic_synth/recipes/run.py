"""The flow of a run: slots are admitted in order, filled at once as far as the window goes, and come out in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import msgspec

from agentic_synth.errors import BudgetSpent, NotCached, Parked, Stopped, SynthError, UpstreamError
from agentic_synth.policies.order import Order
from agentic_synth.recipes.rows import Filled, Rows, Slot
from agentic_synth.telemetry.run_statistics import RunStatistics

__all__ = ["Flow", "RowRun"]

_BACKLOG = 512
_GIVE_UP = 20
_MANY = 256
_COMPANY_S = 0.01


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How rows flow.

    *wanted* rows are delivered (None: one for each seed row); *spare* slots more may be opened for slots that found no
    acceptable row. *window* rows are made at once. Up to *keep* finished rows wait behind a slow one in full, and
    *lead* slots in all; *ordered* false hands rows out as they come.
    """

    wanted: int | None
    spare: int = 0
    window: int = 1_024
    keep: int = 1_000
    lead: int = 32_768
    ordered: bool = True


class RowRun:
    """One run over the slots of a recipe. Iterate :meth:`batches` to the end, or close it: then nothing is left behind.

    A row that an upstream failed is left out and counted in the statistics; when twenty fail in a row, nothing gets
    through any more and the run ends with the error of the last. When nothing more may be sent, *halt* tells the engine
    to let go what waits there; a row that is not made for that is no failure.
    """

    def __init__(
        self,
        rows: Rows,
        seeds: Iterator[dict[str, Any]] | None,
        statistics: RunStatistics,
        flow: Flow,
        halt: Callable[[], None] = lambda: None,
    ) -> None:
        self._rows = rows
        self._seeds = seeds
        self._statistics = statistics
        self._flow = flow
        self._halt = halt
        self._order: Order[Filled, Filled | Slot] = Order(keep=flow.keep, lead=flow.lead)
        self._out: deque[Filled] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._started = 0
        self._failed_in_a_row = 0
        self._no_more = False
        self._unmade = 0
        self.exhausted = 0
        """Slots whose candidates were all rejected."""
        self.failed = 0
        """Slots that an upstream failed; asking again later may fill them."""
        self.parked = 0
        """Slots that wait for a provider's batch."""
        self.cut_short = False
        """At the end: whether :meth:`stop` kept a slot from being opened or filled."""
        self.stopped: Exception | None = None
        """Why no further slot was opened, if that was not by plan: the budget, or an error nothing can get past."""

    def stop(self) -> None:
        """Open no further slot and send nothing more; what is in flight finishes and comes out."""
        self._halt()
        self._open_no_more()

    def _open_no_more(self) -> None:
        self._no_more = True
        self._changed.set()

    async def batches(self) -> AsyncGenerator[list[Filled], None]:
        """Filled slots, in slot order unless the flow says otherwise; those without a row are among them.

        Raises:
            SynthError: the run cannot go on; everything that was made before has come out.
        """
        try:
            while True:
                self._changed.clear()
                self._open()
                if batch := self._batch():
                    yield [await self._made(item) for item in batch]
                elif self._workers:
                    await self._changed.wait()
                    if self._started >= _MANY and not self._full():
                        # Rows that come out one by one cost their taker a wake-up each; together they share it.
                        await asyncio.sleep(_COMPANY_S)
                else:
                    break
            self.cut_short = self._unmade > 0 or (self._no_more and self._more())
        finally:
            self._no_more = True  # an answer that comes with the cancellation may hide it from its worker
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
        if self.stopped is not None:
            raise self.stopped

    def _open(self) -> None:
        """Start workers while there are slots to fill."""
        while len(self._workers) < self._flow.window and (slot := self._next()) is not None:
            # Tasks in a set, not a TaskGroup: the iterator may be closed from another task than the one that opened it.
            worker = asyncio.create_task(self._work(slot))
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    def _left(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._changed.set()

    def _next(self) -> Slot | None:
        """Admit the next slot, if there is one and its time has come."""
        try:
            return self._admit()
        except Exception as error:  # noqa: BLE001 - a task boundary: seeds that cannot be read on end the run
            self._end(error)
            return None

    def _admit(self) -> Slot | None:
        if self._no_more or self._full() or (self._flow.ordered and not self._order.room(self._started)):
            return None
        if self._covered():
            return None
        seed_row = None
        if self._seeds is not None:
            seed_row = next(self._seeds, None)
            if seed_row is None:
                self._no_more = True
                return None
        index, self._started = self._started, self._started + 1
        return self._rows.admit(index, seed_row)

    def _covered(self) -> bool:
        """Whether as many slots are open as are wanted, or may be."""
        wanted = self._flow.wanted
        return wanted is not None and (
            self._started - self.exhausted >= wanted or self._started >= wanted + self._flow.spare
        )

    def _more(self) -> bool:
        """Whether there is a slot that was not opened."""
        if self._flow.wanted is not None:
            return not self._covered()
        try:
            return self._seeds is not None and next(self._seeds, None) is not None
        except Exception:  # noqa: BLE001 - seeds that cannot be read on: there was more, whatever it was
            return True

    async def _work(self, slot: Slot | None) -> None:
        while slot is not None:
            try:
                filled = await self._rows.fill(slot, self._statistics)
            except Exception as error:  # noqa: BLE001 - a task boundary: a row that fails leaves only a gap
                gap = Filled(slot.index)
                self._fail(error)
                self._add(gap, stand_in=gap)
            else:
                self._failed_in_a_row = 0
                if filled.row is None:
                    self.exhausted += 1
                self._add(filled, stand_in=slot.shed())
            slot = self._next()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, Stopped):
            self._unmade += 1
            return
        if isinstance(error, Parked):
            self.parked += 1
            self._failed_in_a_row = 0
            return
        self.failed += 1
        if isinstance(error, NotCached):
            return
        self._failed_in_a_row += 1
        hopeless = not (isinstance(error, UpstreamError) and error.retryable)
        if hopeless or self._failed_in_a_row >= _GIVE_UP:
            self._end(error)

    def _end(self, error: Exception) -> None:
        if self.stopped is None or isinstance(self.stopped, BudgetSpent):
            self.stopped = error
        if isinstance(error, BudgetSpent):
            self._open_no_more()  # a smaller call that waits may still fit
        else:
            self.stop()

    def _add(self, filled: Filled, *, stand_in: Filled | Slot) -> None:
        if self._flow.ordered:
            self._order.add(filled.index, filled, stand_in)
        else:
            self._out.append(filled)
        if self._out or self._order.ready:
            self._changed.set()

    def _full(self) -> bool:
        """Whether the taker is behind: rows could come out, and many do not."""
        return len(self._out) >= _BACKLOG or (self._order.ready and len(self._order) >= _BACKLOG)

    def _batch(self) -> list[Filled | Slot]:
        batch: list[Filled | Slot] = list(self._out)
        self._out.clear()
        while len(batch) < _BACKLOG and (item := self._order.take()) is not None:
            batch.append(item[1] if item[0] is None else item[0])
        return batch

    async def _made(self, item: Filled | Slot) -> Filled:
        """A slot that was let go while it waited is made again; its answers are stored."""
        if isinstance(item, Filled):
            return item
        try:
            return await self._rows.fill(item, None)
        except SynthError as error:
            self._fail(error)
            return Filled(item.index)
