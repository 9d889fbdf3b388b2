"""What batches cost, and money that is set aside for them."""

from __future__ import annotations

import pytest

from agentic_synth.policies.pricing import Price, Prices
from agentic_synth.policies.spending import Cost, Spending
from agentic_synth.types import Usage

USAGE = Usage(1_000, 500, cached_tokens=200)


@pytest.mark.parametrize("reference", ["openai/gpt-4.1-mini", "openai/gpt-4.1-mini-2025-04-14", "anthropic/own"])
def test_half_of_any_price_of_these_providers(reference: str) -> None:
    prices = Prices.load({"anthropic/own": {"input": 3.0, "output": 6.0}})
    usual, half = prices.of(reference), prices.in_batches(reference)
    assert usual is not None
    assert half is not None
    assert half.cost(USAGE) == pytest.approx(usual.cost(USAGE) / 2)


def test_where_no_discount_is_known_it_is_the_usual_price() -> None:
    prices = Prices.load({"my/model": {"input": 3.0, "output": 6.0}})
    assert prices.in_batches("my/model") == prices.of("my/model") == Price(3.0, 6.0)
    assert prices.in_batches("my/other") is None


def test_cached_input_stays_cheaper() -> None:
    assert Price(2.0, 8.0, 0.5).times(0.5) == Price(1.0, 4.0, 0.25)


def test_what_is_under_way_already_is_held_whether_or_not_there_is_room() -> None:
    spending = Spending(10.0, "req")
    spending.hold(Cost(req=12.0))
    assert not spending.room_for(Cost(req=1.0))
    assert not spending.reserve(Cost(req=1.0))
    spending.settle(Cost(req=12.0), Cost(req=9.0))
    assert spending.room_for(Cost(req=1.0))
    assert not spending.room_for(Cost(req=2.0))
    assert spending.statistics().reserved == 0


def test_costs_add_up() -> None:
    assert sum([Cost(1.0, 2.0, 3.0)] * 2, Cost()) == Cost(2.0, 4.0, 6.0)
