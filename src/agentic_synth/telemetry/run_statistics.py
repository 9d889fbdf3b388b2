"""The figures of one run: what was asked, what it took, what it cost."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from agentic_synth.telemetry.counts import Counts
from agentic_synth.telemetry.histogram import Histogram
from agentic_synth.telemetry.memory import peak_memory_bytes
from agentic_synth.types import Response, Usage

__all__ = ["Purpose", "RunStatistics", "Snapshot", "Traffic", "source_of"]

Purpose: TypeAlias = Literal["answer", "repair", "regeneration"]
"""Why a model is asked: for the first answer, to correct one, or for another one in place of one that was rejected."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How the upstreams of a run take it: calls on the wire, requests that *wait* for a permit, the limit on both.

    *refused* is the share of calls that were answered 429, *breaker* the state of the worst breaker. *fallbacks* are
    answers of another upstream than was named, *hedges* calls made twice because the first was late.
    """

    in_flight: int
    waiting: int
    limit: int
    refused: float
    breaker: str
    fallbacks: int = 0
    hedges: int = 0


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The few figures that are shown while a run goes on; *rows_asked* None means that nobody knows how many.

    Rows are *made* before they are accepted: those behind a slow one wait for it. *in_flight* counts requests, waiting
    ones too, and *traffic* tells them apart where there is a wire. *batches* says in words what waits at providers.
    """

    rows_asked: int | None
    rows_made: int
    rows_rejected: int
    in_flight: int
    from_store: int
    sent: int
    retries: int
    tokens: int
    dollars: float | None
    seconds: float
    traffic: Traffic | None = None
    batches: str = ""


def source_of(response: Response) -> str:
    """Where an answer came from: ``answered`` now, or how a stored one came to serve (``Hit.kind``)."""
    return "answered" if response.hit is None else response.hit.kind


class RunStatistics:
    """Counts what a run does; every ``record_`` is a few additions, and nothing grows with the run.

    An *attempt* is one try on the wire. Repairs, regenerations and transport retries are attempts too, and are counted
    apart beside. ``docs/reference/statistics.md`` explains every key of :meth:`as_dict`.
    """

    def __init__(self, rows_asked: int | None = None) -> None:
        self.rows_asked = rows_asked
        self.rows_made = 0
        self.rows_accepted = 0
        self.rejections = Counts()
        self.in_flight = 0
        self.from_store = 0
        self.sources = Counts()
        self.attempts = 0
        self.repairs = 0
        self.regenerations = 0
        self.retries = 0
        self.failures = Counts()
        self.tokens_in = 0
        self.tokens_out = 0
        self.tokens_cached = 0
        self.tokens_reasoning = 0
        self.tokens_estimated = False
        self.dollars = 0.0
        self.dollars_saved = 0.0
        self._early = 0
        self._early_dollars = 0.0
        self.unpriced = 0
        self.latency = Histogram()
        self.ttft = Histogram()
        self.models = Counts()
        self.upstreams = Counts()

    def record_made(self) -> None:
        """A row that is whole and waits for its turn."""
        self.rows_made += 1

    def record_accepted(self, rows: int = 1) -> None:
        """Rows that were accepted and given to the sink."""
        self.rows_accepted += rows

    def record_rejected(self, reason: str) -> None:
        """A candidate that did not become a row."""
        self.rejections.add(reason)

    def record_sent(self) -> None:
        """A request was given to the engine; a response, a failure or that it was cancelled must follow."""
        self.in_flight += 1

    def record_response(self, response: Response, purpose: Purpose = "answer") -> None:
        """An answer came: from the store, or from the wire with all the attempts it took."""
        self.in_flight -= 1
        self.models.add(response.model)
        self.sources.add(source_of(response))
        if response.stored:
            self.from_store += 1
            self.dollars_saved += response.cost or 0.0
            return
        self._pay(response, purpose)
        self.latency.record(response.seconds)
        if response.ttft is not None:
            self.ttft.record(response.ttft)

    def record_early(self, response: Response, purpose: Purpose = "answer") -> None:
        """An answer was paid before the row that needs it is made: it then comes from the store, but saves nothing.

        One of a provider's batch took no time on the wire.
        """
        self._early += 1
        self._early_dollars += response.cost or 0.0
        self._pay(response, purpose)
        if response.seconds:
            self.latency.record(response.seconds)

    def record_in_vain(self, attempts: int, purpose: Purpose = "answer") -> None:
        """So many tries of a request failed that will be asked again in another way."""
        if attempts:
            self._count(attempts, purpose)

    def _pay(self, response: Response, purpose: Purpose) -> None:
        self.upstreams.add(response.upstream)
        self._count(response.attempts, purpose)
        usage = response.usage
        self.tokens_in += usage.input_tokens
        self.tokens_out += usage.output_tokens
        self.tokens_cached += usage.cached_tokens
        self.tokens_reasoning += usage.reasoning_tokens
        self.tokens_estimated |= usage.estimated
        if response.cost is None:
            self.unpriced += 1
        else:
            self.dollars += response.cost

    def record_failure(self, reason: str, attempts: int = 0, purpose: Purpose = "answer") -> None:
        """A request got no answer after *attempts* tries on the wire (none if we refused to send it)."""
        self.in_flight -= 1
        self.failures.add(reason)
        if attempts:
            self._count(attempts, purpose)

    def record_cancelled(self, attempts: int = 0, purpose: Purpose = "answer") -> None:
        """A request that we gave up ourselves after *attempts* tries, which is nobody's failure."""
        self.in_flight -= 1
        if attempts:
            self._count(attempts, purpose)

    def _count(self, attempts: int, purpose: Purpose) -> None:
        self.attempts += attempts
        self.retries += attempts - 1
        if purpose == "repair":
            self.repairs += 1
        elif purpose == "regeneration":
            self.regenerations += 1

    def usage(self) -> Usage:
        """The tokens of everything that was paid."""
        return Usage(
            self.tokens_in,
            self.tokens_out,
            self.tokens_cached,
            self.tokens_reasoning,
            estimated=self.tokens_estimated,
        )

    def snapshot(self, seconds: float, traffic: Traffic | None = None, batches: str = "") -> Snapshot:
        """What progress shows, *seconds* after the start."""
        return Snapshot(
            self.rows_asked,
            max(self.rows_made, self.rows_accepted),
            self.rejections.total,
            self.in_flight,
            self._found(),
            self.attempts,
            self.retries,
            self.tokens_in + self.tokens_out,
            self._dollars(),
            seconds,
            traffic,
            batches,
        )

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """The statistics of the run that took *seconds*, ready for JSON."""
        return {
            "rows": {
                "asked": self.rows_asked,
                "accepted": self.rows_accepted,
                "rejected": self.rejections.total,
                "reasons": self.rejections.as_dict(),
            },
            "requests": {
                "attempts": self.attempts,
                "repairs": self.repairs,
                "regenerations": self.regenerations,
                "retries": self.retries,
                "from_store": self._found(),
                "failures": self.failures.total,
                "failure_reasons": self.failures.as_dict(),
            },
            "from": self.sources.as_dict(),
            "tokens": {
                "input": self.tokens_in,
                "output": self.tokens_out,
                "cached": self.tokens_cached,
                "reasoning": self.tokens_reasoning,
                "estimated": self.tokens_estimated,
            },
            "dollars": self._dollars(),
            "dollars_saved": round(max(0.0, self.dollars_saved - self._early_dollars), 8),
            "unpriced": self.unpriced,
            "seconds": round(seconds, 3),
            "rows_per_second": round(self.rows_accepted / seconds, 3) if seconds > 0 else None,
            "latency_seconds": self.latency.summary(),
            "ttft_seconds": self.ttft.summary(),
            "peak_memory_bytes": peak_memory_bytes(),
            "models": self.models.as_dict(),
            "upstreams": self.upstreams.as_dict(),
            "offline": "offline" in self.models.as_dict(),
        }

    def _found(self) -> int:
        """Requests that the store answered without having been paid in this run."""
        return max(0, self.from_store - self._early)

    def _dollars(self) -> float | None:
        """None only where nothing that was paid has a price; otherwise the sum, with *unpriced* beside it."""
        return None if self.unpriced and not self.dollars else round(self.dollars, 8)
