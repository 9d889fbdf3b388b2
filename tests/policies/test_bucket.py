"""A bucket is what the arithmetic says: never above its capacity, never late, never early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.bucket import Bucket

amounts = st.floats(0.0, 50.0)
pauses = st.floats(0.0, 20.0)


@given(st.lists(st.tuples(pauses, amounts), max_size=40), st.floats(0.5, 20.0), st.floats(1.0, 30.0))
def test_it_is_the_naive_sum(steps: list[tuple[float, float]], rate: float, capacity: float) -> None:
    bucket = Bucket(rate, capacity, 0.0)
    level = capacity
    now = 0.0
    for pause, amount in steps:
        now += pause
        level = min(capacity, level + pause * rate)
        assert bucket.level(now) == pytest.approx(level, abs=1e-6)
        bucket.take(amount)
        level -= amount


@given(amounts, st.floats(0.5, 20.0), st.floats(1.0, 30.0), st.floats(-30.0, 30.0))
def test_the_delay_is_exact(amount: float, rate: float, capacity: float, level: float) -> None:
    bucket = Bucket(rate, capacity, 0.0, level=min(level, capacity))
    wait = bucket.delay(amount, 0.0)
    assert wait >= 0.0
    if wait > 1e-6:
        assert bucket.delay(amount, wait * 0.99) > 0.0
    assert bucket.delay(amount, wait + 1e-9) == 0.0


def test_more_than_it_holds_asks_for_a_full_bucket() -> None:
    bucket = Bucket(1.0, 10.0, 0.0, level=4.0)
    assert bucket.delay(1_000.0, 0.0) == pytest.approx(6.0)


def test_time_that_goes_back_refills_nothing() -> None:
    bucket = Bucket(1.0, 10.0, 5.0, level=0.0)
    assert bucket.level(4.0) == 0.0
