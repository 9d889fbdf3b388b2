"""The provider's own rate limit: a steadily refilling bucket, and what its headers say of it.

Kept apart from the client's buckets on purpose: a judge shares no code with the judged.
"""

from __future__ import annotations

from agentic_synth.testing.behaviour import Honesty, Rate

__all__ = ["Bucket"]

_EXAGGERATION = 10


class Bucket:
    """How much of one limit is left; times are passed in."""

    __slots__ = ("_at", "level", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.level = rate.burst
        self._at = now

    def change(self, rate: Rate, now: float) -> None:
        """Go on under a new limit with what is left of the old one."""
        self._refill(now)
        self.rate = rate
        self.level = min(self.level, rate.burst)

    def wait(self, now: float, amount: float) -> float:
        """Seconds until *amount* is there, 0 if it is; more than the bucket holds asks for a full bucket."""
        self._refill(now)
        missing = min(amount, self.rate.burst) - self.level
        return missing / self.rate.per_second if missing > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take *amount*, going into debt if need be (at most one burst deep, so that a storm ends)."""
        self.level = max(self.level - amount, -max(self.rate.burst, amount))

    def headers(self, name: str, honesty: Honesty) -> dict[str, str]:
        """The three ``x-ratelimit-*`` headers of the limit called *name*, in OpenAI's spelling."""
        limit, level, reset = self.rate.amount, self.level, (self.rate.burst - self.level) / self.rate.per_second
        if honesty == "lying":
            limit, level, reset = limit * _EXAGGERATION, limit * _EXAGGERATION, 0.001
        return {
            f"x-ratelimit-limit-{name}": str(round(limit)),
            f"x-ratelimit-remaining-{name}": str(max(0, int(level))),
            f"x-ratelimit-reset-{name}": _go_duration(reset),
        }

    def _refill(self, now: float) -> None:
        self.level = min(self.rate.burst, self.level + (now - self._at) * self.rate.per_second)
        self._at = now


def _go_duration(seconds: float) -> str:
    """``20ms``, ``1.5s``, ``6m0s``: the way the headers spell a duration."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{max(milliseconds, 0)}ms"
    minutes, rest = divmod(milliseconds / 1000, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
