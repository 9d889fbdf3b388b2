"""When to ask twice."""

import math
from random import Random

import pytest

from agentic_synth.policies.hedging import Hedging


def test_it_knows_nothing_at_first() -> None:
    policy = Hedging()
    for _ in range(20):
        policy.record(1.0)
    assert policy.delay() == math.inf


def test_the_quantile_follows_the_recent_calls() -> None:
    policy, rng = Hedging(quantile=0.95), Random(1)
    for _ in range(1_000):
        policy.record(rng.random())
    assert policy.delay() == pytest.approx(0.95, abs=0.05)
    for _ in range(256):
        policy.record(10.0)
    assert policy.delay() == 10.0


def test_it_stays_within_its_share() -> None:
    policy, hedges = Hedging(share=0.05), 0
    for _ in range(1_000):
        policy.deposit()
        hedges += policy.withdraw()
    assert hedges == 50
    for _ in range(1_000):
        policy.deposit()
    assert [policy.withdraw(), policy.withdraw()] == [True, False]
