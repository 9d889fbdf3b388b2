"""Popularity fades with time and knows the hour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.popularity import HALF_LIFE, Popularity, expected, rank_of, score_of, seen

HOUR, DAY = 3_600.0, 86_400.0
NOW = 1_800_000_000.0


def after(*lookups: tuple[int, float]) -> Popularity:
    popularity = None
    for count, at in lookups:
        popularity = seen(popularity, count, at)
    assert popularity is not None
    return popularity


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 400 * DAY)), min_size=1, max_size=20))
def test_the_score_is_the_sum_of_all_lookups_each_faded_by_its_age(lookups: list[tuple[int, float]]) -> None:
    popularity = after(*((count, NOW - age) for count, age in lookups))
    assert popularity.lookups == sum(count for count, _ in lookups)
    assert popularity.last == NOW - min(age for _, age in lookups)
    plain = sum(count * 0.5 ** (age / HALF_LIFE) for count, age in lookups)
    assert score_of(popularity, NOW) == pytest.approx(plain, rel=1e-6)


def test_what_is_asked_now_passes_what_was_famous_long_ago() -> None:
    famous, fresh = after((1_000, NOW - 12 * HALF_LIFE)), after((1, NOW))
    assert fresh.rank > famous.rank
    assert rank_of(1_000, NOW - 8 * HALF_LIFE) > fresh.rank


def test_a_long_silence_ends_in_nothing_and_breaks_nothing() -> None:
    old = after((5, 0.0), (3, NOW))
    assert score_of(old, NOW) == pytest.approx(3.0)
    assert score_of(after((5, 0.0)), 1e15) == pytest.approx(0.0, abs=1e-300)


def test_the_hour_of_the_day_raises_and_lowers_what_is_expected() -> None:
    midnight = NOW - NOW % DAY
    daily = after(*((10, midnight - day * DAY + 9 * HOUR) for day in range(20, 0, -1)))
    at_nine, at_night = expected(daily, midnight + 9 * HOUR), expected(daily, midnight + 21 * HOUR)
    assert at_nine > 10 * at_night
    assert expected(daily, midnight + 10 * HOUR) > 3 * at_night, "the next hour is near"


def test_few_lookups_say_little_about_the_hour() -> None:
    once = after((1, NOW))
    assert expected(once, NOW + 12 * HOUR) > 0.4 * expected(once, NOW)


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 47)), min_size=1, max_size=40))
def test_a_profile_stays_24_bytes_and_keeps_the_busiest_hour(lookups: list[tuple[int, int]]) -> None:
    popularity = after(*((count, hour * HOUR) for count, hour in lookups))
    assert len(popularity.hours) == 24
    assert popularity.hours[lookups[-1][1] % 24] > 0
