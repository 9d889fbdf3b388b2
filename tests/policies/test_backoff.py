"""How long a retry waits, and how many there may be."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentic_synth.policies.backoff import Backoff, RetryBudget


@given(st.integers(1, 1_000), st.integers())
def test_a_wait_is_within_its_window(failures: int, seed: int) -> None:
    policy = Backoff(base=0.5, cap=60.0)
    assert 0.0 <= policy.delay(failures, Random(seed)) <= min(60.0, 0.5 * 4.0 ** min(failures - 3, 20))


def test_full_jitter_uses_the_whole_window() -> None:
    rng = Random(3)
    waits = [Backoff(base=0.5).delay(3, rng) for _ in range(1_000)]
    assert min(waits) < 0.01
    assert max(waits) > 0.49
    assert sum(waits) / 1_000 == pytest.approx(0.25, abs=0.02)


def test_a_small_run_may_retry() -> None:
    budget = RetryBudget(0.2, minimum=10)
    budget.deposit()
    assert sum(budget.withdraw(0.0) for _ in range(20)) == 10
    assert budget.refused == 10


def test_what_is_saved_is_bounded() -> None:
    budget = RetryBudget(0.2, minimum=10)
    for _ in range(100_000):
        budget.deposit()
    assert sum(budget.withdraw(0.0) for _ in range(1_000)) <= 100


class Budgets(RuleBasedStateMachine):
    """Against the sum of all that was ever deposited."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget(0.2, minimum=5.0)
        self.deposits = 0
        self.granted = 0
        self.now = 0.0

    @rule(many=st.integers(1, 30))
    def deposit(self, many: int) -> None:
        for _ in range(many):
            self.budget.deposit()
        self.deposits += many

    @rule(pause=st.floats(0.0, 5.0))
    def withdraw(self, pause: float) -> None:
        self.now += pause
        self.granted += self.budget.withdraw(self.now)

    @invariant()
    def never_more_than_its_share(self) -> None:
        assert self.granted == self.budget.granted
        assert self.granted <= 5.0 + 0.2 * self.deposits + 0.5 * self.now + 1e-6
        assert self.budget.balance >= 0.0


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
