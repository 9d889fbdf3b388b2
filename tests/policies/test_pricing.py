"""Prices: those shipped are sound, one's own win, and what is unknown stays unknown."""

import pytest

from agentic_synth.errors import ConfigError
from agentic_synth.policies.pricing import FREE, Prices
from agentic_synth.types import Usage


def test_the_shipped_table_is_sound() -> None:
    prices = Prices.load()
    assert prices.dated >= "2026"
    table = dict(prices)
    assert len(table) >= 30
    for reference, price in table.items():
        assert reference.split("/")[0] in prices.sources
        assert 0 < price.input <= price.output or ("embedding" in reference and price.output == 0.0)
        assert price.cached is None or price.cached <= price.input


def test_cached_input_is_cheaper() -> None:
    price = Prices.load({"x/y": {"input": 2.0, "output": 10.0, "cached": 0.5}}).of("x/y")
    assert price is not None
    assert price.cost(Usage(1_000_000, 100_000, cached_tokens=400_000)) == pytest.approx(1.2 + 0.2 + 1.0)


@pytest.mark.parametrize("tail", ["-2025-04-14", "-20250414", "-latest", ""])
def test_a_dated_version_costs_what_its_family_does(tail: str) -> None:
    prices = Prices.load({"x/model": {"input": 1.0, "output": 2.0}})
    assert prices.of(f"x/model{tail}") == prices.of("x/model")


@pytest.mark.parametrize("reference", ["x/model-mini", "x/model-2025", "other", "x/model-1-2-3"])
def test_what_is_unknown_has_no_price(reference: str) -> None:
    assert Prices.load({"x/model": {"input": 1.0, "output": 2.0}}).of(reference) is None


def test_this_machine_is_free_unless_the_user_says_otherwise() -> None:
    assert Prices.load().of("offline") is FREE
    assert Prices.load().of("ollama/llama3") is FREE
    own = Prices.load({"vllm/mine": {"input": 1.0, "output": 1.0}}).of("vllm/mine")
    assert own is not None
    assert own.input == 1.0


@pytest.mark.parametrize(
    "fields", [{"input": 1.0}, {"input": 1.0, "output": 2.0, "per": 3.0}, {"input": "x", "output": 1}]
)
def test_a_wrong_price_says_which(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="a/b"):
        Prices.load({"a/b": fields})
