"""An engine's statistics as Prometheus metrics, read when they are scraped and never before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agentic_synth.types import Json

__all__ = ["EngineCollector"]

_LIMITER = (
    ("limit", "Calls that may be in flight now"),
    ("in_flight", "Calls in flight"),
    ("waiting", "Calls that wait for a permit"),
)
_OUTCOMES = ("success", "dropped", "ignored", "rate_limited")
_STATES = ("closed", "open", "half_open")


class EngineCollector(Collector):
    """Register it with a registry: ``REGISTRY.register(EngineCollector(synth.statistics))``.

    It asks for a snapshot a scrape; no request pays for it, and the labels are the upstreams alone, so the number of
    series is bounded.
    """

    def __init__(self, statistics: Callable[[], dict[str, Json]]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """The metrics of the moment."""
        now = self._statistics()
        if not now:
            return
        yield CounterMetricFamily("synth_requests", "Requests taken", value=now["requests"])
        yield CounterMetricFamily("synth_stored_answers", "Requests answered from the store", value=now["stored"])
        yield GaugeMetricFamily("synth_requests_in_flight", "Requests in the engine", value=now["in_flight"])
        failures = CounterMetricFamily("synth_failures", "Requests that got no answer", labels=["error"])
        for name, count in now["failures"].items():
            failures.add_metric([name], count)
        yield failures
        yield CounterMetricFamily("synth_retries", "Tries after the first", value=now["retry"]["retries"])
        yield CounterMetricFamily("synth_fallbacks", "Answers of another upstream", value=now["route"]["fallbacks"])
        yield CounterMetricFamily("synth_dollars", "Dollars spent", value=now["spending"]["dollars"])
        yield CounterMetricFamily("synth_tokens", "Tokens in and out", value=now["spending"]["tokens"])
        yield from self._upstreams(now["upstreams"])

    def _upstreams(self, upstreams: dict[str, dict[str, Json]]) -> Iterator[Metric]:
        for key, meaning in _LIMITER:
            gauge = GaugeMetricFamily(f"synth_upstream_{key}", meaning, labels=["upstream"])
            for name, told in upstreams.items():
                gauge.add_metric([name], told["limiter"][key])
            yield gauge
        calls = CounterMetricFamily("synth_upstream_calls", "Calls by outcome", labels=["upstream", "outcome"])
        waited = CounterMetricFamily("synth_upstream_waited_seconds", "Time in the queue", labels=["upstream"])
        tries = CounterMetricFamily("synth_upstream_retries", "Tries after a request's first", labels=["upstream"])
        others = CounterMetricFamily("synth_upstream_fallbacks", "Answers in place of others", labels=["upstream"])
        hedges = CounterMetricFamily("synth_upstream_hedges", "Calls made twice", labels=["upstream"])
        trips = CounterMetricFamily("synth_upstream_circuit_trips", "How often it opened", labels=["upstream"])
        state = GaugeMetricFamily("synth_upstream_circuit", "1 for the breaker's state", labels=["upstream", "state"])
        for name, told in upstreams.items():
            waited.add_metric([name], told["limiter"]["waited_seconds"])
            tries.add_metric([name], told["route"]["retries"])
            others.add_metric([name], told["route"]["fallbacks"])
            hedges.add_metric([name], told.get("hedge", {}).get("hedges", 0))
            trips.add_metric([name], told["breaker"]["trips"])
            for outcome in _OUTCOMES:
                calls.add_metric([name, outcome], told["limiter"][outcome])
            for each in _STATES:
                state.add_metric([name, each], told["breaker"]["state"] == each)
        yield from (calls, waited, tries, others, hedges, trips, state)
