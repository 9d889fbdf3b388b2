"""A clock that obeys the test: an hour of backoff runs in milliseconds, in the same order every time."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Sized

__all__ = ["FakeClock"]

_QUIET_TURNS = 2
_BLIND_QUIET_TURNS = 64
_MIN_GARBAGE = 64


class FakeClock:
    """A :class:`~agentic_synth.clock.Clock` whose time moves only when told to.

    By hand: ``await clock.advance(60)`` wakes every sleeper due within the minute, in order of their instants, and
    lets all tasks run as far as they can between two instants. With ``autojump=True`` nobody needs to: whenever every
    task of the loop waits (for this clock, or for nothing that can come), time jumps to the next sleeper's instant.

    *How it knows that the loop is idle.* It looks once a turn of the loop, from a callback queued last. asyncio's own
    loops show their queue of ready callbacks: two turns in a row in which that queue is empty mean that no task can go
    on (the second turn has polled the sockets). Loops that hide their queue (uvloop) are given 64 turns without a new
    sleeper instead. No real time passes either way. Hence three limits: a task that spins on ``asyncio.sleep(0)`` is
    never idle, so time stands still beside it; use one clock a loop; and work in a *thread* is not seen: give
    *patience* (real seconds the loop must stay idle before a jump, 0.001 is plenty) where results come from threads.
    """

    def __init__(self, start: float = 0.0, *, autojump: bool = False, patience: float = 0.0) -> None:
        self._now = start
        self._autojump = autojump
        self._patience = patience
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = 0
        self._living = 0
        self._watched: asyncio.AbstractEventLoop | None = None
        self._quiet = _Quiet()

    def now(self) -> float:
        """The instant that the last jump led to."""
        return self._now

    @property
    def sleeping(self) -> int:
        """How many tasks wait for this clock."""
        return self._living

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has moved by *seconds*; not positive returns at the next turn of the loop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._sequence, woken))
        if self._autojump and self._watched is not loop:
            self._watched = loop
            self._quiet = _Quiet()
            loop.call_soon(self._watch, loop)
        self._living += 1
        try:
            await woken
        finally:
            self._living -= 1
            if len(self._sleepers) > 2 * self._living + _MIN_GARBAGE:
                self._sweep()

    async def advance(self, seconds: float) -> None:
        """Move time on by *seconds*, stopping at every sleeper's instant on the way until the tasks it woke rest."""
        target = self._now + seconds
        await self.settle()
        while self._next_instant() <= target:
            self._jump()
            await self.settle()
        self._now = target

    async def run_until_idle(self, limit: float = math.inf) -> None:
        """Jump from sleeper to sleeper until none is left; *limit* is how far, in seconds, time may move for it.

        A task that sleeps in an endless loop keeps this going for ever unless *limit* is set.
        """
        end = self._now + limit
        await self.settle()
        while self._next_instant() <= end and not math.isinf(self._next_instant()):
            self._jump()
            await self.settle()

    async def settle(self) -> None:
        """Return when no other task can go on before time moves."""
        loop = asyncio.get_running_loop()
        quiet = _Quiet()
        while not quiet.look(loop, self._sequence):  # noqa: ASYNC110 - the turn of the loop is what is waited for
            await asyncio.sleep(0)

    def _next_instant(self) -> float:
        """The instant of the next sleeper, for ever if there is none; those cancelled on the way are dropped."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else math.inf

    def _jump(self) -> None:
        """Go to the next sleeper's instant and wake all that are due, first come, first woken."""
        self._now = self._next_instant()
        while self._next_instant() <= self._now:
            heapq.heappop(self._sleepers)[2].set_result(None)

    def _sweep(self) -> None:
        """Drop the cancelled from the heap: far timeouts are mostly cancelled long before they come."""
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
        heapq.heapify(self._sleepers)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """One look a turn while anybody sleeps; stops by itself when nobody does."""
        if math.isinf(self._next_instant()):
            self._watched = None
        elif not self._quiet.look(loop, self._sequence):
            loop.call_soon(self._watch, loop)
        elif self._patience:
            loop.call_later(self._patience, self._watch_patiently, loop)
        else:
            self._jump_and_watch(loop)

    def _watch_patiently(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop was idle a while ago: jump if it is so still."""
        if math.isinf(self._next_instant()):
            self._watched = None
        elif self._quiet.look(loop, self._sequence):
            self._jump_and_watch(loop)
        else:
            loop.call_soon(self._watch, loop)

    def _jump_and_watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._jump()
        self._quiet = _Quiet()
        loop.call_soon(self._watch, loop)


class _Quiet:
    """Counts the turns of the loop in a row in which nothing else was ready."""

    __slots__ = ("_sequence", "_turns")

    def __init__(self) -> None:
        self._turns = 0
        self._sequence = -1

    def look(self, loop: asyncio.AbstractEventLoop, sequence: int) -> bool:
        """True once the loop is idle; to be called once a turn, *sequence* counts the sleeps begun so far."""
        ready: Sized | None = getattr(loop, "_ready", None)
        if ready or sequence != self._sequence:
            self._turns = 0
            self._sequence = sequence
        else:
            self._turns += 1
        return self._turns >= (_BLIND_QUIET_TURNS if ready is None else _QUIET_TURNS)
