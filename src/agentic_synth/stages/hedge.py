"""Asking twice when the first call is unusually late, and taking whichever answers first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.policies.hedging import Hedging
from agentic_synth.stage import Handler
from agentic_synth.types import Call, Reply

__all__ = ["Hedge", "HedgeStatistics"]


class HedgeStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: second calls made, and how many of them answered first."""

    hedges: int
    won: int


class Hedge:
    """Outermost at its upstream: sends the same call again once it is later than most, and cancels the loser.

    What counts is the time until *proceed* returns: the first token of a stream, the end of any other answer, so that
    the two kinds are compared apart. While the limiter makes calls wait (*binds*), nothing is sent twice. The loser's
    tokens are counted by the budget like those of any cancelled call.
    """

    def __init__(self, whole: Hedging, streamed: Hedging, clock: Clock, binds: Callable[[], bool]) -> None:
        self._whole = whole
        self._streamed = streamed
        self._clock = clock
        self._binds = binds
        self._hedges = 0
        self._won = 0

    async def __call__(self, call: Call, proceed: Handler[Call, Reply], /) -> Reply:
        policy = self._streamed if call.request.stream else self._whole
        policy.deposit()
        delay = policy.delay()
        began = self._clock.now()
        reply = await (proceed(call) if delay == float("inf") else self._race(call, proceed, policy, delay))
        policy.record(self._clock.now() - began)
        return reply

    def statistics(self) -> HedgeStatistics:
        """A snapshot."""
        return HedgeStatistics(hedges=self._hedges, won=self._won)

    async def _race(self, call: Call, proceed: Handler[Call, Reply], policy: Hedging, delay: float) -> Reply:
        race = _Race(call, proceed)

        async def second() -> None:
            await self._clock.sleep(delay)
            if not self._binds() and policy.withdraw():
                self._hedges += 1
                if await race.run():
                    self._won += 1

        try:
            async with asyncio.TaskGroup() as group:
                tasks = (group.create_task(race.run()), group.create_task(second()))
                await asyncio.wait((race.outcome,))
                for task in tasks:
                    task.cancel()
            return race.outcome.result()
        except asyncio.CancelledError:
            await race.discard()
            raise


class _Race:
    """Equal calls side by side: the first answer is the outcome; a failure is, once nobody else runs."""

    def __init__(self, call: Call, proceed: Handler[Call, Reply]) -> None:
        self.outcome: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._call = call
        self._proceed = proceed
        self._running = 0
        self._failure: Exception | None = None

    async def run(self) -> bool:
        """Make one call; true if its answer is the outcome."""
        self._running += 1
        try:
            reply = await self._proceed(self._call)
        except Exception as error:  # noqa: BLE001 - a task boundary: the failure is the outcome's, not the group's
            self._failure = self._failure or error
            self._running -= 1
            if not self._running and not self.outcome.done():
                self.outcome.set_exception(self._failure)
            return False
        self._running -= 1
        if self.outcome.done():
            await _close(reply)
            return False
        self.outcome.set_result(reply)
        return True

    async def discard(self) -> None:
        """Nobody wants the outcome any more."""
        if self.outcome.done() and self.outcome.exception() is None:
            await _close(self.outcome.result())


async def _close(reply: Reply) -> None:
    if reply.response.body is not None:
        await reply.response.body.aclose()
