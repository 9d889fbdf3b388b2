"""Room that refills with time: a limit of so much a second, and what an upstream's headers say of it."""

from __future__ import annotations

__all__ = ["Bucket"]


class Bucket:
    """A token bucket: *rate* a second flow in, *capacity* is the most it holds, and a debt is allowed."""

    __slots__ = ("_at", "_level", "capacity", "rate")

    def __init__(self, rate: float, capacity: float, now: float, level: float | None = None) -> None:
        self.rate = rate
        self.capacity = capacity
        self._level = capacity if level is None else level
        self._at = now

    def level(self, now: float) -> float:
        """What is in it; negative is a debt."""
        if now > self._at:
            level = self._level + (now - self._at) * self.rate
            self._level = min(self.capacity, level)
            self._at = now
        return self._level

    def delay(self, amount: float, now: float) -> float:
        """Seconds until *amount* may be taken, 0.0 for now; more than the capacity asks for a full bucket."""
        missing = (min(self.capacity, amount)) - self.level(now)
        return missing / self.rate if missing > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take *amount*, there or not; a negative amount gives back."""
        level = self._level - amount
        self._level = min(self.capacity, level)

    def set(self, level: float, now: float) -> None:
        """It holds *level* now."""
        self._level = min(self.capacity, level)
        self._at = now

    def change(self, rate: float, capacity: float, now: float) -> None:
        """Go on with what is in it at another rate and capacity."""
        level = self.level(now)
        self.rate = rate
        self.capacity = capacity
        self._level = min(level, capacity)
