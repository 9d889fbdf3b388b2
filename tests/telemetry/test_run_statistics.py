"""The figures of a run add up, and say what was paid, what was not, and what is not known."""

from __future__ import annotations

import json

from agentic_synth.telemetry.counts import Counts
from agentic_synth.telemetry.memory import peak_memory_bytes
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Hit, Response, Usage

PAID = Response(
    text="x",
    usage=Usage(input_tokens=10, output_tokens=20, cached_tokens=3, reasoning_tokens=4),
    model="gpt",
    upstream="openai",
    cost=0.5,
    seconds=0.2,
    ttft=0.1,
)


def test_wire_store_and_failures_are_told_apart() -> None:
    statistics = RunStatistics(rows_asked=5)
    for purpose in ("answer", "repair", "regeneration"):
        statistics.record_sent()
        statistics.record_response(PAID, purpose)
    statistics.record_sent()
    pool = Hit(kind="pool", key="00")
    statistics.record_response(Response(model="gpt", upstream="openai", cost=0.5, stored=True, hit=pool))
    statistics.record_sent()
    statistics.record_response(Response(model="gpt", upstream="openai", cost=0.5, seconds=0.4, attempts=3))
    statistics.record_sent()
    statistics.record_failure("Overloaded", attempts=8)
    statistics.record_sent()
    statistics.record_failure("BudgetSpent")
    statistics.record_accepted(3)
    statistics.record_rejected("gate: length")
    told = statistics.as_dict(seconds=2.0)
    assert told["requests"] == {
        "attempts": 3 + 3 + 8,
        "repairs": 1,
        "regenerations": 1,
        "retries": 2 + 7,
        "from_store": 1,
        "failures": 2,
        "failure_reasons": {"BudgetSpent": 1, "Overloaded": 1},
    }
    assert told["from"] == {"answered": 4, "pool": 1}
    assert told["rows"] == {"asked": 5, "accepted": 3, "rejected": 1, "reasons": {"gate: length": 1}}
    assert told["tokens"] == {"input": 30, "output": 60, "cached": 9, "reasoning": 12, "estimated": False}
    assert (told["dollars"], told["dollars_saved"], told["unpriced"]) == (2.0, 0.5, 0)
    assert told["rows_per_second"] == 1.5
    assert told["latency_seconds"]["count"] == 4
    assert told["models"] == {"gpt": 5}
    assert told["upstreams"] == {"openai": 4}
    assert statistics.in_flight == 0
    assert json.loads(json.dumps(told)) == told


def test_offline_is_said() -> None:
    statistics = RunStatistics()
    statistics.record_sent()
    assert statistics.in_flight == 1
    statistics.record_response(
        Response(model="offline", upstream="offline", cost=0.0, usage=Usage(1, 1, estimated=True))
    )
    told = statistics.as_dict(seconds=0.0)
    assert told["offline"] is True
    assert told["tokens"]["estimated"] is True
    assert told["rows_per_second"] is None


def test_no_price_is_not_no_cost() -> None:
    statistics = RunStatistics()
    statistics.record_sent()
    statistics.record_response(Response(model="mine", cost=None))
    assert statistics.as_dict(1.0)["dollars"] is None
    statistics.record_sent()
    statistics.record_response(PAID)
    told = statistics.as_dict(1.0)
    assert (told["dollars"], told["unpriced"]) == (0.5, 1)


def test_a_snapshot_is_what_progress_shows() -> None:
    statistics = RunStatistics(rows_asked=10)
    statistics.record_sent()
    statistics.record_response(PAID)
    statistics.record_made()
    statistics.record_sent()
    now = statistics.snapshot(seconds=3.0)
    assert (now.rows_asked, now.rows_made, now.in_flight, now.tokens) == (10, 1, 1, 30)
    assert (now.dollars, now.sent, now.seconds) == (0.5, 1, 3.0)


def test_counts_are_bounded_and_lose_nothing() -> None:
    counts = Counts(room=3)
    for place in range(100):
        counts.add(f"reason {place}")
    counts.add("reason 0", 5)
    assert counts.as_dict() == {"other": 97, "reason 0": 6, "reason 1": 1, "reason 2": 1}
    other = Counts(room=3)
    other.add("reason 1", 2)
    other.add("new")
    counts.merge(other)
    assert counts.as_dict()["reason 1"] == 3
    assert counts.total == 108


def test_peak_memory_is_that_of_this_process() -> None:
    peak = peak_memory_bytes()
    assert peak is not None
    assert 10_000_000 < peak < 10_000_000_000


def test_what_we_gave_up_ourselves_is_no_failure_but_its_tries_are_counted() -> None:
    statistics = RunStatistics()
    for attempts in (0, 0, 3):
        statistics.record_sent()
        statistics.record_cancelled(attempts, "repair")
    told = statistics.as_dict(1.0)["requests"]
    assert (told["attempts"], told["retries"], told["repairs"], told["failures"]) == (3, 2, 1, 0)
    assert statistics.in_flight == 0
