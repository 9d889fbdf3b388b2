"""Providers in virtual time, and a client that asks them as fast as its limits allow.

A discrete-event simulation (one heap, no asyncio), so that an hour of a provider's behaviour is judged in seconds. It
drives the very policies that the engine uses; only the provider is simulated, and it shares no code with them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol

from agentic_synth.errors import RateLimited
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.rate import Amounts, Sent
from agentic_synth.policies.rate_headers import RateHeaders
from agentic_synth.types import Usage

Headers = Literal["truthful", "absent", "lying"]
UPLINK_S = 0.01
REFUSAL_S = 0.03


@dataclass(frozen=True)
class World:
    """A provider and what happens to it. Rates are a second; *changes* are (instant, new requests a second)."""

    seconds: float = 120.0
    rate: float = 100.0
    burst_s: float = 1.0
    tokens: float | None = None
    latency: float = 1.0
    sigma: float = 0.4
    headers: Headers = "truthful"
    retry_after: Literal["none", "seconds", "exact"] = "seconds"
    changes: Sequence[tuple[float, float]] = ()
    storm: tuple[float, float] | None = None
    rival: Callable[[float], float] | None = None
    lengths: Sequence[tuple[float, int]] = ((1.0, 200),)
    prompt: int = 100
    waves: tuple[float, int] | None = None
    knee: int | None = None


@dataclass
class Score:
    """What came of it."""

    good: int = 0
    refused: int = 0
    ideal: float = 0.0
    latencies: list[float] = field(default_factory=list)
    goods: list[float] = field(default_factory=list)
    most_in_flight: int = 0

    @property
    def goodput(self) -> float:
        return self.good / self.ideal

    @property
    def refused_share(self) -> float:
        return self.refused / max(1, self.refused + self.good)

    def rate_between(self, start: float, end: float) -> float:
        return sum(start <= at < end for at in self.goods) / (end - start)

    def p99(self, since: float) -> float:
        late = sorted(latency for at, latency in zip(self.goods, self.latencies, strict=True) if at >= since)
        return late[int(0.99 * (len(late) - 1))]


class Limits(Protocol):
    """What the client asks before it sends; the engine's is :class:`Admission`."""

    in_flight: int

    def admit(self, amounts: Amounts, now: float) -> Sent | None: ...
    def delay(self, amounts: Amounts, now: float) -> float: ...
    def observe(self, sent: Sent, headers: RateHeaders, now: float) -> None: ...
    def succeed(self, sent: Sent, usage: Usage, latency: float | None, size: int, now: float) -> None: ...
    def fail(self, sent: Sent, error: RateLimited, headers: RateHeaders, now: float) -> None: ...


class _Level:
    """The provider's own bucket."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.level, self.at = rate, burst, burst, 0.0

    def refill(self, now: float) -> None:
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now

    def wait(self, amount: float) -> float:
        return max(0.0, (min(amount, self.burst) - self.level) / self.rate)


class Provider:
    """Answers or refuses; with a *knee* it serves so many side by side and lets the others wait."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world, self.rng = world, rng
        self.requests = _Level(world.rate, world.rate * world.burst_s)
        tokens = world.tokens
        self.tokens = _Level(tokens, tokens * world.burst_s) if tokens is not None else None
        self.changes = list(world.changes)
        self.free_at = [0.0] * (world.knee or 0)

    def take(self, now: float, prompt: int, reserved: int) -> float | None:
        """None if it is served, else the seconds to stay away."""
        while self.changes and self.changes[0][0] <= now:
            _, rate = self.changes.pop(0)
            self.requests.refill(now)
            self.requests.rate, self.requests.burst = rate, rate * self.world.burst_s
            self.requests.level = min(self.requests.level, self.requests.burst)
        if self.world.knee is not None:
            return None
        storm = self.world.storm
        if storm and storm[0] <= now < storm[1] and self.rng.random() < 0.9:
            return 1.0
        self.requests.refill(now)
        wait = self.requests.wait(1.0)
        if self.tokens is not None:
            self.tokens.refill(now)
            wait = max(wait, self.tokens.wait(prompt + reserved))
        if wait > 1e-9:
            return wait
        self.requests.level -= 1.0
        if self.tokens is not None:
            self.tokens.level -= prompt + reserved
        return None

    def duration(self, now: float, size: int) -> float:
        """How long the answer takes, from its arrival at the provider."""
        world = self.world
        service = world.latency * math.exp(self.rng.gauss(0.0, world.sigma)) * (0.3 + 0.7 * size / 200)
        if world.knee is None:
            return service
        begin = max(now, heapq.heappop(self.free_at))
        heapq.heappush(self.free_at, begin + service)
        return begin + service - now

    def headers(self, refused: float | None) -> RateHeaders:
        """What the reply says."""
        told = {"none": None, "exact": refused, "seconds": math.ceil(refused) if refused is not None else None}
        retry_after = told[self.world.retry_after] if refused is not None else None
        if self.world.headers == "absent" or self.world.knee is not None:
            return RateHeaders(retry_after_s=retry_after)
        bucket, tokens = self.requests, self.tokens
        limit = bucket.rate * 60
        if self.world.headers == "lying":
            return RateHeaders(
                requests_limit=10 * limit, requests_remaining=10 * limit, requests_reset_s=0.001, retry_after_s=retry_after
            )
        return RateHeaders(
            requests_limit=limit,
            requests_remaining=math.floor(max(0.0, bucket.level)),
            requests_reset_s=(bucket.burst - bucket.level) / bucket.rate,
            tokens_limit=tokens.rate * 60 if tokens else None,
            tokens_remaining=math.floor(max(0.0, tokens.level)) if tokens else None,
            tokens_reset_s=(tokens.burst - tokens.level) / tokens.rate if tokens else None,
            retry_after_s=retry_after,
        )


class Client:
    """Sends whatever its limits admit; what is refused is asked again."""

    def __init__(self, world: World, limits: Limits, seed: int) -> None:
        self.world, self.limits, self.rng = world, limits, Random(seed)
        self.provider = Provider(world, Random(seed + 1))
        self.score = Score()
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.sequence = 0
        self.demand = math.inf if world.waves is None else 0
        self.woken = math.inf
        self.size = self._next_size()
        self.rival_rng = Random(seed + 2)

    def at(self, when: float, then: Callable[[float], None]) -> None:
        self.sequence += 1
        heapq.heappush(self.events, (when, self.sequence, then))

    def run(self) -> Score:
        end = self.world.seconds
        if self.world.waves:
            every, many = self.world.waves
            for wave in range(int(end / every)):
                self.at(wave * every, lambda now: self._wave(now, many))
        if self.world.rival:
            self.at(0.0, self._rival)
        self.at(0.0, self._pump)
        while self.events and self.events[0][0] < end:
            now, _, then = heapq.heappop(self.events)
            then(now)
        return self.score

    def _wave(self, now: float, many: int) -> None:
        self.demand += many
        self._pump(now)

    def _rival(self, now: float) -> None:
        assert self.world.rival
        rate = self.world.rival(now)
        if rate > 0:
            self.provider.take(now, 0, 0)
            self.at(now + self.rival_rng.expovariate(rate), self._rival)
        else:
            self.at(now + 0.1, self._rival)

    def _next_size(self) -> int:
        draw, total = self.rng.random(), 0.0
        for share, size in self.world.lengths:
            total += share
            if draw < total:
                return size
        return self.world.lengths[-1][1]

    def _wake(self, now: float) -> None:
        self.woken = math.inf
        self._pump(now)

    def _pump(self, now: float) -> None:
        world, limits = self.world, self.limits
        while self.demand > 0:
            size = self.size
            amounts: Amounts = (
                (1.0, float(world.prompt + size), float(world.prompt), float(size)) if world.tokens else (1.0, 0.0, 0.0, 0.0)
            )
            sent = limits.admit(amounts, now)
            if sent is None:
                wait = limits.delay(amounts, now)
                if now + wait < self.woken - 1e-6 and not math.isinf(wait):
                    self.woken = now + wait
                    self.at(self.woken, self._wake)
                return
            self.demand -= 1
            self.size = self._next_size()
            self.score.most_in_flight = max(self.score.most_in_flight, limits.in_flight)
            self._send(now, sent, size)

    def _send(self, now: float, sent: Sent, size: int) -> None:
        arrives = now + UPLINK_S * (0.5 + self.rng.random())

        def arrive(then: float) -> None:
            refused = self.provider.take(then, self.world.prompt, size)
            headers = self.provider.headers(refused)
            if refused is not None:
                self.at(then + REFUSAL_S, lambda at: self._refused(at, sent, headers))
            else:
                took = self.provider.duration(then, size)
                self.at(then + took, lambda at: self._answered(at, sent, headers, size))

        self.at(arrives, arrive)

    def _answered(self, now: float, sent: Sent, headers: RateHeaders, size: int) -> None:
        self.limits.observe(sent, headers, now)
        self.limits.succeed(sent, Usage(self.world.prompt, size), now - sent.at, size, now)
        self.score.good += 1
        self.score.goods.append(now)
        self.score.latencies.append(now - sent.at)
        self._pump(now)

    def _refused(self, now: float, sent: Sent, headers: RateHeaders) -> None:
        self.limits.fail(sent, RateLimited("refused"), headers, now)
        self.score.refused += 1
        self.demand += 1
        self._pump(now)


def play(world: World, limits: Limits, seed: int) -> Score:
    """Let a client with *limits* work in *world*, and say how near it came to the ideal."""
    score = Client(world, limits, seed).run()
    score.ideal = ideal(world)
    return score


def ideal(world: World) -> float:
    """The most calls that could have been answered within the time: the limit used to the full, nothing refused.

    What is sent in the last moments is not answered in time, however good the client is.
    """
    mean_size = sum(share * size for share, size in world.lengths)
    mean_latency = world.latency * math.exp(world.sigma**2 / 2) * (0.3 + 0.7 * mean_size / 200)
    usable = world.seconds - mean_latency
    if world.knee is not None:
        return world.knee / mean_latency * usable
    total, at, rate = world.rate * world.burst_s, 0.0, world.rate
    for when, new in (*world.changes, (usable, 0.0)):
        total += max(0.0, min(when, usable) - at) * rate
        at, rate = max(at, min(when, usable)), new
    if world.tokens is not None:
        total = min(total, world.tokens * (usable + world.burst_s) / (world.prompt + mean_size))
    if world.storm is not None:
        total -= 0.9 * (world.storm[1] - world.storm[0]) * world.rate
    if world.rival is not None:
        steps = 1_000
        total -= sum(min(world.rival(i * usable / steps), world.rate) for i in range(steps)) * usable / steps
    if world.waves is not None:
        total = min(total, world.waves[1] * int(world.seconds / world.waves[0]))
    return total
