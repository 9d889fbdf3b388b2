"""What is asked ahead: never more than the share, nothing fresh, nothing while a limit binds, the likeliest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.popularity import Popularity, seen
from agentic_synth.policies.warming import Allowance, Candidate, Spent, allowance, chance, pick

HOUR = 3_600.0
DAY = 86_400.0
NOON = 20_000 * DAY + 12 * HOUR

money = st.floats(0, 1_000, allow_nan=False)
candidates = st.lists(
    st.builds(
        Candidate,
        key=st.binary(min_size=1, max_size=1),
        chance=st.floats(0, 1),
        dollars=money,
        fresh=st.booleans(),
        done=st.booleans(),
    ),
    max_size=30,
)
books = st.builds(Spent, dollars=money, calls=st.integers(0, 500), ahead_dollars=money, ahead_calls=st.integers(0, 50))


@given(candidates, books, st.floats(0, 1), st.floats(0, 1))
def test_what_is_picked_keeps_to_every_rule(found: list[Candidate], spent: Spent, share: float, least: float) -> None:
    picked = pick(found, allowance(spent, share), binds=False, least=least)
    assert len({one.key for one in picked}) == len(picked), "nothing twice"
    assert all(not one.fresh and not one.done and one.chance >= least for one in picked)
    if picked:
        assert spent.ahead_calls + len(picked) <= share * spent.calls + 1e-6
        assert spent.ahead_dollars + sum(one.dollars for one in picked) <= share * spent.dollars + 1e-6


@given(candidates, books, st.floats(0, 1))
def test_nothing_is_left_out_that_would_have_fitted(found: list[Candidate], spent: Spent, share: float) -> None:
    left = allowance(spent, share)
    picked = pick(found, left, binds=False)
    for one in picked:
        left = left.less(one.dollars)
    taken = {one.key for one in picked}
    # Of two candidates with one key the last counts.
    for one in {one.key: one for one in found if not one.fresh and not one.done and one.chance >= 0.5}.values():
        assert one.key in taken or not left.covers(one.dollars)


@given(candidates)
def test_nothing_is_picked_while_a_limiter_binds(found: list[Candidate]) -> None:
    assert pick(found, Allowance(1e9, 1e9), binds=True, least=0.0) == []


def test_of_equal_chances_the_cheaper_goes_first_and_of_equal_prices_the_likelier() -> None:
    dear, cheap = Candidate(b"dear", 0.9, 3.0), Candidate(b"cheap", 0.9, 1.0)
    assert pick([dear, cheap], Allowance(3.0, 10), binds=False) == [cheap]
    sure, perhaps = Candidate(b"sure", 0.9, 0.0), Candidate(b"perhaps", 0.6, 0.0)
    assert pick([perhaps, sure], Allowance(0.0, 1), binds=False) == [sure]


def test_a_free_model_is_bounded_by_its_calls() -> None:
    free = [Candidate(bytes((number,)), 1.0, 0.0) for number in range(100)]
    assert len(pick(free, allowance(Spent(calls=200), 0.02), binds=False)) == 4


def asked(times_a_day: int, days: int, hour: float | None = None) -> Popularity:
    """What was asked so often on each day up to noon, spread over the day or all at one hour."""
    known: Popularity | None = None
    for day in range(days, 0, -1):
        for number in range(times_a_day):
            at = (
                NOON
                - 12 * HOUR
                - day * DAY
                + (DAY * ((number / times_a_day + 0.618 * day) % 1.0) if hour is None else hour * HOUR)
            )
            known = seen(known, 1, at)
    assert known is not None
    return known


@pytest.mark.parametrize("days", [1, 7, 28])
def test_the_chance_is_that_of_its_rate_however_young_the_log(days: int) -> None:
    # Twice a day is a chance of 1 - exp(-2 / 24) within an hour.
    assert chance(asked(2, days), NOON, HOUR, days * DAY) == pytest.approx(0.08, abs=0.025)


def test_the_chance_follows_the_hours() -> None:
    known = asked(5, 14, hour=9)
    morning = NOON - 12 * HOUR + 8.5 * HOUR
    assert chance(known, morning, 2 * HOUR, 14 * DAY) > 0.8
    assert chance(known, morning + 8 * HOUR, 2 * HOUR, 14 * DAY) < 0.4


@given(st.integers(1, 50), st.integers(1, 10), st.floats(0, DAY), st.floats(0, DAY), st.floats(0, 90 * DAY))
def test_a_longer_horizon_is_never_less_likely(times: int, days: int, now: float, horizon: float, age: float) -> None:
    known = asked(times, days)
    shorter, longer = (chance(known, NOON + now, seconds, age) for seconds in (horizon, horizon + HOUR))
    assert 0.0 <= shorter <= longer <= 1.0
