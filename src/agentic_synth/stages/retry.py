"""Trying again what may succeed the next time; waiting between tries holds no permit."""

from __future__ import annotations

from random import Random

import msgspec

from agentic_synth.clock import Clock
from agentic_synth.errors import InvalidRequest, RateLimited, SynthError, UpstreamError
from agentic_synth.policies.attempt import Attempt
from agentic_synth.policies.backoff import Backoff, RetryBudget
from agentic_synth.stage import Handler
from agentic_synth.stops import Stops
from agentic_synth.types import Request, Response

__all__ = ["Retry", "RetryStatistics"]

_POSTPONED = 3
_LIMITED = 4
_LEAST_WAIT_S = 0.05


class RetryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: requests that failed at least once, their tries after the first by cause, requests given up."""

    troubled: int
    retries: int
    rate_limited: int
    postponed: int
    given_up: int


class Retry:
    """Tries a request again where its error says that this may help, and hands it to another upstream where it may not.

    A failure costs one of the request's tries and one of the *budget* that all requests share; when the budget is
    empty, a request goes to another upstream or waits for the budget. Being rate limited costs neither: the limiter
    holds the request back until there is room, for as long as the policy's patience lasts. When the tries at one
    upstream are spent, the next in order gets them anew; each is asked once only, so there is an end.
    A request's deadline is never slept over, and a run that is stopped tries nothing again.
    """

    def __init__(
        self, policy: Backoff, budget: RetryBudget, clock: Clock, rng: Random, stops: Stops | None = None
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._rng = rng
        self._stops = stops or Stops()
        self._troubled = self._retries = self._rate_limited = self._postponed = self._given_up = 0

    async def __call__(self, request: Request, proceed: Handler[Request, Response], /) -> Response:
        self._budget.deposit()
        try:
            return await proceed(request)
        except InvalidRequest as error:
            error.attempts = 1
            raise
        except UpstreamError as error:
            if not error.retryable or request.ahead:
                error.attempts = 1
                raise
            failure = error
        self._troubled += 1
        course = _Course(self._clock.now(), alone=not failure.fallback)
        try:
            return await self._again(request, proceed, failure, course)
        except SynthError as error:
            self._given_up += 1
            error.attempts = course.number + 1
            raise

    def statistics(self) -> RetryStatistics:
        """A snapshot."""
        return RetryStatistics(
            troubled=self._troubled,
            retries=self._retries,
            rate_limited=self._rate_limited,
            postponed=self._postponed,
            given_up=self._given_up,
        )

    async def _again(
        self, request: Request, proceed: Handler[Request, Response], error: UpstreamError, course: _Course
    ) -> Response:
        course.note(error)
        while True:
            leaving = None
            if await self._stays(request, error, course):
                attempt = Attempt.of(request, course.number + 1, course.spent, None, course.failures)
            elif course.alone:
                raise error
            else:
                leaving = error
                attempt = Attempt.of(request, course.number + 1, (*course.spent, error.upstream), error)
            try:
                response = await proceed(attempt)
            except UpstreamError as next_error:
                if next_error is leaving:
                    # There is nobody else; what was refused for want of budget may still be granted.
                    course.alone = True
                    continue
                if not next_error.retryable:
                    raise
                if leaving is not None:
                    course.move(leaving.upstream, self._clock.now())
                course.number += 1
                course.note(next_error)
                error = next_error
            else:
                return msgspec.structs.replace(response, attempts=course.number + 2)

    async def _stays(self, request: Request, error: UpstreamError, course: _Course) -> bool:
        """Wait until the same upstream may be tried again; false if the request has had its tries there."""
        wait = self._delay(request, error, course)
        if wait is None:
            return False
        if isinstance(error, RateLimited):
            self._rate_limited += 1
        elif not await self._granted(request, error, course):
            return False
        if wait > 0:
            await self._sleep(request, wait)
        self._retries += 1
        return True

    def _delay(self, request: Request, error: UpstreamError, course: _Course) -> float | None:
        policy, now = self._policy, self._clock.now()
        asked = error.retry_after or 0.0
        rng = self._rng_of(error)
        if isinstance(error, RateLimited):
            # Where the upstream said when, the limiter holds the request back until then, in its turn.
            wait = 0.0 if asked else policy.delay(min(course.limited, _LIMITED), rng)
            ends = course.began + policy.patience
        else:
            if course.failures >= (policy.tries if course.alone else min(policy.tries, policy.tries_before_fallback)):
                return None
            wait = asked + policy.delay(course.failures, rng)
            ends = now + policy.patience
        if request.deadline is not None:
            ends = min(ends, request.deadline)
        return wait if now + max(wait, asked) < ends else None

    def _rng_of(self, error: UpstreamError) -> Random:
        """Those who failed in one call wait equally long."""
        return self._rng if error.chance is None else Random(error.chance)

    async def _granted(self, request: Request, error: UpstreamError, course: _Course) -> bool:
        """Take one retry, or a part of a shared one, from the budget; who has nowhere else to go waits for it."""
        part = 1.0 / error.sharers
        rng = self._rng_of(error)
        ends = self._clock.now() + self._policy.patience
        if request.deadline is not None:
            ends = min(ends, request.deadline)
        while not self._budget.withdraw(self._clock.now(), part):
            if not course.alone:
                return False
            self._postponed += 1
            wait = self._policy.delay(_POSTPONED, rng) + _LEAST_WAIT_S
            if self._clock.now() + wait >= ends:
                return False
            await self._sleep(request, wait)
        return True

    async def _sleep(self, request: Request, seconds: float) -> None:
        with self._stops.waiting(request.run):
            await self._clock.sleep(seconds)


class _Course:
    """What became of one request so far."""

    __slots__ = ("alone", "began", "failures", "limited", "number", "spent")

    def __init__(self, now: float, *, alone: bool) -> None:
        self.alone = alone
        self.began = now
        self.failures = 0
        self.limited = 0
        self.number = 0
        self.spent: tuple[str, ...] = ()

    def note(self, error: UpstreamError) -> None:
        """The last try ended with *error*."""
        if isinstance(error, RateLimited):
            self.limited += 1
        else:
            self.failures += 1

    def move(self, from_upstream: str, now: float) -> None:
        """Another upstream was asked, and has its own tries."""
        self.spent = (*self.spent, from_upstream)
        self.began = now
        self.failures = 0
        self.limited = 0
