"""Latencies in logarithmic buckets: any number of values in a few kilobytes."""

from __future__ import annotations

import math
from itertools import accumulate

__all__ = ["Histogram"]

GROWTH = 1.05
"""Each bucket reaches 5 % further than the one before, so a percentile is off by 2.5 % at most."""

SMALLEST = 1e-6
BUCKETS = math.ceil(math.log(1e12) / math.log(GROWTH)) + 1
_SCALE = 1.0 / math.log(GROWTH)
_OFFSET = 1.0 - math.log(SMALLEST) * _SCALE


class Histogram:
    """Seconds (or any positive figures from a millionth to a million) counted so that percentiles can be told.

    Recording is O(1), the size is fixed, and two histograms add up to the one of all their values (DDSketch: Masson,
    Rim and Lee, 2019). Values outside the range count in the outermost buckets.
    """

    __slots__ = ("_buckets", "count", "highest", "lowest", "total")

    def __init__(self) -> None:
        self._buckets = [0] * (BUCKETS + 1)
        self.count = 0
        self.total = 0.0
        self.lowest = math.inf
        self.highest = 0.0

    def record(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        self.total += value
        self.lowest = min(self.lowest, value)
        self.highest = max(self.highest, value)
        place = int(math.log(value) * _SCALE + _OFFSET) if value > SMALLEST else 0
        self._buckets[min(place, BUCKETS)] += 1

    def merge(self, other: Histogram) -> None:
        """Count all values of *other* too."""
        self.count += other.count
        self.total += other.total
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)
        self._buckets = [mine + theirs for mine, theirs in zip(self._buckets, other._buckets, strict=True)]

    @property
    def mean(self) -> float | None:
        """The mean of all values; None before the first."""
        return self.total / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The value that *percent* of 100 of the values do not exceed, within 2.5 %; None before the first."""
        if not self.count:
            return None
        rank = max(1, math.ceil(self.count * percent / 100.0))
        place = next(place for place, seen in enumerate(accumulate(self._buckets)) if seen >= rank)
        if place == BUCKETS:
            return self.highest
        middle = SMALLEST * GROWTH ** (place - 1) * 2.0 * GROWTH / (GROWTH + 1.0)
        return min(max(middle, self.lowest), self.highest)

    def summary(self) -> dict[str, float | int | None]:
        """What is usually asked: count, mean, p50, p95, p99 and the largest."""
        return {
            "count": self.count,
            "mean": _rounded(self.mean),
            "p50": _rounded(self.percentile(50)),
            "p95": _rounded(self.percentile(95)),
            "p99": _rounded(self.percentile(99)),
            "max": _rounded(self.highest if self.count else None),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
