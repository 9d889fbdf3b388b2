"""Providers in virtual time, and a client that asks them as fast as its limits allow.

A discrete-event simulation (one heap, no asyncio), so that an hour of a provider's behaviour is judged in seconds. It
drives the very policies that the engine uses; only the provider is simulated, and it shares no code with them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Literal, Protocol

from agentic_synth.errors import RateLimited
from agentic_synth.policies.admission import Admission
from agentic_synth.policies.concurrency import DelayLimit, FixedLimit
from agentic_synth.policies.rate import Amounts, RateLimit, Sent
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
    def listens(self, now: float) -> bool: ...
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
                requests_limit=10 * limit,
                requests_remaining=10 * limit,
                requests_reset_s=0.001,
                retry_after_s=retry_after,
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

    def __init__(self, world: World, limits: Limits, seed: int, beside: Client | None = None) -> None:
        self.world, self.limits, self.rng = world, limits, Random(seed)
        self.provider: Provider = beside.provider if beside else Provider(world, Random(seed + 1))
        self.events: list[tuple[float, int, Callable[[float], None]]] = beside.events if beside else []
        self.sequence: Iterator[int] = beside.sequence if beside else count()
        self.score = Score()
        self.demand = math.inf if world.waves is None else 0
        self.woken = math.inf
        self.size = self._next_size()
        self.rival_rng = Random(seed + 2)

    def at(self, when: float, then: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (when, next(self.sequence), then))

    def start(self) -> None:
        if self.world.waves:
            every, many = self.world.waves
            for wave in range(int(self.world.seconds / every)):
                self.at(wave * every, lambda now: self._wave(now, many))
        if self.world.rival:
            self.at(0.0, self._rival)
        self.at(0.0, self._pump)

    def run(self) -> Score:
        while self.events and self.events[0][0] < self.world.seconds:
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
        if now >= self.woken:
            self.woken = math.inf
            self._pump(now)

    def _pump(self, now: float) -> None:
        world, limits = self.world, self.limits
        while self.demand > 0:
            size = self.size
            amounts: Amounts = (
                (1.0, float(world.prompt + size), float(world.prompt), float(size))
                if world.tokens
                else (1.0, 0.0, 0.0, 0.0)
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
        if self.limits.listens(now):
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
    client = Client(world, limits, seed)
    client.start()
    score = client.run()
    score.ideal = ideal(world)
    return score


def play_together(world: World, limits: Sequence[Limits], seed: int) -> Score:
    """Several clients on one key, each with its own limits; what came of all of them."""
    clients = [first := Client(world, limits[0], seed)]
    clients += [Client(world, others, seed + 100 * place, first) for place, others in enumerate(limits[1:], 1)]
    for client in clients:
        client.start()
    first.run()
    total = Score(ideal=ideal(world))
    for client in clients:
        total.good += client.score.good
        total.refused += client.score.refused
        total.goods += client.score.goods
    return total


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


def adaptive() -> Admission:
    """What the engine uses where the user says nothing."""
    return Admission(DelayLimit(), RateLimit())


class CpuRule:
    """More in flight while this process has CPU to spare, fewer when it has not: what a client alone can see."""

    CPU_S_A_CALL = 100e-6
    MOST = 1_000

    def __init__(self) -> None:
        self.in_flight = 0
        self._limit = 16.0
        self._looked_at = 0.0
        self._calls = 0

    def admit(self, amounts: Amounts, now: float) -> Sent | None:
        if now - self._looked_at >= 0.1:
            busy = self._calls * self.CPU_S_A_CALL / (now - self._looked_at)
            self._limit = min(self._limit * 1.2, self.MOST) if busy < 0.8 else max(1.0, self._limit * 0.8)
            self._looked_at, self._calls = now, 0
        if self.in_flight >= self._limit:
            return None
        self.in_flight += 1
        self._calls += 1
        return Sent(now, amounts)

    def delay(self, amounts: Amounts, now: float) -> float:
        return math.inf

    def listens(self, now: float) -> bool:
        return False

    def observe(self, sent: Sent, headers: RateHeaders, now: float) -> None:
        """It looks at nothing but itself."""

    def succeed(self, sent: Sent, usage: Usage, latency: float | None, size: int, now: float) -> None:
        self.in_flight -= 1

    def fail(self, sent: Sent, error: RateLimited, headers: RateHeaders, now: float) -> None:
        self.in_flight -= 1


@dataclass(frozen=True)
class Scenario:
    """A world, and what must come of it: *goodput* at least, *refused* share at most."""

    world: World
    goodput: float | None = None
    refused: float | None = None
    clients: int = 1


def on_and_off(now: float) -> float:
    """A rival that takes half of the limit for a while."""
    return 50.0 if 30 <= now < 90 else 0.0


TWO_LENGTHS = ((0.8, 100), (0.2, 1_600))
SCENARIOS: dict[str, Scenario] = {
    "steady": Scenario(World(), 0.95, 0.005),
    "steady, a minute's burst": Scenario(World(burst_s=60, seconds=180), 0.95, 0.005),
    "limit halves": Scenario(World(changes=((60, 50.0),)), 0.95, 0.005),
    "limit rises tenfold": Scenario(World(rate=10.0, changes=((40, 100.0),)), 0.95, 0.005),
    "demand in bursts": Scenario(World(waves=(20.0, 1_500)), 0.95, 0.005),
    "rival comes and goes": Scenario(World(rival=on_and_off), 0.95, 0.005),
    "two of ours on one key": Scenario(World(), 0.90, 0.03, clients=2),
    "bimodal lengths, tokens a minute": Scenario(World(tokens=40_000.0, lengths=TWO_LENGTHS), 0.95, 0.005),
    "no headers": Scenario(World(headers="absent"), 0.90, 0.03),
    "no headers, no Retry-After": Scenario(World(headers="absent", retry_after="none"), 0.90, 0.03),
    "no headers, limit halves": Scenario(World(headers="absent", changes=((60, 50.0),)), 0.90, 0.03),
    "lying headers": Scenario(World(headers="lying"), 0.90, 0.03),
    "90 % refused for 60 s": Scenario(World(storm=(20.0, 80.0), seconds=150)),
    "90 % refused for 60 s, no headers": Scenario(World(storm=(20.0, 80.0), seconds=150, headers="absent")),
    "90 % refused at the start, nothing told": Scenario(
        World(storm=(0.0, 60.0), seconds=120, headers="absent", retry_after="none")
    ),
}
KNEES: dict[str, World] = {
    "self-hosted, knee at 64": World(knee=64, sigma=0.3, seconds=180),
    "self-hosted, knee at 64, bimodal lengths": World(knee=64, sigma=0.3, seconds=240, lengths=TWO_LENGTHS),
}


def play_scenario(scenario: Scenario, seed: int) -> Score:
    """One scenario with the engine's limits."""
    if scenario.clients > 1:
        return play_together(scenario.world, [adaptive() for _ in range(scenario.clients)], seed)
    return play(scenario.world, adaptive(), seed)


def after_storm(score: Score, world: World) -> float:
    """The share of the allowed rate that is reached from 30 s after the storm on."""
    assert world.storm
    return score.rate_between(world.storm[1] + 30, world.storm[1] + 38) / world.rate


def at_the_knee(world: World, seed: int) -> tuple[float, float]:
    """Throughput as a share of the knee's, and the 99th percentile of latency as a multiple of the knee's."""
    settled = world.seconds / 3
    found, best = play(world, adaptive(), seed), play(world, Admission(FixedLimit(world.knee or 1), RateLimit()), seed)
    end = world.seconds
    return found.rate_between(settled, end) / best.rate_between(settled, end), found.p99(settled) / best.p99(settled)
