"""The mirror of an upstream's bucket: near the truth, whatever the headers leave open."""

from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentic_synth.policies.mirror import Mirror
from agentic_synth.policies.rival import Rival
from agentic_synth.policies.window import Window

maybe = st.one_of(st.none(), st.floats(-1e9, 1e9, allow_nan=False))


@example([(5e-324, -2.0, None, 0.0)])
@example([(1.2e-308, -2.0, None, 0.0)])
@given(st.lists(st.tuples(maybe, maybe, maybe, st.floats(0.0, 5.0)), max_size=30))
def test_absurd_headers_never_block_for_ever(
    told: list[tuple[float | None, float | None, float | None, float]],
) -> None:
    mirror = Mirror()
    now = 0.0
    for limit, remaining, reset, pause in told:
        total = mirror.send(1.0)
        mirror.observe((limit, remaining, reset), total - 1, total, now, now + pause)
        now += pause
        wait = mirror.delay(1.0, now)
        assert 0.0 <= wait < float("inf")


def test_nothing_told_is_nothing_held_back() -> None:
    mirror = Mirror()
    mirror.send(1e9)
    assert mirror.limit is None
    assert mirror.delay(1e9, 0.0) == 0.0


def test_what_remains_is_what_may_be_sent() -> None:
    mirror = Mirror()
    total = mirror.send(1.0)
    mirror.observe((600.0, 3.0, 6.0), total, total, 0.0, 0.1)
    sent = 0
    while mirror.delay(1.0, 0.1) == 0.0:
        mirror.send(1.0)
        sent += 1
    assert sent in (3, 4)
    assert mirror.delay(1.0, 0.1) == pytest.approx(0.1, abs=0.1)


def test_an_empty_bucket_at_the_start_is_respected() -> None:
    mirror = Mirror()
    total = mirror.send(1.0)
    mirror.observe((60.0, 0.0, 60.0), total, total, 0.0, 0.1)
    mirror.send(1.0)
    assert mirror.delay(1.0, 0.1) > 0.5


def test_a_moved_limit_is_taken_over_and_late_news_of_the_old_one_is_not() -> None:
    mirror = Mirror()
    for second in range(20):
        total = mirror.send(1.0)
        mirror.observe((600.0, 590.0, 1.0), total, total, float(second), second + 0.1)
    total = mirror.send(1.0)
    mirror.observe((6_000.0, 5_000.0, 10.0), total, total, 20.0, 20.1)
    assert mirror.limit == 6_000.0
    mirror.observe((600.0, 1.0, 60.0), total - 1, total - 1, 19.0, 20.2)
    assert mirror.limit == 6_000.0
    assert mirror.rate == pytest.approx(100.0)


def test_who_states_an_untouched_limit_states_nothing_to_rely_on() -> None:
    mirror = Mirror()
    mirror.observe((1_000.0, 1_000.0, 0.001), 1.0, 1.0, 0.0, 0.1)
    assert not mirror.plausible
    mirror.observe((1_000.0, 998.0, 0.1), 2.0, 2.0, 1.0, 1.1)
    assert mirror.plausible


def test_a_bucket_that_is_always_empty_and_never_refuses_is_not_believed() -> None:
    mirror = Mirror()
    now = 0.0
    for _ in range(500):
        now += 0.5
        total = mirror.send(1.0)
        mirror.observe((600.0, 0.0, 60.0), total, total, now, now + 0.1)
    assert mirror.delay(1.0, now + 1.0) == 0.0


def test_a_rival_is_measured_and_left_its_part() -> None:
    """10 a second flow in, somebody else takes 4 of them."""
    mirror, level, now = Mirror(), 50.0, 0.0
    while now < 60.0:
        now += 0.1
        level = min(100.0, level + 1.0 - 0.4)
        if mirror.delay(1.0, now) == 0.0 and level >= 1.0:
            level -= 1.0
            total = mirror.send(1.0)
            mirror.observe((600.0, float(int(level)), 5.0), total - 1, total, now, now + 0.05)
    assert mirror.rival == pytest.approx(4.0, abs=1.0)


@given(st.integers(0, 1_000), st.floats(0.0, 0.8))
def test_any_rival_is_found(seed: int, share: float) -> None:
    rival, rng, refill = Rival(), Random(seed), 100.0
    level, total, now = 500.0, 0.0, 0.0
    for _ in range(300):
        now += 0.1
        ours = (1 - share) * refill * 0.1
        level += refill * 0.1 - ours - share * refill * 0.2 * rng.random()
        total += ours
        rival.observe(now, total, level, refill, 1_000.0)
    assert rival.rate == pytest.approx(share * refill, abs=0.25 * refill)


@pytest.mark.parametrize("seconds", [1.0, 60.0, 86_400.0])
def test_the_window_of_a_steady_bucket_is_learned(seconds: float) -> None:
    window, limit = Window(), 6_000.0
    for missing in range(10, 60):
        window.learn(limit, float(missing), missing / (limit / seconds))
    assert window.seconds == (60.0 if 59 / (limit / seconds) < 0.02 else seconds)


def test_a_reset_beyond_a_minute_is_no_minute() -> None:
    window = Window()
    for _ in range(10):
        window.learn(1_000.0, 10.0, 3_000.0)
    assert window.seconds == 3_600.0


@pytest.mark.parametrize("reset", [1.0, None])
def test_a_second_s_limit_holds_nobody_back(reset: float | None) -> None:
    """60 a second, window after window, of which headers say no more than "60" and how many are left."""
    mirror, sent = Mirror(), 0
    for second in range(30):
        for call in range(40):
            now = second + call / 40
            assert mirror.delay(1.0, now) == 0.0
            total = mirror.send(1.0)
            sent += 1
            mirror.observe((60.0, 60.0 - call - 1, reset), total - 1, total, now, now + 0.02)
    assert sent == 1_200
