"""An upstream's own bucket, mirrored here from the headers of its replies."""

from __future__ import annotations

import math

from agentic_synth.policies.bucket import Bucket
from agentic_synth.policies.rival import Rival
from agentic_synth.policies.window import Window

__all__ = ["Facts", "Mirror"]

Facts = tuple[float | None, float | None, float | None]
"""What headers say of one limit: its size, what remains of it, seconds until it is whole again."""

_RESERVE_S = 1.0
_LEAST_SHARE = 0.05
_DOUBTS = 200
_STALE_S = 0.5


class Mirror:
    """How much of one limit (requests, or tokens of a kind) is left at the upstream, as far as can be known.

    A header tells what was left when the upstream looked, somewhere between our sending and its reply. What it got
    since is not in it yet, what refilled since is neither: so the truth lies between ``remaining - got since`` and
    that plus the refill, and the mirror is moved only when it is outside.

    What should be left and is neither there nor ours was taken by somebody else on the same key; it is measured and
    left to them (*rival*), with a reserve, so that two who share a key do not meet at an empty bucket.
    """

    __slots__ = (
        "_bucket",
        "_capacity",
        "_doubts",
        "_newest",
        "_refill",
        "_rival",
        "_valid_from",
        "_window",
        "limit",
        "plausible",
        "sent",
    )

    def __init__(self) -> None:
        self.limit: float | None = None
        self.plausible = False
        self._rival = Rival()
        self.sent = 0.0
        self._bucket = Bucket(1.0, 1.0, 0.0)
        self._capacity = 0.0
        self._refill = 0.0
        self._valid_from = -math.inf
        self._newest = -math.inf
        self._window = Window()
        self._doubts = 0

    @property
    def rival(self) -> float:
        """What others on the same key take, a second."""
        return self._rival.rate

    @property
    def rate(self) -> float:
        """What flows in for us, a second."""
        return self._bucket.rate

    def level(self, now: float) -> float:
        """What is left for us."""
        return self._bucket.level(now)

    def delay(self, amount: float, now: float) -> float:
        """Seconds until *amount* may be sent; 0.0 for now, or if nothing is known."""
        if self.limit is None:
            return 0.0
        # The reserve is kept only against somebody: alone on the key the last one is ours.
        return self._bucket.delay(amount + self._rival.rate * _RESERVE_S, now)

    def send(self, amount: float) -> float:
        """*amount* goes out; returns the running total of all that did."""
        self.sent += amount
        if self.limit is not None:
            self._bucket.take(amount)
        return self.sent

    def settle(self, surplus: float) -> None:
        """A call took *surplus* less than what was sent for it (more, if negative)."""
        if self.limit is not None:
            self._bucket.take(-surplus)

    def refuse(self, amount: float) -> None:
        """A call was refused, so its *amount* was not taken."""
        self._rival.refuse(amount)

    def exhaust(self, now: float) -> None:
        """The upstream refused for want of it."""
        self._doubts = 0
        self._rival.suspect(self._refill)
        self._bucket.set(min(self._bucket.level(now), 0.0), now)

    def observe(self, facts: Facts, before: float, after: float, sent_at: float, now: float) -> None:
        """The reply to a call sent at *sent_at* says *facts*; nonsense is passed over.

        When the upstream looked, at least the running total *before* had arrived there, and at most *after*.
        """
        limit, remaining, reset = facts
        if limit is None or limit < 1 or remaining is None or remaining > limit or sent_at < self._valid_from:
            return
        if remaining == 0 and self._distrusted():
            return
        if remaining < limit:
            # Who says that all is left, whatever we send, states no limit to rely on.
            self.plausible = True
        self._fit(limit, remaining, reset, sent_at, now)
        if sent_at > self._newest:
            self._newest = sent_at
        elif sent_at < self._newest - _STALE_S:
            return
        lowest = remaining - (self.sent - before)
        highest = remaining - (self.sent - after) + (now - sent_at) * self._bucket.rate + 1.0
        level = self._bucket.level(now)
        if level < lowest or level > highest:
            self._bucket.set(lowest if level < lowest else highest, now)
        self._rival.observe(sent_at, (before + after) / 2, remaining, self._refill, self._capacity)
        self._bucket.rate = max(self._refill - self._rival.rate, _LEAST_SHARE * self._refill)

    def _fit(self, limit: float, remaining: float, reset: float | None, sent_at: float, now: float) -> None:
        """Take over what is said of the limit itself, and learn how much it holds and how fast it refills."""
        if self.limit is not None and limit != self.limit:
            self._capacity *= limit / self.limit
        self._capacity = min(max(self._capacity, remaining + 1.0), limit)
        if reset is not None:
            self._window.learn(limit, self._capacity - remaining, reset)
        self._bucket.level(now)
        self._bucket.capacity = self._capacity
        refill = limit / self._window.seconds
        if limit == self.limit and refill == self._refill:
            return
        self.limit = limit
        self._refill = refill
        self._rival.forget()
        # What calls of before the change still say is of the old limit.
        self._valid_from = self._newest = sent_at

    def _distrusted(self) -> bool:
        """A bucket that is said to be empty at every call, none of which is refused, is not what limits us."""
        self._doubts += 1
        return self._doubts > _DOUBTS
