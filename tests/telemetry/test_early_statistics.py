"""What is paid before the row that needs it is made counts once, and saves nothing."""

from __future__ import annotations

from agentic_synth.telemetry.early_statistics import EarlyStatistics
from agentic_synth.telemetry.progress import parts
from agentic_synth.telemetry.run_statistics import RunStatistics
from agentic_synth.types import Response, Usage

PAID = Response(text="x", usage=Usage(10, 5), upstream="there", model="m", cost=0.25, seconds=0.5)
STORED = Response(text="x", usage=Usage(10, 5), upstream="there", model="m", cost=0.25, stored=True)


def test_an_answer_that_was_paid_early_is_neither_saved_nor_found() -> None:
    run = RunStatistics(2)
    run.record_early(PAID)
    for _ in range(2):
        run.record_sent()
        run.record_response(STORED)
    told = run.as_dict(1.0)
    assert (told["requests"]["attempts"], told["requests"]["from_store"]) == (1, 1)
    assert (told["dollars"], told["dollars_saved"]) == (0.25, 0.25)
    assert (told["tokens"]["input"], told["upstreams"]) == (10, {"there": 1})
    assert told["latency_seconds"]["count"] == 1
    assert run.in_flight == 0


def test_before_the_rows_are_made_nothing_is_found() -> None:
    run = RunStatistics(2)
    run.record_early(PAID)
    assert run.as_dict(1.0)["requests"]["from_store"] == run.snapshot(1.0).from_store == 0
    assert run.as_dict(1.0)["dollars_saved"] == 0


def test_a_batch_has_no_latency() -> None:
    run = RunStatistics()
    run.record_early(Response(upstream="there"))
    assert run.as_dict(1.0)["latency_seconds"]["count"] == 0


def test_of_an_early_pass_only_what_is_paid_counts() -> None:
    run = RunStatistics(2)
    early = EarlyStatistics(run)
    for _ in range(4):
        early.record_sent()
    early.record_response(STORED)
    early.record_response(PAID, "repair")
    early.record_failure("Overloaded", 3)
    early.record_cancelled(2, "regeneration")
    early.record_rejected("bad")
    early.record_made()
    told = run.as_dict(1.0)
    assert (told["requests"]["attempts"], told["requests"]["retries"]) == (1 + 3 + 2, 2 + 1)
    assert (told["requests"]["repairs"], told["requests"]["regenerations"]) == (1, 1)
    assert told["requests"]["failures"] == told["rows"]["rejected"] == run.rows_made == 0
    assert early.in_flight == 0


def test_progress_says_what_waits_where() -> None:
    run = RunStatistics(2_000)
    said = parts(run.snapshot(9.0, batches="2,000 in 1 batch at openai: 731 done"), 0.0)
    assert said == ["0/2,000 rows", "2,000 in 1 batch at openai: 731 done"]
    run.record_sent()
    assert "1 in flight" in parts(run.snapshot(9.0, batches="5 parked"), None)
