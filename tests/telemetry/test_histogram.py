"""Percentiles from buckets are near the exact ones, whatever the values."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.telemetry.histogram import BUCKETS, Histogram

values = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=200)


def filled(recorded: list[float]) -> Histogram:
    histogram = Histogram()
    for value in recorded:
        histogram.record(value)
    return histogram


@given(values, st.floats(0, 100))
def test_a_percentile_is_within_a_fortieth_of_the_exact_one(recorded: list[float], percent: float) -> None:
    exact = sorted(recorded)[max(1, math.ceil(len(recorded) * percent / 100)) - 1]
    told = filled(recorded).percentile(percent)
    assert told is not None
    assert math.isclose(told, exact, rel_tol=0.026)


@given(values, values)
def test_merged_is_the_histogram_of_all(first: list[float], second: list[float]) -> None:
    merged = filled(first)
    merged.merge(filled(second))
    together = filled(first + second)
    assert math.isclose(merged.total, together.total)
    assert [merged.percentile(p) for p in range(0, 101, 5)] == [together.percentile(p) for p in range(0, 101, 5)]
    assert (merged.count, merged.lowest, merged.highest) == (together.count, together.lowest, together.highest)


def test_values_out_of_range_count_at_the_ends() -> None:
    histogram = filled([-1.0, 0.0, 1e-9, 1e9, 1e300])
    assert histogram.count == 5
    assert histogram.percentile(100) == 1e300
    assert histogram.percentile(50) == pytest.approx(1e-6, rel=0.05)


def test_an_empty_one_tells_nothing() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) is None
    assert histogram.mean is None
    assert histogram.summary() == {"count": 0, "mean": None, "p50": None, "p95": None, "p99": None, "max": None}


def test_size_does_not_grow_with_the_values() -> None:
    rng = random.Random(1)
    histogram = filled([rng.lognormvariate(-3, 0.5) for _ in range(20_000)])
    assert len(histogram._buckets) == BUCKETS + 1 < 600
    assert histogram.summary()["count"] == 20_000
