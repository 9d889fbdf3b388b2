"""How much others take from a limit that we share with them: the same key in another process."""

from __future__ import annotations

__all__ = ["Rival"]

_SLOT_S = 0.5
_SUDDEN_S = 1.5
_SUDDEN = 0.15
_MEMORY_S = 4.0
_FULL = 0.9
_NOISE = 0.05
_SUSPECTED = 0.25


class Rival:
    """Measures *rate*, what others take a second, from what replies say is left.

    Between two moments, what flowed in is either left or was taken; what was taken and not by us was taken by others.
    Replies are gathered in slots of half a second of their sending, so that calls which overtake each other on the way
    average out. A bucket that was full in between tells only the most that others can have taken.
    """

    __slots__ = ("_count", "_last", "_level", "_mean", "_refused", "_slot", "_total", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self._mean = 0.0
        self._slot = -1.0
        self._count = 0
        self._level = 0.0
        self._total = 0.0
        self._refused = 0.0
        self._last: tuple[float, float, float] | None = None

    def forget(self) -> None:
        """The limit has moved: what was left before says nothing of what is left now."""
        self._count = 0
        self._level = self._total = 0.0
        self._last = None

    def refuse(self, amount: float) -> None:
        """*amount* was sent, and not taken from the limit after all."""
        self._refused += amount

    def suspect(self, refill: float) -> None:
        """We were refused although there should have been something left: somebody else was quicker."""
        self._mean = max(self._mean, _SUSPECTED * refill)
        self.rate = max(self.rate, self._mean)

    def observe(self, sent_at: float, total: float, remaining: float, refill: float, capacity: float) -> None:
        """A call sent at *sent_at*, when *total* had gone out, found *remaining* of *capacity*."""
        slot = sent_at // _SLOT_S
        if slot > self._slot:
            if self._count:
                self._close(refill, capacity)
            self._slot = slot
            self._count = 0
            self._level = self._total = 0.0
        if slot == self._slot:
            self._count += 1
            self._level += remaining
            self._total += total - self._refused

    def _close(self, refill: float, capacity: float) -> None:
        at = self._slot * _SLOT_S
        level, total = self._level / self._count, self._total / self._count
        last, self._last = self._last, (at, level, total)
        if last is None:
            return
        elapsed, ours = at - last[0], total - last[2]
        taken = refill - (ours + level - last[1]) / elapsed
        if max(level, last[1], last[1] + refill * elapsed - ours) > _FULL * capacity:
            taken = min(taken, self._mean)
        sudden = taken > self._mean + _SUDDEN * refill
        self._mean += min(1.0, elapsed / (_SUDDEN_S if sudden else _MEMORY_S)) * (taken - self._mean)
        # Below nothing, too, so that noise around nothing does not add up to a rival.
        self._mean = min(max(self._mean, -_SUDDEN * refill), refill)
        self.rate = self._mean if self._mean > _NOISE * refill else 0.0
