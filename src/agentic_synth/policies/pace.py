"""A rate found by being refused: for upstreams that tell nothing of their limits, or tell them wrong."""

from __future__ import annotations

import math
from collections import deque

from agentic_synth.policies.bucket import Bucket

__all__ = ["Pace"]

_CUT = 0.9
_BLIND_CUT = 0.55
_PLATEAU_S = 5.0
_CURVE = (1 - _CUT) / _PLATEAU_S**3
_MOVED = 1.3
_DOUBLING_S = 1.5
_QUIET_S = 1.0
_EPOCH_S = 1.0
_STORM_S = 5.0
_STORM_SHARE = 0.5
_TELLING_SHARE = 0.2
_TELLING_COUNT = 20
_FLOOR = 0.5
_BURST_S = 0.25
_SLOT_S = 0.25
_SLOTS = 12


class Pace:
    """How many calls a second may go out; boundless until the first refusal that no header explains.

    A refusal cuts to 0.9 of what is accepted, once an epoch: calls sent before a cut do not cut again. From there the
    rate follows a cubic: fast back towards the last limit (*ceiling*), flat around it, and fast again beyond, until it
    doubles since the limit must have moved (RFC 9438, on a rate in place of a window). When most calls are refused
    although the rate was cut just before, it is a storm, which tells nothing of the limit: the rate falls, the ceiling
    of before is remembered, and afterwards the rate doubles until it is near it. It grows only while it is what limits.
    """

    __slots__ = (
        "_before", "_binds", "_bucket", "_ceiling", "_cut_at", "_grown", "_rate", "_refused_at", "_slots", "_touched",
    )  # fmt: skip

    def __init__(self) -> None:
        self._rate = math.inf
        self._ceiling = math.inf
        self._before = math.inf
        self._cut_at = -math.inf
        self._refused_at = -math.inf
        self._grown = 0.0
        self._touched = 0.0
        self._binds = False
        self._bucket = Bucket(1.0, 1.0, 0.0)
        # [slot, sent, refused] by the time of sending, of calls that were sent after the last cut.
        self._slots: deque[list[float]] = deque(maxlen=_SLOTS)

    @property
    def rate(self) -> float:
        """Calls a second; infinite while nothing was refused."""
        return self._rate

    def delay(self, now: float) -> float:
        """Seconds until the next call may go; to be asked in vain is what makes the rate grow."""
        if self._rate == math.inf:
            return 0.0
        if self._binds:
            self._grow(now)
        self._touched = now
        wait = self._bucket.delay(1.0, now)
        self._binds = wait > 0.0
        return wait

    def send(self, now: float) -> None:
        """A call goes out."""
        slot = now // _SLOT_S
        slots = self._slots
        if slots and slots[-1][0] == slot:
            slots[-1][1] += 1
        else:
            slots.append([slot, 1.0, 0.0])
        if self._rate != math.inf:
            self._bucket.take(1.0)

    def refuse(self, sent_at: float, now: float) -> None:
        """The upstream refused a call for its rate."""
        self._refused_at = now
        if sent_at <= self._cut_at:
            return
        slot = sent_at // _SLOT_S
        for counts in reversed(self._slots):
            if counts[0] <= slot:
                counts[2] += 1
                break
        sent, refused = self._counts()
        share = refused / max(1.0, sent)
        if now - self._cut_at > _EPOCH_S or (sent >= _TELLING_COUNT and share > _TELLING_SHARE):
            self._cut(sent, share, now)

    def _cut(self, sent: float, share: float, now: float) -> None:
        if self._rate == math.inf:
            # What a full bucket at the upstream let through at first is more than the limit.
            span = now - self._slots[0][0] * _SLOT_S if self._slots else _SLOT_S
            rate = _BLIND_CUT * sent / max(span, _SLOT_S)
        elif share > _STORM_SHARE and now - self._cut_at < _STORM_S:
            self._ceiling = max(self._ceiling, self._before)
            rate = self._rate * (1 - share)
        else:
            self._before = self._ceiling
            if share > _TELLING_SHARE:
                self._ceiling = self._rate * (1 - share)
            elif self._ceiling == math.inf:
                self._ceiling = _BLIND_CUT / _CUT * self._rate
            else:
                self._ceiling = self._rate
            rate = _CUT * self._ceiling
        self._rate = max(rate, _FLOOR)
        self._cut_at = now
        self._grown = 0.0
        self._touched = now
        self._slots.clear()
        self._fit(now)
        self._bucket.set(0.0, now)

    def _grow(self, now: float) -> None:
        elapsed = now - self._touched
        if now - self._refused_at < _QUIET_S:
            return
        if self._rate < _CUT * self._ceiling:
            most = _CUT * self._ceiling
            self._rate = min(self._rate * 2 ** (elapsed / _DOUBLING_S), most)
            self._grown = 0.0
        else:
            self._grown += elapsed
            cubic = 1 + _CURVE * (self._grown - _PLATEAU_S) ** 3
            self._rate = max(self._rate, self._ceiling * cubic)
            if cubic > _MOVED:
                self._ceiling = math.inf
        self._fit(now)

    def _fit(self, now: float) -> None:
        self._bucket.change(self._rate, max(1.0, self._rate * _BURST_S), now)

    def _counts(self) -> tuple[float, float]:
        sent = refused = 0.0
        for _, out, back in self._slots:
            sent += out
            refused += back
        return sent, refused
