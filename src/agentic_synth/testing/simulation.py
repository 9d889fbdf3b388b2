"""What a simulated provider decides about each call: a synchronous state machine without clock, I/O or loop."""

from __future__ import annotations

import math
from collections import Counter
from hashlib import blake2b
from statistics import NormalDist
from struct import Struct as Packing
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET

from agentic_synth.testing.behaviour import CALL_FAULTS, Behaviour, Latency, Rate
from agentic_synth.testing.buckets import Bucket
from agentic_synth.testing.sightings import Sightings

__all__ = ["Fate", "Simulation", "chances"]

Kind: TypeAlias = Literal["answer", "rate_limited", "error", "stall", "cut", "malformed", "reset"]

REFUSAL_SECONDS = 0.002
"""How soon a call over the limit is told so."""
_ERRORS = (500, 502, 503, 529)
_NORMAL = NormalDist()
_KEY = Packing("<qQq")
_CHANCES = Packing("<4Q")
_MOST_DUPLICATES = 100


class Fate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes of one call.

    *wait* is the time to the first token, or to the failure; *share* a number between 0 and 1 that says where a stream
    stalls or is cut. *occurrence* is how often the request came before, *answered* how often it had a full answer.
    """

    kind: Kind
    key: int
    status: int = 200
    wait: float = 0.0
    per_token: float = 0.0
    share: float = 0.0
    occurrence: int = 0
    answered: int = 0
    input_tokens: int = 0
    headers: dict[str, str] = {}
    retry_after: float | None = None


def chances(seed: int, key: int, occurrence: int) -> tuple[float, float, float, float]:
    """Four numbers in [0, 1) that depend on nothing but the arguments: the same in every process."""
    digest = blake2b(_KEY.pack(seed, key, occurrence), digest_size=32).digest()
    a, b, c, d = _CHANCES.unpack(digest)
    return a * 2.0**-64, b * 2.0**-64, c * 2.0**-64, d * 2.0**-64


def draw_latency(latency: Latency, chance: float) -> float:
    """The quantile *chance* of the law."""
    match latency.law:
        case "uniform":
            return latency.low + (latency.high - latency.low) * chance
        case "lognormal":
            return latency.low * math.exp(latency.sigma * _NORMAL.inv_cdf(min(max(chance, 1e-12), 1 - 1e-12)))
    return latency.low


class Simulation:
    """The provider's side of every call: its limits, its load, its moods, and its books.

    Each call is one :meth:`arrive` and, unless it was refused for its rate, one :meth:`leave`. Time starts with the
    first call. Faults and latency depend on (seed, request, how often it came); only the limits and the knee depend on
    what else is going on.
    """

    def __init__(self, behaviour: Behaviour | None = None, *, seed: int = 0) -> None:
        self.behaviour = behaviour or Behaviour()
        self.seed = seed
        self._sightings = Sightings()
        self._changes = list(reversed(self.behaviour.schedule))
        self._start: float | None = None
        self._harm = 0.0
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.in_flight = 0
        self._peak = 0
        self._kinds: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._duplicates: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()

    def arrive(self, now: float, key: int, input_tokens: int) -> Fate:
        """Decide what becomes of the request *key*, which comes at *now*."""
        elapsed = self._keep_schedule(now)
        occurrence = self._sightings.arrive(key)
        self._counts["received"] += 1
        self._counts["repeated"] += occurrence > 0
        wait = self._wait(now, input_tokens)
        if wait > 0:
            return self._refuse(key, occurrence, wait)
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        self._counts["input_tokens"] += input_tokens
        which, when, where, status = chances(self.seed, key, occurrence)
        kind = self._kind(which, elapsed)
        latency = self.behaviour.latency
        slowness = self._slowness(elapsed)
        return Fate(
            kind=kind,
            key=key,
            status=_ERRORS[int(status * len(_ERRORS))] if kind == "error" else 200,
            wait=draw_latency(latency, when) * slowness,
            per_token=latency.per_token * slowness,
            share=where,
            occurrence=occurrence,
            answered=self._sightings.answered(key),
            input_tokens=input_tokens,
            headers=self._headers(),
        )

    def leave(self, now: float, fate: Fate, output_tokens: int = 0, *, complete: bool) -> None:
        """The call of *fate* is over; *complete* says that the client was given the whole answer."""
        self.in_flight -= 1
        self._counts["output_tokens"] += output_tokens
        if self._tokens is not None and output_tokens:
            self._tokens.wait(now, 0)
            self._tokens.take(output_tokens)
        if not complete:
            if fate.kind == "answer":
                self._counts["abandoned"] += 1
            return
        self.finish(fate)

    def enlist(self, key: int, input_tokens: int) -> Fate:
        """Take the request *key* as part of a batch, which no limit holds back and no fault of a call befalls."""
        occurrence = self._sightings.arrive(key)
        self._counts["received"] += 1
        self._counts["repeated"] += occurrence > 0
        self._counts["input_tokens"] += input_tokens
        answered = self._sightings.answered(key)
        return Fate(kind="answer", key=key, occurrence=occurrence, answered=answered, input_tokens=input_tokens)

    def finish(self, fate: Fate) -> None:
        """Note in the books that the request was given its whole answer."""
        self._counts["answered"] += 1
        if self._sightings.answer(fate.key):
            self._counts["answered_again"] += 1
            if fate.key in self._duplicates or len(self._duplicates) < _MOST_DUPLICATES:
                self._duplicates[fate.key] += 1

    def withdraw(self) -> None:
        """An admitted call turned out to be a wrong request, which no model sees."""
        self.in_flight -= 1

    def count(self, kind: str, status: int | None) -> None:
        """Note what went out: the *kind* of the reply, and its HTTP status unless none was sent."""
        self._kinds[kind] += 1
        if status is not None:
            self._statuses[status] += 1

    def statistics(self) -> dict[str, object]:
        """The books: ``repeated`` counts requests that had come before, ``answered_again`` those that were paid twice.

        ``duplicates`` lists up to 100 of the requests that were answered again. ``forgotten`` says how many arrivals
        were too many to be compared with those before them.
        """
        names = (
            "received", "answered", "repeated", "answered_again", "abandoned", "input_tokens", "output_tokens",
        )  # fmt: skip
        return {
            **{name: self._counts[name] for name in names},
            "distinct": self._sightings.distinct,
            "forgotten": self._sightings.forgotten,
            "in_flight": self.in_flight,
            "peak_in_flight": self._peak,
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "kinds": dict(sorted(self._kinds.items())),
            "duplicates": [{"request": f"{key:016x}", "answers": count + 1} for key, count in self._duplicates.items()],
        }

    def _keep_schedule(self, now: float) -> float:
        """Apply the changes that are due; returns the seconds since the first call."""
        if self._start is None:
            self._start = now
            self._behave(now)
        elapsed = now - self._start
        while self._changes and self._changes[-1].at <= elapsed:
            change = self._changes.pop()
            fields = {name: getattr(change, name) for name in change.__struct_fields__ if name != "at"}
            changed = {name: value for name, value in fields.items() if value is not UNSET}
            self.behaviour = msgspec.structs.replace(self.behaviour, **changed)
            self._behave(now)
        return elapsed

    def _behave(self, now: float) -> None:
        """Take up the behaviour that is in force from now on."""
        faults = self.behaviour.faults
        self._harm = sum(getattr(faults, name) for name in CALL_FAULTS)
        self._requests = _bucket(self._requests, self.behaviour.rate, now)
        self._tokens = _bucket(self._tokens, self.behaviour.tokens, now)

    def _wait(self, now: float, input_tokens: int) -> float:
        """Take what the call needs of the limits; if it is not there, how many seconds until it is."""
        requests, tokens = self._requests, self._tokens
        wait = max(
            requests.wait(now, 1) if requests is not None else 0.0,
            tokens.wait(now, input_tokens) if tokens is not None else 0.0,
        )
        if wait == 0 or self.behaviour.rejected_count:
            if requests is not None:
                requests.take(1)
            if tokens is not None:
                tokens.take(input_tokens)
        return wait

    def _refuse(self, key: int, occurrence: int, wait: float) -> Fate:
        honesty = self.behaviour.retry_after
        retry_after = None if honesty == "absent" else 0.0 if honesty == "lying" else wait
        headers = self._headers()
        if retry_after is not None:
            headers["retry-after"] = str(math.ceil(retry_after))
            headers["retry-after-ms"] = str(math.ceil(retry_after * 1000))
        return Fate(
            kind="rate_limited",
            key=key,
            status=429,
            wait=REFUSAL_SECONDS,
            occurrence=occurrence,
            headers=headers,
            retry_after=retry_after,
        )

    def _headers(self) -> dict[str, str]:
        honesty = self.behaviour.headers
        headers: dict[str, str] = {}
        if honesty != "absent":
            if self._requests is not None:
                headers |= self._requests.headers("requests", honesty)
            if self._tokens is not None:
                headers |= self._tokens.headers("tokens", honesty)
        return headers

    def _kind(self, chance: float, elapsed: float) -> Kind:
        faults, bursts = self.behaviour.faults, self.behaviour.bursts
        if chance >= self._harm and bursts is None:
            return "answer"
        error = faults.error
        if bursts is not None and elapsed % bursts.every >= bursts.every - bursts.length:
            error = max(error, bursts.share)
        for kind in CALL_FAULTS:
            share = error if kind == "error" else getattr(faults, kind)
            if chance < share:
                return kind
            chance -= share
        return "answer"

    def _slowness(self, elapsed: float) -> float:
        """By how much the load and a cold start stretch the latency of a call that comes now."""
        slowness, knee, slow_start = 1.0, self.behaviour.knee, self.behaviour.slow_start
        if knee is not None and self.in_flight > knee:
            slowness = self.in_flight / knee
        if slow_start is not None and elapsed < slow_start.seconds:
            slowness *= slow_start.factor + (1 - slow_start.factor) * elapsed / slow_start.seconds
        return slowness


def _bucket(bucket: Bucket | None, rate: Rate | None, now: float) -> Bucket | None:
    """The bucket under the limit now in force: none, a new one, or the old one changed."""
    if rate is None:
        return None
    if bucket is None:
        return Bucket(rate, now)
    if bucket.rate != rate:
        bucket.change(rate, now)
    return bucket
