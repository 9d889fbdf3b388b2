"""When to stop asking an upstream that fails, and how to find out that it is well again."""

from __future__ import annotations

import math
from collections import deque
from random import Random
from typing import Literal, TypeAlias

import msgspec

from agentic_synth.types import Outcome

__all__ = ["Circuit", "CircuitRules", "CircuitState", "Pass"]

CircuitState: TypeAlias = Literal["closed", "open", "half_open"]

_SLOTS = 10
_PROBE_POLL_S = 0.1
_REMEMBERED = 16


class CircuitRules(msgspec.Struct, frozen=True, kw_only=True):
    """When a circuit opens and for how long.

    It opens when, over the last *window* seconds and of at least *min_volume* calls, the share of failures reaches
    *failure_rate* or that of slow calls (slower than *slow_after* seconds to the first token; None: no call is slow)
    reaches *slow_rate*; or at *consecutive* failures in a row. It stays open for *open_for* seconds, twice as long each
    time it opens again, at most *open_cap*, all with jitter. Then *probes* calls may try; all must succeed.
    """

    window: float = 10.0
    min_volume: int = 10
    failure_rate: float = 0.5
    slow_after: float | None = None
    slow_rate: float = 0.8
    consecutive: int = 5
    open_for: float = 1.0
    open_cap: float = 30.0
    probes: int = 3


class Pass(msgspec.Struct, frozen=True, gc=False):
    """Leave to call; *epoch* tells calls from before the last change of state from those after it."""

    epoch: int
    probe: bool


class Circuit:
    """The state of one upstream: closed (calls flow), open (none does), half open (a few probes may).

    Every pass is recorded once. Failures of calls that were sent before the circuit changed its state count for
    nothing, so a slow call of yesterday's outage cannot open it again.
    """

    __slots__ = (
        "_changes", "_epoch", "_failures", "_forced", "_in_a_row", "_opened_until", "_passes", "_probing", "_proven",
        "_slots", "_slow", "_state", "_total", "_trips_in_a_row", "_well_since", "answered", "rules", "trips",
    )  # fmt: skip

    def __init__(self, rules: CircuitRules | None = None) -> None:
        self.rules = rules or CircuitRules()
        self.answered = False
        self.trips = 0
        self._state: CircuitState = "closed"
        self._forced: CircuitState | None = None
        self._epoch = 0
        self._changes: deque[tuple[float, CircuitState]] = deque(maxlen=_REMEMBERED)
        self._slots: deque[list[float]] = deque()
        self._total = self._failures = self._slow = 0.0
        self._in_a_row = 0
        self._opened_until = -math.inf
        self._trips_in_a_row = 0
        self._well_since = -math.inf
        self._probing = 0
        self._proven = 0
        self._passes = (Pass(0, False), Pass(0, True))

    @property
    def epoch(self) -> int:
        """Counts the changes of state."""
        return self._epoch

    @property
    def changes(self) -> tuple[tuple[float, CircuitState], ...]:
        """The last changes of state: when, and to what."""
        return tuple(self._changes)

    def state(self, now: float) -> CircuitState:
        """What it is now; an open circuit whose time is over is half open."""
        if self._forced is not None:
            return self._forced
        if self._state == "open" and now >= self._opened_until:
            self._enter("half_open", self._opened_until)
            self._probing = self._proven = 0
        return self._state

    def available(self, now: float) -> bool:
        """Whether :meth:`admit` would give a pass."""
        if self._state == "closed" and self._forced is None:
            return True
        state = self.state(now)
        return state == "closed" or (state == "half_open" and self._probing + self._proven < self.rules.probes)

    def due(self, now: float) -> float:
        """Seconds until asking again makes sense; infinite if it is forced open."""
        if self.available(now):
            return 0.0
        if self._forced == "open":
            return math.inf
        return max(self._opened_until - now, 0.0) if self._state == "open" else _PROBE_POLL_S

    def admit(self, now: float) -> Pass | None:
        """A pass for one call, or None; every pass must be given to :meth:`record` or :meth:`ignore`."""
        if not self.available(now):
            return None
        if self._state != "half_open" or self._forced is not None:
            return self._passes[0]
        self._probing += 1
        return self._passes[1]

    def ignore(self, given: Pass) -> None:
        """The call says nothing of the upstream: it was cancelled, rejected by us, or wrong in itself."""
        if given.probe and given.epoch == self._epoch:
            self._probing -= 1

    def record(self, given: Pass, outcome: Outcome, latency: float | None, now: float, rng: Random) -> None:
        """How the call went; *latency* is the time to the first token, None where it is not known."""
        if outcome is Outcome.IGNORED:
            self.ignore(given)
            return
        failed = outcome is Outcome.DROPPED
        if not failed:
            self.answered = True
        if given.epoch != self._epoch:
            return
        slow = (
            not failed and latency is not None and self.rules.slow_after is not None and latency > self.rules.slow_after
        )
        if given.probe:
            self._record_probe(failed or slow, now, rng)
        elif self._state == "closed":
            self._count(failed, slow, now)
            if self._sick():
                self._trip(now, rng)

    def force(self, state: Literal["closed", "open"] | None) -> None:
        """Hold it in *state* whatever happens; None lets it go on by itself."""
        self._forced = state

    def _record_probe(self, failed: bool, now: float, rng: Random) -> None:
        self._probing -= 1
        if failed:
            self._trip(now, rng)
            return
        self._proven += 1
        if self._proven >= self.rules.probes:
            self._enter("closed", now)
            self._well_since = now

    def _count(self, failed: bool, slow: bool, now: float) -> None:
        width = self.rules.window / _SLOTS
        start = now // width
        slots = self._slots
        if not slots or slots[-1][0] != start:
            slots.append([start, 0.0, 0.0, 0.0])
            while slots[0][0] <= start - _SLOTS:
                _, total, failures, slows = slots.popleft()
                self._total -= total
                self._failures -= failures
                self._slow -= slows
        slot = slots[-1]
        slot[1] += 1
        self._total += 1
        if failed:
            slot[2] += 1
            self._failures += 1
            self._in_a_row += 1
        else:
            self._in_a_row = 0
            if slow:
                slot[3] += 1
                self._slow += 1

    def _sick(self) -> bool:
        rules = self.rules
        if self._in_a_row >= rules.consecutive:
            return True
        total = self._total
        return total >= rules.min_volume and (
            self._failures >= rules.failure_rate * total or self._slow >= rules.slow_rate * total
        )

    def _trip(self, now: float, rng: Random) -> None:
        rules = self.rules
        if self._state == "closed" and now - self._well_since > rules.window:
            self._trips_in_a_row = 0
        self._trips_in_a_row += 1
        self.trips += 1
        seconds = min(rules.open_cap, rules.open_for * 2.0 ** min(self._trips_in_a_row - 1, 30))
        self._opened_until = now + seconds * (0.75 + 0.5 * rng.random())
        self._enter("open", now)

    def _enter(self, state: CircuitState, at: float) -> None:
        self._state = state
        self._changes.append((at, state))
        self._epoch += 1
        self._passes = (Pass(self._epoch, False), Pass(self._epoch, True))
        self._slots.clear()
        self._total = self._failures = self._slow = 0.0
        self._in_a_row = 0
