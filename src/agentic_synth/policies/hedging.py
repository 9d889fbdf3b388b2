"""When a call has waited unusually long for its first token, and whether asking twice is affordable."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

__all__ = ["Hedging"]

_WINDOW = 256
_LEAST = 32


class Hedging:
    """A second call after the *quantile* of recent times to the first token, for at most *share* of the calls.

    (J. Dean and L. A. Barroso, "The Tail at Scale", CACM 56(2), 2013.)
    """

    __slots__ = ("_balance", "_recent", "_sorted", "quantile", "share")

    def __init__(self, *, quantile: float = 0.95, share: float = 0.05) -> None:
        self.quantile = quantile
        self.share = share
        self._balance = 0.0
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def record(self, ttft: float) -> None:
        """A call had its first token after *ttft* seconds."""
        recent, ordered = self._recent, self._sorted
        if len(recent) >= _WINDOW:
            del ordered[bisect_left(ordered, recent.popleft())]
        recent.append(ttft)
        insort(ordered, ttft)

    def delay(self) -> float:
        """Seconds after which a call is unusually late; infinite while too little is known."""
        ordered = self._sorted
        return ordered[int(self.quantile * (len(ordered) - 1))] if len(ordered) >= _LEAST else math.inf

    def deposit(self) -> None:
        """A call goes out."""
        self._balance = min(1.0, self._balance + self.share)

    def withdraw(self) -> bool:
        """Take one second call out of the share, if there is one."""
        if self._balance < 1.0 - 1e-9:
            return False
        self._balance -= 1.0
        return True
