"""A rate found by being refused: for upstreams that tell nothing of their limits, or tell them wrong."""

from __future__ import annotations

import math
from collections import deque

from agentic_synth.policies.bucket import Bucket

__all__ = ["Pace"]

_CUT = 0.9
_STORM_CUT = 0.5
_STORM_SHARE = 0.5
_PLATEAU_S = 10.0
_CURVE = (1 - _CUT) / _PLATEAU_S**3
_DOUBLING_S = 1.5
_SLOT_S = 0.5
_SLOTS = 8
_FLOOR = 0.5
_BURST_S = 0.25
_EPOCH_S = 1.0


class Pace:
    """How many calls a second may go out; boundless until the first refusal that no header explains.

    A refusal cuts to 0.9 of the rate that had been accepted, once an epoch (calls sent before the cut do not cut
    again). From there the rate follows a cubic: fast back towards the last known limit, flat around it, and fast again
    once that is passed (RFC 9438, on a rate in place of a window). While most calls are refused (a storm) the last good
    limit is remembered and the rate halves; afterwards it doubles until it is near that limit again. It grows only
    while it is what limits.
    """

    __slots__ = ("_bucket", "_ceiling", "_cut_at", "_grown", "_rate", "_seen", "_successes", "_touched")

    def __init__(self) -> None:
        self._rate = math.inf
        self._ceiling = 0.0
        self._cut_at = -math.inf
        self._grown = 0.0
        self._touched = 0.0
        self._successes = 0
        self._bucket = Bucket(1.0, 1.0, 0.0)
        self._seen: deque[tuple[float, list[int]]] = deque(maxlen=_SLOTS)

    @property
    def rate(self) -> float:
        """Calls a second; infinite while nothing was refused."""
        return self._rate

    def delay(self, now: float) -> float:
        """Seconds until the next call may go; being asked in vain is what makes the rate grow."""
        if self._rate == math.inf:
            return 0.0
        wait = self._bucket.delay(1.0, now)
        if wait > 0.0:
            self._grow(now)
            wait = self._bucket.delay(1.0, now)
        else:
            self._touched = now
        return wait

    def send(self) -> None:
        """A call goes out."""
        if self._rate != math.inf:
            self._bucket.take(1.0)

    def accept(self, now: float) -> None:
        """The upstream took a call."""
        self._slot(now)[0] += 1
        self._successes += 1

    def refuse(self, sent_at: float, now: float) -> bool:
        """The upstream refused a call for its rate; true if that cut the rate."""
        self._slot(now)[1] += 1
        if sent_at <= self._cut_at:
            return False
        share = self._refused_share()
        storm = share > _STORM_SHARE
        if now - self._cut_at < _EPOCH_S and not storm:
            return False
        self._cut(storm, now)
        return True

    def _cut(self, storm: bool, now: float) -> None:
        accepted = self._accepted_rate(now)
        if self._rate == math.inf:
            self._ceiling = max(accepted, _FLOOR)
            rate = _CUT * self._ceiling
        elif storm:
            # What is accepted in a storm says nothing of the limit; the ceiling stays for afterwards.
            rate = max(_STORM_CUT * self._rate, accepted)
        else:
            self._ceiling = self._rate
            rate = max(_CUT * min(self._rate, max(accepted, _STORM_CUT * self._rate)), _FLOOR)
        self._rate = max(min(rate, self._rate), _FLOOR)
        self._cut_at = now
        self._successes = 0
        self._grown = 0.0
        self._touched = now
        self._bucket.change(self._rate, max(1.0, self._rate * _BURST_S), now)
        self._bucket.set(0.0, now)

    def _grow(self, now: float) -> None:
        elapsed, self._touched = now - self._touched, now
        if elapsed <= 0 or not self._successes:
            return
        if self._rate < _CUT * self._ceiling:
            self._rate = min(self._rate * 2 ** (elapsed / _DOUBLING_S), _CUT * self._ceiling)
            self._grown = 0.0
        else:
            self._grown += elapsed
            cubic = 1 + _CURVE * (self._grown - _PLATEAU_S) ** 3
            self._rate = max(self._rate, self._ceiling * cubic)
        self._bucket.change(self._rate, max(1.0, self._rate * _BURST_S), now)

    def _slot(self, now: float) -> list[int]:
        start = now // _SLOT_S
        if not self._seen or self._seen[-1][0] != start:
            self._seen.append((start, [0, 0]))
        return self._seen[-1][1]

    def _refused_share(self) -> float:
        recent = list(self._seen)[-3:]
        refused = sum(counts[1] for _, counts in recent)
        return refused / max(1, refused + sum(counts[0] for _, counts in recent))

    def _accepted_rate(self, now: float) -> float:
        """Accepted calls a second of the last seconds."""
        since = now // _SLOT_S - _SLOTS
        slots = [(start, counts[0]) for start, counts in self._seen if start > since]
        if not slots:
            return 0.0
        return sum(count for _, count in slots) / max(now - slots[0][0] * _SLOT_S, _SLOT_S)
