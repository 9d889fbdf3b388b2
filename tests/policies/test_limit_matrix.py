"""The limits against providers of every temper, in seeded virtual time, with the marks they must reach."""

import pytest

from tests.policies.limit_simulation import (
    KNEES,
    SCENARIOS,
    CpuRule,
    World,
    adaptive,
    after_storm,
    at_the_knee,
    play,
    play_scenario,
)

SEEDS = range(1, 4)
MARKED = [name for name, scenario in SCENARIOS.items() if scenario.goodput is not None]
STORMS = [name for name, scenario in SCENARIOS.items() if scenario.world.storm is not None]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MARKED)
def test_goodput_and_refusals(name: str, seed: int) -> None:
    scenario = SCENARIOS[name]
    assert scenario.goodput is not None
    assert scenario.refused is not None
    score = play_scenario(scenario, seed)
    assert score.goodput >= scenario.goodput
    assert score.refused_share < scenario.refused


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", STORMS)
def test_a_storm_is_over_within_half_a_minute(name: str, seed: int) -> None:
    scenario = SCENARIOS[name]
    assert after_storm(play_scenario(scenario, seed), scenario.world) >= 0.9


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", KNEES)
def test_the_knee_of_a_server_is_found(name: str, seed: int) -> None:
    throughput, p99 = at_the_knee(KNEES[name], seed)
    assert throughput >= 0.95
    assert p99 <= 1.5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_risen_limit_is_followed_within_15_seconds(seed: int) -> None:
    scenario = SCENARIOS["limit rises tenfold"]
    [(when, rate)] = scenario.world.changes
    assert play_scenario(scenario, seed).rate_between(when + 15, when + 25) >= 0.9 * rate


def test_the_rule_that_looks_at_our_cpu_alone_fails() -> None:
    """It is blind for the provider: the marks above are not reached by just any rule."""
    score = play(World(seconds=20.0, burst_s=1.0), CpuRule(), 1)
    assert score.refused_share > 0.9


def test_no_limit_at_all_is_used_to_the_full() -> None:
    """Nothing is invented: with no limit and no knee, as many are in flight as connections are allowed."""
    score = play(World(rate=1e6, headers="absent", seconds=30.0), adaptive(), 1)
    assert score.most_in_flight == 1_000
    assert score.refused == 0
