"""The rate that refusals teach."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.policies.pace import Pace


def cut_once(rate: float = 100.0) -> Pace:
    """A pace after a second of *rate* calls, the last of which was refused."""
    pace = Pace()
    for call in range(int(rate)):
        pace.send(call / rate)
    pace.refuse(0.999, 1.0)
    return pace


def test_it_is_boundless_until_refused() -> None:
    pace = Pace()
    for _ in range(10_000):
        assert pace.delay(0.0) == 0.0
        pace.send(0.0)
    assert pace.rate == math.inf


def test_the_first_refusal_bounds_it() -> None:
    assert 40 <= cut_once(100.0).rate <= 70


def test_calls_of_before_a_cut_do_not_cut_again() -> None:
    pace = cut_once()
    before = pace.rate
    for _ in range(50):
        pace.refuse(0.5, 1.1)
    assert pace.rate == before


def test_it_keeps_the_rate_it_says() -> None:
    pace = cut_once()
    rate, sent, now = pace.rate, 0, 1.0
    while now < 1.9:
        wait = pace.delay(now)
        if wait == 0.0:
            pace.send(now)
            sent += 1
        now += max(wait, 1e-4)
    assert sent == pytest.approx(0.9 * rate, rel=0.1)


def test_it_grows_only_while_it_is_what_limits() -> None:
    idle, busy = cut_once(), cut_once()
    now = 1.0
    while now < 6.0:
        now += max(busy.delay(now), 1e-3)
        if busy.delay(now) == 0.0:
            busy.send(now)
    assert idle.delay(6.0) == 0.0
    assert busy.rate > 1.5 * idle.rate


class Paces(RuleBasedStateMachine):
    """Whatever happens, the rate stays positive, a refusal never raises it, and time alone always lets a call go."""

    def __init__(self) -> None:
        super().__init__()
        self.pace = Pace()
        self.now = 0.0
        self.out: list[float] = []

    @rule(pause=st.floats(0.0, 3.0))
    def wait(self, pause: float) -> None:
        self.now += pause

    @rule(many=st.integers(1, 60))
    def send(self, many: int) -> None:
        for _ in range(many):
            if self.pace.delay(self.now) > 0.0:
                break
            self.pace.send(self.now)
            self.out.append(self.now)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        before = self.pace.rate
        self.pace.refuse(self.out.pop(data.draw(st.integers(0, len(self.out) - 1))), self.now)
        assert self.pace.rate <= max(before, 0.5)

    @invariant()
    def alive(self) -> None:
        assert self.pace.rate >= 0.5

    def teardown(self) -> None:
        self.now += 5.0
        assert self.pace.delay(self.now) == 0.0


TestPaces = Paces.TestCase
TestPaces.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
