"""Budgets as written, and that they are never passed."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentic_synth.errors import ConfigError
from agentic_synth.policies.spending import Cost, Spending, Unit


@pytest.mark.parametrize(
    ("text", "limit", "unit"),
    [
        ("5usd", 5.0, "usd"),
        ("0.50 USD", 0.5, "usd"),
        (".5usd", 0.5, "usd"),
        ("2Mtok", 2e6, "tok"),
        ("2mtok", 2e6, "tok"),
        ("750ktokens", 750e3, "tok"),
        ("10000req", 10_000.0, "req"),
        ("10_000 requests", 10_000.0, "req"),
        ("1,000,000tok", 1e6, "tok"),
    ],
)
def test_what_users_write(text: str, limit: float, unit: Unit) -> None:
    spending = Spending.parse(text)
    assert spending.limit == pytest.approx(limit)
    assert spending.unit == unit


@pytest.mark.parametrize("text", ["", "5", "usd", "5eur", "0usd", "-1usd", "1e3usd", "5usd/day", "nanusd"])
def test_what_is_no_budget_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Spending.parse(text)
    assert "5usd" in caught.value.mend


@given(st.text(max_size=12))
def test_no_text_breaks_it(text: str) -> None:
    with suppress(ConfigError):
        assert (Spending.parse(text).limit or 0) > 0


class Spendings(RuleBasedStateMachine):
    """Calls that cost at most what they reserved: the limit is never passed, and nothing stays reserved."""

    def __init__(self) -> None:
        super().__init__()
        self.spending = Spending(100.0, "tok")
        self.out: list[Cost] = []
        self.spent = 0.0

    @rule(amount=st.floats(0.0, 60.0))
    def reserve(self, amount: float) -> None:
        cost = Cost(0.0, amount, 1.0)
        room = self.spent + sum(other.tok for other in self.out) + amount
        granted = self.spending.reserve(cost)
        if abs(room - 100.0) > 1e-6:
            assert granted == (room < 100.0)
            assert self.spending.fits(cost) or self.spent + amount > 100.0 - 1e-6
        if granted:
            self.out.append(cost)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), share=st.floats(0.0, 1.0))
    def settle(self, data: st.DataObject, share: float) -> None:
        reserved = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.spending.settle(reserved, Cost(0.0, reserved.tok * share, 1.0))
        self.spent += reserved.tok * share

    @invariant()
    def never_passed(self) -> None:
        told = self.spending.statistics()
        assert self.spending.spent <= 100.0 + 1e-6
        assert self.spending.spent == pytest.approx(self.spent, abs=1e-6)
        assert told.reserved == pytest.approx(sum(cost.tok for cost in self.out), abs=1e-6)


TestSpendings = Spendings.TestCase
TestSpendings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_without_a_limit_it_only_counts() -> None:
    spending = Spending()
    assert spending.reserve(Cost(1e9, 1e9, 1))
    spending.settle(Cost(), Cost(0.25, 10, 1))
    told = spending.statistics()
    assert (told.limit, told.dollars, told.tokens, told.requests) == (None, 0.25, 10, 1)
