"""Keeping this process able to work: too much loop lag or memory lowers every limit, and nothing raises one."""

from __future__ import annotations

__all__ = ["ProcessGuard"]

_CUT = 0.8
_STEP = 0.05
_LEAST = 0.05


class ProcessGuard:
    """The share of each concurrency limit that this process can bear, 1.0 while it is well.

    Above *lag* seconds of event-loop delay or *memory_bytes* of resident memory the share is cut to 0.8 of it at every
    look; below half that lag and 0.9 of that memory it comes back in small steps.
    """

    __slots__ = ("_lag", "_memory_bytes", "share")

    def __init__(self, *, lag: float = 0.25, memory_bytes: float | None = None) -> None:
        self._lag = lag
        self._memory_bytes = memory_bytes
        self.share = 1.0

    def record(self, lag: float, memory_bytes: float) -> None:
        """One look at the process."""
        most = self._memory_bytes
        if lag > self._lag or (most is not None and memory_bytes > most):
            self.share = max(_LEAST, self.share * _CUT)
        elif lag < self._lag / 2 and (most is None or memory_bytes < 0.9 * most):
            self.share = min(1.0, self.share + _STEP)

    def lower(self, limit: int) -> int:
        """*limit*, or less; never below one, so that work goes on."""
        return limit if self.share >= 1.0 else max(1, int(limit * self.share))
