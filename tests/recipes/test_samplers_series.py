"""Series, ticks and arrivals: any row by itself gives what the whole sequence gives."""

from __future__ import annotations

import datetime as dt
import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.model_series import Arrivals, Series, Ticks
from agentic_synth.recipes.samplers_series import compile_arrivals, compile_ticks, compile_timeseries

START = "2025-01-01T08:30:00Z"


def series(rows: Sequence[int], stream: str = "s", **spec: Any) -> list[float]:
    draw = compile_timeseries(Series.model_validate(spec), stream)
    return [draw(random.Random(row), row) for row in rows]


def arrivals(rows: Sequence[int], stream: str = "s", **spec: Any) -> list[dt.datetime]:
    draw = compile_arrivals(Arrivals.model_validate({"start": START, **spec}), stream)
    return [dt.datetime.fromisoformat(draw(random.Random(row), row)) for row in rows]


def test_level_trend_and_season_add_up() -> None:
    values = series(range(9), start=10, trend=2, season={"period": 8, "amplitude": 3})
    assert values == pytest.approx([10 + 2 * step + 3 * math.sin(math.tau * step / 8) for step in range(9)])


def test_a_phase_is_a_share_of_the_period() -> None:
    assert series([0], season={"period": 8, "amplitude": 3, "phase": 0.25}) == pytest.approx([3])


def test_bounds_and_decimals_hold() -> None:
    values = series(range(200), start=50, noise=40, min=0, max=100, decimals=1)
    assert min(values) == 0
    assert max(values) == 100
    assert all(round(value, 1) == value for value in values)


def test_series_take_turns() -> None:
    assert series(range(6), trend=1, series=3) == [0, 0, 0, 1, 1, 1]
    walked = series(range(3_000), walk=1, series=3)
    assert statistics.correlation(walked[0::3], walked[1::3]) < 0.99
    assert walked[0] == walked[1] == walked[2] == 0


def test_a_walk_is_found_at_any_row_by_itself() -> None:
    whole = series(range(3_000), walk=1.5)
    rows = random.Random(1).sample(range(3_000), 300)
    assert series(rows, walk=1.5) == [whole[row] for row in rows]
    assert series([10**9], walk=1.5) == series([10**9], walk=1.5)


def test_a_walks_steps_are_independent_with_their_deviation() -> None:
    values = series(range(8_193), walk=1.5)
    steps = [after - before for before, after in pairwise(values)]
    assert statistics.stdev(steps) == pytest.approx(1.5, rel=0.05)
    assert statistics.fmean(steps) == pytest.approx(0, abs=0.06)
    assert abs(statistics.correlation(steps[:-1], steps[1:])) < 0.05
    far = [series([4_096], f"stream {number}", walk=1.5)[0] for number in range(400)]
    assert statistics.stdev(far) == pytest.approx(1.5 * 64, rel=0.12)


def test_streams_walk_apart() -> None:
    assert series([5], "a", walk=1) != series([5], "b", walk=1)


def test_ticks_keep_their_step() -> None:
    ticks = compile_ticks(Ticks.model_validate({"start": START, "step": "5m", "series": 2}))
    assert [ticks(random.Random(), row) for row in range(3)] == [START, START, "2025-01-01T08:35:00Z"]
    fine = compile_ticks(Ticks.model_validate({"start": "2025-01-01", "step": "250ms"}))
    assert fine(random.Random(), 3) == "2025-01-01T00:00:00.750"


def test_time_ends_with_a_message() -> None:
    ticks = compile_ticks(Ticks.model_validate({"start": START, "step": "1w"}))
    with pytest.raises(RecipeError, match="past the year 9999"):
        ticks(random.Random(), 10**6)


def test_arrivals_come_in_order_and_can_be_found_alone() -> None:
    whole = arrivals(range(3_000), per_hour=60)
    assert whole == sorted(whole)
    rows = random.Random(1).sample(range(3_000), 300)
    assert arrivals(rows, per_hour=60) == [whole[row] for row in rows]


def test_gaps_are_exponential_with_their_mean() -> None:
    whole = arrivals(range(8_000), per_hour=60)
    gaps = [(after - before).total_seconds() for before, after in pairwise(whole)]
    assert statistics.fmean(gaps) == pytest.approx(60, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(60, rel=0.06)
    assert abs(statistics.correlation(gaps[:-1], gaps[1:])) < 0.05
    assert sum(gap > 120 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-2), abs=0.015)


def test_the_rate_follows_the_hour_of_the_day() -> None:
    hours = [0] * 6 + [1] * 6 + [3] * 6 + [0] * 6
    whole = arrivals(range(8_000), per_hour=60, hours=hours)
    assert whole == sorted(whole)
    assert whole[0] >= dt.datetime.fromisoformat(START)
    counts = Counter(instant.hour for instant in whole)
    assert all(counts[hour] == 0 for hour in range(24) if not hours[hour])
    assert sum(counts[hour] for hour in range(12, 18)) / len(whole) == pytest.approx(0.75, abs=0.03)
    days = (whole[-1] - whole[0]).total_seconds() / 86_400
    assert len(whole) / days / 24 == pytest.approx(60, rel=0.06)
