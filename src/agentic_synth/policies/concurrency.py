"""How many calls may be in flight at one upstream: a fixed number, or the knee found by its latency."""

from __future__ import annotations

import math
from typing import Protocol

from agentic_synth.policies.slowness import Round, Usual

__all__ = ["ConcurrencyLimit", "DelayLimit", "FixedLimit"]

_ROUND_LEAST = 16
_ROUND_MOST = 256
_GROW_BELOW = math.log(1.15)
_SHRINK_ABOVE = math.log(1.35)
_TARGET = math.log(1.2)
_STEP = 1.1
_TRIM = 0.95
_MOST_AT_ONCE = 0.5
_BUSY_SHARE = 0.85
_PROBE_ROUNDS = 40
_PROBE_SHARE = 0.7
_LEARN = 0.1
_SETTLING = 2.5


class ConcurrencyLimit(Protocol):
    """How many; who waits is somebody else's."""

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        ...

    def record(self, latency: float, size: int, sent_at: float, in_flight: int, now: float) -> None:
        """A call sent at *sent_at* ended among *in_flight* after *latency*, with *size* output tokens in it."""
        ...

    @property
    def starting(self) -> bool:
        """Whether :meth:`expect` is still of use."""
        ...

    def expect(self, calls: float) -> None:
        """*calls* in flight are what the upstream's own limits come to."""
        ...


class FixedLimit:
    """What the user said."""

    __slots__ = ("limit", "starting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.starting = False

    def record(self, latency: float, size: int, sent_at: float, in_flight: int, now: float) -> None:
        """Nothing is learned."""

    def expect(self, calls: float) -> None:
        """Nothing is learned."""


class DelayLimit:
    """Finds how many calls an upstream serves side by side: beyond that, more calls only wait longer there.

    Latency is compared, in rounds of about as many calls as may be in flight, with what answers of the same length took
    before. A round that is no slower than chance allows doubles the limit, or after the first slow one raises it a
    little; a round that is surely slower lowers it to where latency should be 1.2 of the usual (Vegas: what is beyond
    is queueing), and one that is still above that trims it. If fewer in flight are not faster, it was not our queue:
    the limit comes back, and the new latency is the usual one. The limit moves only while it is what limits. Now and
    then it tries fewer, to see whether the usual latency has become lower.
    """

    __slots__ = (
        "_busy",
        "_changed_at",
        "_first_rounds",
        "_held",
        "_latency",
        "_most",
        "_round",
        "_settling",
        "_shrunk",
        "_until_probe",
        "_usual",
        "limit",
        "starting",
    )

    def __init__(self, *, initial: int = 32, most: int = 1_000) -> None:
        self.limit = min(initial, most)
        self._most = most
        self._usual = Usual()
        self._round = Round()
        self._busy = 0
        self._latency = 0.0
        self._settling = 1.0
        self._first_rounds = 2
        self._changed_at: float | None = None
        self.starting = True
        self._held: int | None = None
        self._shrunk: tuple[int, float] | None = None
        self._until_probe = _PROBE_ROUNDS

    def record(self, latency: float, size: int, sent_at: float, in_flight: int, now: float) -> None:
        if latency <= 0:
            return
        self._latency += (latency - self._latency) * (_LEARN if self._latency else 1.0)
        # Once calls of before the change are through, whatever ends is a fair sample; earlier the quick ones are first.
        if self._changed_at is None:
            self._changed_at = sent_at
        if now - self._changed_at < self._settling * self._latency:
            return
        self._round.add(latency, size)
        self._busy += in_flight >= _BUSY_SHARE * self.limit
        if self._round.count >= min(max(self.limit, _ROUND_LEAST), _ROUND_MOST):
            self._end_round(now)

    def expect(self, calls: float) -> None:
        """Go there at once from a slow start: an upstream that states a limit can bear it."""
        if self.starting and calls > self.limit:
            self.limit = min(math.ceil(min(calls, self._most)), self._most)

    def _end_round(self, now: float) -> None:
        finished, self._round = self._round, Round()
        busy, self._busy = self._busy * 2 >= finished.count, 0
        slower, doubt = self._usual.compare(finished)
        if self._first_rounds:
            # At the very beginning the quick ones come first all the same.
            self._first_rounds -= 1
            self._usual.accept(finished)
            if busy:
                self._set(self.limit * 2, now)
        elif self._shrunk is not None:
            self._judge_shrinking(finished, slower)
        elif self._held is not None:
            self._usual.learn(finished, slower, doubt)
            self._set(self._held, now)
            self._held = None
        elif slower - doubt > _SHRINK_ABOVE and busy:
            self.starting = False
            self._shrunk = (self.limit, slower)
            self._set(math.floor(self.limit * max(math.exp(_TARGET - slower), _MOST_AT_ONCE)), now)
        else:
            self._usual.learn(finished, slower, doubt)
            if not busy:
                return
            if slower < _GROW_BELOW + doubt:
                self._set(self.limit * 2 if self.starting else math.ceil(self.limit * _STEP), now)
            elif slower - doubt > _TARGET:
                self._set(math.floor(self.limit * _TRIM), now)
            else:
                self._rest(now)

    def _judge_shrinking(self, finished: Round, slower: float) -> None:
        """Fewer are in flight now: if that was no help, latency is what it is, whatever we do."""
        assert self._shrunk is not None
        before, slower_before = self._shrunk
        self._shrunk = None
        hoped = math.log(before / self.limit)
        if slower > slower_before - hoped / 2:
            self._usual.accept(finished)
            self.limit = before

    def _rest(self, now: float) -> None:
        """At the knee: now and then one round with fewer in flight."""
        self.starting = False
        self._until_probe -= 1
        if self._until_probe <= 0:
            # Limits differ, so the probes of several clients do not fall together.
            self._until_probe = _PROBE_ROUNDS + self.limit % 7
            self._held = self.limit
            self._set(math.ceil(self.limit * _PROBE_SHARE), now)

    def _set(self, limit: int, now: float) -> None:
        limit = min(max(limit, 1), self._most)
        if limit != self.limit:
            # Fewer in flight take their time to become fewer, and what they met on their arrival was still the crowd.
            self._settling = 1.0 if limit > self.limit else _SETTLING
            self.limit = limit
            self._changed_at = now
