import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.policies.order import Order


def drain(order: Order[str, int]) -> list[str | int]:
    taken: list[str | int] = []
    while (item := order.take()) is not None:
        full, stand_in = item
        taken.append(full if stand_in is None and full is not None else stand_in if stand_in is not None else "?")
    return taken


@given(seed=st.integers(), size=st.integers(1, 60), keep=st.integers(1, 8))
def test_everything_comes_out_once_in_order_and_little_is_kept(seed: int, size: int, keep: int) -> None:
    rng = random.Random(seed)
    order: Order[str, int] = Order(keep=keep, lead=keep + 20)
    started, running, out = 0, list[int](), list[str | int]()
    while len(out) < size:
        while started < size and order.room(started) and rng.random() < 0.7:
            running.append(started)
            started += 1
        if running:
            index = running.pop(rng.randrange(len(running)))
            order.add(index, f"row {index}", index)
        out += drain(order)
        assert order._kept <= keep + 1
        assert started - order.head <= keep + 20
    assert [int(str(item).removeprefix("row ")) for item in out] == list(range(size))
    assert len(order) == 0


def test_a_slow_first_result_lets_others_go_and_they_come_out_as_stand_ins() -> None:
    order: Order[str, int] = Order(keep=1, lead=10)
    order.add(1, "one", 1)
    order.add(2, "two", 2)
    assert not order.ready
    order.add(0, "zero", 0)
    assert order.ready
    assert drain(order) == ["zero", "one", 2]


def test_the_same_index_twice_is_a_mistake_of_the_caller() -> None:
    order: Order[str, int] = Order(keep=1, lead=10)
    order.add(0, "zero", 0)
    with pytest.raises(ValueError, match="before"):
        order.add(0, "zero", 0)
