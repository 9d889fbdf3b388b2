"""How large batches become: near the best fixed size in each regime, after a change of it, and never for nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.batch_size import BatchSize
from tests.policies.batch_simulation import REGIMES, Regime, best_fixed, play


@pytest.mark.parametrize("name", REGIMES)
@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_the_size_is_near_the_best_fixed_one(name: str, sigma: float) -> None:
    found = [play([REGIMES[name]], seed, sigma=sigma)[0] for seed in range(10)]
    best = best_fixed(REGIMES[name])
    throughput = sum(one.throughput for one in found) / len(found)
    seconds = sum(one.seconds for one in found) / len(found)
    assert throughput >= 0.95 * best.throughput
    assert seconds <= 1.05
    assert min(one.throughput for one in found) >= 0.93 * best.throughput
    assert abs(sum(one.items for one in found) / len(found) / best.items - 1) < 0.06


@pytest.mark.parametrize("order", [("cheap", "complex", "medium"), ("complex", "cheap", "complex")])
def test_a_change_of_regime_is_followed_within_forty_calls(order: tuple[str, ...]) -> None:
    regimes = [REGIMES[name] for name in order]
    runs = [play(regimes, seed, calls=200, skipped=40, sigma=0.1) for seed in range(10)]
    for place, regime in enumerate(regimes):
        best = best_fixed(regime)
        assert sum(run[place].throughput for run in runs) / len(runs) >= 0.95 * best.throughput
        assert sum(run[place].seconds for run in runs) / len(runs) <= 1.1


def test_a_server_that_grows_ten_times_slower_is_followed() -> None:
    slow = Regime(tokens=300, fixed=0.15, per_item=0.01, per_token=0.0002)
    before, after = play([REGIMES["medium"], slow], 1, calls=300, skipped=60)
    assert before.throughput >= 0.95 * best_fixed(REGIMES["medium"]).throughput
    assert after.throughput >= 0.95 * best_fixed(slow).throughput
    assert after.seconds <= 1.1


def test_where_the_time_is_there_whatever_is_in_the_call_batches_do_not_shrink_to_nothing() -> None:
    far = Regime(tokens=50, fixed=1.5, per_item=0.0001, per_token=0.0)
    found = play([far], 2, calls=200, skipped=100, ones=20)[0]
    assert found.items > 1_000


def failing(share_of: Callable[[int], float], calls: int, seed: int, tolerance: float = 0.02) -> list[int]:
    """The sizes chosen where *share_of* items fail in a call of so many, latency being no matter."""
    rng, size = Random(seed), BatchSize(seconds=1e9, start=400.0, most=100_000.0, item_weight=0.0, tolerance=tolerance)
    sizes = []
    for _ in range(calls):
        items = max(1, int(size.goal // 10))
        share = share_of(items)
        failed = sum(rng.random() < share for _ in range(items))
        size.record(items * 10.0, items, 0.5, failed=failed)
        sizes.append(items)
    return sizes


def test_more_failures_in_larger_batches_hold_the_size_where_few_fail() -> None:
    best = 100  # where 2 % fail
    sizes = [size for seed in range(8) for size in failing(lambda items: 0.02 * (items / best) ** 2, 600, seed)[200:]]
    assert 0.75 * best <= sum(sizes) / len(sizes) <= 1.25 * best


def test_failures_that_smaller_batches_do_not_mend_do_not_shrink_them() -> None:
    sizes = [size for seed in range(5) for size in failing(lambda items: 0.10, 400, seed)[200:]]
    assert sum(sizes) / len(sizes) > 1_000


def test_calls_of_before_a_cut_and_calls_that_were_not_full_teach_nothing() -> None:
    size = BatchSize(seconds=1.0, start=1_000.0)
    size.record(1_000.0, 10, 3.0, epoch=size.epoch)
    cut = size.goal
    assert cut == pytest.approx(500.0)
    size.record(1_000.0, 10, 3.0, epoch=0)
    for _ in range(50):
        size.record(10.0, 1, 0.01, filled=False, epoch=size.epoch)
    assert size.goal == cut


def test_a_number_that_was_refused_is_not_tried_again() -> None:
    size = BatchSize()
    size.too_large(200)
    size.too_large(400)
    assert size.most_items == 100
    size.too_large(1)
    assert size.most_items == 1


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 1e9), st.integers(1, 10_000), st.none() | st.floats(0.0, 1e6), st.floats(0.0, 1.0)),
        max_size=80,
    )
)
def test_whatever_is_told_the_goal_stays_within_its_bounds(
    told: Iterable[tuple[float, int, float | None, float]],
) -> None:
    size = BatchSize(start=1_000.0, most=50_000.0, item_weight=16.0)
    for weight, items, seconds, share in told:
        before = size.goal
        size.record(weight, items, seconds, failed=math.floor(items * share), epoch=size.epoch)
        assert 16.0 <= size.goal <= 50_000.0
        assert size.goal <= 2 * before or size.goal <= 50_000.0
