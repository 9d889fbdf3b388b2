"""Asks likely requests before anybody does: in the background while nothing else is asked, or on command.

The answers go through the engine like any other, so they are limited, paid and stored alike; only the log of accesses
does not count them. Whoever asks for the same meanwhile shares the call.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from agentic_synth.cache import warmth
from agentic_synth.cache.accesses import Accesses
from agentic_synth.cache.key import key_of, request_of
from agentic_synth.cache.ledger import Journal
from agentic_synth.cache.warmth import Wanted
from agentic_synth.config import WarmingConfig
from agentic_synth.engine.assembly import Assembly
from agentic_synth.errors import Rejected, SynthError
from agentic_synth.policies.warming import Candidate, Spent, allowance, chance, pick
from agentic_synth.stage import Handler
from agentic_synth.types import Request, Response

__all__ = ["Likely", "Warmed", "Warmer", "WarmingStatistics", "likely"]

_REST_S = 2.0
_EVERY_S = 60.0
_LONGEST_PAUSE_S = 3_600.0
_HORIZON_S = 3 * 3_600.0
_LAST = 1_000_000
"""The priority of what nobody waits for."""


class Likely(NamedTuple):
    """A popular request without a fresh answer, and the probability that it is asked soon."""

    wanted: Wanted
    chance: float


class Warmed(StrEnum):
    """How it went: *skipped* was not sent, for it was claimed by others, or there was no money, or no room for it."""

    ASKED = "asked"
    FAILED = "failed"
    SKIPPED = "skipped"


class WarmingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: requests that were *asked* ahead and the *dollars* they took; what *failed*, and why the last did."""

    asked: int
    failed: int
    dollars: float
    error: str


def likely(
    connection: sqlite3.Connection,
    top: int,
    now: float,
    *,
    ttl: float | None,
    horizon: float = _HORIZON_S,
    model: str | None = None,
) -> list[Likely]:
    """Of the *top* most popular requests those without a fresh answer, the likeliest within *horizon* seconds first.

    What would expire before *horizon* is over counts only until then.
    """
    age, ahead = warmth.log_age(connection, now), horizon if ttl is None else min(horizon, ttl)
    found = [
        Likely(one, chance(one.popularity, now, ahead, age))
        for one in warmth.wanted(connection, top, now, ttl=ttl, model=model)
    ]
    return sorted(found, key=lambda one: -one.chance)


class Warmer:
    """Asks ahead through one engine.

    In the background it asks one request at a time, and only after two seconds in which nobody asked anything, where
    no limit of the upstream stands in the way, and within its share of the spending. Once somebody asks, nothing more
    is sent; what is on the wire is finished, for it will be paid anyway. What failed is not tried again.
    """

    def __init__(
        self,
        assembly: Assembly,
        submit: Handler[Request, Response],
        journal: Journal,
        accesses: Accesses,
        config: WarmingConfig,
        *,
        ttl: float | None,
        connect: Callable[[str], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """*connect* sets up the upstream that requests call by a name, and says whether it could."""
        self._assembly = assembly
        self._submit = submit
        self._journal = journal
        self._accesses = accesses
        self._config = config
        self._ttl = ttl
        self._connect = connect
        self._wall = wall
        self._asked = self._failed = 0
        self._dollars = 0.0
        self._error = ""

    async def run(self) -> None:
        """Ask ahead whenever nobody else asks, until cancelled; after failures more and more seldom."""
        pause = _EVERY_S
        while True:
            await self._quiet()
            try:
                well = await self._round()
            except SynthError as error:
                self._note(error)  # a budget that is spent, or a store in trouble: who needs it is told too
                well = False
            pause = _EVERY_S if well else min(2 * pause, _LONGEST_PAUSE_S)
            await self._assembly.clock.sleep(pause)

    def statistics(self) -> WarmingStatistics:
        """A snapshot."""
        return WarmingStatistics(asked=self._asked, failed=self._failed, dollars=self._dollars, error=self._error)

    def _note(self, error: SynthError) -> None:
        self._failed += 1
        self._error = error.message

    async def _quiet(self) -> None:
        trace = self._assembly.trace
        while True:
            await trace.idle()
            before = trace.requests
            await self._assembly.clock.sleep(_REST_S)
            if trace.requests == before and not trace.in_flight:
                return

    async def _round(self) -> bool:
        """Ask what is worth it until somebody else asks; False if a request failed."""
        trace = self._assembly.trace
        expected = trace.requests
        found, spent = await self._look()
        chosen = pick(
            [Candidate(one.wanted.key, one.chance, one.wanted.dollars or 0.0) for one in found.values()],
            allowance(spent, self._config.share),
            binds=self._assembly.binds,
        )
        for one in chosen:
            if trace.requests != expected:
                break
            went = await self.ask(found[one.key].wanted, share=self._config.share, alone=True)
            if went is Warmed.FAILED:
                return False
            expected += went is Warmed.ASKED
        return True

    async def _look(self) -> tuple[dict[bytes, Likely], Spent]:
        now = self._wall()
        self._accesses.flush()

        def look(connection: sqlite3.Connection) -> tuple[list[Likely], Spent]:
            return likely(connection, self._config.top, now, ttl=self._ttl), warmth.spent(connection, now)

        found, spent = await self._journal.perform(look)
        return {one.wanted.key: one for one in found}, spent

    async def ask(self, one: Wanted, *, share: float | None = None, alone: bool = False) -> Warmed:
        """Ask *one*, if its cost fits in *share* (None: whatever it costs); what it took is durable then.

        With *alone* it is not sent while anything else is in flight or a limit binds, and not tried again.

        Raises:
            Rejected: it was not sent, nor would the next be: the budget is spent, or the breaker open.
        """
        if (request := self._request_of(one)) is None:
            return Warmed.SKIPPED
        at = self._wall()
        try:
            if not await self._journal.perform(lambda connection: warmth.reserve(connection, one, at, share)):
                return Warmed.SKIPPED
        except asyncio.CancelledError:
            await self._release(one, at, sent=False)
            raise
        if not alone:
            return await self._send(one, at, msgspec.structs.replace(request, reuse="replay"))
        if self._assembly.trace.in_flight or self._assembly.would_wait(request):
            await self._release(one, at, sent=False)
            return Warmed.SKIPPED
        return await self._send(one, at, msgspec.structs.replace(request, ahead=True, priority=_LAST))

    async def _send(self, one: Wanted, at: float, request: Request) -> Warmed:
        try:
            response = await self._submit(request)
        except asyncio.CancelledError:
            await self._release(one, at, sent=True)
            raise
        except Rejected:
            await self._release(one, at, sent=False)
            raise
        except SynthError as error:
            # It stays claimed, so that it is tried again only after somebody has asked for it.
            self._note(error)
            return Warmed.FAILED
        dollars = None if response.stored else response.cost or 0.0
        self._asked += 1
        self._dollars += dollars or 0.0
        await self._journal.perform(lambda connection: warmth.settle(connection, one, at, dollars))
        return Warmed.ASKED

    async def _release(self, one: Wanted, at: float, *, sent: bool) -> None:
        await self._journal.perform(lambda connection: warmth.release(connection, one, at, sent=sent))

    def _request_of(self, one: Wanted) -> Request | None:
        """What to ask, so that its answer is found by whoever asked before; None where that cannot be."""
        try:
            request, origin = request_of(one.canonical, one.lineage)
        except msgspec.DecodeError:
            return None
        if not self._connect(request.model) or self._assembly.origin(request.model) != origin:
            return None  # no key for it, or another address than then
        if key_of(request, origin).draw != one.key:
            return None  # a later draw of a run, which it asks itself
        return request
