"""A bucket is what the arithmetic says: never above its capacity, never late, never early."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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


class Filling(RuleBasedStateMachine):
    """Whatever is done to a bucket, it holds what a naive sum says, and its delays are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rate, self.capacity, self.level = 2.0, 10.0, 10.0
        self.bucket = Bucket(self.rate, self.capacity, self.now)

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.level = min(self.capacity, self.level + seconds * self.rate)

    @rule(amount=st.floats(-20.0, 50.0))
    def take(self, amount: float) -> None:
        self.bucket.level(self.now)
        self.bucket.take(amount)
        self.level = min(self.capacity, self.level - amount)

    @rule(level=st.floats(-50.0, 50.0))
    def set(self, level: float) -> None:
        self.bucket.set(level, self.now)
        self.level = min(self.capacity, level)

    @rule(rate=st.floats(0.5, 20.0), capacity=st.floats(1.0, 30.0))
    def change(self, rate: float, capacity: float) -> None:
        self.bucket.change(rate, capacity, self.now)
        self.rate, self.capacity = rate, capacity
        self.level = min(self.level, capacity)

    @rule(amount=amounts)
    def wait_as_told(self, amount: float) -> None:
        self.wait(self.bucket.delay(amount, self.now))
        assert self.bucket.delay(amount, self.now) <= 1e-6
        assert self.bucket.level(self.now) >= min(amount, self.capacity) - 1e-6

    @invariant()
    def holds_the_sum(self) -> None:
        assert self.bucket.level(self.now) == pytest.approx(self.level, abs=1e-6)
        assert self.bucket.level(self.now) <= self.capacity


TestFilling = Filling.TestCase
TestFilling.settings = settings(deadline=None, max_examples=100)
