"""Whether a call may go to an upstream now: room in flight, room in its rate, and what replies say of both."""

from __future__ import annotations

import math
from typing import Self

import msgspec

from agentic_synth.config import UpstreamConfig
from agentic_synth.errors import RateLimited, UpstreamError
from agentic_synth.policies.concurrency import ConcurrencyLimit, DelayLimit, FixedLimit
from agentic_synth.policies.guard import ProcessGuard
from agentic_synth.policies.rate import Amounts, RateLimit, Sent
from agentic_synth.policies.rate_headers import RateHeaders
from agentic_synth.policies.tokens import call_tokens, output_bound
from agentic_synth.types import Call, Outcome, Usage

__all__ = ["Admission", "AdmissionStatistics"]

_ONE: Amounts = (1.0, 0.0, 0.0, 0.0)
_USUAL_OUTPUT = 256.0
_LEARN = 0.05
_MARGIN = 1.25
_LISTEN_S = 0.01


class AdmissionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: the limit now, calls in flight, calls a second allowed (None: unknown), and how calls went."""

    limit: int
    in_flight: int
    per_second: float | None
    gated_seconds: float
    success: int
    dropped: int
    ignored: int
    rate_limited: int


class Admission:
    """One upstream's limits in series; the smaller wins.

    Every call that was admitted must be ended once, by :meth:`succeed`, :meth:`fail` or :meth:`cancel`.
    """

    def __init__(self, concurrency: ConcurrencyLimit, rate: RateLimit, guard: ProcessGuard | None = None) -> None:
        self._concurrency = concurrency
        self._rate = rate
        self._guard = guard
        self._output = _USUAL_OUTPUT
        self.in_flight = 0
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._rate_limited = 0
        self._listen_at = -math.inf

    @classmethod
    def of(
        cls, upstream: UpstreamConfig, *, concurrency: int | None, guard: ProcessGuard | None = None, now: float = 0.0
    ) -> Self:
        """What *upstream* and the user's *concurrency* (None: adaptive) ask for."""
        caps = (
            upstream.requests_per_minute, None, upstream.input_tokens_per_minute, upstream.output_tokens_per_minute
        )  # fmt: skip
        most = upstream.max_connections
        limit = DelayLimit(most=most) if concurrency is None else FixedLimit(concurrency)
        return cls(limit, RateLimit(caps, now=now), guard)

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        guard = self._guard
        return self._concurrency.limit if guard is None else guard.lower(self._concurrency.limit)

    def amounts(self, call: Call) -> Amounts:
        """What *call* will take of each limit, as far as can be told."""
        if not self._rate.counts_tokens:
            return _ONE
        inputs = float(call_tokens(call))
        bound = output_bound(call.request)
        expected = self._output * _MARGIN
        outputs = expected if bound is None or expected < bound else float(bound)
        return (1.0, inputs + outputs, inputs, outputs)

    def admit(self, amounts: Amounts, now: float) -> Sent | None:
        """Take room for one call, if there is room."""
        if self.in_flight >= self.limit or self._rate.delay(amounts, now) > 0.0:
            return None
        self.in_flight += 1
        return self._rate.send(amounts, now)

    def delay(self, amounts: Amounts, now: float) -> float:
        """Seconds after which asking again may help; infinite if only the end of another call can."""
        return math.inf if self.in_flight >= self.limit else self._rate.delay(amounts, now)

    def listens(self, now: float) -> bool:
        """Whether the headers of a reply that came now are worth reading: a hundred looks a second tell enough."""
        if now < self._listen_at:
            return False
        self._listen_at = now + _LISTEN_S
        return True

    def observe(self, sent: Sent, headers: RateHeaders, now: float) -> None:
        """The headers of a reply that began well."""
        self._rate.observe(sent, headers, now)

    def succeed(self, sent: Sent, usage: Usage, latency: float | None, size: int, now: float) -> None:
        """The call is over; *latency* (None: unknown) is compared among answers of the same *size*."""
        if latency is not None:
            self._concurrency.record(latency, size, sent.at, self.in_flight, now)
            if self._rate.stated and self._concurrency.starting:
                # Little's law: so many are in flight when the upstream's stated rate is used to the full.
                self._concurrency.expect(_MARGIN * self._rate.per_second(sent.amounts) * (now - sent.at))
        self._end(Outcome.SUCCESS)
        used: tuple[float, float] | None = None
        if usage.input_tokens or usage.output_tokens:
            self._output += _LEARN * (usage.output_tokens - self._output)
            used = (usage.input_tokens - usage.cached_tokens, usage.output_tokens)
        self._rate.accept(sent, used, now)

    def fail(self, sent: Sent, error: UpstreamError, headers: RateHeaders, now: float) -> None:
        """The upstream failed the call."""
        self._end(error.outcome)
        self._rate.observe(sent, headers, now)
        if isinstance(error, RateLimited):
            self._rate_limited += 1
            self._rate.refuse(sent, headers, now)
        else:
            self._rate.shut(headers.retry_after_s, now)

    def cancel(self, sent: Sent) -> None:
        """The call was given up, or never left: the upstream has no part in it."""
        self._end(Outcome.IGNORED)

    def _end(self, outcome: Outcome) -> None:
        self.in_flight -= 1
        self._outcomes[outcome] += 1

    def statistics(self, now: float) -> AdmissionStatistics:
        """A snapshot."""
        per_second = self._rate.per_second(_ONE)
        return AdmissionStatistics(
            limit=self.limit,
            in_flight=self.in_flight,
            per_second=None if math.isinf(per_second) else per_second,
            gated_seconds=self._rate.gated(now),
            success=self._outcomes[Outcome.SUCCESS],
            dropped=self._outcomes[Outcome.DROPPED],
            ignored=self._outcomes[Outcome.IGNORED],
            rate_limited=self._rate_limited,
        )
