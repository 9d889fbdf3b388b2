"""When a request that failed is tried again, and how many such tries all requests together may make."""

from __future__ import annotations

from random import Random

import msgspec

__all__ = ["Backoff", "RetryBudget"]

_GROWTH = 4.0
_STEADY = 2
_MAX_DOUBLINGS = 16


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long a request waits before it is tried again: full jitter, narrow at first, wide soon.

    The waits are uniform up to *base* / 16, / 4, *base*, 4 x *base* ..., and at most *cap*: one lost packet costs
    milliseconds, and an outage of a minute is outlived within *tries* tries. Where another upstream may answer, it is
    asked after *tries_before_fallback*. *patience* is how many seconds a request
    bears being told to come later (rate limits), which costs it no try.
    (Full jitter: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.)
    """

    base: float = 0.5
    cap: float = 60.0
    tries: int = 8
    tries_before_fallback: int = 2
    patience: float = 900.0

    def delay(self, failures: int, rng: Random) -> float:
        """Seconds to wait after the *failures*-th failure in a row (1 is the first)."""
        widest = self.base * _GROWTH ** (min(failures, _MAX_DOUBLINGS) - 1 - _STEADY)
        return rng.random() * min(self.cap, widest)


class RetryBudget:
    """Retries as a share of traffic, so that they cannot turn an overload into a storm.

    Every request deposits *share* of a retry, every retry withdraws one. *minimum* retries are there from the start
    and come back at *minimum* / 10 a second, so that a small run can retry too. What is saved up is bounded.
    (After the retry budgets of Finagle and gRPC.)
    """

    __slots__ = ("_at", "_balance", "_most", "granted", "minimum", "refused", "share")

    def __init__(self, share: float = 0.2, minimum: float = 10.0) -> None:
        self.share = share
        self.minimum = minimum
        self.granted = 0
        self.refused = 0
        self._most = 10.0 * max(minimum, 1.0)
        self._balance = minimum
        self._at: float | None = None

    @property
    def balance(self) -> float:
        """How many retries may be made now."""
        return self._balance

    def deposit(self) -> None:
        """A new request came."""
        balance = self._balance + self.share
        self._balance = min(self._most, balance)

    def withdraw(self, now: float, amount: float = 1.0) -> bool:
        """Take one retry out, or that part of one which is the caller's, if there is as much."""
        if self._at is None:
            self._at = now
        if self._balance < self.minimum:
            self._balance = min(self.minimum, self._balance + (now - self._at) * self.minimum / 10.0)
        self._at = now
        if self._balance < amount:
            self.refused += 1
            return False
        self._balance -= amount
        self.granted += 1
        return True
