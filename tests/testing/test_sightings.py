"""The table agrees with a plain dictionary until it is full, and says so when it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.testing.sightings import Sightings


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=200))
def test_counts_are_those_of_a_dictionary(keys: list[int]) -> None:
    sightings = Sightings(slots=512)
    naive: Counter[int] = Counter()
    for key in (key or 1 for key in keys):
        assert sightings.arrive(key) == naive[key]
        naive[key] += 1
    assert sightings.distinct == len(naive)
    assert sightings.forgotten == 0


def test_answers_are_counted_apart_from_arrivals() -> None:
    sightings = Sightings(slots=16)
    assert [sightings.arrive(7) for _ in range(3)] == [0, 1, 2]
    assert sightings.answered(7) == 0
    assert [sightings.answer(7) for _ in range(2)] == [0, 1]
    assert sightings.answered(7) == 2


def test_a_full_table_keeps_what_it_knows_and_reports_what_it_does_not() -> None:
    sightings = Sightings(slots=16)
    for key in range(1, 13):
        sightings.arrive(key)
    assert [sightings.arrive(99), sightings.arrive(99)] == [0, 0]
    assert sightings.forgotten == 2
    assert sightings.answer(99) == 0
    assert sightings.arrive(5) == 1


def test_counts_stop_at_255() -> None:
    sightings = Sightings(slots=16)
    assert [sightings.arrive(3) for _ in range(300)][-1] == 255


def test_the_size_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Sightings(slots=100)
